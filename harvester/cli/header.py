"""`harvester header`."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import anyio
import pyarrow as pa
import typer

from harvester.cli.format import count, size
from harvester.dicom import HeaderColumns
from harvester.fetch.headers import FetchedHeader, HeaderFetcher
from harvester.model import ObjectRef
from harvester.store.cost import RequestCost
from harvester.store.open import open_store

_LONGEST_VALUE = 100


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("header", epilog="Example: `harvester header s3://idc-open-data/SERIES/INSTANCE.dcm --json`")(
        _header
    )


def _header(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL|PATH", help="s3://, gs://, https://, or a local file.", show_default=False
        ),
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the row that `instances` would have.")
    ] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="Replaces the cloud's address: http://HOST:PORT.", show_default=False)
    ] = None,
) -> None:
    """Print the header of one DICOM object, read with as few bytes as it takes."""
    ref = ObjectRef.parse(url)
    cost = RequestCost()
    fetched = anyio.run(partial(_fetch, ref, endpoint, cost))
    facts = {
        "instance_url": ref.url,
        "instance_size": fetched.size,
        "etag": fetched.etag,
        **{name: value for name, value in asdict(fetched.header).items() if name in _FACTS},
        "requests": cost.requests,
        "bytes_fetched": cost.bytes_fetched,
    }
    columns = HeaderColumns()
    columns.append(fetched.header)
    row = _present(pa.table(columns.finish()).to_pylist()[0])
    if as_json:
        typer.echo(json.dumps({**row, **facts}, default=str, ensure_ascii=False, allow_nan=False))
        return
    for line in _lines(row, 0):
        typer.echo(line)
    typer.echo(
        f"{size(fetched.header.header_bytes)} of {size(fetched.size)} are header, read in "
        f"{count(cost.requests, 'request')} and {size(cost.bytes_fetched)}",
        err=True,
    )


_FACTS = (
    "preamble",
    "header_bytes",
    "pixel_data_offset",
    "pixel_data_keyword",
    "encapsulated",
    "basic_offset_table",
    "extended_offset_table",
)


async def _fetch(ref: ObjectRef, endpoint: str | None, cost: RequestCost) -> FetchedHeader:
    async with open_store(endpoint=endpoint) as store:
        return await HeaderFetcher(store).fetch([ref], cost)


def _present(value: Any) -> Any:
    """The value without what a column holds for those that lack it."""
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_present(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _lines(row: dict[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for keyword, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and keyword not in _FLAT:
            for index, item in enumerate(value):
                yield f"{indent}{keyword}[{index}]"
                yield from _lines(item, depth + 1)
        elif isinstance(value, list) and keyword in _FLAT:
            for entry in value:
                yield f"{indent}{keyword}  " + "  ".join(_short(inner) for inner in entry.values())
        else:
            yield f"{indent}{keyword}: {_short(value)}"


_FLAT = ("OtherElements", "bulk_data", "invalid_elements")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "=".join(str(group) for group in value.values())
    text = str(value)
    # What a file holds must not steer the terminal.
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
