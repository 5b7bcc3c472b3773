"""Charts as static SVG, drawn by Vega-Lite, so that the page needs no script and no network.

Colours are CSS variables of the page, so that one drawing serves light, dark and print. A chart is 360
pixels wide, as on a phone, and scales up. Only elements and attributes on an allow-list are kept.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from defusedxml.ElementTree import fromstring

from harvester.errors import ConfigError
from harvester.messages import pip_install

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
_LABEL: Final = 22  # characters a line
_LINES: Final = 5
_LINE: Final = 14  # pixels
_LONGEST: Final = _LABEL * _LINES
_COUNTS: Final[Mapping[str, Any]] = {
    "tickCount": 4,
    "tickMinStep": 1,
    "format": ",d",
    "labelOverlap": True,
}
_CHARACTER: Final = 7.2  # pixels, the average width at a font size of 12

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


def bars(
    rows: Iterable[Mapping[str, Any]],
    *,
    title: str,
    unit: str,
    label: str = "label",
    number: str = "instances",
) -> str:
    """Horizontal bars with their numbers.

    Args:
        rows: The bars, in order.
        title: The accessible name of the chart.
        unit: The unit of the numbers.
        label: The column of names.
        number: The column of lengths.
    """
    rows = list(rows)
    names = _unique_labels(row[label] for row in rows)
    values = [
        {"label": name, "number": row[number], "text": f"{row[number]:,.6g}"}
        for name, row in zip(names, rows, strict=True)
    ]
    widest = max((row["number"] for row in values), default=1) or 1
    x = {
        "field": "number",
        "type": "quantitative",
        # Room for the number behind the longest bar.
        "scale": {"domain": [0, widest * 1.35]},
        "axis": {"title": unit, **_COUNTS},
    }
    y = {"field": "label", "type": "nominal", "sort": None, "axis": _label_axis(names)}
    return _draw(
        {
            "data": {"values": values},
            "height": {"step": _step(names)},
            "encoding": {"y": y, "x": x},
            "layer": [
                {"mark": {"type": "bar", "height": {"band": 0.7}}},
                {
                    "mark": {"type": "text", "align": "left", "dx": 4, "aria": False},
                    "encoding": {"text": {"field": "text", "type": "nominal"}},
                },
            ],
        },
        title,
    )


def histogram(rows: Iterable[Mapping[str, Any]], *, title: str, axis: str) -> str:
    """Vertical bars over intervals.

    Args:
        rows: With `least`, `most` and `instances`.
        title: The accessible name of the chart.
        axis: The name of the numbers.
    """
    x = {
        "field": "least",
        "type": "quantitative",
        "bin": {"binned": True},
        "axis": {"title": axis, "tickCount": 5, "format": ",.6~r", "labelOverlap": True},
        "scale": {"zero": False, "nice": False},
    }
    mark = {"type": "bar", "stroke": "var(--page)", "strokeWidth": 1}
    return _vertical(rows, mark, {"x": x, "x2": {"field": "most"}}, title)


def columns(rows: Iterable[Mapping[str, Any]], *, title: str, axis: str) -> str:
    """Vertical bars, one per row with `label` and `instances`, in order."""
    values = list(rows)
    x = {
        "field": "label",
        "type": "ordinal",
        "sort": None,
        "axis": {"title": axis, "labelAngle": -45, "labelOverlap": True},
    }
    return _vertical(values, {"type": "bar", "width": {"band": 0.85}}, {"x": x}, title)


def _vertical(
    rows: Iterable[Mapping[str, Any]], mark: Mapping[str, Any], x: Mapping[str, Any], title: str
) -> str:
    y = {
        "field": "instances",
        "type": "quantitative",
        "axis": {"title": "instances", **_COUNTS},
    }
    values = {"values": [dict(row) for row in rows]}
    return _draw({"data": values, "height": 170, "mark": mark, "encoding": {**x, "y": y}}, title)


def heat_map(
    rows: Iterable[Mapping[str, Any]], order: Iterable[str], *, title: str, slanted: bool = False
) -> str:
    """Shares by row and column, as squares whose opacity is the share, with a text in each.

    Args:
        rows: With `row`, `column`, `share` (from 0 to 1) and `text`.
        order: The columns.
        title: The accessible name of the chart.
        slanted: Whether the names of the columns are long.
    """
    rows = list(rows)
    names = dict(
        zip(
            dict.fromkeys(row["row"] for row in rows),
            _unique_labels(dict.fromkeys(row["row"] for row in rows)),
            strict=True,
        )
    )
    values = [{**row, "row": names[row["row"]]} for row in rows]
    x = {
        "field": "column",
        "type": "nominal",
        "sort": list(order),
        "axis": {
            "title": None,
            "orient": "top",
            "labelAngle": -50 if slanted else 0,
            "labelFontSize": 10,
            "domain": False,
            "ticks": False,
        },
    }
    y = {
        "field": "row",
        "type": "nominal",
        "sort": None,
        "axis": {**_label_axis(names.values()), "domain": False, "ticks": False},
    }
    return _draw(
        {
            "data": {"values": values},
            "height": {"step": _step(names.values()) + 4},
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
                    "encoding": {"text": {"field": "text", "type": "nominal"}},
                },
            ],
        },
        title,
    )


def _unique_labels(values: Iterable[object]) -> list[str]:
    """Names in lines that fit beside the chart; different names stay different."""
    names: dict[str, None] = {}
    for value in values:
        text = "(none)" if value is None else str(value)
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST - 26]}…{text[-20:]}"
        number = 1
        while (name := _lines(text if number == 1 else f"{text} ({number})")) in names:
            number += 1
        names[name] = None
    return list(names)


def _lines(text: str) -> str:
    return "\n".join(wrap(text, _LABEL)) or " "


def _step(names: Iterable[str]) -> int:
    """The height of a row: that of its label."""
    return _STEP + _LINE * max((name.count("\n") for name in names), default=0)


def _label_axis(names: Iterable[str]) -> dict[str, Any]:
    """An axis of names with room for the longest line: the font of the browser is unknown here."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=1)
    room = 8 + _CHARACTER * longest
    return {
        "title": None,
        "labelLimit": 0,
        "minExtent": room,
        "maxExtent": room,
        "labelExpr": "split(datum.label, '\\n')",
        "labelLineHeight": _LINE,
    }


def _draw(spec: Mapping[str, Any], title: str) -> str:
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 2,
        "background": None,
        "config": _CONFIG,
        **spec,
    }
    return _sanitized(_vega().vegalite_to_svg(whole, allowed_base_urls=[]), title)


@lru_cache
def _vega() -> "ModuleType":
    try:
        import vl_convert  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigError(f"a report needs vl-convert-python; {pip_install('report')}") from None
    return vl_convert


def _sanitized(svg: str, title: str) -> str:
    """Keep only what is on the allow-list, as one image with an accessible name."""
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
