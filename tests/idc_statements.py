"""Statements as IDC's users write them, with the rows that plain Python computes from pydicom's datasets."""

# ruff: noqa: ARG005, E501  statements stand in lines of their own; some answers depend on no file

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydicom import Dataset

ALL = "`bigquery-public-data.idc_current.dicom_all`"
OLD = "`canceridc-data.idc_views.dicom_all`"
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Files:
    """The datasets of a cohort, as pydicom reads them."""

    all: list[Dataset]

    def of(self, modality: str) -> list[Dataset]:
        return [d for d in self.all if d.Modality == modality]

    def segments(self) -> Iterator[tuple[Dataset, int, Dataset]]:
        return ((d, n, s) for d in self.of("SEG") for n, s in enumerate(d.SegmentSequence))

    def groups(self) -> Iterator[tuple[Dataset, Dataset]]:
        """Each measurement group of a report: the containers two levels below the root."""
        for report in self.of("SR"):
            for item in report.ContentSequence:
                for group in item.get("ContentSequence", []):
                    if group.ValueType == "CONTAINER":
                        yield report, group


@dataclass(frozen=True)
class Statement:
    """A statement, its kind, and what it has to return."""

    kind: str
    sql: str
    rows: Callable[[Files], Rows]
    parameters: tuple[tuple[str, Any], ...] = ()


def counted(values: Any) -> Rows:
    return sorted(Counter(values).items(), key=str)


def code(items: Any, name: str = "CodeMeaning") -> Any:
    return items[0].get(name) if items else None


def _cohorts() -> Iterator[Statement]:
    for name in ("Modality", "PatientID", "SeriesInstanceUID", "Manufacturer", "SOPClassUID", "StudyDate"):
        yield Statement(
            "counts by one attribute",
            f"SELECT {name}, COUNT(*) AS n FROM {ALL} GROUP BY {name} HAVING n > 0 ORDER BY n DESC",
            lambda f, name=name: counted(_value(d, name) for d in f.all),
        )
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        yield Statement(
            "distinct counts",
            f"SELECT Modality, COUNT(DISTINCT {name}) FROM {OLD} GROUP BY 1",
            lambda f, name=name: [(m, len({d[name].value for d in f.of(m)})) for m in ("CT", "SEG", "SR")],
        )
    for condition, holds in (
        ('Modality = "SEG"', lambda d: d.Modality == "SEG"),
        ("Modality IN ('CT', 'SR')", lambda d: d.Modality in ("CT", "SR")),
        (
            "SeriesDescription LIKE 'report 1%'",
            lambda d: d.get("SeriesDescription", "").startswith("report 1"),
        ),
        ("REGEXP_CONTAINS(PatientID, r'[02]$')", lambda d: d.PatientID[-1] in "02"),
        ("SliceThickness IS NULL", lambda d: d.get("SliceThickness") is None),
        ("SAFE_CAST(SliceThickness AS FLOAT64) > 2", lambda d: d.get("SliceThickness", 0) > 2),
        ("SliceThickness <> ''", lambda d: d.get("SliceThickness") is not None),
        ("'ORIGINAL' IN UNNEST(ImageType)", lambda d: "ORIGINAL" in d.get("ImageType", [])),
        ("ARRAY_LENGTH(SegmentSequence) = 2", lambda d: len(d.get("SegmentSequence", [])) == 2),
        ("ARRAY_LENGTH(ReferencedSeriesSequence) > 0", lambda d: "ReferencedSeriesSequence" in d),
        ("Laterality IS NULL AND KVP IS NULL", lambda d: True),
        ("StudyDate BETWEEN DATE '2020-01-01' AND DATE '2020-12-31'", lambda d: d.StudyDate[:4] == "2020"),
    ):
        yield Statement(
            "conditions",
            f"SELECT SOPInstanceUID FROM {ALL} WHERE {condition}",
            lambda f, holds=holds: [(d.SOPInstanceUID,) for d in f.all if holds(d)],
        )


def _value(dataset: Dataset, name: str) -> Any:
    value = dataset.get(name)
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if name.endswith("Date") and value else value or None


