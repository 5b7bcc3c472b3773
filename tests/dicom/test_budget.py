"""What one header may take in columns: each bound is passed, just kept, and leaves nothing behind."""

import struct

import pytest
from header_feeding import read
from made_part10 import element, item, part10, sequence

from harvester.dicom import HeaderColumns
from harvester.errors import HeaderLimitError

CODES, REFERENCES = 0x00080104, 0x00081140
TEXTS = [0x00080070, 0x00080080, 0x00081010, 0x00081030, 0x0008103E, 0x00081040, 0x00081090]
GOOD = part10(element(0x00080060, "CS", b"MR"), sequence(REFERENCES, item(element(CODES, "LO", b"name"))))


def sparse(items: int) -> bytes:
    """Items of one element each, of attributes that take turns."""
    return sequence(REFERENCES, *(item(element(TEXTS[i % 7], "LO", b"a ")) for i in range(items)))


def sparse_then_empty(items: int) -> bytes:
    """One item with all attributes, then empty ones."""
    first = item(*(element(tag, "LO", b"a ") for tag in TEXTS))
    return sequence(REFERENCES, first, *[item()] * (items - 1))


def private(count: int, group: int = 0x0009) -> bytes:
    return b"".join(element(group << 16 | 0x1000 + number, "LO", b"a ") for number in range(count))


def in_private_sequence(count: int) -> bytes:
    return sequence(0x00091001, item(*(element(0x00080100 + 2 * i, "SH", b"") for i in range(count - 1))))


def binary(count: int) -> bytes:
    return sequence(REFERENCES, *(item(element(0x00420011, "OB", b"ab")) for _ in range(count)))


def texts(count: int) -> bytes:
    return element(0x00081048, "PN", b"\\".join([b"a"] * (count + 1)))


def escapes(count: int) -> bytes:
    return element(0x00080005, "CS", b"\\ISO 2022 IR 87 ") + element(0x00104000, "LT", b"\x1b$B" * count)


def character_sets(count: int) -> bytes:
    return sequence(REFERENCES, *(item(element(0x00080005, "CS", b"X%03d" % i)) for i in range(count)))


def bounded(monkeypatch: pytest.MonkeyPatch, **bounds: int) -> HeaderColumns:
    for name, value in bounds.items():
        monkeypatch.setattr(f"harvester.dicom.header_limits.{name}", value)
    return HeaderColumns()


# What makes a header, the bounds, and how many of it they allow.
@pytest.mark.parametrize(
    ("made", "bounds", "most"),
    [
        (private, {"MAX_WORK": 400}, 100),
        (in_private_sequence, {"MAX_WORK": 400}, 100),
        (binary, {"MAX_WORK": 400}, 100),
        (texts, {"MAX_WORK": 400}, 100),
        (escapes, {"MAX_WORK": 1204}, 100),
        (character_sets, {"MAX_CHARACTER_SETS": 5}, 5),
    ],
)
def test_a_bound_allows_so_many_and_no_more(
    made, bounds: dict[str, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = bounded(monkeypatch, **bounds)
    columns.append(read(GOOD))
    with pytest.raises(HeaderLimitError):
        columns.append(read(part10(made(most + 1))))
    columns.append(read(GOOD))
    assert columns.rows == 2
    assert {len(array) for array in columns.finish().values()} == {2}
    columns = HeaderColumns()
    for _ in range(3):  # what one header took is not counted against the next
        columns.append(read(part10(made(most))))


@pytest.mark.parametrize("made", [sparse, sparse_then_empty])
def test_items_times_attributes_are_bounded(made, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = bounded(monkeypatch, COUNT_CELLS_AFTER=50, MAX_CELLS=2000)
    columns.append(read(GOOD))
    with pytest.raises(HeaderLimitError, match="more than 2000 cells"):
        columns.append(read(part10(made(400))))
    assert not columns.crowded
    columns.append(read(part10(made(100))))
    assert columns.crowded  # the part is closed before the next header has to do with what is left
    assert len(columns.finish()["ReferencedImageSequence"]) == 2
    assert not columns.crowded
    columns.append(read(part10(made(100))))
    assert columns.rows == 1


def test_an_invalid_value_counts_more_than_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    dates = sequence(REFERENCES, *(item(element(0x00080020, "DA", b"never ")) for _ in range(10)))
    bounded(monkeypatch, MAX_WORK=110).append(read(part10(dates)))
    with pytest.raises(HeaderLimitError, match="invalid elements"):
        bounded(monkeypatch, MAX_WORK=109).append(read(part10(dates)))


def test_numbers_are_bounded_by_their_bytes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = bounded(monkeypatch, MAX_WORK=10)
    numbers = b"\\".join(b"%d.5" % number for number in range(2000))
    columns.append(
        read(
            part10(
                element(0x00720064, "IS", numbers.replace(b".5", b"")),
                element(
                    0x0072007A, "US", struct.pack("<2000H", *range(2000))
                ),  # some of whose bytes are those of an escape
                element(0x30060050, "DS", numbers),
            )
        )
    )
    rows = columns.finish()
    assert rows["ContourData"][0].as_py() == [number + 0.5 for number in range(2000)]
    assert rows["SelectorISValue"][0].as_py() == rows["SelectorUSValue"][0].as_py() == [*range(2000)]


def test_many_entries_of_one_header_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.list_builder.PACKED_AT_ONCE", 7)
    columns, counts = bounded(monkeypatch, MAX_WORK=200), (20, 3, 0, 33)
    for row, count in enumerate(counts):
        with pytest.raises(HeaderLimitError):
            columns.append(read(part10(private(60, 0x0031 + 2 * row))))
        columns.append(read(part10(private(count, 0x0011 + 2 * row))))
    found = columns.finish()["OtherElements"].to_pylist()
    assert [[entry["Tag"] for entry in row] for row in found] == [
        [f"{0x0011 + 2 * row:04X}{0x1000 + number:04X}" for number in range(count)]
        for row, count in enumerate(counts)
    ]
    columns.append(read(part10(private(9))))
    assert len(columns.finish()["OtherElements"][0]) == 9
