"""Every real file: what is in Parquet equals what pydicom reads, and nothing is lost on the way."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from checkout import CORPUS
from oracle_comparison import HARVEST_COLUMNS
from pydicom_oracle import differences, expected_row, losses

from harvester.dicom.columns import HeaderColumns
from harvester.dicom.header import Header
from harvester.dicom.part10 import HeaderParser
from harvester.errors import NotDicomError, ObjectError, TruncatedError

PACKAGE = Path(pydicom.__file__).parent / "data"
WINDOW = 65_536

# What pydicom reads without a word although the file ends inside its header.
CUT = {
    "cut_in_header.dcm",
    "cut_in_deflate_stream.dcm",
    "rtplan_truncated.dcm",
}
# No element at all behind the prefix: pydicom gives an empty data set.
EMPTY = "only_132_bytes.dcm"
# DICM stands by chance where a prefix would: pydicom begins to read behind it.
PREFIX_BY_CHANCE = "no_preamble_dicm_in_data"
WITHOUT_PREAMBLE = {"ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtstruct.dcm"}


def corpus_files() -> dict[str, list[tuple[Path, bool]]]:
    """The corpus's files by source, and whether each of them is DICOM."""
    sources: dict[str, list[tuple[Path, bool]]] = {}
    if (CORPUS / "inventory.csv").exists():
        with (CORPUS / "inventory.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                entry = (CORPUS / line["path"], line["kind"] != "not dicom")
                sources.setdefault(line["source"], []).append(entry)
    return sources


def package_files() -> Iterator[tuple[Path, bool]]:
    """The files that the pydicom package carries."""
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".json"):
            with path.open("rb") as file:
                yield path, file.read(132)[128:] == b"DICM" or path.name in WITHOUT_PREAMBLE


FILES = {"pydicom's package": list(package_files())} | corpus_files()
needs_corpus = pytest.mark.skipif(len(FILES) == 1, reason="the corpus of real files is not here")


def header_of(raw: bytes) -> Header:
    parser = HeaderParser(len(raw))
    answer = parser.feed(raw[:WINDOW])
    while not isinstance(answer, Header):
        assert answer.start < len(raw), "the parser asks for bytes behind the object's end"
        answer = parser.feed(raw[answer.start : max(answer.stop, answer.start + WINDOW)])
    return answer


def rows_through_parquet(headers: list[Header]) -> list[dict[str, Any]]:
    columns = HeaderColumns()
    for header in headers:
        columns.append(header)
    file = io.BytesIO()
    pq.write_table(pa.table(columns.finish()), file)
    rows = pq.read_table(file).to_pylist()
    known = [{name: getattr(header, name) for name in HARVEST_COLUMNS} for header in headers]
    return [row | more for row, more in zip(rows, known, strict=True)]


@pytest.mark.parametrize("source", FILES)
def test_rows_equal_what_pydicom_reads_and_lose_nothing(source: str) -> None:
    paths = [path for path, is_dicom in FILES[source] if is_dicom]
    paths = [path for path in paths if path.name not in CUT | {EMPTY, PREFIX_BY_CHANCE}]
    if not paths:
        pytest.skip("no DICOM file in this source")
    found = []
    rows = rows_through_parquet([header_of(path.read_bytes()) for path in paths])
    for path, row in zip(paths, rows, strict=True):
        expected = expected_row(path)
        found += [f"{path.name}: {what}" for what in differences(expected, row) + losses(expected, row)]
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:200])


@pytest.mark.parametrize("source", FILES)
def test_what_is_no_dicom_or_is_cut_in_its_header_gives_no_row(source: str) -> None:
    wrong = {path for path, is_dicom in FILES[source] if not is_dicom or path.name in CUT | {EMPTY}}
    if not wrong:
        pytest.skip("every file in this source is whole DICOM")
    for path in sorted(wrong):
        with pytest.raises(TruncatedError if path.name in CUT else ObjectError):
            header_of(path.read_bytes())


@needs_corpus
def test_a_prefix_that_stands_there_by_chance_is_no_prefix() -> None:
    path = CORPUS / "dcm4che" / PREFIX_BY_CHANCE
    (row,) = rows_through_parquet([header_of(path.read_bytes())])
    assert row["preamble"] == "none"
    assert row["SpecificCharacterSet"] == ["ISO_IR 100"]
    assert row["SeriesDescription"] == "MA MAMMO SCREEN DIGITAL BIL, Screening"


def test_text_is_no_dicom() -> None:
    with pytest.raises(NotDicomError):
        header_of(b"# A page of text\n" * 100)
