"""`harvester conformance`: checks instances against their IOD in PS3.3."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.audits.conformance import (
    ConformanceResult,
    check_dataset,
    check_object,
)
from harvester.audits.conformance.options import conformance_options
from harvester.audits.output import printable
from harvester.audits.vocabulary import SEVERITIES, uid_name
from harvester.cli.options import EndpointOption, JsonOption, table_width
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.errors import ConfigError
from harvester.messages import count

EPILOG: Final = (
    "Examples: `harvester conformance -d data/lung-ct -o findings.parquet`, "
    "`harvester conformance s3://idc-open-data/SERIES/INSTANCE.dcm`"
)
_COLOURS: Final = {"error": "red", "warning": "yellow", "info": "cyan"}
_UNCHECKED: Final = {
    "condition": "headers can't decide their conditions",
    "presence": "the dataset doesn't record empty elements",
}
_ROWS: Final = 40
_NAMES: Final = ("severity", "kind", "path", "type", "module", "clause")


def command(  # noqa: PLR0913  one for each option
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL|PATH", help="One object, instead of a dataset.", show_default=False),
    ] = None,
    *,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", metavar="DATASET", help="The dataset.", show_default=False),
    ] = None,
    sop_class: Annotated[
        list[str] | None,
        typer.Option(metavar="UID|KEYWORD", help="Check these SOP classes only.", show_default=False),
    ] = None,
    iod: Annotated[
        list[str] | None,
        typer.Option(metavar="IOD", help="IODs such as `ct-image` only.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="1, 1C, 2, 2C or 3 only.", show_default=False),
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="Modules such as `ct-image` only.", show_default=False),
    ] = None,
    severity: Annotated[
        str, typer.Option(metavar="SEVERITY", help="The lowest severity: info, warning or error.")
    ] = "info",
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTRIBUTE", help="A keyword or (gggg,eeee), optionally @MODULE.", show_default=False
        ),
    ] = None,
    private: Annotated[bool, typer.Option(help="Report private SOP classes as unknown.")] = True,
    extended: Annotated[
        bool, typer.Option(help="Report attributes that the IOD does not have (Standard Extended).")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.parquet", help="All findings, one row each.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    endpoint: EndpointOption = None,
) -> int:
    """Check instances against PS3.3: required attributes, conditions, values and multiplicities.

    Prints a summary by SOP class and attribute. Exit status 3: there are findings of severity `error`.
    """
    if (url is None) == (dataset is None):
        raise ConfigError("name either an object, or a dataset with -d")
    if output is not None and output.suffix != ".parquet":
        raise ConfigError(f"--output {output}: findings are a Parquet file; name it {output.stem}.parquet")
    if output is not None:
        require_writable(output, option="--output")
    options = conformance_options(
        sop_classes=sop_class or (),
        iods=iod or (),
        types=kind or (),
        modules=module or (),
        severity=severity,
        ignore=ignore or (),
        private=private,
        extended=extended,
    )
    if dataset is not None:
        result = check_dataset(dataset, options, output)
        findings = None
    else:
        result, findings = check_object(url or "", options, endpoint)
        if output is not None:
            with replaced_file(output, binary=True, option="--output") as stream:
                pq.write_table(findings, stream)
    if as_json:
        typer.echo(json.dumps(_document(result)))
    else:
        _print(result, findings)
    return 3 if result.total("error") else 0


def _document(result: ConformanceResult) -> dict[str, object]:
    return {
        "edition": result.edition,
        "instances": dict(result.instances),
        "findings": result.summary().to_pylist(),
        "not_checked": [
            {"SOPClassUID": uid, "attribute": name, "reason": reason}
            for (uid, name), reason in sorted(result.unchecked.items())
        ],
    }


def _print(result: ConformanceResult, findings: pa.Table | None) -> None:
    console = Console(highlight=False, width=table_width())
    for uid, instances in result.instances.items():
        console.print(Text(f"{uid_name(uid) or 'no SOP class'}: {count(instances, 'instance')}"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("severity", "kind", "attribute", "type", "module", "clause"):
        table.add_column(name, overflow="fold")
    table.add_column("findings", justify="right", no_wrap=True)
    rows = _rows(result) if findings is None else [(row, 1) for row in findings.to_pylist()]
    for row, number in rows[:_ROWS]:
        cells = [printable(str(row[name] or ""), 120) for name in _NAMES[1:]]
        severity = str(row["severity"])
        table.add_row(Text(severity, _COLOURS[severity]), *map(Text, cells), f"{number:,}")
    console.print(table)
    if len(rows) > _ROWS:
        console.print(Text(f"and {len(rows) - _ROWS:,} more kinds of findings"))
    totals = ", ".join(f"{result.total(one):,} {one}" for one in reversed(SEVERITIES))
    console.print(Text(f"PS3.3 {result.edition}: {totals}{_not_made(result)}"))


def _not_made(result: ConformanceResult) -> str:
    """How many checks were not made and why, if there are some."""
    reasons = Counter(result.unchecked.values())
    told = [
        f"{count(reasons[reason], 'check')} not made, as {why}"
        for reason, why in _UNCHECKED.items()
        if reasons[reason]
    ]
    return f"; {'; '.join(told)} (--json lists them)" if told else ""


def _rows(result: ConformanceResult) -> list[tuple[dict[str, object], int]]:
    """Findings of all collections together, most severe and most frequent first."""
    totals: dict[tuple[object, ...], int] = defaultdict(int)
    for one in result.counts:
        totals[tuple(getattr(one.check, name) for name in _NAMES)] += one.findings
    severities: Sequence[object] = SEVERITIES
    ordered = sorted(totals.items(), key=lambda one: (-severities.index(one[0][0]), -one[1], str(one[0])))
    return [(dict(zip(_NAMES, key, strict=True)), number) for key, number in ordered]
