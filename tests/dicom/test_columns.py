"""Headers as columns: refused ones leave nothing, other elements have their place, nothing grows for ever."""

import io
import struct
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from header_feeding import read
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data_sets import MadeFile, made_files
from made_part10 import SEQUENCE_END, UNDEFINED, element, implicit, item, part10, sequence
from pydicom.datadict import DicomDictionary

from harvester.dicom import HeaderColumns, header_limits
from harvester.dicom.budget import HeaderBudget
from harvester.dicom.column_tree import Column, Level
from harvester.dicom.context import HeaderContext
from harvester.dicom.header import Header
from harvester.dicom.other_columns import EntryCache, OtherColumns
from harvester.errors import HeaderLimitError

MR = element(0x00080060, "CS", b"MR")
REFERENCES, CODES, FRAMES = 0x00081140, 0x00082218, 0x52009230
CODE = element(0x00080100, "SH", b"T-1 ")
IMPLICIT = b"1.2.840.10008.1.2\0"


def rows_of(*raws: bytes) -> list[dict[str, Any]]:
    """The rows, through Parquet."""
    columns = HeaderColumns()
    for raw in raws:
        columns.append(read(raw))
    return through_parquet(columns.finish())


def through_parquet(arrays: dict[str, pa.Array]) -> list[dict[str, Any]]:
    file = io.BytesIO()
    table = pa.table(arrays)
    table.validate(full=True)
    pq.write_table(table, file)
    return pq.read_table(file).to_pylist()


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    absent = {"TransferSyntaxUID", "FileMetaInformationGroupLength", *names}
    return {name: value for name, value in row.items() if name not in absent and value not in (None, [])}


def test_columns_begin_anew_after_finish() -> None:
    columns = HeaderColumns()
    columns.append(read(part10(MR, sequence(REFERENCES, item(CODE)))))
    first = columns.finish()
    assert columns.rows == 0
    assert all(len(array) == 0 for array in columns.finish().values())
    columns.append(read(part10(MR, sequence(REFERENCES, item(CODE)))))
    assert columns.finish() == first


def test_a_row_that_lacks_an_attribute_has_null() -> None:
    rows = rows_of(
        part10(MR),
        part10(element(0x00100020, "LO", b"id")),
        part10(sequence(REFERENCES, item(CODE), item())),
        part10(MR),
    )
    assert [row["Modality"] for row in rows] == ["MR", None, None, "MR"]
    assert [row["PatientID"] for row in rows] == [None, "id", None, None]
    assert [row["ReferencedImageSequence"] for row in rows] == [
        *(None, None),
        [{"CodeValue": "T-1"}, {"CodeValue": None}],
        None,
    ]


def test_a_sequence_whose_items_are_all_empty_is_a_column_that_parquet_takes() -> None:
    (row,) = rows_of(part10(sequence(REFERENCES, item(), item())))
    assert row["ReferencedImageSequence"] == [{"SpecificCharacterSet": None}] * 2


GOOD = part10(
    MR,
    element(0x00280030, "DS", b"N/A "),
    element(0x00090010, "LO", b"ACME"),
    element(0x00091001, "OB", b"ab"),
    sequence(REFERENCES, *[item(CODE, sequence(CODES, item(CODE)))] * 6),
    sequence(FRAMES, item(element(0x00091001, "OB", b"ab"))),
)
BAD = part10(
    MR,
    element(0x00100020, "LO", b"id"),
    element(0x00090010, "LO", b"ACME"),
    element(0x00091002, "LO", b"new "),
    element(0x00091003, "OB", b"new "),
    element(0x00281201, "OW", b"new "),
    sequence(
        REFERENCES, item(CODE, element(0x00080070, "LO", b"never "), sequence(CODES, *[item(CODE)] * 9))
    ),
    sequence(FRAMES, *[item(CODE)] * 9, item(element(0x00280030, "DS", b"N/A "))),
    element(0x300A00B0, "SQ", item(CODE)),
)


