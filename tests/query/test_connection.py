from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from harvester.dataset import FRAME_COLUMNS, INSTANCE_COLUMNS, Dataset, Partition
from harvester.dataset.schema import failure_table
from harvester.errors import DatasetError, QueryError
from harvester.model import Failure
from harvester.query import open_dataset, run_query

TEXT, NUMBER = pa.string(), pa.float64()
CT = Partition("nlst", "CT")


def sequence(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(list(fields.items())))


def nested(depth: int) -> pa.DataType:
    kind = sequence(Value=TEXT)
    for _ in range(depth - 1):
        kind = sequence(Value=TEXT, Content=kind)
    return kind


def nested_value(depth: int) -> list[dict[str, Any]]:
    value: dict[str, Any] = {"Value": "leaf"}
    for level in range(depth - 1):
        value = {"Value": str(level), "Content": [value]}
    return [value]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "it's a [data] set" / "ds")


def add(
    dataset: Dataset,
    shard: str,
    rows: list[dict[str, Any]],
    schema: list[tuple[str, pa.DataType]],
    partition: Partition = CT,
) -> None:
    writer = dataset.shard_writer("crawl", shard)
    writer.write_instances(pa.Table.from_pylist(rows, schema=pa.schema(schema)), partition)
    writer.commit([shard], requests=1, bytes_fetched=1, seconds=1, versions={})


def ask(dataset: Dataset, sql: str) -> list[dict[str, Any]]:
    with open_dataset(dataset.location) as connection:
        return [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]


@pytest.fixture
def opened(dataset: Dataset) -> Iterator[duckdb.DuckDBPyConnection]:
    add(
        dataset,
        "s",
        [{"PatientID": "p", "SOPInstanceUID": "1.2"}],
        [("PatientID", TEXT), ("SOPInstanceUID", TEXT)],
    )
    with open_dataset(dataset.location) as connection:
        yield connection


def test_an_empty_dataset_has_the_fixed_columns(dataset: Dataset) -> None:
    marked = INSTANCE_COLUMNS.append(pa.field("superseded_in", pa.int64()))
    marked = marked.append(pa.field("superseded_at", pa.timestamp("us")))
    for kind, schema in (("instances", marked), ("frames", FRAME_COLUMNS)):
        with open_dataset(dataset.location) as connection:
            result = run_query(connection, f"SELECT * FROM {kind}")
            assert result.schema.names == schema.names
            assert [field.type for field in result.schema] == [field.type for field in schema]
            assert list(result.batches()) == []
    assert ask(
        dataset, "SELECT count(*) AS n FROM failures WHERE reason = 'x' AND collection_id IS NULL"
    ) == [{"n": 0}]


def test_a_missing_dataset_is_a_dataset_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset"):
        open_dataset(tmp_path / "none")


def test_only_committed_rows_count(dataset: Dataset) -> None:
    add(dataset, "done", [{"n": "1"}], [("n", TEXT)])
    dataset.shard_writer("crawl", "killed").write_instances(pa.table({"n": ["2"]}), Partition("nlst", "CT"))
    assert ask(dataset, "SELECT n FROM instances") == [{"n": "1"}]


def test_a_part_that_is_gone_is_named(dataset: Dataset) -> None:
    add(dataset, "s", [{"n": "1"}], [("n", TEXT)])
    (Path(dataset.location) / dataset.parts("instances")[0].path).unlink()
    with pytest.raises(DatasetError, match=r"crawl\.s\.0\.parquet: this part is missing"):
        open_dataset(dataset.location)


def test_partition_values_stay_text(dataset: Dataset) -> None:
    add(dataset, "a", [{"n": "1"}], [("n", TEXT)], Partition("0010", "2020-01-01"))
    add(dataset, "b", [{"n": "2"}], [("n", TEXT)], Partition(None, "a/b"))
    assert ask(dataset, "SELECT collection_id, Modality FROM instances ORDER BY n") == [
        {"collection_id": "0010", "Modality": "2020-01-01"},
        {"collection_id": None, "Modality": "a/b"},
    ]
    assert ask(dataset, "SELECT n FROM instances WHERE collection_id = '0010'") == [{"n": "1"}]


def test_frames_and_failures_are_there(dataset: Dataset) -> None:
    writer = dataset.shard_writer("crawl", "s")
    writer.write_frames(pa.table({"frame_offsets": [[1, 2]]}), Partition("nlst", "SM"))
    writer.write_failures([Failure("u", "truncated", "m")], harvester_version="1")
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    assert ask(dataset, "SELECT frame_offsets, Modality FROM frames") == [
        {"frame_offsets": [1, 2], "Modality": "SM"}
    ]
    assert ask(dataset, "SELECT instance_url, reason FROM failures") == [
        {"instance_url": "u", "reason": "truncated"}
    ]


