"""The compiled core gives the rows that Python gives, or leaves a header to Python."""

import ctypes
import math
import random
from typing import Any

import pyarrow as pa
import pytest
from header_feeding import content, sibling, whole_headers
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data_sets import MadeFile, made_files
from made_part10 import ITEM, ITEM_END, UNDEFINED, element, implicit, item, part10, sequence

from harvester.dicom import (
    Header,
    HeaderColumns,
    HeaderParser,
    InstanceColumns,
    NeedMore,
    PlainHeaders,
    header_limits,
)
from harvester.dicom.compiled.interface import FACTS, PLAIN, core, limits
from harvester.dicom.compiled.plain import PlainElements, PlainRows
from harvester.errors import HeaderLimitError, ObjectError

pytestmark = pytest.mark.skipif(core() is None, reason="the compiled core is not built")

SIZE = 1 << 20  # of an object whose header is given
PIXELS = element(0x7FE00010, "OW", b"", 1 << 19)


def parsed(raw: bytes, size: int) -> Header | None:
    """What the parser in Python says; None if it refuses the header or needs more."""
    try:
        answer = HeaderParser(size).feed(raw)
    except ObjectError:
        return None
    return answer if isinstance(answer, Header) else None


def plain(raw: bytes, size: int) -> Any:
    return PlainHeaders(header_limits.MAX_HEADER_BYTES).read(raw, size)


def comparable(value: Any) -> Any:
    """A value without the fields that are NULL: rows together have more fields than a row alone."""
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def rows_of(columns: InstanceColumns | HeaderColumns | PlainRows) -> list[Any]:
    table = pa.table(columns.finish())
    table.validate(full=True)
    return [comparable(row) for row in table.to_pylist()]


def row_in_python(header: Header) -> Any:
    columns = HeaderColumns()
    columns.append(header)
    return rows_of(columns)[0]


def compare(raw: bytes, size: int, columns: PlainRows) -> Any:
    """The row that the core makes, after a comparison with Python's; None if it leaves the header to it."""
    found = plain(raw, size)
    if not isinstance(found, Header):
        return None
    expected = parsed(raw, size)
    assert expected is not None, "the core accepts what the parser refuses"
    assert content(found) == content(expected)
    assert {tag: expected.value(tag) for tag in found.known_values} == found.known_values
    assert isinstance(found.elements, PlainElements)
    if not columns.append(found.elements):
        return None
    try:
        return row_in_python(expected)
    except HeaderLimitError:
        pytest.fail("the core accepts what the columns refuse")


def test_real_headers_give_the_same_rows() -> None:
    columns = PlainRows(core())
    headers = whole_headers()
    expected = [compare(raw, len(raw) + SIZE, columns) for raw in headers.values()]
    kept = [row for row in expected if row is not None]
    assert rows_of(columns) == kept
    assert len(kept) > len(headers) * 2 // 3


@pytest.mark.parametrize("seed", range(2))
def test_changed_headers_give_the_same_rows_or_are_left_to_python(seed: int) -> None:
    pick = random.Random(seed)
    columns = PlainRows(core())
    expected = []
    for raw in whole_headers().values():
        if len(raw) < 8000:
            changed = sibling(raw, pick)
            expected.append(compare(changed, len(changed) + pick.choice((0, SIZE)), columns))
    kept = [row for row in expected if row is not None]
    assert rows_of(columns) == kept
    assert kept


