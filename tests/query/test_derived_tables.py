"""IDC's derived tables, cell by cell, against what highdicom reads from the files that it wrote."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import duckdb
import highdicom as hd
import pytest
from made_reports import write_cohort
from pydicom import dcmread

from harvester.config import load
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query

# How many segmentations and reports.
SIZES = [pytest.param((15, 20), id="short"), pytest.param((100, 200), id="long", marks=pytest.mark.slow)]

pytestmark = pytest.mark.timeout(900)  # highdicom writes 200 reports; more on a busy machine


@dataclass(frozen=True)
class Cohort:
    """A harvest of made files, and the measurement groups that highdicom reads from them."""

    files: Path
    connection: duckdb.DuckDBPyConnection
    groups: list[tuple[dict[str, Any], Any]]


@pytest.fixture(scope="module", params=SIZES)
def cohort(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cohort]:
    folder = tmp_path_factory.mktemp("reports")
    files = folder / "files"
    files.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_cohort(files, *request.param)
    toml = folder / "crawl.toml"
    toml.write_text(
        f'dataset = "{folder}/dataset"\n[source]\ncatalog = "local"\n[select]\nroot = "{files}"\n'
    )
    anyio.run(crawl, load(toml), CrawlProgress())
    with open_dataset(folder / "dataset") as connection:
        yield Cohort(files, connection, list(groups(files)))


def rows(connection: duckdb.DuckDBPyConnection, table: str, dialect: Any) -> list[dict[str, Any]]:
    name = f"`bigquery-public-data.idc_current.{table}`" if dialect == "bigquery" else table
    batches = run_query(connection, f"SELECT * FROM {name}", dialect).batches()
    found = [row for batch in batches for row in batch.to_pylist()]
    return sorted(found, key=lambda row: str([(name, row[name]) for name in sorted(row)]))


def code(concept: Any, *more: str) -> dict[str, Any] | None:
    if concept is None:
        return None
    names = ("CodeValue", "CodingSchemeDesignator", *more, "CodeMeaning")
    return {name: getattr(concept, name, None) for name in names}


def versioned(concept: Any) -> dict[str, Any] | None:
    return code(concept, "CodingSchemeVersion")


def groups(files: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each measurement group that highdicom reads, with the columns that all tables of them have."""
    series_of = {d.SOPInstanceUID: d.SeriesInstanceUID for d in map(dcmread, files.glob("seg-*.dcm"))}
    for path in sorted(files.glob("sr-*.dcm")):
        report = hd.sr.srread(path)
        found = report.content.get_volumetric_roi_measurement_groups()
        for number, group in enumerate(found):
            (image,) = [item for item in group[0].ContentSequence if item.ValueType == "IMAGE"]
            reference = image.ReferencedSOPSequence[0]
            (series,) = [item.UID for item in group[0].ContentSequence if item.name.value == "121232"]
            yield (
                {
                    "PatientID": report.PatientID,
                    "SOPInstanceUID": report.SOPInstanceUID,
                    "SeriesInstanceUID": report.SeriesInstanceUID,
                    "SeriesDescription": report.SeriesDescription,
                    "measurementGroup_number": number,
                    "segmentationInstanceUID": reference.ReferencedSOPInstanceUID,
                    "segmentationSeriesUID": series_of[reference.ReferencedSOPInstanceUID],
                    "segmentationSegmentNumber": reference.ReferencedSegmentNumber,
                    "sourceSegmentedSeriesUID": series,
                    "trackingIdentifier": group.tracking_identifier,
                    "trackingUniqueIdentifier": group.tracking_uid,
                    "finding": versioned(group.finding_type),
                    "findingSite": versioned(group.finding_sites[0].value),
                },
                group,
            )


