"""A query's result as CSV and as JSON lines, column by column."""

import csv
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from harvester.messages import printable
from harvester.query.cell_text import csv_texts, json_texts, lines, scalar
from harvester.query.column_names import distinct_names, naming_column
from harvester.query.json_value import json_value
from harvester.query.run import Result


def write_csv(result: Result, stream: IO[str], *, safe: bool) -> None:
    """Write a header line and the rows; with `safe`, texts are no formulas of a spreadsheet."""
    on_terminal = stream.isatty()
    header = [printable(name) if on_terminal else name for name in result.columns]
    csv.writer(stream, lineterminator="\n").writerow(header)
    # An empty line would be no row.
    nothing = '""' if len(header) == 1 else ""
    for batch in result.batches():
        parts: list[pa.Array | str] = []
        for name, column in zip(result.columns, batch.columns, strict=True):
            with naming_column(name):
                texts = csv_texts(column, safe=safe, on_terminal=on_terminal).fill_null(scalar(nothing))
            empty = pc.equal(texts, scalar("")) if nothing else None
            parts += [",", texts if empty is None else pc.if_else(empty, scalar(nothing), texts)]
        stream.write(lines(parts[1:]))


def write_json(result: Result, stream: IO[str]) -> None:
    """Write each row as one object."""
    names = distinct_names(result.columns)
    for batch in result.batches():
        parts: list[pa.Array | str] = []
        for name, column in zip(names, batch.columns, strict=True):
            with naming_column(name):
                parts += [", " if parts else "{", f"{json_value(name)}: ", json_texts(column)]
        stream.write(lines([*parts, "}"]))
