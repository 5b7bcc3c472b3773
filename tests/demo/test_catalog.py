from pathlib import Path

import duckdb
import idc_index_data
import pyarrow.parquet as pq
import pytest

from harvester.demo import DemoLayout, lay_out, write_catalog
from harvester.errors import ConfigError


@pytest.fixture(scope="module")
def layout() -> DemoLayout:
    return lay_out()


@pytest.fixture(scope="module")
def catalog(layout: DemoLayout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalog") / "idc_index.parquet"
    write_catalog(layout, path)
    return path


def test_columns_and_types_are_those_of_the_installed_idc_index(catalog: Path) -> None:
    expected = pq.read_schema(idc_index_data.IDC_INDEX_PARQUET_FILEPATH).remove_metadata()
    assert pq.read_schema(catalog).remove_metadata().equals(expected)


def test_duckdb_reads_a_row_for_each_series(catalog: Path, layout: DemoLayout) -> None:
    rows = duckdb.sql(
        f"SELECT count(*), count(DISTINCT crdc_series_uuid), sum(instanceCount) FROM '{catalog}'"
    ).fetchone()
    assert rows == (len(layout.series), len(layout.series), sum(1 for _ in layout.instances))


def test_counts_and_sizes_are_the_files_own(catalog: Path, layout: DemoLayout) -> None:
    rows = duckdb.sql(f"SELECT crdc_series_uuid, instanceCount, series_size_MB FROM '{catalog}'").fetchall()
    assert {uuid: (count, size) for uuid, count, size in rows} == {
        series.crdc_series_uuid: (
            len(series.instances),
            pytest.approx(sum(Path(instance.path).stat().st_size for instance in series.instances) / 1e6),
        )
        for series in layout.series
    }


def test_a_row_says_of_a_series_what_idcs_catalog_says(catalog: Path) -> None:
    [row] = (
        duckdb.sql(
            f"SELECT * FROM '{catalog}' WHERE Modality = 'CT' AND Manufacturer = 'GE MEDICAL SYSTEMS' "
            "AND PatientID = '1CT1'"
        )
        .to_arrow_table()
        .to_pylist()
    )
    uuid = row["crdc_series_uuid"]
    assert row["collection_id"] == "pydicom_test_files"
    assert row["SeriesInstanceUID"] == "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
    assert (row["StudyDate"], row["SOPClassUID"]) == ("2004-01-19", "1.2.840.10008.5.1.4.1.1.2")
    assert (row["sop_class_name"], row["transfer_syntax_name"]) == (
        "CT Image Storage",
        "Explicit VR Little Endian",
    )
    assert (row["PixelRepresentation"], row["PhotometricInterpretation"]) == ("1", "MONOCHROME2")
    assert (row["aws_bucket"], row["series_aws_url"]) == ("idc-open-data", f"s3://idc-open-data/{uuid}/*")
    assert row["source_DOI"] is None


def test_values_of_a_hostile_file_reach_the_catalog_as_text(tmp_path: Path) -> None:
    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        tag = group.to_bytes(2, "little") + number.to_bytes(2, "little")
        return tag + vr + len(value).to_bytes(2, "little") + value

    content = bytes(128) + b"DICM" + element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0")
    content += element(8, 5, b"CS", b"no such\\\xff\xfe ") + element(8, 0x60, b"CS", b"'; DROP")
    content += element(8, 0x103E, b"LO", b"\xff\xfe\x1b$B\0x") + element(0x20, 0xE, b"UI", b"1.2.3\0")
    (tmp_path / "hostile").write_bytes(content)
    write_catalog(lay_out(tmp_path), tmp_path / "catalog.parquet")
    query = f"SELECT Modality, instanceCount FROM '{tmp_path / 'catalog.parquet'}'"
    assert duckdb.sql(query).fetchall() == [(None, 1)]


def test_a_catalog_that_cannot_be_written_is_refused_by_name(layout: DemoLayout, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/catalog\.parquet"):
        write_catalog(layout, tmp_path / "nowhere" / "catalog.parquet")


def test_a_catalog_replaces_the_one_before_and_leaves_nothing_else(
    layout: DemoLayout, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.parquet"
    path.write_text("the one before")
    write_catalog(layout, path)
    assert pq.read_metadata(path).num_rows == len(layout.series)
    assert list(tmp_path.iterdir()) == [path]