def test_the_empty_failures_view_has_the_types_of_a_full_one(dataset: Dataset) -> None:
    types = "SELECT column_name, column_type FROM (DESCRIBE failures)"
    empty = ask(dataset, types)
    writer = dataset.shard_writer("crawl", "s")
    writer.write_failures([Failure("u", "truncated", "m")], harvester_version="1")
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    assert ask(dataset, types) == empty
    assert len(empty) == failure_table([], harvester_version="1", harvested_at=datetime.now(UTC)).num_columns


# Parts unite by name, at every depth.


def test_columns_unite_by_name_and_what_is_missing_is_null(dataset: Dataset) -> None:
    add(dataset, "a", [{"A": "1", "B": 1.0}], [("A", TEXT), ("B", NUMBER)])
    add(dataset, "b", [{"C": "2", "A": "3"}], [("C", TEXT), ("A", TEXT)])
    assert ask(dataset, "SELECT A, B, C FROM instances ORDER BY A") == [
        {"A": "1", "B": 1.0, "C": None},
        {"A": "3", "B": None, "C": "2"},
    ]


def test_sequences_unite_whatever_their_fields_and_order(dataset: Dataset) -> None:
    add(dataset, "a", [{"Q": [{"A": "x", "B": 1.0}]}, {"Q": []}], [("Q", sequence(A=TEXT, B=NUMBER))])
    add(dataset, "b", [{"Q": [{"C": ["c"], "B": 2.0}]}], [("Q", sequence(C=pa.list_(TEXT), B=NUMBER))])
    add(dataset, "c", [{"Q": [{"B": 3.0, "A": "y"}]}], [("Q", sequence(B=NUMBER, A=TEXT))])
    add(dataset, "d", [{"P": "no sequence"}], [("P", TEXT)])
    rows = ask(dataset, "SELECT Q FROM instances ORDER BY Q[1].B NULLS LAST, Q IS NULL")
    assert [row["Q"] for row in rows] == [
        [{"A": "x", "B": 1.0, "C": None}],
        [{"A": None, "B": 2.0, "C": ["c"]}],
        [{"A": "y", "B": 3.0, "C": None}],
        [],
        None,
    ]


def test_sequences_unite_three_levels_down(dataset: Dataset) -> None:
    deep = sequence(A=sequence(B=sequence(X=TEXT, Y=NUMBER)))
    other = sequence(A=sequence(B=sequence(Y=NUMBER, Z=pa.list_(NUMBER)), K=TEXT), W=TEXT)
    add(dataset, "a", [{"Q": [{"A": [{"B": [{"X": "1", "Y": 1.0}]}, {"B": []}]}]}], [("Q", deep)])
    add(dataset, "b", [{"Q": [{"A": [{"B": [{"Y": 2.0, "Z": [3.0]}], "K": "k"}], "W": "w"}]}], [("Q", other)])
    add(dataset, "c", [{"Q": [{"W": "flat"}]}], [("Q", sequence(W=TEXT))])
    rows = ask(dataset, "SELECT Q FROM instances ORDER BY Q[1].W NULLS FIRST")
    assert [row["Q"] for row in rows] == [
        [
            {
                "A": [{"B": [{"X": "1", "Y": 1.0, "Z": None}], "K": None}, {"B": [], "K": None}],
                "W": None,
            }
        ],
        [{"A": None, "W": "flat"}],
        [{"A": [{"B": [{"X": None, "Y": 2.0, "Z": [3.0]}], "K": "k"}], "W": "w"}],
    ]


def test_a_part_of_nulls_and_empty_sequences_unites_with_a_full_one(dataset: Dataset) -> None:
    full = [("Q", sequence(A=TEXT)), ("N", TEXT)]
    add(dataset, "a", [{"Q": [], "N": None}, {"Q": None, "N": None}], full)
    add(dataset, "b", [{"Q": [{"A": "x"}], "N": "n"}], full)
    add(dataset, "c", [{"N": None}], [("N", pa.null())])
    rows = ask(dataset, "SELECT Q, N FROM instances ORDER BY N NULLS LAST, Q IS NULL")
    assert [row["Q"] for row in rows] == [[{"A": "x"}], [], None, None]


def test_a_sequence_fourteen_levels_deep_is_read(dataset: Dataset) -> None:
    # DuckDB 1.5 takes twice as long for every level: 14 levels are instant, 24 take seconds.
    add(dataset, "s", [{"Content": nested_value(14)}], [("Content", nested(14))])
    assert ask(dataset, "SELECT Content FROM instances") == [{"Content": nested_value(14)}]


