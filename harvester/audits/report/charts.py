"""Charts as SVG: Vega-Lite draws them here, once, so that the page needs no script, no network and no canvas.

Colours are the page's own (CSS variables), so that one drawing serves light, dark and paper; each chart is
drawn 360 pixels wide, as a phone shows it, and is scaled a little where there is room. What is left of a
drawing is what a list of harmless elements and attributes lets through.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from defusedxml.ElementTree import fromstring

from harvester.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

_SVG: Final = "{http://www.w3.org/2000/svg}"
_ELEMENTS: Final = frozenset({"svg", "g", "path", "rect", "line", "text", "tspan", "circle"})
_ATTRIBUTES: Final = frozenset(
    {
        *("viewBox", "width", "height", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "r"),
        *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity"),
        *("stroke-miterlimit", "text-anchor", "font-size", "font-weight", "display", "pointer-events"),
        *("role", "aria-label", "aria-hidden", "aria-roledescription"),
    }
)
_WIDTH: Final = 360
_STEP: Final = 22
_LABEL: Final = 22  # characters
_CHARACTER: Final = 7.2  # pixels, of a character of 12 pixels on the average

_CONFIG: Final[Mapping[str, Any]] = {
    "axis": {
        **{f"{part}Color": "var(--ink)" for part in ("label", "title")},
        **{f"{part}Color": "var(--line)" for part in ("grid", "domain", "tick")},
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "text": {"fontSize": 11, "color": "var(--ink)"},
    "view": {"stroke": None},
    "bar": {"color": "var(--bar)"},
}


def bars(rows: Iterable[Mapping[str, Any]], label: str, number: str, *, title: str, unit: str) -> str:
    """Horizontal bars, the longest first, with their numbers behind them.

    Args:
        rows: What is shown.
        label: The column of names.
        number: The column of lengths.
        title: The chart's accessible name.
        unit: What the numbers count.
    """
    values = [
        {"label": name, "number": row[number], "told": f"{row[number]:,.6g}"}
        for name, row in _named((row[label], row) for row in rows)
    ]
    widest = max((row["number"] for row in values), default=1) or 1
    x = {
        "field": "number",
        "type": "quantitative",
        # Room for the number behind the longest bar.
        "scale": {"domain": [0, widest * 1.35]},
        "axis": {"title": unit, "tickCount": 4, "format": "~s"},
    }
    y = {"field": "label", "type": "nominal", "sort": None, "axis": _names(row["label"] for row in values)}
    return _drawn(
        {
            "data": {"values": values},
            "height": {"step": _STEP},
            "encoding": {"y": y, "x": x},
            "layer": [
                {"mark": {"type": "bar", "height": {"band": 0.7}}},
                {
                    "mark": {"type": "text", "align": "left", "dx": 4, "aria": False},
                    "encoding": {"text": {"field": "told", "type": "nominal"}},
                },
            ],
        },
        title,
    )


def histogram(rows: Iterable[Mapping[str, Any]], *, title: str, axis: str, number_format: str = "~g") -> str:
    """Upright bars between two numbers each.

    Args:
        rows: With `least`, `most` and `instances`.
        title: The chart's accessible name.
        axis: What the numbers are.
        number_format: How they are written, as d3 does.
    """
    values = [{"least": row["least"], "most": row["most"], "number": row["instances"]} for row in rows]
    return _drawn(
        {
            "data": {"values": values},
            "height": 170,
            "mark": {"type": "bar", "stroke": "var(--page)", "strokeWidth": 1},
            "encoding": {
                "x": {
                    "field": "least",
                    "type": "quantitative",
                    "bin": {"binned": True},
                    "axis": {"title": axis, "tickCount": 5, "format": number_format},
                    "scale": {"zero": False, "nice": False},
                },
                "x2": {"field": "most"},
                "y": {
                    "field": "number",
                    "type": "quantitative",
                    "axis": {"title": "instances", "tickCount": 4, "format": "~s"},
                },
            },
        },
        title,
    )


def columns(rows: Iterable[Mapping[str, Any]], label: str, number: str, *, title: str, axis: str) -> str:
    """Upright bars, one for each of a few ordered names."""
    values = [{"label": _short(row[label]), "number": row[number]} for row in rows]
    return _drawn(
        {
            "data": {"values": values},
            "height": 170,
            "mark": {"type": "bar", "width": {"band": 0.85}},
            "encoding": {
                "x": {
                    "field": "label",
                    "type": "ordinal",
                    "sort": None,
                    "axis": {"title": axis, "labelAngle": -45, "labelOverlap": True},
                },
                "y": {
                    "field": "number",
                    "type": "quantitative",
                    "axis": {"title": "instances", "tickCount": 4, "format": "~s"},
                },
            },
        },
        title,
    )


def heat_map(rows: Iterable[Mapping[str, Any]], order: Iterable[str], *, title: str) -> str:
    """Shares by row and column, as squares that are fuller the greater the share, with the share in each.

    Args:
        rows: With `row`, `column`, `share` (from 0 to 1) and `told`.
        order: The columns.
        title: The chart's accessible name.
    """
    values = [{**row, "row": _short(row["row"])} for row in rows]
    x = {
        "field": "column",
        "type": "nominal",
        "sort": list(order),
        "axis": {
            "title": None,
            "orient": "top",
            "labelAngle": 0,
            "labelFontSize": 10,
            "domain": False,
            "ticks": False,
        },
    }
    y = {
        "field": "row",
        "type": "nominal",
        "sort": None,
        "axis": {**_names(row["row"] for row in values), "domain": False, "ticks": False},
    }
    return _drawn(
        {
            "data": {"values": values},
            "height": {"step": 26},
            "encoding": {"x": x, "y": y},
            "layer": [
                {
                    "mark": {"type": "rect", "stroke": "var(--page)", "strokeWidth": 2},
                    "encoding": {
                        "opacity": {
                            "field": "share",
                            "type": "quantitative",
                            "scale": {"domain": [0, 1], "range": [0.04, 0.75]},
                            "legend": None,
                        },
                        "color": {
                            "condition": {"test": "datum.column === 'none'", "value": "var(--bad)"},
                            "value": "var(--bar)",
                        },
                    },
                },
                {
                    "mark": {"type": "text", "aria": False},
                    "encoding": {"text": {"field": "told", "type": "nominal"}},
                },
            ],
        },
        title,
    )


def _short(value: object) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 9]}…{text[-8:]}"


def _named(rows: Iterable[tuple[object, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows with names short enough for the chart, and still different where they were."""
    seen: set[str] = set()
    for value, row in rows:
        name = _short(value)
        while name in seen:
            name += "\u200b"
        seen.add(name)
        yield name, row


