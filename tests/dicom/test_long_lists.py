import struct

import pyarrow as pa
import pytest
from header_feeding import read
from hypothesis import given, settings
from hypothesis import strategies as st
from made_part10 import element, item, part10, sequence

from harvester.dicom import HeaderColumns
from harvester.dicom.long_lists import MIN_BYTES, LongLists

CONTOUR_DATA, CONTOURS = 0x30060050, 0x30060040
WINDOW_CENTERS, REFERENCED_FRAMES = 0x00281050, 0x00081160
SAFE = ["1.5", "-0", "+7", ".5", "5.", "1E+5", "-2.5e-3", "4.9e-324", "2.2250738585072011e-308", "0.1"]
ODD = [
    "",
    " ",
    " 1.5",
    "1.5 ",
    "1e400",
    "-1e400",
    "1e-400",
    "nan",
    "inf",
    "0x1F",
    "1_0",
    "--1",
    "1 5",
    "1e",
    ".",
]


def row_of(*elements: bytes) -> dict:
    columns = HeaderColumns()
    columns.append(read(part10(element(0x00080060, "CS", b"RT"), *elements)))
    return pa.table(columns.finish()).to_pylist()[0]


def texts(values: list[str], least: int = 2 * MIN_BYTES) -> bytes:
    """The values, repeated up to a length that is decoded together with others."""
    text = "\\".join(values)
    raw = "\\".join([text] * (least // (len(text) + 1) + 1)).encode()
    return raw + b" " * (len(raw) % 2)


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongLists, "take", lambda *_: None)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e4, 1e4).map(lambda number: f"{number:.5f}"),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from(SAFE),
)


@settings(max_examples=150, deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=40))
def test_each_decimal_string_is_the_float_that_python_reads(values: list[str]) -> None:
    raw = texts(values)
    (found,) = row_of(sequence(CONTOURS, item(element(CONTOUR_DATA, "DS", raw))))["ContourSequence"]

    exact = [float(text) for text in raw.decode().split("\\")]
    assert struct.pack(f"{len(exact)}d", *found["ContourData"]) == struct.pack(f"{len(exact)}d", *exact)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_is_read_as_without_the_bulk(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, raw = texts(["1.5", "2"]), texts([*SAFE, odd])
    # In the column's usual VR, behind and in front of lists that are plain.
    lists = [item(element(CONTOUR_DATA, "DS", one)) for one in (plain, raw, plain)]
    both = (element(WINDOW_CENTERS, "DS", raw), sequence(CONTOURS, *lists))
    bulk = row_of(*both)
    one_by_one(monkeypatch)

    assert repr(bulk) == repr(row_of(*both))


@pytest.mark.parametrize("odd", ["", "1.0", "1.5", "+5", " 5", "0x1F", "007", "9223372036854775808", "1e3"])
def test_an_odd_integer_is_read_as_without_the_bulk(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = element(REFERENCED_FRAMES, "IS", texts(["17", "-3", odd]))
    bulk = row_of(frames)
    one_by_one(monkeypatch)

    assert repr(bulk) == repr(row_of(frames))


@pytest.mark.parametrize("odd", ["1.5", "1_5", "nan"])
def test_lists_of_many_items_of_one_layout_are_read_as_without_the_bulk(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [texts([f"{number:03d}", "2.5"]) for number in range(30)]
    values[25] = values[25].replace(b"2.5", odd.encode(), 1)
    contours = [
        item(element(0x30060046, "IS", b"%02d" % number), element(CONTOUR_DATA, "DS", raw))
        for number, raw in enumerate(values)
    ]
    bulk = row_of(sequence(CONTOURS, *contours))
    one_by_one(monkeypatch)

    assert repr(bulk) == repr(row_of(sequence(CONTOURS, *contours)))
    assert bulk["ContourSequence"][29]["ContourData"][:2] == [29, 2.5]


def test_a_list_that_is_infinite_is_invalid_and_the_others_of_its_header_are_not() -> None:
    infinite, plain = texts(["1", "1e999"]), texts(["1", "2"])
    row = row_of(sequence(CONTOURS, *(item(element(CONTOUR_DATA, "DS", raw)) for raw in (infinite, plain))))

    assert row["ContourSequence"][0]["ContourData"] is None
    assert row["ContourSequence"][1]["ContourData"][:2] == [1, 2]
    assert [one["path"] for one in row["invalid_elements"]] == ["ContourSequence[0].ContourData"]


def test_long_lists_of_several_headers_stay_with_their_headers() -> None:
    columns = HeaderColumns()
    for number in range(3):
        contour = item(element(CONTOUR_DATA, "DS", texts([str(number)])))
        columns.append(read(part10(element(0x00080060, "CS", b"RT"), sequence(CONTOURS, contour))))
    rows = pa.table(columns.finish()).to_pylist()

    assert [set(row["ContourSequence"][0]["ContourData"]) for row in rows] == [{0}, {1}, {2}]
