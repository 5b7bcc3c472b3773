import base64
import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from harvester.dataset import Dataset
from harvester.errors import QueryError
from harvester.query import Result, open_dataset, run_query, write_result


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_dataset(Dataset.create(tmp_path / "ds").location) as opened:
        yield opened


def written(connection: duckdb.DuckDBPyConnection, sql: str, form: str) -> str:
    stream = io.StringIO()
    write_result(run_query(connection, sql), form, stream)
    return stream.getvalue()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", "60")
    return 60


def test_lines_have_whole_values(connection: duckdb.DuckDBPyConnection, narrow: int) -> None:
    url = f"s3://bucket/{'a' * 2 * narrow}/1.dcm"
    text = written(
        connection, f"SELECT '{url}' AS url, NULL AS n UNION ALL SELECT 'b', 2 ORDER BY n NULLS LAST", "line"
    )
    assert text == f"url = b\nn   = 2\n\nurl = {url}\nn   = NULL\n"


def test_json_is_one_object_a_line(connection: duckdb.DuckDBPyConnection) -> None:
    sql = """SELECT * FROM (VALUES
        (1, 'a"ü', DATE '2020-01-31', TIMESTAMP '2020-01-31 10:11:12.5', TIME '10:00', true,
         [{'a': [1.5, 'nan'::DOUBLE], 'b': NULL}], 'x'::BLOB, 1.25, 2::HUGEINT, 'infinity'::DOUBLE),
        (NULL, NULL, NULL, NULL, NULL, NULL, [], NULL, NULL, NULL, NULL)
        ) t(i, s, d, ts, t, b, q, bl, de, h, f)"""
    first, second = [json.loads(line) for line in written(connection, sql, "json").splitlines()]
    assert first == {
        "i": 1,
        "s": 'a"ü',
        "d": "2020-01-31",
        "ts": "2020-01-31T10:11:12.500000",
        "t": "10:00:00",
        "b": True,
        "q": [{"a": [1.5, None], "b": None}],
        "bl": base64.b64encode(b"x").decode(),
        "de": 1.25,
        "h": 2,
        "f": None,
    }
    assert second == {name: [] if name == "q" else None for name in first}


def test_json_keeps_columns_of_the_same_name_apart(connection: duckdb.DuckDBPyConnection) -> None:
    row = json.loads(written(connection, 'SELECT 1 AS x, 2 AS x, 3 AS "x_1"', "json"))
    assert sorted(row.values()) == [1, 2, 3]


def test_csv_has_a_header_and_nested_values_as_json(connection: duckdb.DuckDBPyConnection) -> None:
    sql = (
        "SELECT 1 AS a, 'x,\"y\nz' AS b, NULL AS c, [{'k': 1}] AS d, DATE '2020-01-31' AS e,"
        " 'nan'::DOUBLE AS f, true AS g"
    )
    header, row = csv.reader(io.StringIO(written(connection, sql, "csv")))
    assert header == list("abcdefg")
    assert row == ["1", 'x,"y\nz', "", '[{"k": 1}]', "2020-01-31", "NaN", "true"]


