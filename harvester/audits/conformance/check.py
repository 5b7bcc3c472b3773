"""Checks the instances of a dataset, or rows of a table, against their IOD."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.conformance.checks import Check
from harvester.audits.conformance.plans import ClassPlan, ConformanceOptions, class_plans
from harvester.audits.conformance.results import FINDING_COLUMNS, ConformanceResult, Count
from harvester.audits.conformance.scan import ClassScan, findings, read
from harvester.audits.conformance.standard import edition
from harvester.catalog.database import in_memory
from harvester.dataset.output_file import replaced_file
from harvester.query import DatabaseOptions, open_dataset, run_query
from harvester.query.run import query_errors

_IDENTITY: Final = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "instance_url", "collection_id"),
    "pixel_data_keyword",
)
_GROUP_ROWS: Final = 262_144


def check_dataset(
    dataset: str,
    options: ConformanceOptions | None = None,
    output: Path | None = None,
    on_class: Callable[[str], None] = lambda _: None,
) -> ConformanceResult:
    """Check the instances of a dataset.

    Args:
        dataset: Its location.
        options: What is checked.
        output: A Parquet file for all findings (`FINDING_COLUMNS`).
        on_class: Called with each SOP class before it is checked.

    Raises:
        UserError: The dataset cannot be read, or a condition is not SQL.
    """
    options = options or ConformanceOptions()
    with closing(open_dataset(dataset, DatabaseOptions(options.memory, asked_often=True))) as connection:
        # Adds columns that no part has, and refuses a condition that is not SQL.
        run_query(connection, f"SELECT {', '.join(_IDENTITY)} FROM instances WHERE {options.where} LIMIT 0")
        with query_errors(connection):
            plans = class_plans(connection, options)
        result = _check(connection, plans, on_class)
        if output is not None:
            with (
                replaced_file(output, binary=True) as stream,
                pq.ParquetWriter(stream, FINDING_COLUMNS, compression="zstd") as writer,
            ):
                for plan in plans:
                    for batch in findings(connection, plan):
                        writer.write_batch(batch, row_group_size=_GROUP_ROWS)
    return result


def dataset_findings(dataset: str, options: ConformanceOptions, most: int) -> pa.Table:
    """The findings of a dataset, at most so many.

    Args:
        dataset: Its location.
        options: What is checked.
        most: How many.

    Returns:
        A table of `FINDING_COLUMNS`.

    Raises:
        UserError: The dataset cannot be read, or a condition is not SQL.
    """
    found = [FINDING_COLUMNS.empty_table()]
    rows = 0
    with closing(open_dataset(dataset, DatabaseOptions(options.memory, asked_often=True))) as connection:
        for plan in class_plans(connection, options):
            for batch in findings(connection, plan):
                found.append(pa.table(batch.slice(0, most - rows)))
                rows += found[-1].num_rows
                if rows == most:
                    return pa.concat_tables(found)
    return pa.concat_tables(found)


def check_table(
    row: pa.Table, options: ConformanceOptions | None = None
) -> tuple[ConformanceResult, pa.Table]:
    """Check rows of a table.

    Args:
        row: Rows with the columns of `instances`.
        options: What is checked.

    Returns:
        The result, and all findings.
    """
    options = options or ConformanceOptions()
    with in_memory(memory_limit=options.memory) as connection:
        for name in _IDENTITY:
            if name not in row.column_names:
                row = row.append_column(name, pa.nulls(row.num_rows, pa.string()))
        connection.register("instances", row)
        plans = class_plans(connection, options)
        result = _check(connection, plans, lambda _: None)
        tables = [pa.table(batch) for plan in plans for batch in findings(connection, plan)]
    return result, pa.concat_tables([FINDING_COLUMNS.empty_table(), *tables])


def _check(
    connection: duckdb.DuckDBPyConnection, plans: list[ClassPlan], on_class: Callable[[str], None]
) -> ConformanceResult:
    counts: list[Count] = []
    for plan in plans:
        on_class(plan.sop_class_uid)
        rows = [
            row
            for query in ClassScan(connection, plan, "collection_id").queries()
            for row in read(connection, query).read_all().to_pylist()
        ]
        rows.sort(key=lambda row: (row["collection_id"] or "", row["id"]))
        counts += [Count(plan.sop_class_uid, check=plan.checks[row.pop("id")], **row) for row in rows]
    return ConformanceResult(
        edition(),
        {plan.sop_class_uid: plan.instances for plan in plans},
        tuple(counts),
        {(plan.sop_class_uid, name): why for plan in plans for name, why in plan.unchecked.items()},
    )


def series_findings(
    connection: duckdb.DuckDBPyConnection, options: ConformanceOptions
) -> Iterator[pa.RecordBatch]:
    """Findings by series and check.

    Args:
        connection: From `open_dataset`.
        options: What is checked.

    Returns:
        Batches of `subject`, `SeriesInstanceUID`, `collection_id`, `Modality`, `instance_url`, `instances`
        and `problem`. An object without a series is a subject of its own.
    """
    keys = "subject, SeriesInstanceUID, collection_id, Modality"
    for plan in class_plans(connection, options):
        problems = pa.array([problem(check) for check in plan.checks], pa.string())
        for query in ClassScan(connection, plan, keys).queries():
            for batch in read(connection, query):
                columns = {
                    name: batch.column(name) for name in batch.schema.names if name not in ("id", "findings")
                }
                yield pa.RecordBatch.from_pydict({**columns, "problem": problems.take(batch.column("id"))})


def problem(check: Check) -> str:
    """A check as a short text."""
    of = f" (Type {check.type}, {check.module})" if check.type else ""
    return f"{check.kind.replace('_', ' ')}: {check.path or 'a value'}{of}"