def _items() -> Iterator[Statement]:
    for name in ("SegmentLabel", "SegmentAlgorithmType", "TrackingID", "TrackingUID", "SegmentNumber"):
        rows = lambda f, name=name: [(d.SOPInstanceUID, s.get(name)) for d, _n, s in f.segments()]  # noqa: E731
        for source, written in (
            ("UNNEST(SegmentSequence) AS seg", f"seg.{name}"),
            ("UNNEST(SegmentSequence)", name),
            ("dicom_all.SegmentSequence AS segment", f"segment.{name}"),
        ):
            yield Statement(
                "joins with the items of a sequence",
                f"SELECT SOPInstanceUID, {written} FROM {ALL}, {source}",
                rows,
            )
    for keyword in ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence"):
        yield Statement(
            "codes two levels down",
            f"SELECT {keyword}[SAFE_OFFSET(0)].CodeMeaning AS meaning, COUNT(*) FROM {ALL}\n"
            f"CROSS JOIN UNNEST(SegmentSequence) GROUP BY meaning",
            lambda f, keyword=keyword: counted(code(s[keyword].value) for _d, _n, s in f.segments()),
        )
        yield Statement(
            "codes two levels down",
            f"SELECT c.CodeValue, COUNT(*) FROM {ALL} d, UNNEST(d.SegmentSequence) s, UNNEST(s.{keyword}) AS c\n"
            "GROUP BY CodeValue",
            lambda f, keyword=keyword: counted(
                code(s[keyword].value, "CodeValue") for _d, _n, s in f.segments()
            ),
        )
    yield Statement(
        "items with their offset",
        f"SELECT SOPInstanceUID, n, s.SegmentLabel FROM {ALL}, UNNEST(SegmentSequence) s WITH OFFSET AS n",
        lambda f: [(d.SOPInstanceUID, n, s.SegmentLabel) for d, n, s in f.segments()],
    )
    yield Statement(
        "items with their offset",
        f"SELECT SegmentLabel FROM {ALL}, UNNEST(SegmentSequence) WITH OFFSET n WHERE n = 1",
        lambda f: [(s.SegmentLabel,) for _d, n, s in f.segments() if n == 1],
    )
    yield Statement(
        "items with their offset",
        f"SELECT SOPInstanceUID, kind FROM {ALL} LEFT JOIN UNNEST(ImageType) kind WITH OFFSET o\n"
        "WHERE o = 0 OR kind IS NULL",
        lambda f: [(d.SOPInstanceUID, (d.get("ImageType") or [None])[0]) for d in f.all],
    )
    # The item has a SeriesInstanceUID, and so has the row: the item's comes first.
    for limit in ("LIMIT 1", ""):
        yield Statement(
            "correlated subqueries",
            f"SELECT SOPInstanceUID, (SELECT SeriesInstanceUID FROM UNNEST(ReferencedSeriesSequence) {limit})\n"
            f"FROM {ALL} WHERE Modality = 'SEG'",
            lambda f: [
                (d.SOPInstanceUID, d.ReferencedSeriesSequence[0].SeriesInstanceUID) for d in f.of("SEG")
            ],
        )
    yield Statement(
        "correlated subqueries",
        f"SELECT SOPInstanceUID FROM {ALL} WHERE EXISTS (SELECT 1 FROM UNNEST(SegmentSequence),\n"
        "UNNEST(SegmentedPropertyTypeCodeSequence) WHERE CodeMeaning = 'Nodule')",
        lambda f: sorted(
            {
                (d.SOPInstanceUID,)
                for d, _n, s in f.segments()
                if code(s.SegmentedPropertyTypeCodeSequence) == "Nodule"
            }
        ),
    )
    yield Statement(
        "correlated subqueries",
        f"SELECT SOPInstanceUID, ARRAY(SELECT SegmentLabel FROM UNNEST(SegmentSequence) ORDER BY SegmentNumber)\n"
        f"FROM {ALL} WHERE ARRAY_LENGTH(SegmentSequence) > 0",
        lambda f: [(d.SOPInstanceUID, [s.SegmentLabel for s in d.SegmentSequence]) for d in f.of("SEG")],
    )
    yield Statement(
        "correlated subqueries",
        f"SELECT SOPInstanceUID, (SELECT COUNT(*) FROM UNNEST(ReferencedSeriesSequence) r,\n"
        f"UNNEST(r.ReferencedInstanceSequence)) FROM {ALL} WHERE Modality = 'SEG'",
        lambda f: [
            (d.SOPInstanceUID, sum(len(r.ReferencedInstanceSequence) for r in d.ReferencedSeriesSequence))
            for d in f.of("SEG")
        ],
    )
    yield Statement(
        "names that equal a column",
        f"WITH a AS (SELECT SOPInstanceUID, contentSequence FROM {ALL} CROSS JOIN UNNEST(ContentSequence)\n"
        "AS contentSequence) SELECT SOPInstanceUID, n FROM a CROSS JOIN UNNEST(contentSequence.ContentSequence)\n"
        "AS contentSequence WITH OFFSET AS n WHERE contentSequence.ValueType = 'CONTAINER'",
        lambda f: [
            (d.SOPInstanceUID, n)
            for d in f.of("SR")
            for item in d.ContentSequence
            for n, inner in enumerate(item.get("ContentSequence", []))
            if inner.ValueType == "CONTAINER"
        ],
    )


