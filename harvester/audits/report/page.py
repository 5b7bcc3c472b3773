"""Renders the report as one HTML file without scripts and external resources."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harvester.audits.output import findings_sql, printable, show_command
from harvester.audits.report import charts
from harvester.audits.report.facts import MAX_COLLECTIONS, TABLES, Distribution, Facts, Row
from harvester.audits.vocabulary import attribute_of, uid_name
from harvester.model import VERSION

_VIEWER: Final = "https://viewer.imaging.datacommons.cancer.gov"
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_MAX_TEXT: Final = 300
_MAX_SQL: Final = 4000
_MAX_BARS: Final = 15
_MAX_ROWS: Final = 200
_MAX_GROUPS: Final = 1000
_MAX_MODULES: Final = 6


@dataclass(frozen=True, slots=True)
class FigureTable:
    """The data of a chart as a table of texts and numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its caption and its data as a table."""

    caption: str
    drawing: Markup
    table: FigureTable


def render(facts: Facts, title: str = "") -> str:
    """Render the page.

    Args:
        facts: The content.
        title: The title; the default is the name of the dataset.

    Raises:
        ConfigError: The package that draws charts is not installed.
    """
    sources = files("harvester.audits.report").joinpath("templates")
    style = sources.joinpath("report.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": _number,
        "size": _size,
        "percent": _percent,
        "counted": _counted,
        "plain": partial(printable, longest=_MAX_TEXT),
        "whole": partial(printable, longest=_MAX_SQL),
        "words": words,
    }
    template = environment.from_string(sources.joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title or facts.dataset.rstrip("/").rpartition("/")[2] or facts.dataset,
        facts=facts,
        style=Markup(style),  # noqa: S704  part of the package
        style_hash=_hash(style),
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=VERSION,
        cohort=_cohort(facts),
        groups=_groups(facts),
        coverage=_coverage(facts.coverage),
        nonconformance=_nonconformance(facts),
        without=_without(facts),
        headers=_headers(facts),
        runs=_runs(facts.runs),
        distributions=[_distribution(one) for one in facts.distributions],
        viewer=partial(_viewer, facts.studies),
        show_command=show_command,
        findings_sql=findings_sql,
    )


def _hash(text: str) -> str:
    """The Content Security Policy source expression that allows this style sheet only."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _figure(caption: str, drawing: str, table: FigureTable) -> Figure:
    return Figure(caption, Markup(drawing), table)  # noqa: S704  sanitized by charts


def _cohort(facts: Facts) -> list[Figure]:
    """Instances by modality and by collection, largest first, the rest as one bar."""
    figures = []
    for what, key, rows in (
        ("modality", "Modality", facts.modalities),
        ("collection", "collection_id", facts.collections),
    ):
        caption = f"Instances by {what}"
        shown: list[Row] = [{"label": _name(row[key]), "instances": row["instances"]} for row in rows]
        if rest := shown[_MAX_BARS:]:
            others = {"label": f"{len(rest)} others", "instances": sum(row["instances"] for row in rest)}
            shown = [*shown[:_MAX_BARS], others]
        table = FigureTable(
            (what, "series", "instances", "size"),
            tuple(
                (_name(row[key]), row["series"], row["instances"], _size(row["bytes"]))
                for row in rows[:_MAX_ROWS]
            ),
        )
        figures.append(_figure(caption, charts.bars(shown, title=caption, unit="instances"), table))
    return figures


def _groups(facts: Facts) -> FigureTable:
    """Collections and their modalities, largest first."""
    return FigureTable(
        ("collection", "modality", "studies", "series", "instances", "size"),
        tuple(
            (
                _name(row["collection_id"]),
                _name(row["Modality"]),
                row["studies"],
                row["series"],
                row["instances"],
                _size(row["bytes"]),
            )
            for row in facts.groups[:_MAX_GROUPS]
        ),
    )


