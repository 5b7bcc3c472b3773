"""What BigQuery's dialect means, put into DuckDB's and run; and what cannot be."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import Dataset, Partition
from harvester.errors import QueryError
from harvester.query import open_dataset, run_query
from harvester.query.bigquery.inputs import Views
from harvester.query.bigquery.translate import translate
from harvester.query.temporary_views import readable_views

NO_VIEWS = Views({"dicom_all"}, lambda _view: None)
CODE = pa.struct([("CodeValue", pa.string()), ("CodeMeaning", pa.string())])
SCHEMA = pa.schema(
    [
        ("SOPInstanceUID", pa.string()),
        ("PatientID", pa.string()),
        ("SliceThickness", pa.float64()),
        ("InstanceNumber", pa.int64()),
        ("ImageType", pa.list_(pa.string())),
        (
            "SegmentSequence",
            pa.list_(
                pa.struct(
                    [
                        ("SegmentLabel", pa.string()),
                        ("AnatomicRegionSequence", pa.list_(CODE)),
                    ]
                )
            ),
        ),
        ("instance_url", pa.string()),
    ]
)
LIVER = {"CodeValue": "T-62000", "CodeMeaning": "Liver"}
ROWS = [
    {
        "SOPInstanceUID": "1",
        "PatientID": "a",
        "SliceThickness": 2.5,
        "InstanceNumber": 10,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SegmentSequence": [
            {"SegmentLabel": "one", "AnatomicRegionSequence": [LIVER]},
            {"SegmentLabel": "two", "AnatomicRegionSequence": None},
        ],
        "instance_url": "gs://idc-open-cr/s/i.dcm",
    },
    {"SOPInstanceUID": "2", "PatientID": "b", "InstanceNumber": 9, "instance_url": "s3://mine/x/i.dcm"},
    {"SOPInstanceUID": "3", "PatientID": "b", "SegmentSequence": [], "instance_url": "file:///x.dcm"},
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    dataset = Dataset.create(tmp_path_factory.mktemp("bigquery") / "ds")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    writer.write_instances(pa.Table.from_pylist(ROWS, schema=SCHEMA), Partition("nlst", "SEG"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    with open_dataset(dataset.location) as connection:
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    batches = run_query(connection, sql, "bigquery").batches()
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "table",
    [
        "`bigquery-public-data.idc_v25.dicom_all`",
        "`bigquery-public-data.idc_v1.dicom_all`",
        "bigquery-public-data.idc_current.dicom_all",
        "`bigquery-public-data`.idc_current.`dicom_metadata`",
        "`idc_current.dicom_all`",
        "`canceridc-data.idc_v4.dicom_all`",
        "`bigquery-public-data.idc_v20.auxiliary_metadata`",
        "dicom_all",
        "instances",
    ],
)
def test_tables_of_any_release_are_the_dataset(opened: duckdb.DuckDBPyConnection, table: str) -> None:
    assert ask(opened, f"SELECT COUNT(*) FROM {table} WHERE SOPInstanceUID > '1'") == [(2,)]


# BigQuery documents each of these results.
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("CONCAT('a', NULL, 'b')", None),
        ("SPLIT('a:b', ':')[SAFE_OFFSET(1)]", "b"),
        ("SPLIT('a:b', ':')[SAFE_ORDINAL(1)]", "a"),
        ("SPLIT('a:b', ':')[SAFE_OFFSET(2)]", None),
        ("[10, 20][OFFSET(1)]", 20),
        ("[10, 20][ORDINAL(1)]", 10),
        ("SAFE_CAST('x' AS FLOAT64)", None),
        ("SAFE_CAST('5000000000' AS INT)", 5_000_000_000),
        ("CAST('7' AS INTEGER)", 7),
        ("CAST(CAST('1.2345678' AS NUMERIC) AS STRING)", "1.234567800"),
        ("SAFE_DIVIDE(1, 0)", None),
        ("1 / 2", 0.5),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1. * 2", 2.0),
        ("DIV(7, 2)", 3),
        ("IEEE_DIVIDE(1, 0) > 1e308", True),
        ("[CAST(2.5 AS INT64), CAST(-2.5 AS INT64)]", [3, -3]),
        ("SUBSTR('abc', 0, 2)", "ab"),
        ("EXTRACT(DAYOFWEEK FROM DATE '2020-01-05')", 1),
        ("EXTRACT(WEEK FROM DATE '2020-01-04')", 0),
        ("EXTRACT(WEEK(MONDAY) FROM DATE '2020-01-05')", 0),
        ("EXTRACT(ISOWEEK FROM DATE '2020-01-05')", 1),
        ("TIMESTAMP_DIFF(TIMESTAMP '2020-01-02 00:00:00', TIMESTAMP '2020-01-01 12:00:00', DAY)", 0),
        ("(SELECT b FROM UNNEST([STRUCT(1 AS a, 'x' AS b)]) WITH OFFSET n WHERE n = 0)", "x"),
        ("CAST(FLOOR(LOG10(1000)) AS INT64)", 3),
        ("ROUND(2.3456, CAST(2 AS INT64))", 2.35),
        ("FORMAT('%s-%03d', 'a', 7)", "a-007"),
        ("FORMAT('%t|%.2f|%%|%s', [1], 2.0, CAST(3 AS STRING))", "[1]|2.00|%|3"),
        ("FORMAT('%i of %d', 1, 2)", "1 of 2"),
        ("REGEXP_EXTRACT('gs://b/k', r'gs://([^/]+)/')", "b"),
        ("REGEXP_EXTRACT('x', 'y(.)')", None),
        ("REGEXP_REPLACE('aaa', 'a', 'b')", "bbb"),
        ("REGEXP_CONTAINS('abc', r'b.$')", True),
        ("REGEXP_EXTRACT_ALL('a1b2', r'[0-9]')", ["1", "2"]),
        ("STRPOS('abc', 'c')", 3),
        ("SUBSTR('abc', 2)", "bc"),
        ("SAFE.SUBSTR('abc', 2, 1)", "b"),
        ("IFNULL(NULLIF('', ''), 'none')", "none"),
        ("'b' IN UNNEST(['a', 'b'])", True),
        ("ARRAY_LENGTH([1, 2])", 2),
        ("ARRAY_TO_STRING(['a', 'b'], '/')", "a/b"),
        ("ARRAY_CONCAT([1], [2])", [1, 2]),
        ("GENERATE_ARRAY(1, 3)", [1, 2, 3]),
        ("ARRAY(SELECT x * 2 FROM UNNEST([1, 2]) AS x WHERE x > 5)", []),
        ("ARRAY(SELECT x FROM UNNEST(['a', 'b']) AS x WITH OFFSET AS n WHERE n = 0)", ["a"]),
        ("(SELECT STRING_AGG(x, '' ORDER BY n DESC) FROM UNNEST(['a', 'b']) x WITH OFFSET n)", "ba"),
        ("(SELECT ARRAY_AGG(x IGNORE NULLS ORDER BY x DESC LIMIT 2) FROM UNNEST([1, NULL, 3, 2]) x)", [3, 2]),
        (
            "(SELECT STRING_AGG(DISTINCT x, ';' ORDER BY x LIMIT 2) FROM UNNEST(['c', 'a', 'b', 'a']) x)",
            "a;b",
        ),
        ("(SELECT ARRAY_AGG(x LIMIT 1)[OFFSET(0)] FROM UNNEST([7]) x)", 7),
        ("STRUCT(1 AS a, 'x' AS b).b", "x"),
        ("(SELECT AS STRUCT 1 AS a, 2 AS b).b", 2),
        ("EXISTS(SELECT 1 FROM UNNEST([1]) x WHERE x = 1)", True),
        ("\"double\" || 'single'", "doublesingle"),
        ("IF(TRUE, 'y', 'n')", "y"),
        ("EXTRACT(YEAR FROM DATE '2020-05-06')", 2020),
        ("DATE_DIFF(DATE '2020-05-06', DATE '2020-05-01', DAY)", 5),
    ],
)
def test_an_expression_means_what_it_means_in_bigquery(
    opened: duckdb.DuckDBPyConnection, expression: str, value: Any
) -> None:
    assert ask(opened, f"SELECT {expression} AS v") == [(value,)]


def test_nulls_come_first_as_in_bigquery(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT SliceThickness FROM `x.idc_current.dicom_all` ORDER BY SliceThickness"
    assert [value for (value,) in ask(opened, sql)] == [None, None, 2.5]
    assert ask(opened, sql + " DESC LIMIT 1") == [(2.5,)]


def test_a_query_orders_by_an_item_of_a_column_that_a_subquery_makes(
    opened: duckdb.DuckDBPyConnection,
) -> None:
    sql = """
    SELECT d.PatientID, ARRAY(SELECT UPPER(k) FROM UNNEST(ImageType) AS k) AS kinds
    FROM dicom_all AS d ORDER BY kinds[SAFE_OFFSET(0)] DESC, InstanceNumber, d.PatientID LIMIT 2"""
    assert ask(opened, sql) == [("a", ["ORIGINAL", "PRIMARY"]), ("b", [])]


def test_groups_are_named_by_columns_of_the_answer(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
    SELECT s.SegmentLabel, SUBSTR(PatientID, 1) AS patient, COUNT(*) AS n
    FROM dicom_all, UNNEST(SegmentSequence) AS s GROUP BY SegmentLabel, patient ORDER BY SegmentLabel"""
    assert ask(opened, sql) == [("one", "a", 1), ("two", "a", 1)]