def test_csv_has_no_nul_character(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT 'a' || chr(0) || 'b' AS t, [chr(0)] AS l"
    assert written(connection, sql, "csv") == 't,l\na\\x00b,"[""\\u0000""]"\n'
    assert json.loads(written(connection, sql, "json"))["t"] == "a\0b"


def test_csv_without_rows_still_has_its_header(connection: duckdb.DuckDBPyConnection) -> None:
    assert written(connection, "SELECT 1 AS a WHERE false", "csv") == "a\n"


def test_parquet_comes_back(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sql = "SELECT x, [{'k': x::VARCHAR}] AS q, DATE '2020-01-31' AS d FROM range(5000) t(x)"
    with (tmp_path / "out.parquet").open("wb") as stream:
        write_result(run_query(connection, sql), "parquet", stream)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows == [{"x": x, "q": [{"k": str(x)}], "d": date(2020, 1, 31)} for x in range(5000)]


def test_parquet_without_rows_has_its_columns(connection: duckdb.DuckDBPyConnection) -> None:
    stream = io.BytesIO()
    write_result(run_query(connection, "SELECT 1 AS a, 2 AS a WHERE false"), "parquet", stream)
    assert pq.read_table(io.BytesIO(stream.getvalue())).column_names == ["a", "a_1"]


def test_parquet_goes_through_a_pipe(tmp_path: Path) -> None:
    location = Dataset.create(tmp_path / "ds").location
    program = (
        "import sys; from harvester.query import *; "
        "write_result(run_query(open_dataset(sys.argv[1]), 'FROM range(3)'), 'parquet', sys.stdout)"
    )
    answer = subprocess.run([sys.executable, "-c", program, location], stdout=subprocess.PIPE, check=True)
    assert pq.read_table(io.BytesIO(answer.stdout)).column(0).to_pylist() == [0, 1, 2]


# Each value, its text in CSV and in JSON, and its value in Parquet.
VALUES = {
    "'12345678901234567890123456789.123456789'::DECIMAL(38,9)": ("12345678901234567890123456789.123456789",),
    "'0.00000000000000000001'::DECIMAL(38,20)": ("0.00000000000000000001",),
    "(-1.50)::DECIMAL(4,2)": ("-1.50",),
    "170141183460469231731687303715884105727::HUGEINT": ("170141183460469231731687303715884105727",),
    "(-170141183460469231731687303715884105728)::HUGEINT": ("-170141183460469231731687303715884105728",),
    "18446744073709551615::UBIGINT": ("18446744073709551615",),
    "340282366920938463463374607431768211455::UHUGEINT": ('"340282366920938463463374607431768211455"',),
    "INTERVAL '14 months 3 days 01:02:03.000004'": ('"1 year 2 months 3 days 01:02:03.000004"',),
    "INTERVAL '-1 month'": ('"-1 month"',),
    "TIMETZ '10:00:00.5+02'": ('"10:00:00.5+02"',),
    "TIME '10:00:00.000001'": ('"10:00:00.000001"',),
    "TIMESTAMP_NS '2020-01-31 10:00:00.123456789'": ('"2020-01-31T10:00:00.123456789"',),
    "TIMESTAMP_S '2020-01-31 10:00:00'": ('"2020-01-31T10:00:00"',),
    "'\\x00\\xFFa'::BLOB": ('"AP9h"',),
    "'10101'::BIT": ('"10101"',),
    "'a'::ENUM('a', 'b')": ('"a"',),
    "[[1.25, NULL], [], NULL]::DECIMAL(9,2)[][]": ("[[1.25, null], [], null]",),
    "[1, 2]::BIGINT[2]": ("[1, 2]",),
    "{'h': 5::HUGEINT, 'i': [INTERVAL 1 DAY], 'n': NULL, 't': TIME '10:00', 'b': 'x\"'}": (
        '{"h": 5, "i": ["1 day"], "n": null, "t": "10:00:00", "b": "x\\""}',
    ),
    "0.1::FLOAT": ("0.1",),
    "1e15": ("1e+15",),
    "1234567890.0::DOUBLE": ("1234567890.0",),
    "-0.0::DOUBLE": ("-0.0",),
}


@pytest.mark.parametrize("sql", VALUES)
def test_a_value_keeps_every_digit_in_every_format(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    (text,) = VALUES[sql]
    query = f"SELECT 0 AS n, NULL AS v UNION ALL SELECT 1, {sql} UNION ALL SELECT 2, NULL ORDER BY n"
    null, one, other = written(connection, query, "json").splitlines()
    assert one == f'{{"n": 1, "v": {text}}}'
    assert (null, other) == ('{"n": 0, "v": null}', '{"n": 2, "v": null}')
    rows = list(csv.reader(io.StringIO(written(connection, query, "csv"))))
    assert rows == [["n", "v"], ["0", ""], ["1", text.removeprefix('"').removesuffix('"')], ["2", ""]]
    stream = io.BytesIO()
    write_result(run_query(connection, query), "parquet", stream)
    table = pq.read_table(io.BytesIO(stream.getvalue()))
    again = io.StringIO()
    write_result(Result(tuple(table.column_names), table.to_reader()), "json", again)
    assert again.getvalue().splitlines() == [null, one, other]


def test_a_time_with_a_zone_keeps_its_offset(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT TIMESTAMPTZ '2020-01-31 10:00:00.5+02' AS t, TIMESTAMPTZ '2020-07-31 10:00:00+02' AS u"
    row = json.loads(written(connection, sql, "json"))
    expected = [datetime(2020, 1, 31, 8, 0, 0, 500000, tzinfo=UTC), datetime(2020, 7, 31, 8, tzinfo=UTC)]
    assert [datetime.fromisoformat(row[name]) for name in "tu"] == expected
    cells = list(csv.reader(io.StringIO(written(connection, sql, "csv"))))[1]
    assert cells == [row["t"], row["u"]]


def test_numbers_are_written_as_python_reads_them(connection: duckdb.DuckDBPyConnection) -> None:
    sql = """SELECT x FROM (SELECT CAST(hash(n) AS DOUBLE) * pow(10, n % 50 - 35) AS x FROM range(3000) t(n)
                            UNION ALL SELECT pow(10, n) FROM range(-20, 25) t(n)
                            UNION ALL SELECT -n * 1.0 FROM range(100) t(n)) ORDER BY x"""
    expected = [x for batch in run_query(connection, sql).batches() for x in batch.column(0).to_pylist()]
    assert [json.loads(line)["x"] for line in written(connection, sql, "json").splitlines()] == expected
    texts = written(connection, sql, "csv").splitlines()[1:]
    assert list(map(float, texts)) == expected
    assert all("." in text or "e" in text for text in texts)


def test_texts_are_the_same_after_csv_and_json(connection: duckdb.DuckDBPyConnection) -> None:
    texts = ["", "a", ",", '"', 'x"y,\r\n', "\\", "\x1b[31m", "ä漢🙂", "\u202e", "\t", "'=1", None]
    values = ", ".join(
        "(NULL)" if one is None else f"('{one.replace(chr(39), 2 * chr(39))}')" for one in texts
    )
    sql = f"SELECT v, [v, v] AS w, {{'v': v}} AS x FROM (VALUES {values}) t(v)"
    rows = [json.loads(line) for line in written(connection, sql, "json").splitlines()]
    assert rows == [{"v": one, "w": [one, one], "x": {"v": one}} for one in texts]
    stream = io.StringIO(newline="")
    write_result(run_query(connection, sql), "csv", stream)
    cells = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))[1:]
    assert [row[0] for row in cells] == [one or "" for one in texts]
    assert [json.loads(row[1]) for row in cells] == [[one, one] for one in texts]
    assert [json.loads(row[2]) for row in cells] == [{"v": one} for one in texts]


def test_a_row_of_one_empty_value_is_no_empty_line(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT v FROM (VALUES (NULL), (''), ('a')) t(v)"
    assert written(connection, sql, "csv") == 'v\n""\n""\na\n'


def test_a_table_shows_names_and_values(connection: duckdb.DuckDBPyConnection) -> None:
    text = written(connection, "SELECT 'CT' AS Modality, 1234567 AS instances, NULL AS x", "table")
    assert [line.split() for line in text.splitlines() if "─" not in line] == [
        ["Modality", "instances", "x"],
        ["CT", "1234567", "NULL"],
        ["1", "row"],
    ]


@pytest.mark.parametrize("columns", [1, 3, 10, 700])
def test_a_table_fits_the_terminal(connection: duckdb.DuckDBPyConnection, narrow: int, columns: int) -> None:
    values = ", ".join(f"repeat('漢x', {n % 40}) AS column{n}" for n in range(columns))
    text = written(connection, f"SELECT {values} FROM range(3)", "table")
    lines = [line for line in text.splitlines() if line.startswith(("column", "─", "漢"))]
    assert lines
    assert max(cell_len(line.rstrip()) for line in lines) <= narrow
    assert ("have no room" in " ".join(text.split())) == (columns > 4)


def test_a_table_cuts_long_values(connection: duckdb.DuckDBPyConnection, narrow: int) -> None:
    text = written(connection, "SELECT 7 AS short, repeat('x', 1000000) AS long", "table")
    assert "xxx…" in text
    assert " 7 " in text.replace("\n", " \n")
    assert len(text) < 10 * narrow


@pytest.mark.parametrize(
    ("rows", "summary"),
    [
        (0, "0 rows"),
        (1, "1 row"),
        (50, "50 rows"),
        (51, "50 of 51 rows; 1 left out (--format csv has all)"),
        (3000, "50 of 3,000 rows; 2,950 left out (--format csv has all)"),
        (10_000_000, "50 rows; more than 100,000 left out (--format csv has all)"),
    ],
)
def test_a_table_says_how_many_rows_are_left_out(
    connection: duckdb.DuckDBPyConnection, rows: int, summary: str
) -> None:
    lines = written(connection, f"SELECT 'v' AS v FROM range({rows})", "table").splitlines()
    assert lines[-1] == summary
    assert sum(line.strip() == "v" for line in lines[1:]) == min(rows, 50)


def test_a_table_lets_no_value_act_on_the_terminal(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT chr(27) || ']0;title' || chr(7) || chr(10) || '[red]x' || chr(8238) AS \"na[b]me\""
    text = written(connection, sql, "table")
    assert "\\x1b]0;title\\x07\\n[red]x\\u202e" in text
    assert "na[b]me" in text
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_value_that_python_cannot_hold_is_a_query_error(
    connection: duckdb.DuckDBPyConnection, form: str
) -> None:
    with pytest.raises(QueryError, match=r"column d: .*CAST"):
        written(connection, "SELECT DATE '2020-01-01' + 10000000 AS d", form)


def test_an_unknown_format_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match="'xml' is none of table, line, csv, json, parquet"):
        written(connection, "SELECT 1", "xml")


def test_a_failure_on_the_way_reaches_every_format(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT CASE WHEN x = 90000 THEN error('late') ELSE x END AS x FROM range(100000) t(x)"
    streams: dict[str, Any] = {"table": io.StringIO(), "csv": io.StringIO(), "json": io.StringIO()}
    for form, stream in {**streams, "parquet": io.BytesIO()}.items():
        with pytest.raises(QueryError, match="late"):
            write_result(run_query(connection, sql), form, stream)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_are_written_while_others_are_still_computed(
    connection: duckdb.DuckDBPyConnection, form: str
) -> None:
    stream = io.StringIO()
    sql = "SELECT CASE WHEN x = 990000 THEN error('late') ELSE x END AS x FROM range(1000000) t(x)"
    with pytest.raises(QueryError, match="late"):
        write_result(run_query(connection, sql), form, stream)
    assert stream.getvalue().count("\n") > 10_000
