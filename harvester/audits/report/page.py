"""The report as one HTML file that asks for nothing when it is opened, and runs nothing."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harvester import __version__
from harvester.audits.output import printable
from harvester.audits.report import charts
from harvester.audits.report.facts import MOST_COLLECTIONS, TABLES, Distribution, Facts, Row
from harvester.audits.report.viewer import viewer_url
from harvester.audits.vocabulary import attribute_of, uid_name

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_LONGEST: Final = 300
_SUMMED: Final = ("series", "instances", "bytes")
_MOST_BARS: Final = 15
_MOST_ROWS: Final = 200
_MOST_GROUPS: Final = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """What a chart shows, as a table: names of columns, and rows of texts and numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its caption, and the same as a table."""

    caption: str
    drawing: Markup
    table: Table


def render(facts: Facts, title: str = "") -> str:
    """Write the page.

    Args:
        facts: What it says.
        title: What it is called; the dataset's name, if nothing is given.

    Raises:
        ConfigError: What draws the charts is not installed.
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
        "plain": partial(printable, longest=_LONGEST),
    }
    template = environment.from_string(sources.joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title or facts.dataset.rstrip("/").rpartition("/")[2] or facts.dataset,
        facts=facts,
        style=Markup(style),  # noqa: S704  our own file
        style_hash=_hash(style),
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
        cohort=_cohort(facts),
        groups=_groups(facts),
        coverage=_coverage(facts.coverage),
        without=_without(facts),
        headers=_headers(facts),
        runs=_runs(facts.runs),
        distributions=[_distribution(one) for one in facts.distributions],
        viewer=partial(_viewer, facts.studies),
    )


def _hash(text: str) -> str:
    """The source expression of Content Security Policy that lets this one style sheet in, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _figure(caption: str, drawing: str, table: Table) -> Figure:
    return Figure(caption, Markup(drawing), table)  # noqa: S704  drawn by charts, which cleans it


def _cohort(facts: Facts) -> list[Figure]:
    """Instances by modality and by collection, the most first, the rest as one."""
    figures = []
    for caption, key in (("Instances by modality", "Modality"), ("Instances by collection", "collection_id")):
        sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_SUMMED, 0))
        for row in facts.groups:
            for name in _SUMMED:
                sums[_name(row[key])][name] += row[name] or 0
        ordered = sorted(sums, key=lambda name: -sums[name]["instances"])
        shown: list[Row] = [{"label": name, **sums[name]} for name in ordered[:_MOST_BARS]]
        if rest := ordered[_MOST_BARS:]:
            instances = sum(sums[name]["instances"] for name in rest)
            shown.append({"label": f"{len(rest)} others", "instances": instances})
        table = Table(
            (caption.rpartition(" ")[2], "series", "instances", "size"),
            tuple(
                (name, sums[name]["series"], sums[name]["instances"], _size(sums[name]["bytes"]))
                for name in ordered[:_MOST_ROWS]
            ),
        )
        drawing = charts.bars(shown, "label", "instances", title=caption, unit="instances")
        figures.append(_figure(caption, drawing, table))
    return figures


def _groups(facts: Facts) -> Table:
    """Every collection's modalities, the largest first."""
    return Table(
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
            for row in facts.groups[:_MOST_GROUPS]
        ),
    )


def _coverage(rows: Iterable[Row]) -> Figure | None:
    """Which offset tables the objects of many frames have, by collection: those that lack most come first."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(TABLES, 0))
    for row in rows:
        counts[_name(row["collection_id"])][row["source"]] += row["instances"]
    if not counts:
        return None
    ordered = sorted(counts, key=lambda name: (-_share(counts[name], "none"), name))[:MOST_COLLECTIONS]
    cells = [
        {
            "row": name,
            "column": column,
            "share": _share(counts[name], column),
            "told": _percent(_share(counts[name], column)),
        }
        for name in ordered
        for column in TABLES
    ]
    caption = "How frames are found, by collection"
    table = Table(
        ("collection", *TABLES, "objects"),
        tuple(
            (name, *(counts[name][column] for column in TABLES), sum(counts[name].values()))
            for name in sorted(counts)
        ),
    )
    return _figure(caption, charts.heat_map(cells, TABLES, title=caption), table)


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
        charts.columns(rows, "label", "instances", title=caption, axis="from this size to twice it"),
        Table(("from", "instances"), tuple((row["label"], row["instances"]) for row in rows)),
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
    caption = "Crawls: instances a second"
    table = Table(
        ("began (UTC)", "instances", "failures", "a second", "requests", "fetched", "processes"),
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
    return _figure(caption, charts.bars(shown, "started_at", "rate", title=caption, unit="a second"), table)


def _distribution(one: Distribution) -> Figure:
    notes = [f"{one.absent:,} without"] if one.absent else []
    if one.others:
        notes.append(f"{one.others:,} with other values")
    caption = one.attribute + (f" ({', '.join(notes)})" if notes else "")
    if one.rows and "least" in one.rows[0]:
        table = Table(
            ("from", "to", "instances"),
            tuple((f"{row['least']:.6g}", f"{row['most']:.6g}", row["instances"]) for row in one.rows),
        )
        return _figure(caption, charts.histogram(one.rows, title=caption, axis=one.attribute), table)
    rows = [{**row, "value": _value(one.attribute, printable(row["value"], _LONGEST))} for row in one.rows]
    table = Table(("value", "instances"), tuple((row["value"], row["instances"]) for row in rows))
    return _figure(caption, charts.bars(rows, "value", "instances", title=caption, unit="instances"), table)


def _value(attribute: str, value: str) -> str:
    """A value as people know it: UIDs of the standard have names."""
    return uid_name(value) if attribute_of(attribute).vr == "UI" else value


def _viewer(studies: Mapping[str, str], series: str | None, modality: str | None) -> str | None:
    study = studies.get(series or "")
    return None if study is None or series is None else viewer_url(study, series, modality)


def _name(value: object) -> str:
    return "(none)" if value is None else printable(str(value), 120)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _counted(unit: str, number: int) -> str:
    """What is counted, in the number that it is counted in."""
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
