"""A query's result on a terminal or in a file: table, lines, CSV, JSON lines or Parquet."""

import io
import math
from collections.abc import Iterator
from datetime import date, time
from typing import IO, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.dataset.parquet_writer import row_groups
from harvester.errors import QueryError
from harvester.messages import UNLIMITED, printable
from harvester.query.column_names import distinct_names, naming_column
from harvester.query.json_value import json_scalar, json_value
from harvester.query.run import Result

Format = Literal["table", "line", "csv", "json", "parquet"]

FORMATS: tuple[Format, ...] = get_args(Format)

# A table is for looking at: more rows are counted, and past the second number only said to be more.
MAXIMUM_TABLE_ROWS = 50
MAXIMUM_COUNTED_ROWS = 100_000

_MAXIMUM_CELL = 60
_MAXIMUM_WIDE_CELL = 200  # in a file or a pipe: a UID or a URL is whole, a sequence is not
_MINIMUM_CELL = 10
_COLUMN_MARGIN = 3
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)  # sums are decimals


def write_result(
    result: Result, form: str, stream: IO[Any], *, csv_safe: bool = False, width: int | None = None
) -> None:
    """Write a query's result.

    Args:
        result: From `run_query`; it is read to its end (a table: up to 100,000 rows).
        form: `table` fits the terminal, shortens values and says what is left out; `line` has one whole
            value a line; `csv` has a
            header line and nested values as JSON; `json` is one object a line; `parquet` is a file.
        stream: A text stream; for `parquet` a binary one, or a text stream with a `buffer`.
        csv_safe: In CSV, put an apostrophe before texts that a spreadsheet takes for a formula.
        width: The width of a table; None: the terminal's.

    Raises:
        QueryError: The query fails on the way, or a value has no place in the format.
    """
    if form == "table":
        _write_table(result, Console(file=stream, highlight=False, width=width))
    elif form == "line":
        _write_lines(result, stream)
    elif form == "csv":
        from harvester.query.text_formats import write_csv  # noqa: PLC0415  loads Arrow's functions

        write_csv(result, stream, safe=csv_safe)
    elif form == "json":
        from harvester.query.text_formats import write_json  # noqa: PLC0415  loads Arrow's functions

        write_json(result, stream)
    elif form == "parquet":
        _write_parquet(result, getattr(stream, "buffer", stream))
    else:
        raise QueryError(f"format {form!r} is none of {', '.join(FORMATS)}")


def _rows(result: Result) -> Iterator[tuple[Any, ...]]:
    for batch in result.batches():
        columns = [_values(name, column) for name, column in zip(result.columns, batch.columns, strict=True)]
        yield from zip(*columns, strict=True)


def _values(name: str, column: pa.Array) -> list[Any]:
    with naming_column(name):
        values: list[Any] = column.to_pylist()
    return values


def _write_lines(result: Result, stream: IO[str]) -> None:
    width = max(map(cell_len, result.columns), default=0)
    for number, row in enumerate(_rows(result)):
        stream.write("\n" if number else "")
        for name, value in zip(result.columns, row, strict=True):
            text = "NULL" if value is None else _text(value)
            stream.write(f"{printable(name)}{' ' * (width - cell_len(name))} = {printable(text)}\n")


def _write_parquet(result: Result, stream: IO[bytes]) -> None:
    # Parquet knows columns by name only, and DuckDB refuses a file with the same name twice.
    schema = pa.schema(
        [
            field.with_name(name)
            for field, name in zip(result.schema, distinct_names(result.columns), strict=True)
        ]
    )
    try:
        with pq.ParquetWriter(_Counted(stream), schema, compression="zstd") as writer:
            for batch in result.batches():
                table = pa.Table.from_arrays(batch.columns, schema=schema)
                for group in row_groups(table):
                    writer.write_table(group)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise QueryError(f"Parquet cannot hold the result: {error}; CAST that column to VARCHAR") from error


class _Counted(io.RawIOBase):
    """A stream that knows its position, as Parquet needs it, even where it is a pipe."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._stream.flush()


def _text(value: Any) -> str:
    """Write one value for a person or a CSV file: NULL is nothing, nested values are JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, (date, time, bytes)):
        return json_scalar(value)
    return json_value(value)


def _write_table(result: Result, console: Console) -> None:
    longest = _MAXIMUM_CELL if console.width < UNLIMITED else _MAXIMUM_WIDE_CELL
    shown: list[list[str]] = []
    left_out = 0
    for batch in result.batches():
        wanted = batch.slice(0, max(0, MAXIMUM_TABLE_ROWS - len(shown)))
        columns = [
            [_cell(value, longest) for value in _values(name, column)]
            for name, column in zip(result.columns, wanted.columns, strict=True)
        ]
        shown.extend(list(row) for row in zip(*columns, strict=True))
        left_out += batch.num_rows - wanted.num_rows
        if left_out > MAXIMUM_COUNTED_ROWS:
            break
    widths = _fit([_cell(name) for name in result.columns], shown, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, field, width in zip(result.columns, result.schema, widths, strict=False):
        numeric = any(is_kind(field.type) for is_kind in _NUMERIC)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(_cell(name)), justify=justify, width=width, no_wrap=True, overflow="ellipsis")
    for row in shown:
        table.add_row(*(Text(cell) for cell in row[: len(widths)]))
    console.print(table)
    console.print(Text(_summary(len(shown), left_out, len(result.columns) - len(widths))))


def _fit(names: list[str], rows: list[list[str]], width: int) -> list[int]:
    """Give each column its width; columns at the end that have no room get none."""
    natural = [
        max([cell_len(name), *(cell_len(row[place]) for row in rows), 1]) for place, name in enumerate(names)
    ]
    widths: list[int] = []
    room = width
    for wanted in natural:
        least = min(wanted, _MINIMUM_CELL) + _COLUMN_MARGIN
        if widths and least > room:
            break
        widths.append(min(wanted, _MINIMUM_CELL))
        room -= least
    # What is left goes to the narrowest first, so that short values are never cut for a long one.
    while room > 0 and (short := [n for n in range(len(widths)) if widths[n] < natural[n]]):
        narrowest = min(short, key=lambda place: widths[place])
        widths[narrowest] += 1
        room -= 1
    return widths


def _cell(value: Any, longest: int = _MAXIMUM_CELL) -> str:
    """Write one value in one line that a terminal takes for nothing but text, and shorten it."""
    text = "NULL" if value is None else _text(value)
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return printable(text)


def _summary(rows: int, left_out: int, columns_left_out: int) -> str:
    if not left_out:
        text = f"{rows:,} row{'' if rows == 1 else 's'}"
    elif left_out <= MAXIMUM_COUNTED_ROWS:
        text = f"{rows:,} of {rows + left_out:,} rows; {left_out:,} left out (--format csv has all)"
    else:
        text = f"{rows:,} rows; more than {MAXIMUM_COUNTED_ROWS:,} left out (--format csv has all)"
    if columns_left_out:
        text += f"; {columns_left_out:,} columns have no room (name fewer, or take --format line)"
    return text
