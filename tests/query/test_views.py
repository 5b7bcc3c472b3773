"""The views beside `instances`: IDC's tables, the installed release, series, studies; and no other file."""

from collections import Counter
from pathlib import Path
from typing import Any

import idc_index_data
import pyarrow as pa
import pytest
from hex_names import hex_name
from typer.testing import CliRunner

from harvester.cli import application
from harvester.dataset import Dataset, Partition
from harvester.errors import QueryError
from harvester.query import open_dataset, run_query

PACKAGE = Path(idc_index_data.__file__).parent


def test_all_views_are_there(corpus: Any) -> None:
    assert [row["name"] for row in corpus.ask("SELECT name FROM (SHOW TABLES)")] == [
        "analysis_results_index",
        "auxiliary_metadata",
        "collections_index",
        "dicom_all",
        "dicom_metadata",
        "dicom_metadata_curated",
        "failures",
        "frames",
        "idc_index",
        "index",
        "instances",
        "prior_versions_index",
        "series",
        "studies",
        "version_metadata_index",
    ]


def test_the_views_of_idc_have_the_rows_of_instances(corpus: Any) -> None:
    for table in ("instances", "dicom_all", "dicom_metadata", "dicom_metadata_curated", "auxiliary_metadata"):
        uids = Counter(row["SOPInstanceUID"] for row in corpus.ask(f"SELECT SOPInstanceUID FROM {table}"))
        assert uids.total() == len(corpus.headers), table


def test_series_and_studies_add_up(corpus: Any) -> None:
    headers = [h for h in corpus.headers if h.get("SeriesInstanceUID")]
    counts = Counter(h["SeriesInstanceUID"] for h in headers)
    rows = corpus.ask("SELECT SeriesInstanceUID AS uid, instances, size, Modality FROM series")
    found = {row["uid"]: row for row in rows}
    for uid, count in counts.items():
        same = [h for h in headers if h["SeriesInstanceUID"] == uid]
        assert found[uid]["instances"] == count
        assert found[uid]["size"] == sum(h["instance_size"] for h in same)
        assert found[uid]["Modality"] in {h["Modality"] for h in same}
    (row,) = corpus.ask("SELECT count(*) n, sum(instances) i, sum(series) s FROM studies")
    assert row["i"] == len(corpus.headers)
    assert row["n"] <= row["s"]


def test_the_release_answers(corpus: Any) -> None:
    (row,) = corpus.ask("SELECT count(*) AS n, count(DISTINCT collection_id) AS collections FROM idc_index")
    assert row["n"] > 1_000_000
    same = "SELECT SeriesInstanceUID FROM {} AS i ORDER BY SeriesInstanceUID LIMIT 5"
    for name in ("index", '"index"'):
        assert corpus.ask(same.format(name)) == corpus.ask(same.format("idc_index"))
    assert corpus.ask(same.format("index"), "bigquery") == corpus.ask(same.format("idc_index"))
    assert corpus.ask("SELECT count(*) AS n FROM collections_index WHERE collection_id = 'nlst'") == [
        {"n": 1}
    ]
    assert corpus.ask("SELECT max(idc_version) AS v FROM version_metadata_index")[0]["v"] >= 25


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM read_text('{PACKAGE}/idc_index.sql')",
        f"SELECT * FROM read_text('{PACKAGE}/__init__.py')",
        f"SELECT * FROM glob('{PACKAGE}/*')",
        f"SELECT * FROM read_parquet('{PACKAGE}/*.parquet')",
        f"SELECT * FROM read_text('{PACKAGE}/idc_index.parquet/../idc_index.sql')",
        f"COPY (SELECT 1) TO '{PACKAGE}/idc_index.parquet'",
        "SELECT * FROM read_text('/etc/passwd')",
    ],
)
@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_of_the_release_only_the_tables_can_be_read(corpus: Any, sql: str, dialect: str) -> None:
    size = (PACKAGE / "idc_index.parquet").stat().st_size
    with pytest.raises(QueryError):
        corpus.ask(sql, dialect)
    assert (PACKAGE / "idc_index.parquet").stat().st_size == size


def test_the_command_takes_a_dialect(corpus: Any) -> None:
    sql = "SELECT COUNT(*) AS n FROM `bigquery-public-data.idc_v25.dicom_all`"
    run = CliRunner().invoke
    arguments = ["sql", "-d", str(corpus.location), "--format", "csv"]
    answer = run(application(), [*arguments, "--dialect", "bigquery", sql])
    assert answer.output == f"n\n{len(corpus.headers)}\n"
    assert run(application(), [*arguments, sql]).exit_code != 0


def test_modality_is_the_catalogs_in_instances_and_the_headers_in_the_tables_of_idc(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "ds")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    rows = [{"SOPInstanceUID": "1", "Modality": "MR"}, {"SOPInstanceUID": "2", "Modality": None}]
    writer.write_instances(pa.Table.from_pylist(rows), Partition("c", "CT"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    with open_dataset(dataset.location) as connection:

        def ask(sql: str, dialect: Any) -> list[dict[str, Any]]:
            return [row for b in run_query(connection, sql, dialect).batches() for row in b.to_pylist()]

        for table, expected in (("instances", ["CT", "CT"]), ("dicom_all", ["MR", None])):
            sql = f"SELECT Modality FROM {table} ORDER BY SOPInstanceUID"
            for dialect in ("duckdb", "bigquery"):
                assert [row["Modality"] for row in ask(sql, dialect)] == expected
                (first, _) = ask(f"SELECT * FROM {table} ORDER BY SOPInstanceUID", dialect)
                assert first["Modality"] == expected[0]
                assert "header_modality" not in first
        assert ask("SELECT PatientAge, Modality FROM dicom_all WHERE Modality = 'MR'", "bigquery") == [
            {"PatientAge": None, "Modality": "MR"}
        ]
