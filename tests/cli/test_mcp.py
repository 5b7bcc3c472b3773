"""`harvester mcp`, asked by the client of the protocol's own SDK over stdin and stdout of one process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from anyio.from_thread import start_blocking_portal
from harvester_program import COMMAND, ended, start
from hex_names import hex_name
from mcp import Client, StdioServerParameters

from harvester.dataset import Dataset, Partition
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.query.attribute_units import UNITS

SLICES = 3000
SECONDS = 5


def make_dataset(folder: Path) -> Path:
    dataset = Dataset.create(folder)
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    numbers = range(SLICES)
    table = pa.table(
        {
            "SOPInstanceUID": [f"1.2.{number}" for number in numbers],
            "SeriesInstanceUID": [f"1.{number % 3}" for number in numbers],
            "StudyInstanceUID": ["1"] * SLICES,
            "PatientID": ["P\x1b[31m"] * SLICES,
            "SliceThickness": [(1.25, 2.5, None)[number % 3] for number in numbers],
            "ImageType": [["ORIGINAL", "PRIMARY"] if number % 3 else ["DERIVED"] for number in numbers],
            "SegmentSequence": [[{"SegmentLabel": "liver"}]] * SLICES,
            "instance_size": [2_000_000_000] * SLICES,
            "instance_url": [f"s3://bucket/{number}.dcm" for number in numbers],
        }
    )
    writer.write_instances(table, Partition("c", "CT"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    return folder


Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Calls a tool and returns its answer, or the text of its error."""
    dataset = make_dataset(tmp_path_factory.mktemp("agents") / "ds")
    program, *arguments = [*COMMAND, "mcp", "-d", str(dataset), "--seconds", str(SECONDS)]
    client = Client(StdioServerParameters(command=program, args=arguments))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):

        def call(tool: str | None, **given: Any) -> Any:
            if tool is None:
                return portal.call(client.list_tools).tools
            answer = portal.call(client.call_tool, tool, given)
            text = answer.content[0].text
            assert answer.is_error or json.loads(text) == answer.structured_content
            return text if answer.is_error else answer.structured_content

        yield call


def test_the_tools_say_that_they_only_read(ask: Ask) -> None:
    tools = {tool.name: tool for tool in ask(None)}
    assert list(tools) == [
        "get_stats",
        "list_tables",
        "get_table_schema",
        "get_attribute_values",
        "run_sql",
        "explain_error",
        "get_cohort_urls",
    ]
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.description
        assert "Raises" not in tool.description
    assert set(tools["run_sql"].input_schema["properties"]) == {"sql", "max_rows", "dialect"}
    assert tools["run_sql"].input_schema["required"] == ["sql"]


def test_the_dataset_is_summed_up(ask: Ask) -> None:
    found = ask("get_stats")
    assert (found["patients"], found["studies"], found["series"], found["instances"]) == (1, 1, 3, SLICES)
    assert found["size_TB"] == 6


def test_tables_are_described_and_can_be_read(ask: Ask) -> None:
    tables = {table["name"]: table["description"] for table in ask("list_tables")["tables"]}
    assert {"instances", "dicom_all", "idc_index", "index", "ct_index", "segmentations"} <= tables.keys()
    assert all(tables.values())
    for name in ("frames", "series", "index"):
        assert isinstance(ask("run_sql", sql=f"SELECT * FROM {name}", max_rows=1), dict), name


def test_a_column_has_a_description_a_unit_and_real_values(ask: Ask) -> None:
    (column,) = ask("get_table_schema", table="instances", like="SliceThickness")["columns"]
    assert column["type"] == "DOUBLE"
    assert (column["description"], column["unit"]) == ("Slice Thickness (0018,0050)", "mm")
    assert sorted(column["examples"]) == ["1.25", "2.5"]
    (column,) = ask("get_table_schema", table="index", like="series_size_MB")["columns"]
    assert "size" in column["description"]
    assert column["unit"] == "MB"


def test_columns_are_found_by_a_part_of_their_name_or_a_pattern(ask: Ask) -> None:
    def names(like: str) -> list[str]:
        return [column["name"] for column in ask("get_table_schema", table="instances", like=like)["columns"]]

    assert names("thick") == ["SliceThickness"]
    assert names("s*instanceuid") == ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
    assert names("nothing") == []
    described = ask("get_table_schema", table="instances")
    assert [column["name"] for column in described["columns"] if not column["description"]] == []


def test_values_are_counted_the_most_frequent_first(ask: Ask) -> None:
    third = SLICES // 3
    values = ask("get_attribute_values", attribute="slicethickness")["values"]
    assert values == [{"value": one, "count": third} for one in (1.25, 2.5, None)]
    values = ask("get_attribute_values", attribute="ImageType", limit=2)
    assert [one["value"] for one in values["values"]] == ["ORIGINAL", "PRIMARY"]
    assert values["truncated"]
    assert "SELECT fields of unnest" in ask("get_attribute_values", attribute="SegmentSequence")
    hostile = ask("get_attribute_values", attribute='x" FROM instances; DROP VIEW instances --')
    assert "not found" in hostile