@settings(max_examples=40, deadline=None)
@given(files=st.lists(made_files(), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_made_headers_give_the_same_rows(files: list[MadeFile], seed: int) -> None:
    pick = random.Random(seed)
    columns = PlainRows(core())
    raws = [made.raw for made in files] + [sibling(made.raw, pick) for made in files]
    expected = [compare(raw, len(raw), columns) for raw in raws]
    assert rows_of(columns) == [row for row in expected if row is not None]


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00080020, "DA", b"20241301"),  # no such month
        (0x00080020, "DA", b"1.2."),
        (0x00080030, "TM", b"2204445 "),
        (0x0008002A, "DT", b"20240101+9900"),
        (0x00181063, "DS", b"N/A "),
        (0x00181063, "DS", b"1e999 "),
        (0x00200013, "IS", b"12x "),
        (0x00200013, "IS", b"99999999999999999999"),
        (0x00200013, "IS", b"1\\2 "),
        (0x00080060, "CS", b"CT\\MR "),
        (0x00280010, "US", b"\1\0\2\0"),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_told_in_the_same_words(
    tag: int, vr: str, value: bytes
) -> None:
    raw = part10(element(tag, vr, value), PIXELS)
    header = parsed(raw, SIZE)
    columns = InstanceColumns()
    columns.append(plain(raw, SIZE))
    assert rows_of(columns) == [row_in_python(header)]
    assert row_in_python(header)["invalid_elements"]


def test_odd_and_plain_headers_stay_in_order() -> None:
    columns = InstanceColumns()
    numbers = []
    for number in range(30):
        patient = element(0x00100020, "LO", b"%02d" % number)
        kind = (b"ISO_IR 100", b"ISO_IR 144")[number % 3 == 1]  # the core does not know Cyrillic
        raw = part10(element(0x00080005, "CS", kind), element(0x00080050, "SH", b"\xe4\xf6"), patient, PIXELS)
        header = plain(raw, SIZE)
        columns.append(header)
        numbers.append(f"{number:02}")
    rows = rows_of(columns)
    assert [row["PatientID"] for row in rows] == numbers
    assert {row["AccessionNumber"] for row in rows} == {"äö", "фі"}


def test_columns_begin_anew_after_each_part() -> None:
    columns = InstanceColumns()
    for patient in ("A ", "B "):
        inner = item(element(0x00080100, "SH", b"T-1 ")) if patient == "A " else item()
        raw = part10(sequence(0x00081032, inner), element(0x00100020, "LO", patient.encode()), PIXELS)
        columns.append(plain(raw, SIZE))
        (row,) = rows_of(columns)
        assert row["PatientID"] == patient.strip()
        assert row["ProcedureCodeSequence"] == ([{"CodeValue": "T-1"}] if patient == "A " else [{}])


def test_a_header_that_is_refused_leaves_no_trace() -> None:
    columns = PlainRows(core())
    good = part10(element(0x00100020, "LO", b"A "), PIXELS)
    cyrillic = element(0x00080005, "CS", b"ISO_IR 144")
    nested = sequence(0x00081032, item(element(0x00080100, "SH", b"x "), element(0x00080104, "LO", b"\xe4 ")))
    assert columns.append(plain(good, SIZE).elements)
    assert not columns.append(plain(part10(cyrillic, nested, PIXELS), SIZE).elements)
    assert columns.append(plain(good, SIZE).elements)
    rows = rows_of(columns)
    assert rows[0] == rows[1]
    assert "ProcedureCodeSequence" not in rows[0]


@pytest.mark.parametrize("limit", ["MAX_WORK", "MAX_ATTRIBUTES", "MAX_EMPTY_ELEMENTS", "MAX_PATH_CHARACTERS"])
def test_what_exceeds_a_bound_is_left_to_python(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, limit, 3)
    nested = sequence(
        0x00081032,
        item(*(element(0x00091000 + n, "LO", b"") for n in range(8)), element(0x00100010, "PN", b"")),
    )
    tops = [element(tag, "LO", b"") for tag in (0x00100020, 0x00101000, 0x00101001, 0x00102110)]
    raw = part10(nested, *tops, PIXELS)
    assert not PlainRows(core()).append(plain(raw, SIZE).elements)


def test_a_private_element_in_implicit_vr_has_the_dictionary_s_value_representation() -> None:
    creator = implicit(0x00090010, b"GEMS_IDEN_01")
    raw = part10(
        implicit(0x00080060, b"MR"),
        creator,
        implicit(0x00091004, b"SH01"),
        implicit(0x00091027, b"\1\0\0\0"),
        transfer_syntax=b"1.2.840.10008.1.2\0",
    )
    header = plain(raw, len(raw))
    columns = PlainRows(core())
    assert columns.append(header.elements)
    assert rows_of(columns) == [row_in_python(parsed(raw, len(raw)))]


def skipped(tag: int, value: bytes) -> bytes:
    """A binary value so long that the parser in Python does not keep it."""
    return element(tag, "OB", value + bytes(header_limits.MAX_KEPT_BINARY))


@pytest.mark.parametrize(
    "elements",
    [
        pytest.param([element(0x00081032, "LO", b"")], id="an empty text in place of a sequence"),
        pytest.param([element(0x00081032, "LO", b"CT")], id="a text in place of a sequence"),
        pytest.param([element(0x00080120, "UR", b"a\x1bb ")], id="an escape sequence in a URI"),
        pytest.param([element(0x00283002, "IS", b"-1\\0\\16 ")], id="a LUT descriptor in text"),
        pytest.param(
            [skipped(0x00280103, b"\1\0"), element(0x00280106, "UN", b"\xff\xff")], id="a skipped signedness"
        ),
        pytest.param(
            [element(0x00080005, "CS", b" " * 1020 + b"ISO_IR 192"), element(0x00080050, "SH", b"\xc3\xa4")],
            id="a character set behind blanks",
        ),
        pytest.param(
            [
                sequence(
                    0x00091001,
                    item(skipped(0x00080005, b"ISO_IR 192"), element(0x00080050, "SH", b"\xc3\xa4")),
                )
            ],
            id="a skipped character set",
        ),
        pytest.param([skipped(0x00080018, b"1.2 ")], id="a skipped UID"),
        pytest.param(
            [
                sequence(
                    0x00081032,
                    ITEM
                    + UNDEFINED.to_bytes(4, "little")
                    + element(0x00080100, "SH", b"A ")
                    + ITEM_END
                    + b"UI\0\0",
                )
            ],
            id="a delimitation that reads as an element",
        ),
        pytest.param(
            [
                sequence(0x7FE00001, item(element(0x00080100, "SH", b"A "))),
                element(0x7FE00010, "OB", ITEM + bytes(4), UNDEFINED),
            ],
            id="an offset table of items",
        ),
    ],
)
def test_an_odd_element_gives_what_python_gives(elements: list[bytes]) -> None:
    raw = part10(element(0x00080000, "UL", bytes(4)), *elements, PIXELS)
    columns = PlainRows(core())
    expected = compare(raw, SIZE, columns)
    assert rows_of(columns) == ([] if expected is None else [expected])


def test_a_transfer_syntax_in_an_item_is_none() -> None:
    meta = sequence(0x00020010, item(element(0x00020012, "UI", b"1.2.3\0")))
    raw = bytes(128) + b"DICM" + meta + element(0x00080060, "CS", b"CT") + PIXELS
    assert compare(raw, SIZE, PlainRows(core())) is None


def test_bytes_behind_the_object_s_end_are_no_part_of_it() -> None:
    raw = part10(element(0x00080060, "CS", b"CT"), element(0x00100020, "LO", b"A "))
    for size in range(200, len(raw)):
        assert compare(raw, size, PlainRows(core())) is None


@pytest.mark.parametrize(
    ("vr", "length", "limit"),
    [("UT", header_limits.MAX_KEPT_VALUE + 2, 1 << 30), ("UT", 1 << 20, 1 << 19), ("OB", 1 << 20, 1 << 30)],
)
def test_the_core_asks_for_no_bytes_that_python_would_not(vr: str, length: int, limit: int) -> None:
    raw = part10(element(0x00080060, "CS", b"CT"), element(0x00104000, vr, b"", length))
    assert not isinstance(PlainHeaders(limit).read(raw, 1 << 30), NeedMore)


def test_lists_of_numbers_cost_what_they_cost_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "MAX_WORK", 100)
    for vr, value in [("DS", b"1\\" * 40), ("LO", b"1\\1\\" * 20), ("DS", b"1\\1 \\" * 20)]:
        raw = part10(element(0x00080060, "CS", b"CT"), element(0x30060050, vr, value), PIXELS)
        compare(raw, SIZE, PlainRows(core()))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_look_up_that_is_interrupted_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = part10(
        implicit(0x00080060, b"MR"),
        implicit(0x00090010, b"SIEMENS MED"),
        implicit(0x00091010, b"12"),
        transfer_syntax=b"1.2.840.10008.1.2\0",
    )

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("harvester.dicom.compiled.interface.private_vr", interrupted)
        assert plain(raw, len(raw)) is None
    assert compare(raw, len(raw), PlainRows(core()))