@pytest.mark.parametrize(
    ("of", "method"),
    [
        (HeaderColumns, "_fill_items"),
        (HeaderColumns, "_put"),
        (HeaderColumns, "_value"),
        (OtherColumns, "add"),
        (OtherColumns, "add_bulk"),
        (OtherColumns, "add_invalid"),
        (HeaderContext, "path"),
        (HeaderBudget, "entry"),
    ],
)
def test_a_header_that_raises_leaves_nothing_behind(of: type, method: str) -> None:
    good, bad = read(GOOD), read(BAD)
    expected = HeaderColumns()
    expected.append(good)
    expected.append(good)
    rows = through_parquet(expected.finish())
    original, raised = getattr(of, method), 0
    for call in range(100):
        columns, calls = HeaderColumns(), []
        columns.append(good)

        def raise_at_last(self: Any, *arguments: Any, at: int = call, calls: list = calls) -> Any:
            calls.append(method)
            if len(calls) > at:
                raise MemoryError
            return original(self, *arguments)

        with patch.object(of, method, raise_at_last):
            try:
                columns.append(bad)
            except MemoryError:
                raised += 1
            else:
                break
        assert columns.rows == 1
        columns.append(good)
        assert through_parquet(columns.finish()) == rows
    assert 1 <= raised < 100


def test_a_header_whose_paths_are_too_long_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_PATH_CHARACTERS", 9000)
    good, columns = read(GOOD), HeaderColumns()
    columns.append(good)
    deep = CODE
    for _ in range(30):
        deep = sequence(REFERENCES, item(element(0x00091001, "LO", b"x "), deep))
    for body in (deep, element(0x00100020, "LO", b"id") * 2 + deep):  # the second is put in order first
        with pytest.raises(HeaderLimitError, match="more than 9000 characters"):
            columns.append(read(part10(body)))
    assert columns.rows == 1
    expected = HeaderColumns()
    expected.append(good)
    assert columns.path_characters == expected.path_characters > 0
    assert through_parquet(columns.finish()) == through_parquet(expected.finish())
    assert columns.path_characters == 0


def test_a_run_of_items_that_ends_with_an_odd_one_is_as_if_read_one_by_one() -> None:
    items = [item(element(0x00280030, "DS", b"%d\\%d " % (i, i))) for i in range(10, 30)]
    items[15] = item(element(0x00280030, "DS", b"N/A.. "))
    header = read(part10(MR, sequence(FRAMES, *items)))
    columns = HeaderColumns()
    columns.append(header)
    columns.append(header)
    for row in through_parquet(columns.finish()):
        found = [one["PixelSpacing"] for one in row["PerFrameFunctionalGroupsSequence"]]
        assert found == [None if i == 25 else [float(i), float(i)] for i in range(10, 30)]
        assert [one["path"] for one in row["invalid_elements"]] == [
            "PerFrameFunctionalGroupsSequence[15].PixelSpacing"
        ]


def nested(depth: int) -> bytes:
    inside = element(0x00100020, "LO", b"id") + element(0x00091001, "OB", b"ab") + CODE
    for level in range(depth):
        inside = sequence(REFERENCES, item(element(0x00080100, "SH", b"%02d" % level), inside))
    return part10(MR, inside)


@pytest.mark.parametrize("depth", [1, 19, 20, 21, 40, 63])
def test_what_is_nested_deeper_than_readers_can_is_among_other_elements(depth: int) -> None:
    (row,) = rows_of(nested(depth))
    level, columns = row, 0
    while level.get("ReferencedImageSequence"):
        (level,) = level["ReferencedImageSequence"]
        columns += 1
    assert columns == min(depth, 20)
    path = "ReferencedImageSequence[0]." * depth
    entries = {one["path"]: one for one in row["OtherElements"]}
    assert path + "00091001" in entries
    assert {one["path"] for one in row["bulk_data"]} == {path + "00091001"}
    if depth > 20:
        assert entries[path + "PatientID"]["Data"] == ["id"]
        codes = [one["Data"] for one in row["OtherElements"] if one["Tag"] == "00080100"]
        assert codes == [*([f"{i:02d}"] for i in range(depth - 21, -1, -1)), ["T-1"]]
    else:
        assert level["PatientID"] == "id"


