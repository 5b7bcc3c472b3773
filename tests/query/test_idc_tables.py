"""IDC's eleven index definitions, run on real files, give what pydicom and plain Python find."""

import json
import math
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import index_truth
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from harvester.cli import application
from harvester.errors import ConfigError, QueryError
from harvester.query import INDEX_NAMES, build_index

TYPES = {"STRING": pa.string(), "INTEGER": pa.int64(), "FLOAT": pa.float64(), "BOOLEAN": pa.bool_()}


@pytest.fixture(scope="module")
def folder(corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tables, each in a file, as the command writes them."""
    folder = tmp_path_factory.mktemp("tables") / "all/of them"
    written = CliRunner().invoke(
        application(), ["index", "--all", "-d", str(corpus.location), "-o", str(folder)]
    )
    assert written.output.splitlines() == [f"{folder}/{name}.parquet" for name in INDEX_NAMES]
    assert {path.stem for path in folder.iterdir()} == set(INDEX_NAMES)
    return folder


def built(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.ParquetFile(folder / f"{name}.parquet").read().to_pylist()


def by(rows: list[dict[str, Any]], key: str) -> dict[Any, dict[str, Any]]:
    keyed = {row[key]: {name: value for name, value in row.items() if name != key} for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def agree(found: dict[Any, dict[str, Any]], expected: dict[Any, dict[str, Any]]) -> None:
    """Compare row by row and column by column, so that a difference is shown with its place."""
    assert sorted(found, key=str) == sorted(expected, key=str)
    wrong = [
        (uid, column, found[uid][column], value)
        for uid, row in expected.items()
        for column, value in row.items()
        if not same(found[uid][column], value)
    ]
    assert wrong == []
    assert all(found[uid].keys() == row.keys() for uid, row in expected.items())


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, index_truth.AnyOf):
        return expected == found or any(same(found, value) for value in expected.values)
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return found == expected


@pytest.mark.parametrize(
    "name", ["ct_index", "mr_index", "pt_index", "contrast_index", "rtstruct_index", "seg_index", "sm_index"]
)
def test_a_table_of_series_is_what_pydicom_finds(corpus: Any, folder: Path, name: str) -> None:
    expected: Callable[[Any], Any] = getattr(index_truth, name)
    agree(by(built(folder, name), "SeriesInstanceUID"), expected(corpus.headers))


def test_the_table_of_volumes_is_what_pydicom_finds(corpus: Any, folder: Path) -> None:
    expected = index_truth.volume_geometry_index(corpus.headers)
    assert {row["regularly_spaced_3d_volume"] for row in expected.values()} == {True, False, None}
    agree(by(built(folder, "volume_geometry_index"), "SeriesInstanceUID"), expected)


def test_the_table_of_slide_instances_is_what_pydicom_finds(corpus: Any, folder: Path) -> None:
    expected = index_truth.sm_instance_index(corpus.headers)
    assert any(row["staining_usingSubstance_CodeMeaning"] for row in expected.values())
    agree(by(built(folder, "sm_instance_index"), "crdc_instance_uuid"), expected)


@pytest.mark.parametrize("name", ["ann_index", "ann_group_index"])
def test_a_table_of_annotations_is_what_pydicom_finds(corpus: Any, folder: Path, name: str) -> None:
    expected = getattr(index_truth, name)(corpus.headers)
    assert expected
    assert sorted(built(folder, name), key=json.dumps) == sorted(expected, key=json.dumps)


def test_idc_index_takes_attributes_from_headers_and_the_rest_from_the_release(
    corpus: Any, folder: Path
) -> None:
    rows = by([row for row in built(folder, "idc_index") if row["SeriesInstanceUID"]], "SeriesInstanceUID")
    series = index_truth.by_series(corpus.headers, lambda header: header.get("SeriesInstanceUID") is not None)
    # In one file "DICM" stands where a preamble would end, though it has none: pydicom reads no UID of it.
    assert len(rows.keys() - series.keys()) <= 1
    assert series.keys() <= rows.keys()
    copies = Counter(header.get("SOPInstanceUID") for header in corpus.headers)
    for uid, headers in series.items():
        row = rows[uid]
        # IDC's definition joins instances with themselves: it takes their UIDs for unique.
        assert row["instanceCount"] == sum(copies[h["SOPInstanceUID"]] for h in headers)
        size = sum(h["instance_size"] * copies[h["SOPInstanceUID"]] for h in headers)
        assert math.isclose(row["series_size_MB"], size / 1e6)
        assert row["PatientID"] == index_truth.any_of(headers, "PatientID")
        transfer_syntaxes = index_truth.distinct(h.get("TransferSyntaxUID") for h in headers)
        assert row["TransferSyntaxUID"] == (",".join(transfer_syntaxes) or None)
        assert row["series_aws_url"].startswith("s3://idc-open-data/")
        assert row["series_aws_url"].endswith("/*")
    public = corpus.ask("SELECT SeriesInstanceUID, license_short_name, source_DOI FROM idc_index")
    known = {row.pop("SeriesInstanceUID"): row for row in public if row["SeriesInstanceUID"] in rows}
    assert known  # some files of the corpus are IDC's
    for uid, row in rows.items():
        expected = known.get(uid, {"license_short_name": None, "source_DOI": None})
        assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("name", INDEX_NAMES)
def test_columns_and_types_are_those_of_the_releases_schema(folder: Path, name: str) -> None:
    text = (files("idc_index_data") / f"{name}_schema.json").read_text()
    expected = [
        (one["name"], TYPES[one["type"]], one["mode"] == "REPEATED") for one in json.loads(text)["columns"]
    ]
    table = pq.ParquetFile(folder / f"{name}.parquet").read()
    assert [
        (field.name, field.type.value_type if pa.types.is_list(field.type) else field.type)
        for field in table.schema
    ] == [(column, kind) for column, kind, _ in expected]
    lists = [column for column, _, repeated in expected if repeated]
    assert lists == [field.name for field in table.schema if pa.types.is_list(field.type)]
    assert not any(table[column].null_count for column in lists)


def test_a_name_that_is_no_index_is_refused(corpus: Any) -> None:
    with pytest.raises(QueryError, match="'xx_index' is no index table of headers; there are idc_index"):
        build_index(corpus.connection, "xx_index")


def test_the_command_writes_one_table_where_it_runs(
    corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(application(), ["index", "ct_index", "-d", str(corpus.location)]).exit_code == 0
    written = pq.ParquetFile("ct_index.parquet").read().to_pylist()
    agree(by(written, "SeriesInstanceUID"), index_truth.ct_index(corpus.headers))
    assert run(application(), ["index", "-d", str(corpus.location)]).exit_code != 0
    caplog.clear()
    refused = run(application(), ["index", "ct_index", "-d", str(corpus.location), "-o", str(tmp_path)])
    assert isinstance(refused.exception, ConfigError)
    assert not caplog.messages  # of instances: the dataset is not read
    assert run(application(), ["index", "ct_index", "--all", "-d", str(corpus.location)]).exit_code != 0
