"""An object cut at any byte: a wish for more or an error, never a shorter header than there is.

Only a cut exactly between two elements of the data set leaves no trace, because nothing in DICOM says
how long a data set is; of the File Meta Information its group length does. Fewer than eight zeros
behind an element are taken for padding.
"""

from itertools import pairwise

import pytest
from header_feeding import PACKAGE, content, fed, plain, read
from hypothesis import given, settings
from made_data_sets import MadeFile, made_files
from made_part10 import (
    UNDEFINED,
    element,
    implicit,
    item,
    open_item,
    open_sequence,
    part10,
    sequence,
)

from harvester.dicom import Header, HeaderParser, NeedMore
from harvester.errors import MalformedError, NotDicomError, TruncatedError

CODE = element(0x00080100, "SH", b"T-1 ")
HEADERS = {
    name: (PACKAGE / "test_files" / name).read_bytes()
    for name in (
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_implicit.dcm",
        "ExplVR_BigEnd.dcm",
        "image_dfl.dcm",
        "rtplan.dcm",
        "UN_sequence.dcm",
        "nested_priv_SQ.dcm",
        "JPEG2000.dcm",
        "ExplVR_LitEndNoMeta.dcm",
        "liver_expb_1frame.dcm",
    )
    if (PACKAGE / "test_files" / name).exists()
} | {
    "made: encapsulated": part10(CODE, element(0x7FE00010, "OB", item(bytes(8)) + item(b"ab"), UNDEFINED)),
    "made: nested": part10(
        open_sequence(0x00081140, open_item(sequence(0x00082218, item(CODE), item())), item(CODE)),
        sequence(0x00082218, *[item(CODE)] * 9),
        element(0x00104000, "UT", b"text"),
    ),
    "made: a command set": part10(implicit(0x00000002, b"1.2.3\0"), element(0x00100020, "LO", b"id")),
}


def end_of(raw: bytes, header: Header) -> int:
    """What a parser has to have seen to know the header."""
    if header.pixel_data_offset is None:
        return len(raw)
    return header.pixel_data_offset + (8 if header.encapsulated else 0)


def boundaries(header: Header) -> dict[int, int]:
    """Where one element of the data set ends and the next begins, and how many elements end there."""
    ends = {header.header_bytes: len(header.elements)}
    for place, (before, following) in enumerate(pairwise(header.elements), start=1):
        # What is between two values: the delimitation of a sequence, and the header of an element.
        end = before[3] + before[4]
        gap = following[3] - end
        in_meta = following[0] >> 16 == 2  # whose group length says how long it is
        if not in_meta:
            ends[end + 8 if before[1] == "SQ" and gap > 12 else end] = place
    return ends


def answer_to(raw: bytes, size: int | None) -> Header | NeedMore:
    return HeaderParser(size).feed(raw)


@pytest.mark.parametrize("name", HEADERS)
def test_a_prefix_of_an_object_is_answered_with_a_wish_for_more(name: str) -> None:
    raw = HEADERS[name]
    header = read(raw)
    if header.deflated:
        pytest.skip("how many bytes of it hold the header, deflate decides")
    end = end_of(raw, header)
    for cut in range(end):
        for size in (len(raw), None):
            need = answer_to(raw[:cut], size)
            assert isinstance(need, NeedMore), cut
            assert cut <= need.start < need.stop <= end, cut
    assert isinstance(answer_to(raw[:end], len(raw)), Header)


@pytest.mark.parametrize("name", HEADERS)
def test_an_object_cut_in_its_header_is_an_error_but_between_two_elements(name: str) -> None:
    raw = HEADERS[name]
    header = read(raw)
    whole = content(header)
    clean = {} if header.deflated else boundaries(header)
    silent = []
    for cut in range(min(end_of(raw, header) + 20, len(raw))):
        try:
            found = fed(HeaderParser(cut), raw[:cut]) if cut else answer_to(b"", 0)
        except (TruncatedError, NotDicomError, MalformedError):
            assert cut not in clean, f"{cut} is between two elements"
            continue
        assert isinstance(found, Header)
        if header.deflated:
            assert content(found) == whole, cut
            continue
        if header.pixel_data_offset is not None and cut >= header.pixel_data_offset:
            assert plain(found.elements) == plain(header.elements), cut
            assert found.pixel_data_offset == header.pixel_data_offset
            continue
        last = max((end for end in clean if end <= cut), default=0)
        assert cut - last < 8, cut
        assert not any(raw[last:cut]), f"{cut}: a header, though it is not between two elements"
        assert plain(found.elements) == plain(header.elements[: clean[last]]), cut
        assert found.pixel_data_offset is None
        silent.append(cut)
    assert set(silent) >= {cut for cut in clean if cut < len(raw)}


@settings(max_examples=12, deadline=None)
@given(made=made_files())
def test_a_made_object_cut_anywhere_is_never_a_shorter_header(made: MadeFile) -> None:
    raw = made.raw
    header = read(raw)
    clean = boundaries(header)
    # Each place in the first 2,000 bytes, then every seventh: pieces of elements repeat.
    for cut in [*range(132, min(len(raw), 2_000)), *range(2_000, len(raw), 7)]:
        assert isinstance(answer_to(raw[:cut], len(raw)), NeedMore)
        try:
            found = fed(HeaderParser(cut), raw[:cut])
        except (TruncatedError, NotDicomError):
            continue
        last = max(end for end in clean if end <= cut)
        assert cut - last < 8
        assert not any(raw[last:cut])
        assert plain(found.elements) == plain(header.elements[: clean[last]])
