"""Values as the value representations say; how they equal pydicom's is held by `test_odd_values`."""

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import VR

from harvester.dicom.charset import DEFAULT
from harvester.dicom.values import DECODERS, Values

NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}


def decoded(vr: str, raw: bytes) -> Values:
    return DECODERS[vr](raw, DEFAULT)


def test_every_value_representation_but_bytes_and_items_has_a_decoder() -> None:
    plain = {vr for vr in VR if len(vr) == 2}
    assert plain - DECODERS.keys() == {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"}


@pytest.mark.parametrize("vr", DECODERS)
def test_nothing_is_no_value(vr: str) -> None:
    assert decoded(vr, b"") == []


@pytest.mark.parametrize("vr", DECODERS)
@given(raw=st.binary(max_size=40) | st.text("0123456789.+-eE\\ :^=ab\0_", max_size=40).map(str.encode))
def test_any_bytes_are_values_or_a_value_error(vr: str, raw: bytes) -> None:
    try:
        values = decoded(vr, raw)
    except (ValueError, OverflowError):
        return
    assert isinstance(values, list | array)


@pytest.mark.parametrize("vr", NUMBERS)
def test_numbers_that_do_not_fill_their_bytes_are_refused(vr: str) -> None:
    width = struct.calcsize(NUMBERS[vr])
    assert len(decoded(vr, bytes(3 * width))) == 3
    with pytest.raises(ValueError, match="not a multiple"):
        decoded(vr, bytes(3 * width + 1))


@pytest.mark.parametrize("vr", NUMBERS)
@pytest.mark.parametrize("count", [2, 15, 16, 17, 1000])
def test_few_and_many_numbers_are_read_alike(vr: str, count: int) -> None:
    numbers = [number % 100 for number in range(count)]
    assert [*decoded(vr, struct.pack(f"<{count}{NUMBERS[vr]}", *numbers))] == numbers


@pytest.mark.parametrize("vr", ["DS", "IS"])
@pytest.mark.parametrize("count", [2, 15, 16, 17, 1000])
def test_few_and_many_number_texts_are_read_alike(vr: str, count: int) -> None:
    texts = [str(number) for number in range(count)]
    assert [*decoded(vr, "\\".join(texts).encode())] == [*range(count)]
    texts[1] = ""  # an empty one among them is none, however many they are
    assert [*decoded(vr, "\\".join(texts).encode())] == [0, None, *range(2, count)]


# With a pattern that can split digits in two ways these take minutes, and one test has two.
@pytest.mark.parametrize("vr", ["DS", "IS"])
@pytest.mark.parametrize("end", [b"x", b".x", b"e", b"e+", b" 1", b"\\"])
def test_a_million_digits_are_refused_or_read_at_once(vr: str, end: bytes) -> None:
    with pytest.raises((ValueError, OverflowError)):
        decoded(vr, b"1" * 1_000_000 + end if end != b"\\" else b"1" * 1_000_000 + b"_\\1")


@pytest.mark.parametrize("raw", [b"1e99999999", b"1E+999999999 ", b"9" * 5000, b"1e19", b"-1e400"])
def test_an_integer_beyond_64_bits_is_refused_before_it_is_made(raw: bytes) -> None:
    with pytest.raises((ValueError, OverflowError)):
        decoded("IS", raw)


@pytest.mark.parametrize("vr", ["DA", "TM", "DT", "AT", "PN", "DS", "IS"])
def test_a_megabyte_of_one_character_are_refused_or_read_at_once(vr: str) -> None:
    for one in (b"1", b" ", b"=", b"^", b"\\", b".", b"-"):
        try:
            decoded(vr, one * (1 << 20))
        except (ValueError, OverflowError):
            continue


@pytest.mark.parametrize("vr", ["DA", "TM", "DT"])
@pytest.mark.parametrize("blank", [b"\t\t", b"\n ", b" \t", b" \\ ", b"\t\\\t"])
def test_a_blank_date_or_time_is_none(vr: str, blank: bytes) -> None:
    assert set(decoded(vr, blank)) <= {None}
