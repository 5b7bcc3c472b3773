"""Checks the instances of a dataset, or one object, against their IOD."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from duckdb.sqltypes import DuckDBPyType
from pydicom._uid_dict import UID_dictionary

from harvester.audits.conformance.checks import Check, ClassChecks, Fields, ItemChecks, Selection
from harvester.audits.conformance.standard import edition, iod, iod_name
from harvester.catalog.database import literal
from harvester.errors import QueryError
from harvester.messages import one_line
from harvester.query import DatabaseOptions, open_dataset, run_query

FINDING_COLUMNS: Final = pa.schema(
    [
        ("SOPInstanceUID", pa.string()),
        ("instance_url", pa.string()),
        ("SOPClassUID", pa.string()),
        ("path", pa.string()),
        ("keyword", pa.string()),
        ("kind", pa.string()),
        ("type", pa.string()),
        ("module", pa.string()),
        ("clause", pa.string()),
        ("severity", pa.string()),
    ]
)
"""One row per finding; docs/conformance.md describes the columns."""

_IDENTITY: Final = ("SOPClassUID", "SOPInstanceUID", "instance_url", "collection_id", "pixel_data_keyword")
_BATCH_ROWS: Final = 65_536
_GROUP_ROWS: Final = 262_144
_SUMMARY: Final = ("path", "kind", "type", "module", "clause", "severity")
_CONDITIONS: Final = 32


@dataclass(frozen=True, slots=True)
class ConformanceOptions:
    """What is checked.

    Attributes:
        sop_classes: UIDs of SOP classes; empty: all.
        selection: Which checks.
        private: Whether private SOP classes are reported as unknown.
        where: An SQL condition on `instances`.
        memory: Memory limit of the database.
    """

    sop_classes: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    private: bool = True
    where: str = "true"
    memory: str = "2GB"


@dataclass(frozen=True, slots=True)
class Count:
    """Findings of one check in one collection.

    Attributes:
        sop_class_uid: The SOP class.
        collection_id: The collection.
        check: The check.
        instances: Instances with such a finding.
        findings: All such findings.
        instance_url: One of the instances.
    """

    sop_class_uid: str
    collection_id: str | None
    check: Check
    instances: int
    findings: int
    instance_url: str | None


@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """The result of a check.

    Attributes:
        edition: The edition of PS3.3.
        instances: Checked instances by SOP class.
        counts: Findings by SOP class, collection and check.
        unchecked: What was not checked, by SOP class and attribute: `condition` (it has no written condition,
            or a header cannot decide it) or `presence` (the dataset does not record empty elements).
    """

    edition: str
    instances: Mapping[str, int]
    counts: tuple[Count, ...]
    unchecked: Mapping[tuple[str, str], str]

    def total(self, severity: str | None = None) -> int:
        """Count of findings, of one severity or of all."""
        return sum(one.findings for one in self.counts if severity in (None, one.check.severity))

    def summary(self) -> pa.Table:
        """The counts as a table: a row per SOP class, collection, attribute and kind."""
        rows = [
            {
                "SOPClassUID": one.sop_class_uid,
                "collection_id": one.collection_id,
                **{name: getattr(one.check, name) for name in _SUMMARY},
                "instances": one.instances,
                "findings": one.findings,
                "instance_url": one.instance_url,
            }
            for one in self.counts
        ]
        texts = [(name, pa.string()) for name in ("SOPClassUID", "collection_id", *_SUMMARY)]
        numbers = [("instances", pa.int64()), ("findings", pa.int64()), ("instance_url", pa.string())]
        return pa.Table.from_pylist(rows, schema=pa.schema([*texts, *numbers]))


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
        return _check(connection, options, output, on_class)


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
    with duckdb.connect(config={"memory_limit": options.memory}) as connection:
        for name in _IDENTITY:
            if name not in row.column_names:
                row = row.append_column(name, pa.nulls(row.num_rows, pa.string()))
        connection.register("instances", row)
        result = _check(connection, options, None, lambda _: None)
        tables = [pa.table(batch) for batch in _findings(connection, options, _plans(connection, options))]
    return result, pa.concat_tables([FINDING_COLUMNS.empty_table(), *tables])


@dataclass(frozen=True, slots=True)
class _Plan:
    """The queries of one SOP class.

    Attributes:
        sop_class_uid: The class.
        instances: How many there are.
        checks: All checks; findings have their numbers.
        top: The SQL list of the findings at the top level.
        items: The checks of the items of sequences.
        invalid: Checks of `invalid_elements`, by the SQL condition on an entry.
        unchecked: What is not checked, and why.
        columns: The columns of `instances`.
    """

    sop_class_uid: str
    instances: int
    checks: Sequence[Check]
    top: str
    items: Sequence[ItemChecks] = ()
    invalid: Mapping[str, int] = field(default_factory=dict)
    unchecked: Mapping[str, str] = field(default_factory=dict)
    columns: Fields = field(default_factory=dict)


def _check(
    connection: duckdb.DuckDBPyConnection,
    options: ConformanceOptions,
    output: Path | None,
    on_class: Callable[[str], None],
) -> ConformanceResult:
    plans = _plans(connection, options)
    counts: list[Count] = []
    for plan in plans:
        on_class(plan.sop_class_uid)
        counts += _counts(connection, options, plan)
    if output is not None:
        with pq.ParquetWriter(output, FINDING_COLUMNS, compression="zstd") as writer:
            for batch in _findings(connection, options, plans):
                writer.write_batch(batch, row_group_size=_GROUP_ROWS)
    return ConformanceResult(
        edition(),
        {plan.sop_class_uid: plan.instances for plan in plans},
        tuple(counts),
        {(plan.sop_class_uid, name): why for plan in plans for name, why in plan.unchecked.items()},
    )


def _plans(connection: duckdb.DuckDBPyConnection, options: ConformanceOptions) -> list[_Plan]:
    fields = _fields(connection)
    sql = f"""SELECT COALESCE(SOPClassUID, '') AS uid, count(*) AS n FROM instances
              WHERE {options.where} GROUP BY ALL ORDER BY n DESC, uid"""
    rows = _read(connection, sql).read_all().to_pylist()
    plans = []
    for row in rows:
        uid, count = row["uid"], row["n"]
        if options.sop_classes and uid not in options.sop_classes:
            continue
        name = iod_name(uid)
        if name is None:
            plans.append(_unknown(uid, count, options))
            continue
        checks = ClassChecks(iod(name), fields, options.selection)
        candidates = checks.extended()
        source = _class_source(options, uid)
        used = _any(connection, list(candidates.values()), source)
        top = checks.top(keyword for keyword, is_used in zip(candidates, used, strict=True) if is_used)
        items, invalid = checks.items(), checks.invalid()
        plans.append(_Plan(uid, count, checks.checks, top, items, invalid, checks.unchecked, fields))
    return plans


def _unknown(uid: str, count: int, options: ConformanceOptions) -> _Plan:
    """A SOP class that the tables do not have: retired, private, or not a SOP class."""
    known = UID_dictionary.get(uid)
    retired = known is not None and bool(known[3])
    severity = "info" if retired or not uid.startswith("1.2.840.10008.") else "error"
    check = Check("unknown_class", severity, "SOPClassUID", "SOPClassUID", "1", "sop-common", "PS3.4 B.5")
    wanted = options.selection.has(check) and (options.private or uid.startswith("1.2.840.10008.") or not uid)
    return _Plan(uid, count, [check], "[0]" if wanted else "CAST([] AS INTEGER[])")


def _fields(connection: duckdb.DuckDBPyConnection) -> Fields:
    relation = connection.sql("SELECT * FROM instances LIMIT 0")
    return {
        name: kind
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if isinstance(kind, DuckDBPyType)
    }


def _source(options: ConformanceOptions, plan: _Plan) -> str:
    """The instances of a class, with the paths of their binary and invalid elements."""
    lists = [
        f"[e.path FOR e IN {name}] AS {alias}"
        if name in plan.columns
        else f"CAST([] AS VARCHAR[]) AS {alias}"
        for name, alias in (("bulk_data", "bulk_paths"), ("invalid_elements", "invalid_paths"))
    ]
    return f"FROM (SELECT *, {', '.join(lists)} {_class_source(options, plan.sop_class_uid)}) WHERE true"


def _class_source(options: ConformanceOptions, uid: str) -> str:
    return f"FROM instances WHERE ({options.where}) AND COALESCE(SOPClassUID, '') = {literal(uid)}"


def _counts(
    connection: duckdb.DuckDBPyConnection, options: ConformanceOptions, plan: _Plan
) -> Iterator[Count]:
    for query in _grouped(connection, options, plan, "collection_id"):
        for row in _read(connection, query).read_all().to_pylist():
            check = plan.checks[row.pop("id")]
            yield Count(plan.sop_class_uid, check=check, **row)


def series_findings(
    connection: duckdb.DuckDBPyConnection, options: ConformanceOptions
) -> Iterator[pa.RecordBatch]:
    """Findings by series and check.

    Args:
        connection: From `open_dataset`.
        options: What is checked.

    Returns:
        Batches of `SeriesInstanceUID`, `collection_id`, `Modality`, `instance_url`, `instances`, `problem`.
    """
    for plan in _plans(connection, options):
        problems = pa.array([problem(check) for check in plan.checks], pa.string())
        for query in _grouped(connection, options, plan, "SeriesInstanceUID, collection_id, Modality"):
            for batch in _read(connection, query):
                columns = {
                    name: batch.column(name) for name in batch.schema.names if name not in ("id", "findings")
                }
                yield pa.RecordBatch.from_pydict({**columns, "problem": problems.take(batch.column("id"))})


def problem(check: Check) -> str:
    """A check as a short text."""
    of = f" (Type {check.type}, {check.module})" if check.type else ""
    return f"{check.kind.replace('_', ' ')}: {check.path or 'a value'}{of}"


def _grouped(
    connection: duckdb.DuckDBPyConnection, options: ConformanceOptions, plan: _Plan, keys: str
) -> Iterator[str]:
    """Queries of the findings by check and by some columns: `id`, `instances`, `findings`, `instance_url`."""
    source = _source(options, plan)
    total = "CAST(sum(n) AS BIGINT)"
    # Most instances have the same findings: they are grouped before their lists are unnested.
    yield f"""
        SELECT {keys}, id, {total} AS instances, {total} AS findings, min(instance_url) AS instance_url
        FROM (SELECT {keys}, unnest(found) AS id, n, instance_url
              FROM (SELECT {keys}, any_value(found) AS found, count(*) AS n, min(instance_url) AS instance_url
                    FROM (SELECT {keys}, instance_url, {plan.top} AS found {source})
                    WHERE len(found) > 0 GROUP BY {keys}, hash(found)))
        GROUP BY {keys}, id"""
    queries = [
        f"SELECT {keys}, instance_url, unnest(found) AS id "
        f"FROM ({items.unnested(source, f'{keys}, instance_url')}) WHERE len(found) > 0"
        for items in _flagged(connection, plan, source)
    ]
    if plan.invalid:
        queries.append(_invalid(plan, source, f"{keys}, instance_url"))
    for query in queries:
        yield f"""
            SELECT {keys}, id, count(DISTINCT instance_url) AS instances, count(*) AS findings,
                   min(instance_url) AS instance_url
            FROM ({query}) GROUP BY {keys}, id"""


def _any(connection: duckdb.DuckDBPyConnection, conditions: Sequence[str], source: str) -> list[bool]:
    """Whether any instance fulfils each of some conditions; a few at a time, to bound memory."""
    found: list[bool] = []
    for start in range(0, len(conditions), _CONDITIONS):
        some = conditions[start : start + _CONDITIONS]
        columns = ", ".join(f"bool_or({one}) AS c{number}" for number, one in enumerate(some))
        (row,) = _read(connection, f"SELECT {columns} {source}").read_all().to_pylist()
        found += map(bool, row.values())
    return found


def _flagged(connection: duckdb.DuckDBPyConnection, plan: _Plan, source: str) -> list[ItemChecks]:
    """The sequences that may have findings: few have, and only their items are unnested."""
    flags = _any(connection, [one.flag for one in plan.items], source)
    return [items for items, flag in zip(plan.items, flags, strict=True) if flag]


def _invalid(plan: _Plan, source: str, columns: str) -> str:
    cases = " ".join(f"WHEN {condition} THEN {number}" for condition, number in plan.invalid.items())
    return f"""
        SELECT {columns}, CASE {cases} END AS id, e.path AS path
        FROM (SELECT {columns}, unnest(invalid_elements) AS e {source} AND len(invalid_elements) > 0)
        WHERE CASE {cases} END IS NOT NULL"""


def _findings(
    connection: duckdb.DuckDBPyConnection, options: ConformanceOptions, plans: Sequence[_Plan]
) -> Iterator[pa.RecordBatch]:
    keep = "SOPInstanceUID, instance_url"
    for plan in plans:
        source = _source(options, plan)
        queries = [
            f"""SELECT {keep}, unnest(found) AS id, CAST(NULL AS VARCHAR) AS path
                FROM (SELECT {keep}, {plan.top} AS found {source}) WHERE len(found) > 0"""
        ]
        for items in _flagged(connection, plan, source):
            unnested = items.unnested(source, keep)
            queries.append(f"SELECT {keep}, unnest(found) AS id, path FROM ({unnested}) WHERE len(found) > 0")
        if plan.invalid:
            queries.append(_invalid(plan, source, keep))
        for query in queries:
            for batch in _read(connection, query):
                yield _batch(plan, batch)


def _batch(plan: _Plan, batch: pa.RecordBatch) -> pa.RecordBatch:
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


def _read(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    try:
        return connection.execute(sql).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise QueryError(f"conformance: {one_line(str(error))[:500]}") from error