def _names(labels: Iterable[str]) -> dict[str, Any]:
    """An axis of names with room for the longest: the browser's font is not the one that is measured here."""
    room = 8 + _CHARACTER * max(map(len, labels), default=1)
    return {"title": None, "labelLimit": 0, "minExtent": room, "maxExtent": room}


def _drawn(spec: Mapping[str, Any], title: str) -> str:
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 2,
        "background": None,
        "config": _CONFIG,
        **spec,
    }
    return _kept(_vega().vegalite_to_svg(whole, allowed_base_urls=[]), title)


@lru_cache
def _vega() -> "ModuleType":
    try:
        import vl_convert  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigError("a report needs vl-convert-python; pip install 'harvester[report]'") from None
    return vl_convert


def _kept(svg: str, title: str) -> str:
    """The drawing, of which only what is known to be harmless is kept, as one image with a name."""
    root = fromstring(svg)
    _clean(root)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("viewBox", root.get("viewBox") or f"0 0 {_WIDTH} 200")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return ET.tostring(root, encoding="unicode")


def _clean(element: ET.Element) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    for name in [name for name in element.attrib if name not in _ATTRIBUTES]:
        del element.attrib[name]
    for child in list(element):
        if child.tag.removeprefix(_SVG) in _ELEMENTS:
            _clean(child)
        else:
            element.remove(child)
