"""Attributes that no object has are NULL; what only looks like one is left alone."""

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import Dataset, Partition
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import QueryError
from harvester.query import open_dataset, run_query
from harvester.query.sql_types import absent_type

ITEM = pa.struct([("ROINumber", pa.int64()), ("ROIName", pa.string())])
SCHEMA = pa.schema([("PatientID", pa.string()), ("StructureSetROISequence", pa.list_(ITEM))])
ROWS = [
    {
        "PatientID": "p",
        "StructureSetROISequence": [{"ROINumber": 1, "ROIName": "Heart"}, {"ROINumber": 2, "ROIName": "GTV"}],
    }
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    dataset = Dataset.create(tmp_path_factory.mktemp("binding") / "ds")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    writer.write_instances(pa.Table.from_pylist(ROWS, schema=SCHEMA), Partition("nlst", "RTSTRUCT"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    with open_dataset(dataset.location) as connection:
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for b in run_query(connection, sql).batches() for row in b.to_pylist()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SliceThickness", "DOUBLE"),
        ("slicethickness", "DOUBLE"),
        ("PixelSpacing", "DOUBLE[]"),
        ("Rows", "BIGINT"),
        ("StudyDate", "DATE"),
        ("StudyTime", "TIME"),
        ("AcquisitionDateTime", "TIMESTAMP"),
        ("FrameIncrementPointer", "VARCHAR[]"),
        ("dBdt", "DOUBLE"),
        ("OverlayRows", "BIGINT"),
        ("PatientName", "STRUCT(Alphabetic VARCHAR, Ideographic VARCHAR, Phonetic VARCHAR)"),
        ("PatientName.Alphabetic", "VARCHAR"),
        (
            "SegmentSequence",
            "STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[]",
        ),
        ("SegmentSequence[1].SegmentNumber", "BIGINT"),
        (
            "PerFrameFunctionalGroupsSequence[2].PixelMeasuresSequence[1].PixelSpacing[1]",
            "DOUBLE",
        ),
        ("StructureSetROISequence[1].ROIDescription", "VARCHAR"),
        ("StructureSetROISequence[1].DerivationCodeSequence[1].CodeMeaning", "VARCHAR"),
        ("list_transform(StructureSetROISequence, s -> s.ROIVolume)[1]", "DOUBLE"),
        ("[s.ROIVolume for s in StructureSetROISequence][1]", "DOUBLE"),
        ("struct_extract(StructureSetROISequence[1], 'ROIVolume')", "DOUBLE"),
    ],
)
@pytest.mark.parametrize("table", ["instances", "dicom_all"])
def test_an_absent_attribute_is_null_of_the_contracts_type(
    opened: duckdb.DuckDBPyConnection, table: str, name: str, kind: str
) -> None:
    never_null = table == "dicom_all" and kind.endswith("[]")  # as no array of BigQuery's tables is
    absent = [] if never_null else None
    assert ask(opened, f"SELECT PatientID, {name} AS v FROM {table}") == [("p", absent)]
    assert ask(opened, f"SELECT column_type FROM (DESCRIBE SELECT {name} AS v FROM {table})") == [(kind,)]


ITEMS = "unnest(StructureSetROISequence"


@pytest.mark.parametrize(
    "source",
    [
        f"instances, {ITEMS}) AS u(r)",
        "instances i LEFT JOIN unnest(i.StructureSetROISequence) u(r) ON true",
        f"(SELECT {ITEMS}) AS r FROM instances)",
        "(SELECT StructureSetROISequence FROM instances) AS t(q), unnest(q) AS u(r)",
        f"(SELECT s AS r FROM (SELECT {ITEMS}) AS s FROM instances))",
        "(SELECT unnest([{'r': s} for s in StructureSetROISequence]) AS a FROM instances), (SELECT a.r)",
    ],
)
def test_an_absent_field_is_followed_through_aliases(opened: duckdb.DuckDBPyConnection, source: str) -> None:
    sql = f"SELECT r.ROIName, r.ROIDescription FROM {source}"
    assert sorted(ask(opened, sql)) == [("GTV", None), ("Heart", None)]


def test_an_absent_field_can_be_a_column_of_what_was_unnested(opened: duckdb.DuckDBPyConnection) -> None:
    source = f"(SELECT {ITEMS}, recursive := true), PatientID FROM instances)"
    sql = f"SELECT ROIName, ROIDescription, PatientID FROM {source}"
    assert sorted(ask(opened, sql)) == [("GTV", None, "p"), ("Heart", None, "p")]


def test_an_absent_field_is_added_to_items_like_the_one_that_lacks_it(
    opened: duckdb.DuckDBPyConnection,
) -> None:
    """To all sequences of the query, types would grow with each field by a multiple, as would the time."""
    code = "STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR"
    sql = """
        SELECT ContentSequence[1].ConceptNameCodeSequence[1].CodeMeaning AS m,
               ContentSequence[1].ContentSequence[1].CodeMeaning AS n, ContentSequence AS items
        FROM instances"""
    assert ask(opened, f"SELECT column_type FROM (DESCRIBE {sql}) WHERE column_name = 'items'") == [
        (f"{code}, ConceptNameCodeSequence {code})[], ContentSequence {code})[])[]",)
    ]


def test_absent_sequences_have_no_items(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
    SELECT region.CodeMeaning FROM instances, unnest(SegmentSequence) AS a(segment),
      unnest(segment.AnatomicRegionSequence) AS b(region)"""
    assert ask(opened, sql) == []


def test_an_absent_attribute_stands_wherever_a_column_can(opened: duckdb.DuckDBPyConnection) -> None:
    for sql, rows in {
        "SELECT count(*) FROM instances WHERE KVP IS NULL AND i.KVP IS NULL": None,
        "SELECT count(*) FROM instances AS i WHERE KVP IS NULL AND i.Exposure IS NULL": [(1,)],
        "SELECT KVP, count(*) FROM instances GROUP BY KVP ORDER BY KVP": [(None, 1)],
        "SELECT a.PatientID FROM instances a JOIN instances b USING (StudyID)": [],
        "SELECT max(KVP) FILTER (Exposure > 1) OVER (PARTITION BY StudyID) FROM instances": [(None,)],
        "SELECT * EXCLUDE (KVP) FROM (SELECT PatientID, KVP FROM instances)": [("p",)],
        "SELECT PatientID FROM instances WHERE (SELECT max(KVP) FROM instances) IS NULL": [("p",)],
        "SUMMARIZE SELECT KVP FROM instances": 1,
        "SELECT KVP FROM series JOIN instances USING (SeriesInstanceUID)": [],
    }.items():
        if rows is None:
            with pytest.raises(QueryError, match='"i" not found'):
                ask(opened, sql)
        elif isinstance(rows, int):
            assert len(ask(opened, sql)) == rows
        else:
            assert ask(opened, sql) == rows


def test_an_alias_of_the_same_name_is_not_overruled(opened: duckdb.DuckDBPyConnection) -> None:
    source = "instances, unnest(StructureSetROISequence) AS u(r)"
    assert sorted(
        ask(opened, f"SELECT r.ROIName AS ROIName, count(*) AS n FROM {source} GROUP BY ROIName")
    ) == [
        ("GTV", 1),
        ("Heart", 1),
    ]
    assert ask(opened, f"SELECT upper(r.ROIName) AS ROIName FROM {source} WHERE ROIName = 'HEART'") == [
        ("HEART",)
    ]
    joined = (
        f"SELECT ROIName FROM instances JOIN (SELECT PatientID, r.ROIName FROM {source}) USING (PatientID)"
    )
    assert sorted(ask(opened, joined)) == [("GTV",), ("Heart",)]


def test_what_one_query_needed_is_gone_in_the_next(opened: duckdb.DuckDBPyConnection) -> None:
    columns = "SELECT count(*) FROM (DESCRIBE instances)"
    before = ask(opened, columns)
    ask(opened, "SELECT KVP, StructureSetROISequence[1].ROIVolume FROM instances")
    assert ask(opened, columns) == before
    first = "SELECT r FROM instances, unnest(StructureSetROISequence) AS u(r) ORDER BY r.ROINumber LIMIT 1"
    assert ask(opened, first) == [({"ROINumber": 1, "ROIName": "Heart"},)]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT SliceThicknes FROM instances", r"did you mean SliceThickness\?$"),
        ("SELECT KVP, PatientIDD FROM instances", r"did you mean PatientID\?$"),
        ("SELECT i.Manufacturr FROM instances i", "did you mean Manufacturer"),
        ("SELECT StructureSetROISequence[1].ROINam FROM instances", "did you mean ROIName"),
        ("SELECT gcs_ur FROM dicom_all", "did you mean gcs_url"),
        (
            "SELECT PixelData FROM instances",
            "PixelData .* has no column, its values are binary; bulk_data and",
        ),
        ("WITH t AS (SELECT PatientID FROM instances) SELECT KVP FROM t", '"KVP" not found in FROM clause$'),
    ],
)
def test_other_names_are_errors(opened: duckdb.DuckDBPyConnection, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        ask(opened, sql)
    assert "\n" not in str(caught.value)


def test_a_query_that_names_an_alias_of_itself_over_and_over_ends(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT 1 AS n FROM instances, unnest(ContentSequence) AS u0(c0)" + "".join(
        f", unnest(c{n}.ContentSequence) AS u{n + 1}(c{n + 1})" for n in range(12)
    )
    assert ask(opened, sql) == []


def test_attributes_can_be_named_in_advance(opened: duckdb.DuckDBPyConnection) -> None:
    known = [one for one in attributes_by_keyword().values() if absent_type(one) is not None]
    keywords = [attribute.keyword for attribute in known[:2000]]
    sql = f"SELECT {' OR '.join(f'{keyword} IS NOT NULL' for keyword in keywords)} AS found FROM instances"
    result = run_query(opened, sql, attributes=[*keywords, "PixelData"])
    rows = [row for batch in result.batches() for row in batch.to_pylist()]
    assert rows == [{"found": "PatientID" in keywords}]


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("SELECT ROIName FROM instances", "write StructureSetROISequence[1].ROIName for the first item"),
        ("SELECT i.roiname FROM dicom_all AS i", "write StructureSetROISequence[1].ROIName"),
        ("SELECT count(*) FROM instances WHERE ROINumber = 2", "item1.ROINumber and FROM ..., "),
    ],
)
def test_a_bare_name_that_only_items_have_is_an_error_that_shows_how_it_is_written(
    opened: duckdb.DuckDBPyConnection, sql: str, written: str
) -> None:
    with pytest.raises(QueryError, match=re.escape(written)):
        ask(opened, sql)


def test_the_shown_ways_to_write_a_field_work(opened: duckdb.DuckDBPyConnection) -> None:
    assert ask(opened, "SELECT StructureSetROISequence[1].ROIName FROM instances") == [("Heart",)]
    with pytest.raises(QueryError) as error:
        ask(opened, "SELECT ROIName FROM instances")
    joins = re.search(r"for each, (\S+) and FROM \.\.\., (.*)", str(error.value))
    assert joins is not None
    assert ask(opened, f"SELECT {joins[1]} FROM instances, {joins[2]}") == [("Heart",), ("GTV",)]


@pytest.mark.parametrize("name", ["ROIName", "roiname"])
def test_an_alias_named_as_a_field_is_the_alias(opened: duckdb.DuckDBPyConnection, name: str) -> None:
    assert ask(opened, f"SELECT PatientID AS {name} FROM instances ORDER BY {name}") == [("p",)]
