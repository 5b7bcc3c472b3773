"""`harvester header`: prints the header of one object."""

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import anyio
import pyarrow as pa
import typer

from harvester.cli.options import CredentialsOption, EndpointOption, JsonOption, ObjectArgument, show
from harvester.dicom import HeaderColumns
from harvester.fetch.headers import FetchedHeader, HeaderFetcher
from harvester.messages import count, printable, printable_json, size
from harvester.model import ObjectRef
from harvester.store.cost import RequestCost
from harvester.store.open import StoreSettings, open_store

EPILOG: Final = "Example: `harvester header s3://idc-open-data/SERIES/INSTANCE.dcm --json`"
_LONGEST_VALUE: Final = 100
_ONE_LINE_PER_ENTRY: Final = ("OtherElements", "bulk_data", "invalid_elements")
_HARVEST_COLUMNS: Final = (
    "preamble",
    "header_bytes",
    "pixel_data_offset",
    "pixel_data_keyword",
    "encapsulated",
    "basic_offset_table",
    "extended_offset_table",
)


def command(
    url: ObjectArgument,
    *,
    as_json: JsonOption = False,
    endpoint: EndpointOption = None,
    credentials: CredentialsOption = "none",
) -> None:
    """Print the header of one DICOM object, read with as few bytes as possible.

    With --json: the row that `instances` would have.
    """
    ref = ObjectRef.parse(url)
    cost = RequestCost()
    fetched = anyio.run(partial(_fetch, ref, StoreSettings(credentials=credentials), endpoint, cost))
    columns = HeaderColumns()
    columns.append(fetched.header)
    row = _without_nulls(pa.table(columns.finish()).to_pylist()[0])
    if as_json:
        facts = {
            "instance_url": ref.url,
            "instance_size": fetched.size,
            "etag": fetched.etag,
            **{name: getattr(fetched.header, name) for name in _HARVEST_COLUMNS},
            "requests": cost.requests,
            "bytes_fetched": cost.bytes_fetched,
        }
        text = json.dumps({**row, **facts}, default=str, ensure_ascii=False, allow_nan=False)
        typer.echo(printable_json(text))
        return
    for line in _lines(row, 0):
        show(line)
    show(
        f"the header is {size(fetched.header.header_bytes)} of {size(fetched.size)}; read in "
        f"{count(cost.requests, 'request')} and {size(cost.bytes_fetched)}",
        err=True,
    )


async def _fetch(
    ref: ObjectRef, settings: StoreSettings, endpoint: str | None, cost: RequestCost
) -> FetchedHeader:
    async with open_store(settings, endpoint=endpoint) as store:
        return await HeaderFetcher(store).fetch([ref], cost)


def _without_nulls(value: Any) -> Any:
    """A row without the columns and fields that the object lacks; JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _lines(row: dict[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for keyword, value in row.items():
        if isinstance(value, list) and keyword in _ONE_LINE_PER_ENTRY:
            for entry in value:
                yield f"{indent}{keyword}  " + "  ".join(_shortened(inner) for inner in entry.values())
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield f"{indent}{keyword}[{index}]"
                yield from _lines(item, depth + 1)
        else:
            yield f"{indent}{keyword}: {_shortened(value)}"


def _shortened(value: Any) -> str:
    if isinstance(value, dict):
        return printable("=".join(str(group) for group in value.values()))
    text = printable(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
