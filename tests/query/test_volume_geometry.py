"""`volume_geometry_index` over stacks of slices made to be even, uneven, oblique, duplicated, tilted ..."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from harvester.config import load
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import build_index, open_dataset, run_query

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
TILT = math.radians(20)
OBLIQUE = [1, 0, 0, 0, round(math.cos(TILT), 6), round(math.sin(TILT), 6)]
NORMAL = [0, -math.sin(TILT), math.cos(TILT)]


def slices(*positions: list[float], orientation: list[float] = AXIAL, **more: Any) -> list[dict[str, Any]]:
    common = {"ImageOrientationPatient": orientation, "PixelSpacing": [0.5, 0.5], "Rows": 4, "Columns": 6}
    return [common | {"ImagePositionPatient": list(position)} | more for position in positions]


STACKS: dict[str, list[dict[str, Any]]] = {
    "even": slices(*([-10, -20, z] for z in (7.5, 0, 2.5, 5))),
    "nearly even": slices(*([0, 0, z] for z in (0, 2.5, 5.01, 7.5))),
    "uneven": slices(*([0, 0, z] for z in (0, 2.5, 5.5, 7.5))),
    "gap": slices(*([0, 0, z] for z in (0, 1, 2, 4))),
    "duplicated": slices(*([0, 0, z] for z in (0, 1, 1, 2))),
    "oblique": slices(*([3 * i * n for n in NORMAL] for i in range(5)), orientation=OBLIQUE),
    "coronal": slices([0, 0, 0], [0, 2, 0], [0, 4, 0], orientation=CORONAL),
    "gantry tilted": slices(*([0, 0, 3 * i] for i in range(5)), orientation=OBLIQUE),
    "two orientations": slices([0, 0, 0]) + slices([0, 0, 1], orientation=CORONAL),
    "two spacings": slices([0, 0, 0]) + slices([0, 0, 1], PixelSpacing=[0.6, 0.6]),
    "two sizes": slices([0, 0, 0]) + slices([0, 0, 1], Rows=8),
    "not orthogonal": slices([0, 0, 0], [0, 0, 1], orientation=[1, 0, 0, 0.5, 0.8, 0]),
    "one slice": slices([0, 0, 0]),
    "no position": [{"ImageOrientationPatient": AXIAL, "PixelSpacing": [1, 1], "Rows": 4, "Columns": 4}] * 2,
    "localizer": slices([0, 0, 0], [0, 0, 1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "projection": slices([0, 0, 0], [0, 0, 1], ImageType=["DERIVED", "SECONDARY", "AXIAL MIP"]),
}


def write(folder: Path, name: str, number: int, attributes: dict[str, Any], series: str) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series
    dataset.SeriesDescription = name
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(folder / f"{name} {number}.dcm", enforce_file_format=True)


@dataclass(frozen=True)
class Stacks:
    connection: duckdb.DuckDBPyConnection
    names: dict[str, str]

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return [row for batch in run_query(self.connection, sql).batches() for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    folder = tmp_path_factory.mktemp("stacks")
    files = folder / "files"
    files.mkdir()
    names = {}
    for name, stack in STACKS.items():
        series = generate_uid()
        names[series] = name
        for number, attributes in enumerate(stack):
            write(files, name, number, attributes, series)
    for name in ("localizer", "even"):
        write(files, f"{name} of no series", 0, STACKS[name][0], "")
    toml = folder / "crawl.toml"
    toml.write_text(
        f'dataset = "{folder}/dataset"\n[source]\ncatalog = "local"\n[select]\nroot = "{files}"\n'
    )
    anyio.run(crawl, load(toml), CrawlProgress())
    with open_dataset(folder / "dataset") as connection:
        yield Stacks(connection, names)


@pytest.fixture(scope="module")
def rows(stacks: Stacks) -> dict[str, dict[str, Any]]:
    batches = build_index(stacks.connection, "volume_geometry_index").batches()
    return {stacks.names[row["SeriesInstanceUID"]]: row for batch in batches for row in batch.to_pylist()}


def test_instances_without_a_series_are_left_out_with_a_warning(
    stacks: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    assert stacks.ask("SELECT count(*) AS n FROM instances WHERE SeriesInstanceUID IS NULL") == [{"n": 2}]
    assert caplog.records == []
    sql = "SELECT count(*) AS n, count(SeriesInstanceUID) AS series FROM {}"
    for name, series in {"volume_geometry_index": len(STACKS) - 2, "ct_index": len(STACKS)}.items():
        caplog.clear()
        assert stacks.ask(sql.format(name)) == [{"n": series, "series": series}]
        assert caplog.messages == ["2 instances without a SeriesInstanceUID: in none of IDC's index tables"]
    built = build_index(stacks.connection, "idc_index")
    assert sum(batch.num_rows for batch in built.batches()) == len(STACKS)


CHECKS = {
    "single_orientation",
    "orthogonal_orientation",
    "unique_slice_positions",
    "consistent_in_plane_row",
    "consistent_in_plane_col",
    "consistent_pixel_spacing",
    "consistent_image_dimensions",
    "uniform_slice_spacing",
}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("even", set()),
        ("nearly even", set()),
        ("oblique", set()),
        ("coronal", set()),
        ("uneven", {"uniform_slice_spacing"}),
        ("gap", {"uniform_slice_spacing"}),
        ("duplicated", {"unique_slice_positions", "uniform_slice_spacing"}),
        ("gantry tilted", {"consistent_in_plane_col"}),
        ("two spacings", {"consistent_pixel_spacing"}),
        ("two sizes", {"consistent_image_dimensions"}),
        ("not orthogonal", {"orthogonal_orientation"}),
    ],
)
def test_a_stack_passes_the_checks_that_it_is_made_to_pass(
    rows: dict[str, dict[str, Any]], name: str, broken: set[str]
) -> None:
    row = rows[name]
    assert {check for check in CHECKS if row[check] is not True} == broken
    assert row["regularly_spaced_3d_volume"] is not bool(broken)


def test_a_second_orientation_is_seen(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["two orientations"]["single_orientation"] is False
    assert rows["two orientations"]["regularly_spaced_3d_volume"] is False


def test_localizers_and_projections_are_no_volumes(rows: dict[str, dict[str, Any]]) -> None:
    assert STACKS.keys() - rows.keys() == {"localizer", "projection"}


def test_what_cannot_be_told_is_null(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["one slice"]["uniform_slice_spacing"] is None
    assert rows["one slice"]["regularly_spaced_3d_volume"] is None
    assert rows["no position"]["consistent_in_plane_row"] is None
    assert rows["no position"]["obliquity_degrees"] == 0
    assert rows["no position"]["unique_slice_positions"] is False


def test_the_angle_to_the_nearest_axis_is_in_degrees(rows: dict[str, dict[str, Any]]) -> None:
    angles = {
        name: rows[name]["obliquity_degrees"] for name in ("even", "coronal", "oblique", "gantry tilted")
    }
    assert angles == {"even": 0, "coronal": 0, "oblique": 20, "gantry tilted": 20}


@pytest.mark.parametrize(
    ("name", "origin", "spacing", "orientation"),
    [
        ("even", [-10, -20, 0], 2.5, AXIAL),
        ("nearly even", [0, 0, 0], 2.5, AXIAL),
        ("oblique", [0, 0, 0], 3, OBLIQUE),
        ("coronal", [0, 0, 0], 2, CORONAL),
    ],
)
def test_a_volume_is_placed_by_its_lowest_slice(
    rows: dict[str, dict[str, Any]], name: str, origin: list[float], spacing: float, orientation: list[float]
) -> None:
    assert rows[name]["origin_patient"] == origin
    assert rows[name]["ImageOrientationPatient"] == orientation
    assert rows[name]["slice_spacing_mm"] == pytest.approx(spacing, rel=1e-6)


def test_what_is_no_volume_has_no_place(rows: dict[str, dict[str, Any]]) -> None:
    for name in ("uneven", "duplicated", "gantry tilted", "one slice", "no position"):
        assert rows[name]["origin_patient"] == rows[name]["ImageOrientationPatient"] == []
        assert rows[name]["slice_spacing_mm"] is None