def _aggregates() -> Iterator[Statement]:
    def by_patient(f: Files) -> list[tuple[str, list[Dataset]]]:
        ordered = sorted(f.all, key=lambda d: d.PatientID)
        return [(key, list(group)) for key, group in groupby(ordered, key=lambda d: d.PatientID)]

    yield Statement(
        "aggregates into arrays and text",
        f"SELECT PatientID, STRING_AGG(DISTINCT Modality, ',' ORDER BY Modality) FROM {ALL} GROUP BY PatientID",
        lambda f: [(p, ",".join(sorted({d.Modality for d in ds}))) for p, ds in by_patient(f)],
    )
    yield Statement(
        "aggregates into arrays and text",
        "SELECT PatientID, STRING_AGG(DISTINCT CASE Modality WHEN 'CT' THEN 'image' ELSE 'derived' END, '+'\n"
        f"ORDER BY CASE Modality WHEN 'CT' THEN 'image' ELSE 'derived' END) FROM {ALL} GROUP BY PatientID",
        lambda f: [
            (p, "+".join(sorted({"image" if d.Modality == "CT" else "derived" for d in ds})))
            for p, ds in by_patient(f)
        ],
    )
    yield Statement(
        "aggregates into arrays and text",
        f"SELECT PatientID, ARRAY_AGG(DISTINCT Modality IGNORE NULLS ORDER BY Modality DESC LIMIT 2) FROM {ALL}\n"
        "GROUP BY PatientID",
        lambda f: [(p, sorted({d.Modality for d in ds}, reverse=True)[:2]) for p, ds in by_patient(f)],
    )
    for name, sql, value in (
        ("COUNTIF", "COUNTIF(Modality = 'SEG')", lambda ds: sum(d.Modality == "SEG" for d in ds)),
        (
            "MAX",
            "MAX(SAFE_CAST(SliceThickness AS FLOAT64))",
            lambda ds: max(d.get("SliceThickness", 0) for d in ds),
        ),
        ("LOGICAL_OR", "LOGICAL_OR(Modality = 'SR')", lambda ds: any(d.Modality == "SR" for d in ds)),
        ("SUM", "SUM(`Rows`)", lambda ds: sum(d.get("Rows", 0) for d in ds)),
    ):
        yield Statement(
            "aggregates of numbers",
            f"SELECT PatientID, {sql} AS {name.lower()} FROM {ALL} GROUP BY PatientID",
            lambda f, value=value: [(p, value(ds)) for p, ds in by_patient(f)],
        )
    yield Statement(
        "window functions",
        f"SELECT SOPInstanceUID FROM {ALL} WHERE TRUE\n"
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY PatientID ORDER BY SOPInstanceUID) = 1",
        lambda f: [(min(d.SOPInstanceUID for d in ds),) for _p, ds in by_patient(f)],
    )
    yield Statement(
        "window functions",
        f"SELECT DISTINCT PatientID, COUNT(*) OVER (PARTITION BY PatientID) AS n FROM {ALL}",
        lambda f: [(p, len(ds)) for p, ds in by_patient(f)],
    )
    yield Statement(
        "columns without a name",
        f"SELECT COUNT(*), MIN(Modality), PatientID FROM {ALL} GROUP BY PatientID ORDER BY f0_, PatientID",
        lambda f: [(len(ds), min(d.Modality for d in ds), p) for p, ds in by_patient(f)],
    )