def test_duckdb_reads_what_is_nested_as_deep_as_columns_go(tmp_path) -> None:
    columns = HeaderColumns()
    columns.append(read(nested(40)))
    pq.write_table(pa.table(columns.finish()), tmp_path / "deep.parquet")
    connection = duckdb.connect()
    path = ".".join(["ReferencedImageSequence[1]"] * 20)
    found = connection.sql(
        f"SELECT {path}.CodeValue, len(OtherElements) FROM '{tmp_path}/deep.parquet'"
    ).fetchone()
    assert found == ("20", 43)


def test_private_sequences_keep_all_that_is_in_them() -> None:
    inner = sequence(REFERENCES, item(CODE), item(element(0x00091003, "FD", struct.pack("<d", 0.5))))
    raw = part10(
        element(0x00090010, "LO", b"ACME"),
        element(
            0x00091001,
            "SQ",
            item(element(0x00090010, "LO", b"INNER "), element(0x00091002, "DS", b"1\\2 "), inner),
        ),
    )
    (row,) = rows_of(raw)
    found = [(one["path"], one["VR"], one["Creator"], one["Data"]) for one in row["OtherElements"]]
    assert found == [
        ("00090010", "LO", None, ["ACME"]),
        ("00091001", "SQ", "ACME", []),
        ("00091001[0].00090010", "LO", None, ["INNER"]),
        ("00091001[0].00091002", "DS", "INNER", ["1", "2"]),
        ("00091001[0].ReferencedImageSequence", "SQ", None, []),
        ("00091001[0].ReferencedImageSequence[0].CodeValue", "SH", None, ["T-1"]),
        ("00091001[0].ReferencedImageSequence[1].00091003", "FD", None, ["0.5"]),
    ]


def test_a_character_set_holds_for_its_item_and_what_is_in_it() -> None:
    cyrillic, greek = "Жюль".encode("iso8859-5"), "Διονυσιος".encode("iso8859-7")
    name = element(0x00081030, "LO", cyrillic)
    raw = part10(
        element(0x00080005, "CS", b"ISO_IR 144"),
        sequence(
            REFERENCES,
            item(element(0x00080005, "CS", b"ISO_IR 126"), element(0x00081030, "LO", greek + b" ")),
            item(name),
            *[item(element(0x00080005, "CS", b"ISO_IR 126"), element(0x00081030, "LO", greek + b" "))] * 6,
            *[item(name)] * 6,
        ),
        element(0x00104000, "LT", cyrillic),
    )
    (row,) = rows_of(raw)
    texts = [one["StudyDescription"] for one in row["ReferencedImageSequence"]]
    assert texts == ["Διονυσιος", "Жюль", *["Διονυσιος"] * 6, *["Жюль"] * 6]
    assert row["PatientComments"] == "Жюль"


def test_the_same_bytes_in_another_character_set_are_another_text() -> None:
    text = "Жюль".encode("iso8859-5")
    raws = [
        part10(
            element(0x00080005, "CS", b"ISO_IR " + number),
            element(0x00081030, "LO", text),
            element(0x00091001, "LO", text),
        )
        for number in (b"144", b"100", b"144")
    ]
    rows = rows_of(*raws)
    assert [row["StudyDescription"] for row in rows] == ["Жюль", text.decode("latin-1"), "Жюль"]
    assert [row["OtherElements"][0]["Data"][0] for row in rows] == [row["StudyDescription"] for row in rows]