def test_what_an_outer_data_set_decides_is_looked_up_once() -> None:
    # Looked up for each item, this would take minutes.
    items = item(element(0x00280106, "UN", b"\xff\xff")) * 300_000
    outer = b"".join(element(0x00110000 + number, "LO", b"a ") for number in range(0x1000, 0xF000))
    raw = part10(element(0x00080060, "CS", b"CT"), outer, element(0x52009229, "SQ", items), PIXELS)
    columns = PlainRows(core())
    assert columns.append(plain(raw, len(raw) + SIZE).elements)
    numbers = columns.finish()["SharedFunctionalGroupsSequence"].flatten().field("SmallestImagePixelValue")
    assert numbers.unique().to_pylist() == [0xFFFF]


def test_the_core_writes_no_further_than_its_facts() -> None:
    raw = part10(element(0x00080060, "CS", b"CT"), PIXELS)
    found = ctypes.create_string_buffer(b"\xa5" * 256)
    loaded, bounds = core(), ctypes.byref(limits(len(raw)))
    assert loaded.facts(loaded.dictionary, bounds, raw, len(raw), SIZE, found) == PLAIN
    assert found.raw[: FACTS.size] != b"\xa5" * FACTS.size
    assert found.raw[FACTS.size : 256] == b"\xa5" * (256 - FACTS.size)
