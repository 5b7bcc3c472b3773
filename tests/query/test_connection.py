from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import FRAME_COLUMNS, INSTANCE_COLUMNS, Dataset, Partition
from harvester.dataset.harvest_columns import failure_table
from harvester.errors import DatasetError, QueryError
from harvester.model import Failure
from harvester.query import DatabaseOptions, open_dataset, run_query

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
    writer = dataset.shard_writer(hex_name("crawl"), hex_name(shard))
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
    dataset.shard_writer(hex_name("crawl"), hex_name("killed")).write_instances(
        pa.table({"n": ["2"]}), Partition("nlst", "CT")
    )
    assert ask(dataset, "SELECT n FROM instances") == [{"n": "1"}]


def test_a_part_that_is_gone_is_named(dataset: Dataset) -> None:
    add(dataset, "s", [{"n": "1"}], [("n", TEXT)])
    (Path(dataset.location) / dataset.parts("instances")[0].path).unlink()
    with pytest.raises(DatasetError, match=r"\.parquet: this part is missing"):
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
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
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
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
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
    "FROM '{outside}/secret.csv'",
    "DESCRIBE '{outside}/secret.csv'",
    "SUMMARIZE '{outside}/secret.csv'",
    "SELECT * FROM query_table('{outside}/secret.csv')",
    "SELECT * FROM query('FROM ''{outside}/secret.csv''')",
    "SELECT * FROM parquet_schema('{outside}/secret.parquet')",
    "SELECT * FROM parquet_metadata('{outside}/secret.parquet')",
    "SELECT * FROM read_json('{outside}/secret.json')",
    "SELECT * FROM read_blob('file://{outside}/secret.txt')",
    "SELECT * FROM read_text('~/.bashrc')",
    "SELECT * FROM read_text('/dev/stdin')",
    "SELECT * FROM read_text('{dataset}/_harvest/dataset.json')",
    "SELECT * FROM read_text('{dataset}/link/secret.txt')",
    "SELECT * FROM read_parquet('{dataset}/instances/**/*.parquet')",
    "SELECT * FROM glob('{dataset}/**')",
    "SELECT * FROM read_csv('hf://datasets/x/y.csv')",
    "SELECT * FROM read_duckdb('{outside}/x.db', table_name = 'x')",
    "SELECT * FROM sqlite_scan('{outside}/x.db', 'x')",
    "SELECT * FROM read_xlsx('{outside}/x.xlsx')",
    "SELECT * FROM load_aws_credentials()",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT getenv('HOME')",
    # DuckDB 2 has these; those before refuse to parse them.
    "WITH x AS (COPY (SELECT 1) TO '{part}') FROM x",
    "WITH x AS MATERIALIZED (/* */ COPY harvest.instances TO '{part}') FROM x",
    "WITH x AS (WITH y AS (SELECT 1) INSERT INTO harvest.instances SELECT * FROM harvest.instances) FROM x",
    "WITH x AS (DELETE FROM harvest.instances RETURNING 1) FROM x",
    "WITH x AS (UPDATE harvest.instances SET PatientID = 'q' RETURNING 1) FROM x",
    "WITH x AS (TRUNCATE harvest.instances) FROM x",
    "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{part}') FROM x",
    "COPY (PIVOT instances ON Modality USING count(*)) TO '{part}'",
    "CREATE TEMP TABLE q AS PIVOT instances ON Modality USING count(*)",
    "WITH x AS (PIVOT instances ON Modality USING count(*)), y AS (COPY (SELECT 1) TO '{part}') FROM x",
    # DuckDB 1.4 answers with no row: there is no secret.
    "SELECT CASE WHEN count(*) = 0 THEN error('none') END FROM duckdb_secrets()",
    "SELECT CASE WHEN count(*) = 0 THEN error('none') END FROM which_secret('s3://bucket/x', 's3')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "IMPORT DATABASE '{outside}'",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1/'",
    "UPDATE EXTENSIONS",
    "SET GLOBAL temp_directory = '{outside}'",
    "SET memory_limit = '1TB'",
    "RESET enable_external_access",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{dataset}/x.json'",
    "PRAGMA add_parquet_key('k', '0123456789112345')",
    "PRAGMA copy_database('memory', 'x')",
    "CALL pragma_version()",
    "USE memory.harvest",
    "DETACH memory",
    "BEGIN",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "COPY harvest.instances FROM '{outside}/secret.csv'",
    "INSERT INTO harvest.instances SELECT * FROM harvest.instances",
    "WITH x AS (INSERT INTO harvest.instances SELECT * FROM harvest.instances RETURNING 1) FROM x",
    "DELETE FROM harvest.instances",
    "CREATE MACRO f() AS 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "EXPLAIN (FORMAT json, ANALYZE) COPY (SELECT 1) TO '{part}'",
    "EXPLAIN ANALYZE VERBOSE COPY (SELECT 1) TO '{part}'",
    # What is called by a text within the text, or by another spelling of its name.
    "SELECT * FROM query('SELECT * FROM ena' || 'ble_logging(storage = ''file'', storage_path = ''x'')')",
    "SELECT * FROM \"Query\" /* */ ('SELECT 1')",
    "FROM system.main.query('SELECT 1')",
    "PRAGMA json_execute_serialized_sql('{{}}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM ena' || 'ble_logging()'))",
    "SELECT * FROM \"enable_logging\"(storage = 'stdout')",
    "SELECT * FROM truncate_duckdb_logs()",
    "EXPLAIN SELECT * FROM enable_logging()",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{outside}/secret.txt')",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_only_reads_and_only_the_dataset(
    opened: duckdb.DuckDBPyConnection, dataset: Dataset, tmp_path: Path, sql: str
) -> None:
    a_python_variable = pa.table({"x": [1]})
    assert a_python_variable.num_rows == 1
    for kind in ("txt", "csv", "json"):
        (tmp_path / f"secret.{kind}").write_text("1")
    (Path(dataset.location) / "link").symlink_to(tmp_path)
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
        "EXPLAIN (ANALYZE, FORMAT json) SELECT SegmentSequence[1].SegmentLabel FROM instances",
        "explain /* */ analyze select query from (select 1 as query)",
        "SELECT 'enable_logging()' AS \"query\"",
        "PIVOT instances ON Modality USING count(*)",
        "SELECT upper(replace(PatientID, 'p', 'q')) FROM instances",
        'SELECT ("delete" + 1) FROM (SELECT 1 AS "delete")',
        'SELECT count("copy") FROM (SELECT 1 AS "copy")',
        "-- a comment\nSELECT 1",
    ],
)
def test_whatever_asks_is_allowed(
    opened: duckdb.DuckDBPyConnection, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert sum(batch.num_rows for batch in run_query(opened, sql).batches()) > 0
    assert not caplog.records


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
        ("SELECT zzzzzzzz FROM instances", r'"zzzzzzzz" not found in FROM clause$'),
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


def test_an_error_on_the_way_is_a_query_error(dataset: Dataset) -> None:
    sql = "SELECT CASE WHEN x = 500000 THEN error('late') ELSE x END FROM range(1000000) t(x)"
    # Of several threads one may be interrupted before the error of another is kept.
    with open_dataset(dataset.location, DatabaseOptions(threads=1)) as connection:
        batches = run_query(connection, sql).batches()
        with pytest.raises(QueryError, match="late"):
            list(batches)


def test_a_query_that_is_interrupted_says_what_else_that_may_mean(opened: duckdb.DuckDBPyConnection) -> None:
    batches = run_query(opened, "SELECT x FROM range(1000000000) t(x)").batches()
    next(batches)
    opened.interrupt()
    with pytest.raises(QueryError, match=r"^INTERRUPT Error: .* Unless you stopped .*: run it"):
        list(batches)


def test_a_query_leaves_nothing_in_the_working_directory(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(ask(dataset, "SELECT x FROM range(300000) t(x) ORDER BY hash(x)")) == 300_000
    assert list((tmp_path / "here").iterdir()) == []


BIG_SORT = "SELECT x || repeat('a', 200) AS text FROM range(400000) t(x) ORDER BY hash(x)"


def test_what_outgrows_memory_goes_to_the_disk_and_is_gone_with_the_connection(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_dataset(dataset.location, DatabaseOptions(memory="60MB", threads=1)) as connection:
        result = run_query(connection, BIG_SORT)
        spilled = list(tmp_path.glob("harvester-query-*/*"))
        assert sum(batch.num_rows for batch in result.batches()) == 400_000
    assert spilled
    assert list(tmp_path.glob("harvester-query-*")) == []


def test_a_query_takes_no_more_than_half_of_the_room_on_the_disk(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=4_000_000))
    with (
        open_dataset(dataset.location, DatabaseOptions(memory="40MB", threads=1)) as connection,
        pytest.raises(QueryError, match="max_temp_directory_size") as caught,
    ):
        list(run_query(connection, BIG_SORT).batches())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["{dataset}/x.csv", "{dataset}/instances/x.parquet", "{outside}/x.csv"])
def test_a_connection_alone_makes_no_file(
    opened: duckdb.DuckDBPyConnection, dataset: Dataset, tmp_path: Path, target: str
) -> None:
    file = target.format(dataset=dataset.location, outside=tmp_path)
    with pytest.raises(duckdb.PermissionException):
        opened.execute("COPY (SELECT 1) TO '{}'".format(file.replace("'", "''")))
    assert not Path(file).exists()
