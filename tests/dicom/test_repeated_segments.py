"""Columns of headers that share elements with earlier ones equal those of headers that do not."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from header_feeding import read, sibling, whole_headers
from made_part10 import SEQUENCE_END, UNDEFINED, element, item, part10, sequence

from harvester.dicom import ElementCache, Header, HeaderColumns, header_limits
from harvester.errors import HeaderLimitError, ObjectError

CREATOR = element(0x00091010, "LO", b"value of a maker")


@pytest.fixture(autouse=True)
def _segments_are_recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "MIN_SEGMENT_USES", 0)
    monkeypatch.setattr(header_limits, "MIN_SEGMENT_ELEMENTS", 1)


def shared(raws: Iterable[bytes]) -> list[Header]:
    """The headers, all of them read with one cache."""
    cache, headers = ElementCache(), []
    for raw in raws:
        try:
            headers.append(read(raw, cache=cache))
        except ObjectError:
            continue
    return headers


def rows(headers: Iterable[Header], *, finish_after: int = 1 << 30) -> list[str]:
    """The columns of all headers as text, without those that are refused; finished after some."""
    columns, found = HeaderColumns(), []
    for header in headers:
        try:
            columns.append(header)
        except HeaderLimitError:
            continue
        if columns.rows == finish_after:
            found.append(columns.finish())
    return [
        repr({name: one.to_pylist() for name, one in each.items()}) for each in (*found, columns.finish())
    ]


def alone(headers: Iterable[Header]) -> list[Header]:
    return [replace(header, segments=()) for header in headers]


def instance(number: int, *more: bytes, series: bytes = b"1.2.3 ") -> bytes:
    """An instance of a series with sequences, private and empty elements."""
    code = element(0x00080100, "SH", b"T-1 "), element(0x00080104, "LO", b"")
    names = sequence(0x00081110, item(element(0x00081155, "UI", b"1.2.%03d " % number)))
    nested = sequence(
        0x00082218, item(*code, sequence(0x00082220, item(*code), item(*code))), item(), item(*code)
    )
    return part10(
        element(0x00080018, "UI", b"1.2.%d" % number),
        *(element(0x00080060, "CS", b"MR"), element(0x00081030, "LO", b"")),
        *(names, nested),
        *(element(0x00090010, "LO", b"MAKER "), CREATOR),
        *(element(0x0020000E, "UI", series), element(0x00200013, "IS", b"%d" % number)),
        *(element(0x00280010, "US", b"\0\2"), element(0x00280030, "DS", b"0.5\\0.5 "), *more),
    )


@pytest.mark.parametrize("finish_after", [1 << 30, 7])
def test_real_headers_and_mutations_give_the_same_rows(finish_after: int) -> None:
    pick, segments = random.Random(finish_after), 0
    short = [raw for raw in whole_headers().values() if len(raw) < 30_000]
    for raw in pick.sample(short, min(len(short), 40)):
        other = pick.choice(short)
        headers = shared(
            [raw] * 5 + [other] * 5 + [pick.choice((raw, other, sibling(raw, pick))) for _ in range(20)]
        )
        segments += sum(len(header.segments) for header in headers)
        assert rows(headers, finish_after=finish_after) == rows(alone(headers), finish_after=finish_after)
    assert segments > 100


@pytest.mark.parametrize("uses", [1, 3])
def test_segments_are_recorded_in_the_middle_of_a_series(uses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "MIN_SEGMENT_USES", uses)
    monkeypatch.setattr(header_limits, "MIN_SEGMENT_ELEMENTS", 3)
    headers = shared(instance(number) for number in range(1, 12))
    assert rows(headers) == rows(alone(headers))


def test_the_rows_of_two_series_alternate() -> None:
    one = [instance(number) for number in range(1, 9)]
    other = [instance(number, element(0x00281050, "DS", b"40"), series=b"9.9 ") for number in range(1, 9)]
    mixed = [raw for pair in zip(one, other, strict=True) for raw in pair]
    first, second = shared(one), shared(other)
    headers = [header for pair in zip(first, second, strict=True) for header in pair]
    assert all(header.segments for header in headers[6:])
    assert rows(headers) == rows(shared(mixed)) == rows(alone(headers))


def test_a_header_that_is_refused_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [element(0x00291000 + i, "LO", b"%d " % i) for i in range(10, 60)]
    raws = [instance(number, *(many if number == 6 else ())) for number in range(1, 12)]
    headers = shared(raws)
    assert headers[5].segments
    monkeypatch.setattr(header_limits, "MAX_WORK", 40 * header_limits.ENTRY_WORK)
    kept = [header for number, header in enumerate(headers, 1) if number != 6]
    assert rows(headers) == rows(alone(headers)) == rows(kept)


def test_an_element_that_repeats_one_of_a_segment_counts() -> None:
    again = element(0x00080060, "CS", b"CT")
    raws = [instance(number, *((again, CREATOR) if number % 4 == 0 else ())) for number in range(1, 12)]
    headers = shared(raws)
    assert rows(headers) == rows(alone(headers))


def test_a_private_element_is_its_own_header_s_creator_s() -> None:
    raws = [
        part10(element(0x00090010, "LO", creator), element(0x00080018, "UI", b"1.%d " % number), CREATOR)
        for number, creator in enumerate([b"ONE ", b"TWO ", b"ONE ", b"TWO ", b"ONE ", b"ONE ", b"TWO "])
    ]
    headers = shared(raws)
    assert rows(headers) == rows(alone(headers))


def test_a_character_set_decides_each_header_s_text() -> None:
    raws = [
        part10(
            element(0x00080005, "CS", b"ISO_IR 100" if number % 3 else b"ISO_IR 192"),
            element(0x00080018, "UI", b"1.%d " % number),
            element(0x00080080, "LO", "Zürich".encode("latin-1") + b" "),
            element(0x00100020, "LO", b"id"),
        )
        for number in range(9)
    ]
    headers = shared(raws)
    assert headers[-1].segments
    assert rows(headers) == rows(alone(headers))


def test_columns_that_are_too_many_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = shared(instance(number) for number in range(1, 12))
    monkeypatch.setattr(header_limits, "MAX_COLUMNS", 3)
    assert rows(headers, finish_after=6) == rows(alone(headers), finish_after=6)


def test_more_segments_than_are_recorded_are_added_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.repeated_segments.MAX_REPEATED", 3)
    headers = shared(instance(number) for number in range(1, 12))
    assert rows(headers) == rows(alone(headers))


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("values", [(b"CT",), (b"MR",), (b"MR", b"ABC ")])
def test_an_element_is_there_twice_where_counting_begins(number: int, values: tuple[bytes, ...]) -> None:
    tags = ((0x00080060, "CS"), (0x00081030, "LO"))
    again = [element(tag, vr, value) for (tag, vr), value in zip(tags, values, strict=False)]
    raws = [
        part10(
            element(0x00080018, "UI", b"1.%d " % each),
            *(element(0x00080060, "CS", b"MR"), element(0x00081030, "LO", b"ABC ")),
            *(element(0x00200013, "IS", b"%d " % each), *(again if each == number else ())),
        )
        for each in range(7)
    ]
    headers = shared(raws)
    assert rows(headers) == rows(alone(headers))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_creator_that_is_there_twice_is_that_header_s_alone(number: int) -> None:
    other = element(0x00090010, "LO", b"OTHER ")
    raws = [
        part10(
            *(element(0x00080018, "UI", b"1.%d " % each), element(0x00080060, "CS", b"MR")),
            *(element(0x00090010, "LO", b"MAKER "), CREATOR, element(0x00200013, "IS", b"%d " % each)),
            *((other,) if each == number else ()),
        )
        for each in range(7)
    ]
    headers = shared(raws)
    assert rows(headers) == rows(alone(headers))


@pytest.mark.parametrize(
    "odd",
    [
        element(0x60020010, "US", b"\7\0"),
        sequence(0x00080060, item(element(0x00081155, "UI", b"1.2 "))),
        element(0x0040A160, "UT", item(b"abcd") + SEQUENCE_END + bytes(4), UNDEFINED),
    ],
)
@pytest.mark.parametrize("finish_after", [1 << 30, 2])
def test_an_element_that_has_no_cell_shifts_none(odd: bytes, finish_after: int) -> None:
    def parts(each: int) -> list[bytes]:
        return sorted([element(0x60000010, "US", b"%c\0" % each), element(0x00080018, "UI", b"1"), odd])

    headers = shared(part10(*parts(each)) for each in range(8))
    assert rows(headers, finish_after=finish_after) == rows(alone(headers), finish_after=finish_after)


@pytest.mark.parametrize("vr", ["DS", "CS"])
def test_the_attribute_s_vr_decides_whether_a_character_set_does(vr: str) -> None:
    sets = [b"ISO_IR 100"] * 4 + [b"ISO_IR 144"] * 4
    raws = [
        part10(element(0x00080005, "CS", one), element(0x00100010, vr, b"\xfcber")) for one in sets + sets
    ]
    columns = HeaderColumns()
    for header in shared(raws):
        columns.append(header)
    names = [name["Alphabetic"] for name in columns.finish()["PatientName"].to_pylist()]
    latin, cyrillic = "\N{LATIN SMALL LETTER U WITH DIAERESIS}ber", "\N{CYRILLIC SMALL LETTER KJE}ber"
    assert names == ([latin] * 4 + [cyrillic] * 4) * 2


def test_repeated_items_cannot_fill_columns_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "MAX_CELLS", 20_000)
    wide = [item(element(tag, "LO", b"a ")) for tag in (0x00080104, 0x00080080, 0x00080070, 0x00081030)]
    few = part10(sequence(0x00082218, *wide))
    codes = [item(element(0x00080102, "SH", b"%05d " % each)) for each in range(9000)]
    many = part10(sequence(0x00082218, *codes))
    headers, columns = shared([few] * 4), HeaderColumns()
    for header in headers:
        columns.append(header)
    columns.finish()
    columns.append(read(many))
    with pytest.raises(HeaderLimitError, match="cells"):
        columns.append(headers[-1])


def test_what_is_recorded_of_segments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.repeated_segments.MAX_REPEATED_SIZE", 500)
    headers = shared(instance(number) for number in range(1, 12))
    assert rows(headers) == rows(alone(headers))


def test_a_private_value_that_is_invalid_is_so_in_each_header() -> None:
    raws = [
        part10(
            *(element(0x00080018, "UI", b"1.%d " % each), element(0x00090010, "LO", b"MAKER ")),
            *(element(0x00091010, "CS", b"A\x1b(QB "), element(0x00200013, "IS", b"%d " % each)),
        )
        for each in range(4)
    ]
    columns = HeaderColumns()
    for header in shared(raws):
        columns.append(header)
    assert [len(row) for row in columns.finish()["invalid_elements"].to_pylist()] == [1] * 4


def test_no_fragments_are_the_same_whatever_earlier_headers_had() -> None:
    text, none = (
        element(0x0040A160, "UT", b"text"),
        element(0x0040A160, "UT", SEQUENCE_END + bytes(4), UNDEFINED),
    )
    columns = HeaderColumns()
    for header in shared([part10(one, element(0x00420010, "ST", b"title ")) for one in (none, text, none)]):
        columns.append(header)
    first, _, last = zip(*[one.to_pylist() for one in columns.finish().values()], strict=True)
    assert first == last