def test_a_sequence_thirty_two_levels_deep_does_not_hinder_other_columns(dataset: Dataset) -> None:
    add(
        dataset,
        "s",
        [{"Content": nested_value(32), "PatientID": "p"}],
        [("Content", nested(32)), ("PatientID", TEXT)],
    )
    add(
        dataset,
        "t",
        [{"Content": nested_value(2), "PatientID": "q"}],
        [("Content", nested(2)), ("PatientID", TEXT)],
    )
    assert ask(dataset, "SELECT PatientID FROM instances ORDER BY 1") == [
        {"PatientID": "p"},
        {"PatientID": "q"},
    ]


# What a query may not do.

REFUSED = [
    "COPY instances TO '{dataset}/x.csv'",
    "COPY (SELECT 1) TO '{outside}/x.csv'",
    "COPY (SELECT 1) TO '{part}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{part}'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{part}'",
    "explain /* */ analyze COPY (SELECT 1) TO '{part}'",
    "EXPORT DATABASE '{dataset}/x'",
    "ATTACH '{dataset}/x.db'",
    "ATTACH '{outside}/x.db'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW instances AS SELECT 1",
    "DROP VIEW instances",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA threads = 1",
    "SET threads = 1",
    "SET VARIABLE x = 1",
    "CALL enable_logging(storage = 'file', storage_path = '{dataset}/log')",
    "SELECT * FROM Enable_Logging(storage = 'file', storage_path = '{dataset}/log')",
    "SELECT * FROM enable_profiling(save_location = '{dataset}/log')",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW instances",
    "DROP VIEW instances; SELECT 1",
    "DROP VIEW instances; PIVOT instances ON Modality",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('{outside}/secret.txt')",
    "SELECT * FROM read_text('{dataset}/../secret.txt')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM '{outside}/secret.parquet'",
    "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM glob('{dataset}/../*')",
    "SELECT * FROM sniff_csv('{outside}/secret.txt')",
    "SELECT * FROM a_python_variable",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{outside}/secret.txt')",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_only_reads_and_only_the_dataset(
    opened: duckdb.DuckDBPyConnection, dataset: Dataset, tmp_path: Path, sql: str
) -> None:
    a_python_variable = pa.table({"x": [1]})
    assert a_python_variable.num_rows == 1
    (tmp_path / "secret.txt").write_text("secret")
    (Path(dataset.location).parent / "secret.txt").write_text("secret")
    part = f"{dataset.location}/{dataset.parts('instances')[0].path}"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    places = {"dataset": dataset.location, "outside": str(tmp_path), "part": part}
    text = sql.format(**{name: place.replace("'", "''") for name, place in places.items()})
    with pytest.raises(QueryError) as caught:
        list(run_query(opened, text).batches())
    assert "\n" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert [b.to_pylist() for b in run_query(opened, "SELECT PatientID FROM instances").batches()] == [
        [{"PatientID": "p"}]
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM instances;",
        "FROM instances",
        "WITH a AS (SELECT 1) TABLE a",
        "VALUES (1)",
        "DESCRIBE instances",
        "SHOW TABLES",
        "SUMMARIZE SELECT PatientID FROM instances",
        "EXPLAIN SELECT 1",
        "explain analyze select PatientID from instances",
        "PIVOT instances ON Modality USING count(*)",
        "-- a comment\nSELECT 1",
    ],
)
def test_whatever_asks_is_allowed(opened: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert sum(batch.num_rows for batch in run_query(opened, sql).batches()) > 0


@pytest.mark.parametrize("sql", ["", "  ;", "-- nothing"])
def test_an_empty_text_is_refused(opened: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        run_query(opened, sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT PatientIdd FROM instances", r"PatientIdd.*did you mean PatientID\?"),
        ("SELECT i.sopinstanceuuid FROM instances i", r"did you mean SOPInstanceUID"),
        ("SELECT PatientID FROM instances WHERE modalty = 'CT'", r"did you mean Modality\?"),
        ("SELECT zzzzzzzz FROM instances", r'"zzzzzzzz" not found in FROM clause!$'),
        ("SELECT * FROM instanzes", r'instanzes does not exist! Did you mean "instances"\?'),
        ("SELEC 1", r'syntax error at or near "SELEC"$'),
        ("SELECT 'a'::INT", r"Could not convert string 'a' to INT32$"),
    ],
)
def test_an_error_is_one_line_with_the_way_out(
    opened: duckdb.DuckDBPyConnection, sql: str, message: str
) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        run_query(opened, sql)
    assert "\n" not in str(caught.value)


def test_an_error_on_the_way_is_a_query_error(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT CASE WHEN x = 500000 THEN error('late') ELSE x END FROM range(1000000) t(x)"
    with pytest.raises(QueryError, match="late"):
        list(run_query(opened, sql).batches())


def test_a_query_leaves_nothing_in_the_working_directory(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(ask(dataset, "SELECT x FROM range(300000) t(x) ORDER BY hash(x)")) == 300_000
    assert list((tmp_path / "here").iterdir()) == []
