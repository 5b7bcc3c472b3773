"""The columns of IDC's tables: their types and NULLs beside those that IDC and Google publish."""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator

import anyio
import duckdb
import pyarrow as pa
import pytest
from checkout import ROOT
from made_reports import write_cohort

from harvester.config import load
from harvester.dicom.dictionary import Attribute, attributes_by_keyword
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query
from harvester.query.bigquery.column_types import sqlglot_type
from harvester.query.sql_types import absent_type

# The types of the Cloud Healthcare API, by which IDC's columns of attributes are made.
PUBLISHED = {
    **dict.fromkeys(["AE", "AS", "CS", "DS", "IS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"], "STRING"),
    **dict.fromkeys(["AT", "SL", "SS", "SV", "UL", "US", "UV"], "INT64"),
    **dict.fromkeys(("FD", "FL"), "FLOAT64"),
    **dict.fromkeys(("PN", "SQ"), "STRUCT"),
    "DA": "DATE",
    "DT": "TIMESTAMP",
    "TM": "TIME",
}
CODE = "STRUCT<CodeValue STRING, CodingSchemeDesignator STRING, CodeMeaning STRING>"
VERSIONED = (
    "STRUCT<CodeValue STRING, CodingSchemeDesignator STRING, CodingSchemeVersion STRING, CodeMeaning STRING>"
)
_MEASURED = {
    "PatientID": "STRING",
    "SOPInstanceUID": "STRING",
    "SeriesInstanceUID": "STRING",
    "measurementGroup_number": "INT64",
    "segmentationInstanceUID": "STRING",
    "segmentationSeriesUID": "STRING",
    "segmentationSegmentNumber": "INT64",
    "sourceSegmentedSeriesUID": "STRING",
    "trackingIdentifier": "STRING",
    "trackingUniqueIdentifier": "STRING",
    "finding": VERSIONED,
    "findingSite": VERSIONED,
}
# The columns that IDC's definitions of its derived tables make.
DERIVED = {
    "measurement_groups": {**_MEASURED, "SeriesDescription": "STRING", "contentSequence": "STRUCT"},
    "quantitative_measurements": {
        **_MEASURED,
        "SeriesDescription": "STRING",
        "Quantity": CODE,
        "derivationModifier": CODE,
        "lateralityModifier": VERSIONED,
        "Value": "NUMERIC",
        "Units": VERSIONED,
    },
    "qualitative_measurements": {**_MEASURED, "Quantity": CODE, "Value": VERSIONED},
    "segmentations": {
        **dict.fromkeys(
            (
                "PatientID",
                "StudyInstanceUID",
                "SeriesInstanceUID",
                "SOPInstanceUID",
                "FrameOfReferenceUID",
                "SegmentationType",
                "SegmentAlgorithmType",
                "SegmentAlgorithmName",
                "TrackingUID",
                "TrackingID",
                "segmented_SeriesInstanceUID",
                "viewer_url",
            ),
            "STRING",
        ),
        "AnatomicRegion": CODE,
        "AnatomicRegionModifier": CODE,
        "SegmentedPropertyCategory": CODE,
        "SegmentedPropertyType": "STRUCT",
        "SegmentNumber": "INT64",
    },
    "dicom_metadata_curated": {
        **dict.fromkeys(
            ["SeriesInstanceUID", "SOPInstanceUID", "BodyPartExamined", "cancer_types"], "STRING"
        ),
        "SliceThickness": "FLOAT64",
    },
    "dicom_metadata_curated_series_level": {
        "SeriesInstanceUID": "STRING",
        "Modality": "STRING",
        **{
            f"{name}_{part}": kind
            for names, kind in (
                (("embeddingMedium", "tissueFixative", "staining_usingSubstance"), "ARRAY<STRING>"),
                (
                    ("primaryAnatomicStructure", "primaryAnatomicStructureModifier", "illuminationType"),
                    "STRING",
                ),
            )
            for name in names
            for part in ("CodeMeaning", "code_designator_value_str")
        },
        "min_PixelSpacing_2sf": "FLOAT64",
        "max_TotalPixelMatrixColumns": "INT64",
        "max_TotalPixelMatrixRows": "INT64",
        "ObjectiveLensPower": "INT64",
    },
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("schema")
    files = folder / "files"
    files.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_cohort(files, segmentations=2, reports=2)
    toml = folder / "crawl.toml"
    toml.write_text(
        f'dataset = "{folder}/dataset"\n[source]\ncatalog = "local"\n[select]\nroot = "{files}"\n'
    )
    anyio.run(crawl, load(toml), CrawlProgress())
    with open_dataset(folder / "dataset") as connection:
        yield connection


def test_the_documentation_lists_each_type_that_differs() -> None:
    differences: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for attribute in attributes_by_keyword().values():
        kind = absent_type(attribute)
        if kind is None:
            continue  # binary: no column here and none there
        repeated = pa.types.is_list(kind)
        here = sqlglot_type(kind.value_type if repeated else kind).sql("bigquery").partition("<")[0]
        for published in published_types(attribute):
            if here != published:
                differences[attribute.vr].add((published, here))
        assert repeated == (attribute.vr == "SQ" or attribute.many), attribute.keyword
    table = "".join(
        f"| {vr} | `{published}` | `{here}` |\n"
        for vr, pairs in sorted(differences.items())
        for published, here in sorted(pairs)
    )
    page = (ROOT / "docs" / "sql.md").read_text()
    (documented,) = re.findall(r"\| VR \| in BigQuery \| here \|\n *\|-.*\n((?: *\|.*\n)+)", page)
    assert [line.strip() for line in documented.splitlines()] == table.splitlines()


def published_types(attribute: Attribute) -> set[str]:
    """The types that a VR has; more than one where the dictionary leaves a choice."""
    return {PUBLISHED[vr] for vr in attribute.vr.split(" or ") if vr in PUBLISHED}


@pytest.mark.parametrize("table", DERIVED)
def test_a_derived_table_has_the_columns_that_idc_publishes(
    opened: duckdb.DuckDBPyConnection, table: str
) -> None:
    sql = f"SELECT * FROM idc_current.INFORMATION_SCHEMA.COLUMNS WHERE table_name = '{table}'"
    rows = [row for batch in run_query(opened, sql, "bigquery").batches() for row in batch.to_pylist()]
    found = {row["column_name"]: row["data_type"] for row in rows}
    expected = DERIVED[table]
    assert set(found) == set(expected)
    whole = {name for name, kind in expected.items() if kind != "STRUCT"}
    assert {name: found[name] for name in whole} == {name: expected[name] for name in whole}
    assert all(found[name].startswith("STRUCT<") for name in set(found) - whole)


@pytest.mark.parametrize("table", ["dicom_all", *DERIVED])
def test_no_array_is_null(opened: duckdb.DuckDBPyConnection, table: str) -> None:
    reader = run_query(opened, f"SELECT * FROM {table}", "bigquery")
    rows = pa.Table.from_batches(reader.batches(), reader.schema)
    arrays = [field.name for field in rows.schema if pa.types.is_list(field.type)]
    assert arrays or table not in {"dicom_all", "dicom_metadata_curated_series_level"}
    assert {name: rows[name].null_count for name in arrays} == dict.fromkeys(arrays, 0)
