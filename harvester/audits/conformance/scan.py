"""Finds the findings of a SOP class: one pass over its instances, and one for each suspected sequence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from harvester.audits.conformance.checks import Case, numbers
from harvester.audits.conformance.class_checks import ItemChecks
from harvester.audits.conformance.plans import ClassPlan
from harvester.audits.conformance.results import FINDING_COLUMNS
from harvester.catalog.database import arrow_reader
from harvester.errors import QueryError
from harvester.messages import one_line

_BATCH_ROWS: Final = 65_536
_BITS: Final = 62
_SEQUENCES: Final = 10
_PATHS: Final = ("empty_elements", "bulk_paths", "invalid_paths")


class ClassScan:
    """One pass over the instances of a SOP class.

    Instances of the same keys with the same flags and the same lists of paths are one row of a temporary
    table: what is dear is evaluated once for all of them.

    Args:
        connection: The open dataset.
        plan: What is checked.
        keys: The columns by which findings are grouped.

    Attributes:
        source: `FROM ... WHERE ...` of the instances.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, plan: ClassPlan, keys: str) -> None:
        self._connection = connection
        self._plan = plan
        self._keys = keys
        self.source = plan.source
        if plan.is_small:
            execute(connection, f"CREATE OR REPLACE TEMP TABLE checked AS SELECT * {plan.source}")
            self.source = "FROM checked WHERE true"
        flags = [case.flag for case in plan.top]
        flags.append("len(invalid_paths) > 0" if plan.invalid else "false")
        flags += [one.flag for one in plan.items[:_SEQUENCES]]
        columns = _bit_columns(flags)
        names = ", ".join(columns)
        bits = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        paths = ", ".join(f"{_top_paths(name)} AS {name}" for name in _PATHS)
        grouped = ", ".join(f"any_value({name}) AS {name}" for name in _PATHS)
        inner = f"SELECT {keys}, instance_url, {bits}, {paths} {self.source}"
        execute(
            connection,
            f"""CREATE OR REPLACE TEMP TABLE scanned AS
                SELECT {keys}, {names}, {grouped}, count(*) AS n, min(instance_url) AS instance_url
                FROM ({inner}) GROUP BY {keys}, {names}, hash({", ".join(_PATHS)})""",
        )
        self._flagged = self._which(flags, columns, "FROM scanned")
        # Many nested columns at once would outgrow the memory limit: others have queries of their own.
        for start in range(_SEQUENCES, len(plan.items), _SEQUENCES):
            some = [one.flag for one in plan.items[start : start + _SEQUENCES]]
            parts = _bit_columns(some)
            inner = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in parts.items())} {self.source}"
            found = self._which(some, parts, f"FROM ({inner})")
            self._flagged |= {len(flags) + start - _SEQUENCES + number: "true" for number in found}

    def _which(self, flags: Sequence[str], columns: Mapping[str, str], source: str) -> dict[int, str]:
        """The flags that any row has, by number, each with the SQL condition on the column of its bit."""
        ors = ", ".join(f"bit_or({name})" for name in columns)
        (row,) = execute(self._connection, f"SELECT {ors} {source}").fetchall()
        names = list(columns)
        return {
            number: f"{names[number // _BITS]} & {1 << number % _BITS} <> 0"
            for number in range(len(flags))
            if (row[number // _BITS] or 0) >> number % _BITS & 1
        }

    @property
    def suspected(self) -> list[ItemChecks]:
        """The sequences that may have findings."""
        start = len(self._plan.top) + 1
        return [one for number, one in enumerate(self._plan.items, start) if number in self._flagged]

    @property
    def top(self) -> list[Case]:
        """The cases of the top level that may have findings."""
        return [case for number, case in enumerate(self._plan.top) if number in self._flagged]

    @property
    def has_invalid(self) -> bool:
        """Whether any value did not fit its column."""
        return len(self._plan.top) in self._flagged

    def queries(self) -> Iterator[str]:
        """Queries of the findings by keys and check: `id`, `instances`, `findings`, `instance_url`."""
        keys, plan = self._keys, self._plan
        cases = [
            Case(case.number, self._flagged[number], case.confirm)
            for number, case in enumerate(plan.top)
            if number in self._flagged
        ]
        total = "CAST(sum(n) AS BIGINT)"
        if cases:
            yield f"""
                SELECT {keys}, id, {total} AS instances, {total} AS findings,
                       min(instance_url) AS instance_url
                FROM (SELECT {keys}, unnest({numbers(cases)}) AS id, n, instance_url FROM scanned)
                GROUP BY {keys}, id"""
        columns = f"{keys}, instance_url"
        details = [
            f"SELECT {columns}, unnest(found) AS id FROM ({one.unnested(self.source, columns)})"
            for one in self.suspected
        ]
        if self.has_invalid:
            details.append(_invalid(plan, self.source, columns))
        for detail in details:
            yield f"""
                SELECT {keys}, id, count(*) AS instances, CAST(sum(n) AS BIGINT) AS findings,
                       min(instance_url) AS instance_url
                FROM (SELECT {columns}, id, count(*) AS n FROM ({detail}) GROUP BY {columns}, id)
                GROUP BY {keys}, id"""


def _bit_columns(flags: Sequence[str]) -> dict[str, str]:
    """Conditions as bits of a few integers, by the name of the column."""
    columns = {}
    for start in range(0, len(flags), _BITS):
        some = flags[start : start + _BITS]
        bits = [f"CASE WHEN {flag} THEN {1 << bit}::BIGINT ELSE 0 END" for bit, flag in enumerate(some)]
        columns[f"bits{start // _BITS}"] = " | ".join(bits)
    return columns or {"bits0": "0::BIGINT"}


def _top_paths(column: str) -> str:
    """The paths that the checks of the top level read: also of functional groups outside of their column."""
    kept = "NOT contains(p, '[')"
    if column != "empty_elements":
        kept += " OR ends_with(p, 'Sequence')"
    return f"[p FOR p IN {column} IF {kept}]"


def _invalid(plan: ClassPlan, source: str, columns: str) -> str:
    cases = " ".join(f"WHEN {condition} THEN {number}" for condition, number in plan.invalid.items())
    return f"""
        SELECT {columns}, CASE {cases} END AS id, e.path AS path
        FROM (SELECT {columns}, unnest(invalid_elements) AS e {source} AND len(invalid_elements) > 0)
        WHERE CASE {cases} END IS NOT NULL"""


def findings(connection: duckdb.DuckDBPyConnection, plan: ClassPlan) -> Iterator[pa.RecordBatch]:
    """All findings of a SOP class, one row each, in `FINDING_COLUMNS`."""
    keep = "SOPInstanceUID, instance_url"
    scan = ClassScan(connection, plan, "collection_id")
    queries = []
    if scan.top:
        queries.append(
            f"SELECT {keep}, unnest({numbers(scan.top)}) AS id, CAST(NULL AS VARCHAR) AS path {scan.source}"
        )
    queries += [
        f"SELECT {keep}, unnest(found) AS id, path FROM ({one.unnested(scan.source, keep)})"
        for one in scan.suspected
    ]
    if scan.has_invalid:
        queries.append(_invalid(plan, scan.source, keep))
    for query in queries:
        for batch in read(connection, query):
            yield _batch(plan, batch)


def _batch(plan: ClassPlan, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `FINDING_COLUMNS` of the numbers of checks, and of the paths of the items."""
    ids = batch.column("id")

    def of_check(name: str) -> pa.Array:
        return pa.array([getattr(check, name) for check in plan.checks], pa.string()).take(ids)

    keywords, paths = of_check("keyword"), batch.column("path")
    in_item = pc.binary_join_element_wise(paths, keywords, ".")
    path = pc.if_else(pc.equal(keywords, ""), paths, pc.coalesce(in_item, of_check("path")))
    named = pc.replace_substring_regex(path, r"^.*\.", "")
    arrays = {
        "SOPInstanceUID": batch.column("SOPInstanceUID"),
        "instance_url": batch.column("instance_url"),
        "SOPClassUID": pa.repeat(pa.scalar(plan.sop_class_uid), batch.num_rows),
        "path": path,
        "keyword": pc.if_else(pc.equal(keywords, ""), named, keywords),
        **{name: of_check(name) for name in ("kind", "type", "module", "clause", "severity")},
    }
    return pa.RecordBatch.from_arrays(
        [arrays[name] for name in FINDING_COLUMNS.names], schema=FINDING_COLUMNS
    )


def execute(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Run a query.

    Raises:
        QueryError: DuckDB refuses it.
    """
    try:
        return connection.execute(sql)
    except duckdb.Error as error:
        raise QueryError(f"conformance: {one_line(str(error))[:500]}") from error


def read(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    """Run a query; its rows in batches.

    Raises:
        QueryError: DuckDB refuses it.
    """
    try:
        return arrow_reader(connection.sql(sql), _BATCH_ROWS)
    except duckdb.Error as error:
        raise QueryError(f"conformance: {one_line(str(error))[:500]}") from error