def test_unnest_joins_inner_left_and_with_offset(opened: duckdb.DuckDBPyConnection) -> None:
    inner = "SELECT SOPInstanceUID, s.SegmentLabel, n FROM dicom_all, UNNEST(SegmentSequence) s WITH OFFSET n"
    assert sorted(ask(opened, inner)) == [("1", "one", 0), ("1", "two", 1)]
    for clause in (
        "LEFT JOIN UNNEST(SegmentSequence) AS s",
        "LEFT JOIN UNNEST(d.SegmentSequence) s WITH OFFSET",
    ):
        rows = ask(opened, f"SELECT SOPInstanceUID, s.SegmentLabel FROM dicom_all AS d {clause}")
        assert sorted(rows, key=str) == [("1", "one"), ("1", "two"), ("2", None), ("3", None)]
    implicit = """
    SELECT region.CodeMeaning FROM dicom_all d, d.SegmentSequence AS s, s.AnatomicRegionSequence AS region"""
    assert ask(opened, implicit) == [("Liver",)]


# Arrays of BigQuery's tables are never NULL; numbers in text are text.


def test_an_absent_attribute_of_many_values_is_an_empty_array(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
    SELECT ARRAY_LENGTH(ImageType), ARRAY_TO_STRING(d.ImageType, '/'), ARRAY_LENGTH(SegmentSequence),
      ARRAY_LENGTH(ReferencedSeriesSequence),
      ARRAY_LENGTH(SegmentSequence[SAFE_OFFSET(1)].AnatomicRegionSequence)
    FROM dicom_all AS d ORDER BY SOPInstanceUID"""
    assert ask(opened, sql) == [(2, "ORIGINAL/PRIMARY", 2, 0, 0), (0, "", 0, 0, None), (0, "", 0, 0, None)]


def test_a_column_that_the_query_makes_keeps_its_nulls(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
    WITH made AS (SELECT PatientID, ARRAY_AGG(SliceThickness IGNORE NULLS) AS ImageType,
                    ARRAY_AGG(PatientID) AS SliceThickness
                  FROM dicom_all GROUP BY PatientID)
    SELECT PatientID, ARRAY_LENGTH(ImageType), SliceThickness[SAFE_OFFSET(0)] FROM made ORDER BY 1"""
    assert ask(opened, sql) == [("a", 1, "a"), ("b", None, "b")]


def test_one_value_can_be_read_as_the_array_that_it_is_in_bigquery(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
    SELECT PatientID[SAFE_OFFSET(0)], PatientID[SAFE_OFFSET(1)], ARRAY_LENGTH(SliceThickness),
      s.SegmentLabel[OFFSET(0)], (SELECT COUNT(*) FROM UNNEST(d.PatientID) AS p)
    FROM dicom_all AS d LEFT JOIN UNNEST(SegmentSequence) AS s
    WHERE SOPInstanceUID < '3' ORDER BY SOPInstanceUID, 4"""
    assert ask(opened, sql) == [("a", None, 1, "one", 1), ("a", None, 1, "two", 1), ("b", None, 0, None, 1)]


def test_a_number_is_compared_with_text_that_is_none(opened: duckdb.DuckDBPyConnection) -> None:
    for condition, uids in {
        "SliceThickness <> ''": ["1"],
        "SliceThickness = '2.5'": ["1"],
        "SliceThickness IN ('', '2.5')": ["1"],
        "InstanceNumber LIKE '1%'": ["1"],
        "InstanceNumber = 9": ["2"],
    }.items():
        assert ask(opened, f"SELECT SOPInstanceUID FROM dicom_all WHERE {condition}") == [(u,) for u in uids]


def test_addresses_are_those_of_both_clouds_where_both_have_the_object(
    opened: duckdb.DuckDBPyConnection,
) -> None:
    sql = "SELECT gcs_url, aws_url, series_aws_url, gcs_bucket FROM dicom_all ORDER BY SOPInstanceUID"
    assert ask(opened, sql) == [
        (
            "gs://idc-open-cr/s/i.dcm",
            "s3://idc-open-data-cr/s/i.dcm",
            "s3://idc-open-data-cr/s/",
            "idc-open-cr",
        ),
        (None, "s3://mine/x/i.dcm", "s3://mine/x/", None),
        (None, None, None, None),
    ]


# Scripts.


def test_variables_are_put_where_they_are_named(opened: duckdb.DuckDBPyConnection) -> None:
    script = """
    -- a script
    DECLARE least, most INT64 DEFAULT 9;
    DECLARE label DEFAULT "one";
    DECLARE unset STRING;
    SET most = least + 1;
    SELECT least, most, label, unset, COUNT(*) FROM dicom_all
    WHERE InstanceNumber BETWEEN least AND most GROUP BY 1, 2, 3, 4;
    """
    assert ask(opened, script) == [(9, 10, "one", None, 2)]


def test_a_variable_has_the_type_that_it_was_declared_with(opened: duckdb.DuckDBPyConnection) -> None:
    assert ask(opened, "DECLARE x FLOAT64 DEFAULT 1; SELECT x / 4, CAST(x AS STRING)") == [(0.25, "1.0")]
    assert ask(opened, "DECLARE x INT64; SET x = (SELECT MAX(InstanceNumber) FROM dicom_all); SELECT x") == [
        (10,)
    ]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DECLARE x INT64;", "^the SQL text holds no query"),
        ("", "^the SQL text holds no query"),
        ("\nDECLARE x INT64;\nEXECUTE IMMEDIATE 'SELECT 1'", r"^line 3: EXECUTE cannot be translated"),
        ("CREATE TABLE t AS SELECT 1", "^line 1: CREATE is translated only as CREATE TEMP TABLE"),
        (
            "CREATE TEMP FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'return x'; SELECT f('a')",
            "^line 1: the function f is written in js, which is not run here$",
        ),
        ("SELECT 1;\n\nDROP TABLE dicom_all", "^line 3: DROP cannot be translated"),
        ("INSERT INTO t VALUES (1)", "^line 1: INSERT cannot be translated"),
        ("SET nowhere = 1; SELECT 1", "^line 1: SET is translated only for one declared variable"),
        (
            "SELECT 1\nFROM dicom_all\nWHERE PatientID = @patient",
            r"^line 3, column 7: @patient is a query parameter that has no value",
        ),
        ("SELECT\n  NET.HOST('x')", r"^line 2, column 7: NET\.HOST\(\) cannot be translated$"),
        (
            "SELECT 1,\nAPPROX_TOP_COUNT('a', 3)",
            r"^line 2, column 1: APPROX_TOP_COUNT\(\) cannot be translated$",
        ),
        ("SELECT 1, SOUNDEX('a')", r"^line 1, column 11: SOUNDEX\(\) cannot be translated$"),
        ("SELECT 1, INSTR('ab', 'b', -1)", r"^line 1, column 11: INSTR from the end of a text cannot"),
        ("SELECT @@project_id", r"system variables \(@@\) cannot be translated$"),
        ("SELECT 1,\n\n ST_GEOGPOINT(1, 2)", r"^line 3, column 2: ST_GEOGPOINT\(\) cannot be translated$"),
        ("SELECT\nFORMAT('%E', 1, 2)", r"^line 2, column 1: FORMAT\('%E'\) cannot be translated$"),
        (
            "SELECT FORMAT(PatientID, 1) FROM dicom_all",
            "^line 1, column 8: FORMAT is translated only with its format",
        ),
        (
            "SELECT *\nFROM `bigquery-public-data.idc_v25_clinical.column_metadata`",
            r"^line 2, column 6: bigquery-public-data\.idc_v25_clinical\.column_metadata: clinical data",
        ),
        (
            "SELECT * FROM `bigquery-public-data.idc_current_clinical.x`",
            "clinical data are not in DICOM headers",
        ),
        (
            "SELECT * FROM `bigquery-public-data.samples.shakespeare`",
            r"shakespeare is no table of IDC; name a",
        ),
        (
            "SELECT * FROM `bigquery-public-data.idc_v25.dicom_allx`",
            r"there is no table bigquery-public-data\.idc_v25\.dicom_allx; did you mean dicom_all",
        ),
        (
            "SELECT 1\nFROM `x.idc_current.dicom_all`\nFOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-01'",
            r"FOR SYSTEM_TIME cannot be translated: a dataset has one state$",
        ),
        ("SELECT a\nFROM (SELECT", r"^line 2, column 7: expected \) near 'SELECT'$"),
        ("SELECT * FROM {table}", r"^line 1, column 15: expected table name, not '\{'$"),
        ("SELECT a\nFROM t JOIN", r"^line 2, column 8: expected table name near 'JOIN'$"),
        ("SELECT a b 'c' FROM t", r"^line 1, column 12: unexpected \"'c'\"$"),
        ("SELECT a\nFROM t WHERE a = ", r"^line 2, column 16: something is missing near '='$"),
        ("SELECT %(x)s FROM t", r"^line 1, column 12: something is missing near 's'$"),
        ("SELECT 1;\nSELECT 'open", r"^line 2, column 8: the ' that begins here is not closed$"),
        ("SELECT 1 /* open", r"^line 1, column 10: the comment that begins here is not closed$"),
        ("SELECT * FROM nowhere.x.y.z", r"^line 1, column 15: nowhere\.x\.y\.z is no table of IDC; name"),
    ],
)
def test_what_cannot_be_translated_is_named_with_its_line(sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        translate(sql, NO_VIEWS)
    assert "\n" not in str(caught.value)


def test_a_translated_query_is_as_closed_as_any_other(opened: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError):
        ask(opened, "SELECT * FROM read_text('/etc/passwd')")
    with pytest.raises(QueryError, match="did you mean PatientID"):
        ask(opened, "SELECT PatientIDD FROM `bigquery-public-data.idc_current.dicom_all`")


@pytest.mark.parametrize("call", ["CODE_POINTS_TO_STRING([65])", "range_bucket(2, [1, 2])", "SAFE_ADD(1, 2)"])
def test_a_function_that_duckdb_lacks_is_named_with_its_place(
    opened: duckdb.DuckDBPyConnection, call: str
) -> None:
    name = call.partition("(")[0].upper()
    with pytest.raises(QueryError, match=rf"^line 2, column 3: {name}\(\) cannot be translated$"):
        ask(opened, f"SELECT 1,\n  {call} FROM dicom_all")


def test_a_failing_definition_can_be_asked_for_null(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT CASE PatientID WHEN 'a' THEN 1 ELSE ERROR('unknown') END AS n FROM dicom_all ORDER BY n"
    with pytest.raises(QueryError, match="unknown"):
        ask(opened, sql)
    rows = run_query(opened, translate(sql, readable_views(opened, sql), errors_as_null=True)).batches()
    assert [row["n"] for batch in rows for row in batch.to_pylist()] == [None, None, 1]


def test_nesting_without_end_is_refused_not_a_crash() -> None:
    with pytest.raises(QueryError):
        translate("SELECT " + "(" * 100_000 + "1" + ")" * 100_000, NO_VIEWS)


def test_parentheses_keep_the_name_of_a_column(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "WITH p AS (SELECT DISTINCT(PatientID) FROM dicom_all) SELECT (p.PatientID), (1) FROM p ORDER BY 1"
    result = run_query(opened, sql, "bigquery")
    assert result.columns == ("PatientID", "f0_")
    assert [row for batch in result.batches() for row in batch.to_pylist()] == [
        {"PatientID": "a", "f0_": 1},
        {"PatientID": "b", "f0_": 1},
    ]


@pytest.mark.parametrize(("order", "expected"), [("", "a,x"), (" DESC", "x,a")])
def test_distinct_texts_are_sorted_by_themselves_even_with_error(
    opened: duckdb.DuckDBPyConnection, order: str, expected: str
) -> None:
    text = "CASE PatientID WHEN 'a' THEN 'x' WHEN 'b' THEN 'a' ELSE ERROR(CONCAT('no ', PatientID)) END"
    sql = f"SELECT STRING_AGG(DISTINCT {text}, ',' ORDER BY {text}{order}) AS t FROM dicom_all"
    assert ask(opened, sql) == [(expected,)]


@pytest.mark.parametrize("table", ["bigquery-public-data.idc_v4.nlst_prsn", "idc_v17.tcga_clinical_rel9"])
def test_clinical_tables_of_older_releases_are_refused_as_such(
    opened: duckdb.DuckDBPyConnection, table: str
) -> None:
    with pytest.raises(QueryError, match="clinical data are not in DICOM headers"):
        ask(opened, f"SELECT * FROM `{table}`")


@pytest.mark.parametrize(
    "table",
    [
        "canceridc-data.idc_v4.dicom_all_view",
        "idc-dev-etl.idc_v17_dev.dicom_all",
        "idc-dev-etl.idc_tcia_views_dev.dicom_all",
        "idc_v3.dicom_all_v3",
    ],
)
def test_tables_of_older_projects_and_datasets_are_read(
    opened: duckdb.DuckDBPyConnection, table: str
) -> None:
    assert ask(opened, f"SELECT COUNT(*) AS n FROM `{table}`") == [(3,)]


def test_a_decimal_compares_as_a_number(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT COUNT(*) AS n FROM quantitative_measurements WHERE Value < SAFE_CAST('9' AS FLOAT64)"
    assert ask(opened, sql) == [(0,)]


def test_columns_after_a_star_keep_their_names(opened: duckdb.DuckDBPyConnection) -> None:
    sql = "WITH p AS (SELECT SOPInstanceUID, PatientID FROM dicom_all) SELECT p.*, 1 AS One, 2 FROM p LIMIT 1"
    assert run_query(opened, sql, "bigquery").columns == ("SOPInstanceUID", "PatientID", "One", "f0_")


def test_tables_may_spell_a_name_in_two_ways(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
        WITH joined AS (
            SELECT am.*, arm.analysis_result_id AS result FROM auxiliary_metadata AS am
            LEFT JOIN analysis_results_metadata AS arm ON LOWER(am.source_doi) = LOWER(arm.source_doi))
        SELECT source_DOI, result FROM joined LIMIT 1"""
    assert ask(opened, sql) == [(None, None)]


def test_an_item_named_as_its_sequence_in_another_case_is_the_item(opened: duckdb.DuckDBPyConnection) -> None:
    sql = """
        WITH t AS (SELECT STRUCT(SegmentSequence AS SegmentSequence) AS segmentSequence FROM dicom_all)
        SELECT segmentSequence.SegmentLabel FROM t
        CROSS JOIN UNNEST(segmentSequence.SegmentSequence) AS segmentSequence ORDER BY 1"""
    assert ask(opened, sql) == [("one",), ("two",)]


SHARED_NAME = """WITH t AS (
    SELECT 1 AS id, [STRUCT(2 AS id, [STRUCT(3 AS v)] AS inner_items)] AS items, [4] AS inner_items
)
"""


def test_a_name_that_row_and_item_have_is_ambiguous_beside_both(opened: duckdb.DuckDBPyConnection) -> None:
    message = r"^line 4, column \d+: {} is ambiguous: .*; write t\.{}, or name the items"
    with pytest.raises(QueryError, match=message.format("id", "id")):
        ask(opened, SHARED_NAME + "SELECT id FROM t, UNNEST(items)")
    with pytest.raises(QueryError, match=message.format("inner_items", "inner_items")):
        ask(opened, SHARED_NAME + "SELECT v FROM t, UNNEST(items), UNNEST(inner_items)")
    assert ask(opened, SHARED_NAME + "SELECT i.id, v FROM t, UNNEST(items) i, UNNEST(i.inner_items)") == [
        (2, 3)
    ]
    assert ask(opened, SHARED_NAME + "SELECT (SELECT id FROM UNNEST(items)) FROM t") == [(2,)]


def test_a_group_named_as_a_column_of_the_answer_is_that_column(opened: duckdb.DuckDBPyConnection) -> None:
    sql = SHARED_NAME + "SELECT i.id, COUNT(*) FROM t, UNNEST(items) i GROUP BY id ORDER BY id"
    assert ask(opened, sql) == [(2, 1)]