def _tables() -> Iterator[Statement]:
    yield Statement(
        "tables joined",
        f"SELECT s.SOPInstanceUID, i.Modality FROM {ALL} s, UNNEST(ReferencedSeriesSequence) r,\n"
        f"UNNEST(r.ReferencedInstanceSequence) ri JOIN {ALL} AS i ON i.SOPInstanceUID = ri.ReferencedSOPInstanceUID\n"
        "WHERE s.Modality = 'SEG'",
        lambda f: [
            (d.SOPInstanceUID, "CT")
            for d in f.of("SEG")
            for r in d.ReferencedSeriesSequence
            for _ in r.ReferencedInstanceSequence
        ],
    )
    yield Statement(
        "tables joined",
        f"WITH c AS (SELECT DISTINCT PatientID FROM {ALL} WHERE Modality = 'SR') SELECT COUNT(*) FROM {ALL}\n"
        "JOIN c USING (PatientID)",
        lambda f: [(sum(d.PatientID in {r.PatientID for r in f.of("SR")} for d in f.all),)],
    )
    yield Statement(
        "set operations",
        f"SELECT Modality FROM {ALL} UNION DISTINCT SELECT 'none' ORDER BY 1",
        lambda f: [(m,) for m in sorted({d.Modality for d in f.all} | {"none"})],
    )
    yield Statement(
        "set operations",
        f"SELECT PatientID FROM {ALL} EXCEPT DISTINCT SELECT PatientID FROM {ALL} WHERE Modality = 'SR'",
        lambda f: [(p,) for p in {d.PatientID for d in f.all} - {d.PatientID for d in f.of("SR")}],
    )
    yield Statement(
        "stars",
        f"SELECT * EXCEPT (b) FROM (SELECT PatientID AS a, Modality AS b, `Rows` AS c FROM {ALL})",
        lambda f: [(d.PatientID, d.get("Rows")) for d in f.all],
    )
    yield Statement(
        "stars",
        f"SELECT * FROM (SELECT SOPInstanceUID FROM {ALL}) REPLACE_ME JOIN (SELECT SOPInstanceUID, Modality\n"
        f"FROM {ALL}) USING (SOPInstanceUID)",
        lambda f: [(d.SOPInstanceUID, d.Modality) for d in f.all],
    )
    yield Statement(
        "stars",
        f"SELECT c.* FROM {ALL}, UNNEST(ContentTemplateSequence) AS c",
        lambda f: [(d.ContentTemplateSequence[0].MappingResource, "1500") for d in f.of("SR")],
    )
    for view in ("segmentations", "segmentations_view"):
        yield Statement(
            "derived tables",
            f"SELECT SegmentedPropertyType.CodeMeaning, COUNT(*) FROM `bigquery-public-data.idc_v18.{view}`\n"
            "GROUP BY 1",
            lambda f: counted(code(s.SegmentedPropertyTypeCodeSequence) for _d, _n, s in f.segments()),
        )
    yield Statement(
        "derived tables",
        "SELECT Quantity.CodeMeaning, Units.CodeValue, COUNT(*) FROM\n"
        "`bigquery-public-data.idc_current.quantitative_measurements` GROUP BY 1, 2",
        lambda f: [
            (*key, n)
            for key, n in Counter(
                (
                    code(i.ConceptNameCodeSequence),
                    code(i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence, "CodeValue"),
                )
                for _r, g in f.groups()
                for i in g.ContentSequence
                if i.ValueType == "NUM"
            ).items()
        ],
    )
    yield Statement(
        "derived tables",
        "SELECT SOPInstanceUID, COUNT(*) FROM `bigquery-public-data.idc_current.measurement_groups` GROUP BY 1",
        lambda f: counted(r.SOPInstanceUID for r, _g in f.groups()),
    )
    yield Statement(
        "the tables and columns of the dataset",
        "SELECT data_type FROM `bigquery-public-data.idc_current.INFORMATION_SCHEMA.COLUMNS`\n"
        "WHERE table_name = 'dicom_all' AND column_name IN ('PatientID', 'Rows', 'ImageType') ORDER BY 1",
        lambda f: [("ARRAY<STRING>",), ("INT64",), ("STRING",)],
    )
    yield Statement(
        "the tables and columns of the dataset",
        "SELECT COUNT(*) FROM `bigquery-public-data`.idc_current.INFORMATION_SCHEMA.TABLES\n"
        "WHERE table_name IN ('dicom_all', 'segmentations', 'ct_index')",
        lambda f: [(3,)],
    )


