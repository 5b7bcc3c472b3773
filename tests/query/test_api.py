"""The dataset that Python opens is read only, and takes tables of the user's own."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pytest
from hex_names import hex_name
from typer.testing import CliRunner

import harvester
from harvester.cli import application
from harvester.dataset import Dataset, Partition
from harvester.errors import ConfigError, QueryError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("api") / "ds"
    writer = Dataset.create(place).shard_writer(hex_name("crawl"), hex_name("s"))
    table = pa.table({"PatientID": ["p", "q"], "SOPInstanceUID": ["1.2", "1.3"]})
    writer.write_instances(table, Partition("c", "CT"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    return place


@pytest.fixture(scope="module")
def opened(place: Path) -> Iterator[harvester.OpenDataset]:
    with harvester.open_dataset(place) as dataset:
        yield dataset


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1 AS x) TO '{part}'",
        "COPY (SELECT 1 AS x) TO '{part}' (FORMAT parquet, USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{part}' (FORMAT parquet, USE_TMP_FILE false)",
        "COPY (SELECT 1 AS x) TO '{outside}/x.csv'",
        "EXPORT DATABASE '{outside}/x'",
        "ATTACH '{outside}/x.db'",
        "ATTACH '{part}' AS part",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW instances",
        "SELECT 1; COPY (SELECT 1 AS x) TO '{part}'",
        "SELECT * FROM enable_logging(storage = 'file', storage_path = '{outside}/log')",
        "SELECT * FROM read_text('{outside}/secret.txt')",
    ],
)
def test_python_overwrites_and_opens_no_file(
    opened: harvester.OpenDataset, place: Path, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (part,) = Dataset.open(place).parts("instances")
    before = (place / part.path).read_bytes()
    with pytest.raises(QueryError):
        opened.sql(statement.format(part=place / part.path, outside=tmp_path)).arrow()
    assert (place / part.path).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]
    assert opened.instances.arrow().num_rows == 2


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_a_table_of_the_users_own_is_joined(opened: harvester.OpenDataset, kind: str) -> None:
    table = pa.table({"PatientID": ["q", "r"], "label": [1, 2]})
    for rows in (table.slice(0, 0), table):
        own = rows if kind == "arrow" else rows.to_pandas() if kind == "pandas" else pl_frame(rows)
        opened.register("labels", own)
    joined = opened.sql("SELECT SOPInstanceUID, label FROM instances JOIN labels USING (PatientID)")
    assert joined.arrow().to_pylist() == [{"SOPInstanceUID": "1.3", "label": 1}]
    assert isinstance(joined.df(), pd.DataFrame)


def pl_frame(table: pa.Table) -> object:
    return pytest.importorskip("polars").from_arrow(table)


@pytest.mark.parametrize("name", ["instances", "Failures", "dicom_all", "idc_index"])
def test_no_table_of_the_dataset_is_replaced(opened: harvester.OpenDataset, name: str) -> None:
    with pytest.raises(QueryError, match="is a table of the dataset; register yours under another name"):
        opened.register(name, pa.table({"x": [1]}))
    assert opened.instances.arrow().num_rows == 2


def test_a_file_that_fails_leaves_the_earlier_one(opened: harvester.OpenDataset, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    opened.instances.write(output)
    before = output.read_bytes()
    with pytest.raises(QueryError):
        opened.sql("SELECT error('late') FROM instances").write(output)
    assert output.read_bytes() == before
    with pytest.raises(ConfigError, match=r"none/rows\.csv: No such file"):
        opened.instances.write(tmp_path / "none" / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(("dialect", "mark"), [("duckdb", "$"), ("bigquery", "@")])
def test_parameters_are_values_and_never_sql(
    opened: harvester.OpenDataset, dialect: Literal["duckdb", "bigquery"], mark: str
) -> None:
    query = f"SELECT PatientID FROM instances WHERE PatientID = {mark}who OR length(PatientID) > {mark}least"
    for who, rows in (("p", [{"PatientID": "p"}]), ("p' OR 'a' = 'a", [])):
        found = opened.sql(query, dialect=dialect, parameters={"who": who, "least": 5})
        assert found.arrow().to_pylist() == rows


def test_the_command_takes_parameters(place: Path) -> None:
    query = "SELECT @who AS who, @least + 1 AS n, @day AS day"
    values = ("--param", "who=a=b", "--param", "least:INT64=5", "--param", "day:DATE=2020-01-31")
    options = ["sql", "-d", str(place), "--dialect", "bigquery", "--format", "csv", *values]
    asked = CliRunner().invoke(application(), [*options, query])
    assert (asked.exit_code, asked.stdout) == (0, "who,n,day\na=b,6,2020-01-31\n")
    missing = CliRunner().invoke(application(), [*options, "SELECT @other"])
    assert "give it with --param other=VALUE" in str(missing.exception)


def test_a_part_that_is_gone_is_named(place: Path, tmp_path: Path) -> None:
    broken = tmp_path / "ds"
    shutil.copytree(place, broken)
    (part,) = Dataset.open(broken).parts("instances")
    message = (
        f"{re.escape(part.path)}: this part is missing, .* restore it from a copy, or run `harvester repair"
    )
    with harvester.open_dataset(broken) as dataset:
        (broken / part.path).unlink()
        for dialect in ("duckdb", "bigquery"):
            with pytest.raises(QueryError, match=message):
                dataset.sql("SELECT count(*) AS n FROM instances", dialect=dialect).df()
        with pytest.raises(QueryError, match=message):
            dataset.index("ct_index").df()
        (broken / part.path).write_bytes(b"PAR1")
        with pytest.raises(QueryError, match=re.escape(part.path)):
            dataset.index("ct_index").df()