@pytest.mark.parametrize("vr", ["DS", "CS"])
def test_the_attribute_s_vr_decides_whether_a_character_set_does(vr: str) -> None:
    raws = [
        part10(element(0x00080005, "CS", b"ISO_IR " + number), element(0x00100010, vr, b"\xfcber"))
        for number in (b"100", b"144", b"100", b"144")
    ]
    latin, cyrillic = b"\xfcber".decode("latin-1"), b"\xfcber".decode("iso8859-5")
    names = [row["PatientName"]["Alphabetic"] for row in rows_of(*raws)]
    assert names == [latin, cyrillic] * 2


def test_a_private_value_that_is_invalid_is_so_in_each_header() -> None:
    raw = part10(MR, element(0x00090010, "LO", b"MAKER "), element(0x00091010, "CS", b"A\x1b(QB "))
    assert [len(row["invalid_elements"]) for row in rows_of(raw, raw, raw)] == [1] * 3


def test_no_fragments_are_the_same_whatever_earlier_headers_had() -> None:
    title = element(0x00420010, "ST", b"title ")
    text = part10(element(0x0040A160, "UT", b"text"), title)
    none = part10(element(0x0040A160, "UT", SEQUENCE_END + bytes(4), UNDEFINED), title)
    first, _, last = rows_of(none, text, none)
    assert first == last


def test_a_text_in_front_of_its_character_set_is_read_with_it() -> None:
    text = "Жюль".encode("iso8859-5")
    raw = part10(element(0x00081030, "LO", text), element(0x00080005, "CS", b"ISO_IR 144"))
    (row,) = rows_of(raw)
    assert row["StudyDescription"] == "Жюль"


def test_one_header_whose_texts_fit_no_column_harms_no_other() -> None:
    odd = part10(
        element(0x00080005, "CS", b"unicode_escape"),
        element(0x00081030, "LO", b"\xe9\\ud800"),
        element(0x00100010, "PN", b"\xe9\\ud800"),
        element(0x00091001, "LT", b"\xe9\\ud800"),
    )
    assert [row["Modality"] for row in rows_of(GOOD, odd, GOOD)] == ["MR", None, "MR"]


def test_unknown_tags_of_many_headers_are_forgotten() -> None:
    unknown, known, level = Column(), Column(), Level()
    level.columns[0x00080060] = known
    for tag in range(header_limits.MAX_UNKNOWN_TAGS + 1):
        level.columns[0x40000000 + tag] = unknown
    level.drop_unknown(unknown)
    assert level.columns == {0x00080060: known}


def test_what_is_remembered_of_values_stays_small() -> None:
    column, entries = Column(), EntryCache()
    for number in range(3 * header_limits.MAX_CACHED_ENTRIES):
        column.keep(b"%06d" % number, number)
        entries.keep("", (number, "LO", b"x ", None), (("", "00091001", "LO", None, ["x"]), False))
    assert len(column.cache) <= header_limits.MAX_CACHED_VALUES
    assert len(entries) <= header_limits.MAX_CACHED_ENTRIES
    assert len(entries.at("")) == len(entries)


@settings(max_examples=25, deadline=None)
@given(files=st.lists(made_files(), min_size=1, max_size=5))
def test_made_files_become_rows_that_do_not_depend_on_each_other(files: list[MadeFile]) -> None:
    together = rows_of(*[made.raw for made in files], *[made.raw for made in files])
    for made, row, again in zip(files, together, together[len(files) :], strict=False):
        (alone,) = rows_of(made.raw)
        assert comparable(row) == comparable(alone)
        assert comparable(again) == comparable(alone)


@pytest.mark.parametrize(
    "odd",
    [
        element(0x00080060, "CS", b"CT"),  # there twice
        element(0x00090010, "LO", b"OTHER "),  # the same of a creator
        element(0x60020010, "US", b"\7\0"),
        sequence(0x00080080, item(CODE)),  # items where there is a text
        element(0x0040A160, "UT", item(b"abcd") + SEQUENCE_END + bytes(4), UNDEFINED),
    ],
)
def test_an_odd_element_shifts_no_other_row(odd: bytes) -> None:
    private = element(0x00090010, "LO", b"MAKER "), element(0x00091010, "LO", b"a value ")
    raws = [
        part10(MR, *private, element(0x00200013, "IS", b"%d " % number), *([odd] if number % 3 else []))
        for number in range(7)
    ]
    assert [comparable(row) for row in rows_of(*raws)] == [comparable(rows_of(raw)[0]) for raw in raws]