def _expressions() -> Iterator[Statement]:
    yield Statement(
        "text",
        f"SELECT DISTINCT CONCAT(PatientID, '/', SPLIT(SOPInstanceUID, '.')[SAFE_OFFSET(0)]) FROM {ALL}",
        lambda f: sorted({(f"{d.PatientID}/1",) for d in f.all}),
    )
    yield Statement(
        "text",
        f"SELECT DISTINCT CONCAT(SliceThickness, ' mm') FROM {ALL} WHERE SliceThickness IS NOT NULL",
        lambda f: sorted({(f"{d.SliceThickness} mm",) for d in f.of("CT")}),
    )
    yield Statement(
        "text",
        f"SELECT DISTINCT UPPER(REGEXP_REPLACE(SeriesDescription, r' \\d+$', '')) FROM {ALL} WHERE Modality = 'SR'",
        lambda f: [("REPORT",)],
    )
    for unit, start in (("MONTH", "2020-01-01"), ("YEAR", "2020-01-01"), ("DAY", "2020-01-02")):
        yield Statement(
            "dates",
            f"SELECT DISTINCT DATE_TRUNC(StudyDate, {unit}) FROM {ALL}",
            lambda f, start=start: [(start,)],
        )
    yield Statement(
        "dates",
        f"SELECT DISTINCT EXTRACT(YEAR FROM StudyDate) + 1, DATE_ADD(StudyDate, INTERVAL 30 DAY) FROM {ALL}",
        lambda f: [(2021, "2020-02-01")],
    )
    yield Statement(
        "values that are arrays in BigQuery alone",
        f"SELECT DISTINCT PatientID[SAFE_OFFSET(0)] FROM {ALL}",
        lambda f: sorted({(d.PatientID,) for d in f.all}),
    )
    yield Statement(
        "arrays",
        f"SELECT DISTINCT ARRAY_TO_STRING(ImageType, '|') FROM {ALL}",
        lambda f: sorted({("|".join(d.get("ImageType", [])),) for d in f.all}),
    )
    yield Statement(
        "arrays",
        f"SELECT DISTINCT SAFE_CAST(PixelSpacing[SAFE_OFFSET(1)] AS FLOAT64) FROM {ALL} WHERE Modality = 'CT'",
        lambda f: [(0.5,)],
    )


def _scripts() -> Iterator[Statement]:
    yield Statement(
        "scripts",
        f"DECLARE wanted STRING DEFAULT 'SEG'; SELECT COUNT(*) FROM {ALL} WHERE Modality = wanted",
        lambda f: [(len(f.of("SEG")),)],
    )
    yield Statement(
        "scripts",
        "CREATE TEMP FUNCTION half(x FLOAT64) AS (x / 2);\n"
        f"SELECT DISTINCT half(SAFE_CAST(SliceThickness AS FLOAT64)) FROM {ALL} WHERE Modality = 'CT'",
        lambda f: [(1.25,)],
    )
    yield Statement(
        "scripts",
        f"CREATE TEMP TABLE chosen AS SELECT PatientID, COUNT(*) AS n FROM {ALL} GROUP BY 1;\n"
        "SELECT MAX(n) FROM chosen;\nSELECT COUNT(*) FROM chosen WHERE n >= 3",
        lambda f: [(sum(n >= 3 for n in Counter(d.PatientID for d in f.all).values()),)],
    )
    yield Statement(
        "parameters",
        f"SELECT COUNT(*) FROM {ALL} WHERE Modality = @modality AND `Rows` >= @rows",
        lambda f: [(len(f.of("CT")),)],
        (("modality", "CT"), ("rows", 1)),
    )


def statements() -> list[Statement]:
    """All of them."""
    return [*_cohorts(), *_items(), *_aggregates(), *_tables(), *_expressions(), *_scripts()]


def kinds() -> str:
    """How many there are of each kind, as the table in docs/sql.md."""
    counts: dict[str, int] = defaultdict(int)
    for statement in statements():
        counts[statement.kind] += 1
    lines = [f"| {kind} | {number} |" for kind, number in sorted(counts.items())]
    return "\n".join(
        ["| kind of statement | statements |", "|---|---|", *lines, f"| all | {sum(counts.values())} |"]
    )