def ordered(expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(expected, key=lambda row: str([(name, row[name]) for name in sorted(row)]))


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_each_measurement_group_is_a_row(cohort: Cohort, dialect: str) -> None:
    expected = [row for row, _group in cohort.groups]
    found = rows(cohort.connection, "measurement_groups", dialect)
    assert len(found) == len(expected) > 0
    contents = {row["trackingUniqueIdentifier"]: row.pop("contentSequence") for row in found}
    assert ordered(found) == ordered(expected)
    for row, group in cohort.groups:
        items = contents[row["trackingUniqueIdentifier"]]["ContentSequence"]
        assert [item["ValueType"] for item in items] == [item.ValueType for item in group[0].ContentSequence]


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_each_measurement_is_a_row(cohort: Cohort, dialect: str) -> None:
    expected = [
        {
            **row,
            "Quantity": code(measured.name),
            "derivationModifier": code(measured.derivation),
            "Value": Decimal(str(measured.value)).quantize(Decimal("1e-9")),
            "Units": versioned(measured.unit),
            "lateralityModifier": versioned(group.finding_sites[0].laterality),
        }
        for row, group in cohort.groups
        for measured in group.get_measurements()
    ]
    found = rows(cohort.connection, "quantitative_measurements", dialect)
    assert len(found) == len(expected) > len(cohort.groups)
    assert found == ordered(expected)


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_each_evaluation_is_a_row(cohort: Cohort, dialect: str) -> None:
    expected = [
        {
            **{name: value for name, value in row.items() if name != "SeriesDescription"},
            "Quantity": code(evaluation.name),
            "Value": versioned(evaluation.value),
        }
        for row, group in cohort.groups
        for evaluation in group.get_qualitative_evaluations()
    ]
    found = rows(cohort.connection, "qualitative_measurements", dialect)
    assert len(found) == len(expected) > 0
    assert found == ordered(expected)


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_each_segment_is_a_row(cohort: Cohort, dialect: str) -> None:
    expected = []
    for path in sorted(cohort.files.glob("seg-*.dcm")):
        read = hd.seg.segread(path)
        for number in read.segment_numbers:
            segment = read.get_segment_description(number)
            regions = segment.anatomic_regions
            expected.append(
                {
                    "PatientID": read.PatientID,
                    "StudyInstanceUID": read.StudyInstanceUID,
                    "SeriesInstanceUID": read.SeriesInstanceUID,
                    "SOPInstanceUID": read.SOPInstanceUID,
                    "FrameOfReferenceUID": read.FrameOfReferenceUID,
                    "SegmentationType": read.SegmentationType,
                    "AnatomicRegion": code(regions[0]) if regions else None,
                    "AnatomicRegionModifier": None,
                    "SegmentedPropertyCategory": code(segment.segmented_property_category),
                    "SegmentedPropertyType": {
                        **code(segment.segmented_property_type),  # type: ignore[dict-item]
                        "SegmentedPropertyTypeModifierCodeSequence": None,
                    },
                    "SegmentAlgorithmType": segment.algorithm_type.value,
                    "SegmentAlgorithmName": segment.get("SegmentAlgorithmName"),
                    "SegmentNumber": number,
                    "TrackingUID": segment.tracking_uid,
                    "TrackingID": segment.tracking_id,
                    "segmented_SeriesInstanceUID": read.ReferencedSeriesSequence[0].SeriesInstanceUID,
                    "viewer_url": "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/"
                    f"?StudyInstanceUIDs={read.StudyInstanceUID}"
                    f"&initialSeriesInstanceUID={read.SeriesInstanceUID}",
                }
            )
    found = rows(cohort.connection, "segmentations", dialect)
    assert len(found) == len(expected) > 0
    assert found == ordered(expected)


@pytest.mark.parametrize(("table", "dialect"), [("dicom_pivot", "bigquery"), ("dicom_derived_all", "duckdb")])
def test_each_instance_has_its_measurements_and_segments_in_columns(
    cohort: Cohort, table: str, dialect: str
) -> None:
    """As in IDC's tables, a report has a row for each segment's measurements and each one's evaluations."""
    volumes: dict[str, dict[Any, Decimal | None]] = {}
    scores: dict[str, dict[Any, str | None]] = {}
    for row, group in cohort.groups:
        segment = (row["segmentationInstanceUID"], row["segmentationSegmentNumber"])
        measured = [
            Decimal(str(item.value)).quantize(Decimal("1e-9"))
            for item in group.get_measurements()
            if item.name.meaning == "Volume"
        ]
        largest = volumes.setdefault(row["SOPInstanceUID"], {})
        largest[segment] = max([*measured, *filter(None, [largest.get(segment)])], default=None)
        for evaluation in group.get_qualitative_evaluations():
            found = scores.setdefault(row["SOPInstanceUID"], {})
            if evaluation.name.meaning == "Subtlety score":
                found[segment] = evaluation.value.meaning
            else:
                found.setdefault(segment, None)
    expected = [
        (uid, "SR", None, volume, score)
        for uid, of_report in volumes.items()
        for volume in of_report.values()
        for score in scores.get(uid, {None: None}).values()
    ]
    for path in sorted(cohort.files.glob("seg-*.dcm")):
        read = hd.seg.segread(path)
        expected += [
            (
                read.SOPInstanceUID,
                "SEG",
                read.get_segment_description(number).segmented_property_type.value,
                None,
                None,
            )
            for number in read.segment_numbers
        ]
    expected += [
        (d.SOPInstanceUID, "CT", None, None, None) for d in map(dcmread, cohort.files.glob("ct-*.dcm"))
    ]
    rows_found = rows(cohort.connection, table, dialect)
    names = (
        "SOPInstanceUID",
        "Modality",
        "SegmentedPropertyTypeCodeSequence",
        "Volume",
        "Subtlety_score",
    )
    assert sorted((tuple(row[name] for name in names) for row in rows_found), key=str) == sorted(
        expected, key=str
    )