def comparable(value: Any) -> Any:
    """A row without what is absent, and NaN equal to itself."""
    if isinstance(value, dict):
        held = {name: comparable(one) for name, one in value.items()}
        return {name: one for name, one in held.items() if one is not None}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    return repr(value) if isinstance(value, float) else value


def test_numbers_of_ambiguous_vrs_follow_their_context() -> None:
    lut = item(implicit(0x00283002, struct.pack("<3H", 1, 0, 16)), implicit(0x00283006, b"\5\0"))
    table = item(implicit(0x00283002, struct.pack("<3H", 2, 0, 16)), implicit(0x00283006, b"\5\0\6\0"))
    raw = part10(implicit(0x00280103, b"\1\0"), implicit(0x00283000, lut + table), transfer_syntax=IMPLICIT)
    (row,) = rows_of(raw)
    assert [one["LUTData"] for one in row["ModalityLUTSequence"]] == [[5], None]
    assert [one["path"] for one in row["bulk_data"]] == ["ModalityLUTSequence[1].LUTData"]


def test_paths_name_each_item_once() -> None:
    context = HeaderContext()
    items: list = []
    context.sequences.append(("A", 0, items))
    assert context.path("x") == "A[0].x"
    context.sequences[-1] = ("A", 1, items)
    assert context.path("x") == "A[1].x"
    context.sequences.append(("B", 2, items))
    assert context.path("y") == "A[1].B[2].y"
    context.sequences.pop()
    assert context.path("z") == "A[1].z"


SEQUENCES = sorted(
    tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ" and 8 < tag >> 16 < 0x7FE0
)
TEXTS = sorted(tag for tag, entry in DicomDictionary.items() if entry[0] == "LO" and 8 < tag >> 16 < 0x7FE0)


def wide(sequences: list[int], columns_each: int) -> Header:
    inside = item(*(element(tag, "LO", b"a ") for tag in TEXTS[: columns_each - 1]))
    return read(part10(*(sequence(tag, inside) for tag in sequences)))


def test_a_header_of_too_many_different_attributes_is_refused_and_leaves_nothing() -> None:
    columns = HeaderColumns()
    columns.append(read(GOOD))
    before = columns.width
    for start in range(0, 600, 100):  # each with others
        with pytest.raises(HeaderLimitError, match="more than 5000 different attributes"):
            columns.append(wide(SEQUENCES[start : start + 100], 51))
    assert columns.rows == 1
    assert columns.width == before
    assert not columns.crowded
    columns.append(read(GOOD))
    assert through_parquet(columns.finish()) == rows_of(GOOD, GOOD)


def test_columns_are_crowded_when_headers_share_too_few_and_begin_small_again() -> None:
    columns, headers = HeaderColumns(), 0
    while not columns.crowded:
        columns.append(wide(SEQUENCES[100 * headers : 100 * headers + 100], 40))
        headers += 1
    assert headers == 3
    columns.append(wide(SEQUENCES[:100], 40))  # which adds none
    assert len(columns.finish()) > 300
    assert not columns.crowded
    assert columns.width == 0
    columns.append(read(GOOD))
    assert through_parquet(columns.finish()) == rows_of(GOOD)


def test_columns_are_crowded_when_their_paths_are_long() -> None:
    columns = HeaderColumns()
    inside = sequence(REFERENCES, item(*(element(0x00091000 + i, "LO", b"") for i in range(100))))
    with patch("harvester.dicom.header_limits.MAX_PATH_CHARACTERS", 10_000):
        columns.append(read(part10(inside)))
        assert not columns.crowded
        columns.append(read(part10(inside)))
        columns.append(read(part10(inside)))
        assert columns.crowded
        columns.finish()
        assert not columns.crowded