def _coverage(rows: Iterable[Row]) -> Figure | None:
    """Offset tables of multi-frame objects by collection; the largest share without any comes first."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(TABLES, 0))
    for row in rows:
        counts[_name(row["collection_id"])][row["source"]] += row["instances"]
    if not counts:
        return None
    ordered = sorted(counts, key=lambda name: (-_share(counts[name], "none"), name))[:MAX_COLLECTIONS]
    cells = [
        {
            "row": name,
            "column": column,
            "share": _share(counts[name], column),
            "text": _percent(_share(counts[name], column)),
        }
        for name in ordered
        for column in TABLES
    ]
    caption = "Offset tables by collection"
    table = FigureTable(
        ("collection", *TABLES, "objects"),
        tuple(
            (name, *(counts[name][column] for column in TABLES), sum(counts[name].values()))
            for name in sorted(counts)
        ),
    )
    return _figure(caption, charts.heat_map(cells, TABLES, title=caption), table)


def _nonconformance(facts: Facts) -> Figure | None:
    """The share of the instances of each collection with findings in a module of their IOD."""
    totals = {_name(row["collection_id"]): row["instances"] for row in facts.collections}
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    modules: dict[str, int] = defaultdict(int)
    for row in facts.nonconformance:
        counts[_name(row["collection_id"])][row["module"]] = row["instances"]
        modules[row["module"]] += row["instances"]
    if not counts:
        return None
    columns = sorted(modules, key=lambda name: (-modules[name], name))
    ordered = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    cells = []
    for name in ordered[:MAX_COLLECTIONS]:
        for column in columns[:_MAX_MODULES]:
            share = min(1.0, counts[name].get(column, 0) / max(1, totals.get(name, 0)))
            cells.append({"row": name, "column": column, "share": share, "text": _percent(share)})
    caption = "Instances that do not conform, by module and collection"
    table = FigureTable(
        ("collection", *columns, "instances"),
        tuple(
            (name, *(counts[name].get(column, 0) for column in columns), totals.get(name, 0))
            for name in ordered[:_MAX_ROWS]
        ),
    )
    drawing = charts.heat_map(cells, columns[:_MAX_MODULES], title=caption, slanted=True)
    return _figure(caption, drawing, table)


def _share(counts: Mapping[str, int], column: str) -> float:
    return counts[column] / max(1, sum(counts.values()))


def _without(facts: Facts) -> list[Row]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in facts.without:
        found[_name(row["collection_id"])].append(row)
    totals: dict[str, int] = defaultdict(int)
    for row in facts.coverage:
        if row["source"] == "none":
            totals[_name(row["collection_id"])] += row["series"]
    return [{"collection": name, "series": rows, "total": totals[name]} for name, rows in found.items()]


def _headers(facts: Facts) -> Figure | None:
    if not facts.headers:
        return None
    least, most = facts.headers[0]["power"], facts.headers[-1]["power"]
    counts = {row["power"]: row["instances"] for row in facts.headers}
    rows = [{"label": _binary(power), "instances": counts.get(power, 0)} for power in range(least, most + 1)]
    caption = "Header sizes"
    return _figure(
        caption,
        charts.columns(rows, title=caption, axis="from this size to twice this size"),
        FigureTable(("from", "instances"), tuple((row["label"], row["instances"]) for row in rows)),
    )


def _binary(power: int) -> str:
    for name, exponent in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if power >= exponent:
            return f"{2 ** (power - exponent)} {name}"
    return f"{2**power} B"


def _runs(runs: Iterable[Row]) -> Figure | None:
    rows = [row for row in runs if row["instances"]]
    if not rows:
        return None
    caption = "Crawls: instances per second"
    table = FigureTable(
        ("start (UTC)", "instances", "failures", "per second", "requests", "fetched", "processes"),
        tuple(
            (
                row["started_at"],
                row["instances"],
                row["failures"],
                f"{row['rate']:,.0f}",
                row["requests"],
                _size(row["bytes_fetched"]),
                row["processes"],
            )
            for row in rows
        ),
    )
    shown = [{**row, "started_at": row["started_at"][2:16], "rate": round(row["rate"])} for row in rows[-12:]]
    return _figure(
        caption,
        charts.bars(shown, title=caption, unit="per second", label="started_at", number="rate"),
        table,
    )


def _distribution(one: Distribution) -> Figure:
    binned = bool(one.rows) and "least" in one.rows[0]
    notes = [f"{one.absent:,} without"] if one.absent else []
    if one.others:
        notes.append(f"{one.others:,} {'not a number' if binned else 'with other values'}")
    if one.below:
        notes.append(f"not drawn: {one.below:,} below {one.rows[0]['least']:.6g}")
    if one.above:
        notes.append(f"not drawn: {one.above:,} above {one.rows[-1]['most']:.6g}")
    caption = one.attribute + (f" ({', '.join(notes)})" if notes else "")
    if binned:
        table = FigureTable(
            ("from", "to", "instances"),
            tuple((f"{row['least']:.6g}", f"{row['most']:.6g}", row["instances"]) for row in one.rows),
        )
        return _figure(caption, charts.histogram(one.rows, title=caption, axis=one.attribute), table)
    rows = [{**row, "value": _value(one.attribute, printable(row["value"], _MAX_TEXT))} for row in one.rows]
    table = FigureTable(("value", "instances"), tuple((row["value"], row["instances"]) for row in rows))
    return _figure(caption, charts.bars(rows, title=caption, unit="instances", label="value"), table)


def _value(attribute: str, value: str) -> str:
    """A value as text: registered UIDs by their names."""
    return uid_name(value) if attribute_of(attribute).vr == "UI" else value


def viewer_url(study_instance_uid: str, series_instance_uid: str, modality: str | None) -> str:
    """The URL of a series in IDC's viewers, as idc-index makes it: Slim for slides, else OHIF."""
    study, series = quote(study_instance_uid, safe=""), quote(series_instance_uid, safe="")
    if modality in ("SM", "ANN"):
        return f"{_VIEWER}/slim/studies/{study}/series/{series}"
    return f"{_VIEWER}/v3/viewer/?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"


def _viewer(studies: Mapping[str, str], series: str | None, modality: str | None) -> str | None:
    study = studies.get(series or "")
    return None if study is None or series is None else viewer_url(study, series, modality)


def words(shown: str) -> str:
    """The values of an example, which are stored as JSON, as words."""
    try:
        values: Any = json.loads(shown)
    except ValueError:  # cut, since it was too long
        return shown
    return _listed(values) if isinstance(values, dict) else str(values)


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name}: {_listed(one)}" for name, one in value.items() if one not in (None, [], {})
        )
    if isinstance(value, list):
        return " / ".join(map(_listed, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _name(value: object) -> str:
    return "(none)" if value is None else printable(str(value), 120)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _counted(unit: str, number: int) -> str:
    """The unit in singular or plural."""
    plural = {"series": "series", "study": "studies"}.get(unit, f"{unit}s")
    return unit if number == 1 else plural


def _size(number: float) -> str:
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:,.0f} {_UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:,.1f} {_UNITS[unit]}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"