def test_sql_runs_in_both_dialects_with_every_digit(ask: Ask) -> None:
    answer = ask("run_sql", sql="SELECT 0.1::DECIMAL(9, 1) AS a, 12345678901234567.5::DECIMAL(30, 1) AS b")
    assert answer["rows"] == [{"a": 0.1, "b": "12345678901234567.5"}]
    sql = (
        "SELECT SegmentLabel, COUNT(*) FROM `bigquery-public-data.idc_current.dicom_all`, "
        "UNNEST(SegmentSequence) GROUP BY 1"
    )
    answer = ask("run_sql", sql=sql, dialect="bigquery")
    assert answer["rows"] == [{"SegmentLabel": "liver", "f0_": SLICES}]
    answer = ask("run_sql", sql="SELECT PatientID AS p, 1 AS p FROM instances", max_rows=1)
    assert answer["rows"] == [{"p": "P\x1b[31m", "p_1": 1}]


def test_rows_are_bounded_in_number_and_size(ask: Ask) -> None:
    def told(sql: str, most: int) -> tuple[int, bool]:
        answer = ask("run_sql", sql=sql, max_rows=most)
        assert answer["row_count"] == len(answer["rows"])
        return answer["row_count"], answer["truncated"]

    assert told("FROM range(10)", 10) == (10, False)
    assert told("FROM range(11)", 10) == (10, True)
    assert told("FROM range(100000)", 10**9) == (1000, True)
    assert told("FROM range(5)", -3) == (1, True)
    rows, truncated = told("SELECT repeat('x', 50000) FROM range(100)", 100)
    assert rows < 10
    assert truncated


def test_a_row_that_is_too_long_is_refused(ask: Ask) -> None:
    answer = ask("run_sql", sql="SELECT repeat('x', 1_000_000) AS text")
    assert "the first row has 1,000,002 characters; the most are 200,000" in answer
    assert len(answer) < 300


def test_a_query_that_takes_too_long_is_stopped_and_the_next_one_runs(ask: Ask) -> None:
    endless = "SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE x * y % 7 = 3"
    assert f"stopped after {SECONDS} s" in ask("run_sql", sql=endless)
    assert ask("run_sql", sql="SELECT 1 AS x")["rows"] == [{"x": 1}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/never.csv'",
        "ATTACH '/tmp/never.db'",
        "SET threads = 1",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT * FROM query('SELECT 1')",
        "INSTALL httpfs",
        "",
        "SELECT " + "1 + " * 50_000 + "1",
    ],
)
@pytest.mark.parametrize("tool", ["run_sql", "get_cohort_urls"])
def test_the_sandbox_is_that_of_sql(ask: Ask, tool: str, sql: str) -> None:
    answer = ask(tool, sql=sql)
    assert isinstance(answer, str)
    assert answer.count("\n") == 0
    assert ask("explain_error", sql=sql)["valid"] is False


def test_an_error_is_explained(ask: Ask) -> None:
    answer = ask("explain_error", sql="SELECT SliceThicknes FROM instances")
    assert not answer["valid"]
    assert "did you mean SliceThickness" in answer["error"]
    answer = ask("explain_error", sql="SELECT EchoTime AS e FROM instances")
    assert answer == {
        "valid": True,
        "columns": [{"name": "e", "type": "double"}],
        "attributes_that_no_object_has_as_a_column": ["EchoTime"],
    }
    answer = ask("explain_error", sql="SELECT\n  FOO(1)", dialect="bigquery")
    assert answer["error"].startswith("line 2, column 3: FOO()")


def test_a_cohort_becomes_addresses_or_a_manifest(ask: Ask) -> None:
    sql = "SELECT instance_url FROM instances, range(2) ORDER BY SOPInstanceUID"
    answer = ask("get_cohort_urls", sql=sql, limit=2)
    assert answer == {"returned": 2, "truncated": True, "urls": ["s3://bucket/0.dcm", "s3://bucket/1.dcm"]}
    answer = ask("get_cohort_urls", sql=f"{sql} LIMIT 2", form="s5cmd")
    assert answer == {"returned": 1, "truncated": False, "manifest": "cp s3://bucket/0.dcm .\n"}
    assert "a manifest needs a column instance_url" in ask("get_cohort_urls", sql="SELECT 1")


def test_a_table_that_is_not_there_is_named_with_the_nearest(ask: Ask) -> None:
    assert "did you mean instances" in ask("get_table_schema", table="instance")


def test_units_are_of_columns_that_there_are() -> None:
    own = {"bytes_fetched", "header_bytes", "instance_size", "pixel_data_offset", "series_size_MB"}
    assert {name for name in UNITS if name.lower() not in attributes_by_keyword()} == own


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ImportError")
    done = ended(start("mcp", "-d", make_dataset(tmp_path / "ds"), PYTHONPATH=str(tmp_path)))
    assert done.status == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'dicom-harvester[mcp]'" in done.stderr
