"""What an element asks of the data sets around it: owners, signs and paths are those of its own item."""

import struct

import pytest
from header_feeding import read
from made_part10 import element, implicit, item, part10, sequence
from pydicom_oracle import differences, expected_row, losses

from harvester.dicom import HeaderColumns
from harvester.dicom.budget import HeaderBudget
from harvester.dicom.context import HeaderContext
from harvester.dicom.element import RawElement
from harvester.dicom.element_order import in_order
from harvester.errors import HeaderLimitError

IMPLICIT = b"1.2.840.10008.1.2\0"
ICONS = 0x00880200  # IconImageSequence
FRAMES = 0x52009230


def row_of(raw: bytes) -> dict:
    columns = HeaderColumns()
    columns.append(read(raw))
    return {name: array[0].as_py() for name, array in columns.finish().items()}


def test_each_item_s_pixel_representation_decides_its_own_signs() -> None:
    signed = [i % 3 == 0 for i in range(20)]
    items = [
        item(
            implicit(0x00280103, struct.pack("<H", one)),
            implicit(0x00280106, b"\xff\xff"),
            implicit(0x00280107, b"\xfe\xff"),
        )
        for one in signed
    ]
    raw = part10(implicit(0x00080060, b"MR"), implicit(ICONS, b"".join(items)), transfer_syntax=IMPLICIT)
    icons = row_of(raw)["IconImageSequence"]
    assert [icon["SmallestImagePixelValue"] for icon in icons] == [-1 if one else 65535 for one in signed]
    assert [icon["LargestImagePixelValue"] for icon in icons] == [-2 if one else 65534 for one in signed]


def test_an_item_without_pixel_representation_takes_the_nearest_around_it() -> None:
    inner = item(implicit(0x00280106, b"\xff\xff"))
    middle = item(implicit(0x00280103, b"\1\0"), implicit(ICONS, inner))
    raw = part10(
        implicit(0x00280103, b"\0\0"),
        implicit(0x00880200, middle + inner),
        transfer_syntax=IMPLICIT,
    )
    first, second = row_of(raw)["IconImageSequence"]
    assert first["IconImageSequence"][0]["SmallestImagePixelValue"] == -1
    assert second["SmallestImagePixelValue"] == 65535


def test_each_item_s_creators_own_its_own_private_elements() -> None:
    owners = [b"ACME", b"OTHER ", b"THIRD "]
    items = [
        item(element(0x00210010, "LO", owners[i // 7]), element(0x00211001, "LO", b"%02d" % i))
        for i in range(21)
    ]
    raw = part10(
        element(0x00080060, "CS", b"MR"), sequence(FRAMES, *items), sequence(0x52009229, *items[::-1])
    )
    entries = [one for one in row_of(raw)["OtherElements"] if one["Tag"] == "00211001"]
    expected = [owners[i // 7].decode().strip() for i in range(21)]
    assert [one["Creator"] for one in entries] == expected + expected[::-1]
    assert found_by_pydicom(raw) == []


def found_by_pydicom(raw: bytes) -> list[str]:
    header = read(raw)
    row = row_of(raw) | {"preamble": header.preamble, "header_bytes": header.header_bytes}
    expected = expected_row(raw)
    return differences(expected, row) + losses(expected, row)


def test_a_creator_that_is_too_long_owns_nothing_and_is_not_lost() -> None:
    creator = b"A" * 60_000
    elements = [element(0x00211000 + i, "LO", b"x ") for i in range(256)]
    row = row_of(part10(element(0x00210010, "LO", creator), *elements))
    assert row["OtherElements"][0]["Data"] == [creator.decode()]
    assert {one["Creator"] for one in row["OtherElements"]} == {None}


class Counted(list):
    """A data set that counts how often its elements are gone through."""

    searches = 0

    def __iter__(self):
        self.searches += 1
        return super().__iter__()


@pytest.mark.parametrize(("tag", "vr"), [(0x00283006, "US or OW"), (0x00280106, "US or SS")])
def test_a_data_set_is_searched_once_however_many_elements_ask(tag: int, vr: str) -> None:
    context = HeaderContext()
    elements = Counted([(tag, vr, b"\1\0", 0, 2)] * 1000)
    around: Counted = Counted([(0x00080060, "CS", b"MR", 0, 2)] * 1000)
    context.sequences.append(("IconImageSequence", 0, around))
    assert {context.definite_vr(vr, tag, elements) for _ in range(1000)} <= {"US", "OW"}
    assert elements.searches == 1
    assert around.searches <= 1


def test_paths_of_too_many_elements_too_deep_are_a_limit() -> None:
    context = HeaderContext()
    item_of: list[RawElement] = []
    context.sequences += [("PerFrameFunctionalGroupsSequence", 0, item_of)] * 60
    with pytest.raises(HeaderLimitError, match="nested too deep"):
        _ = [len(context.path(f"{i:08X}")) for i in range(100_000)]
    context.reset()
    assert context.path("PatientID") == "PatientID"


def test_repeated_and_unordered_elements_are_put_in_order_at_any_depth() -> None:
    inner = item(
        element(0x00080100, "SH", b"2 "), element(0x00080070, "LO", b"A "), element(0x00080100, "SH", b"3 ")
    )
    raw = part10(
        element(0x00081140, "SQ", inner),
        element(0x00080060, "CS", b"CT"),
        element(0x00080060, "CS", b"MR"),
    )
    elements, replaced = in_order(read(raw).elements, HeaderBudget())
    assert [one[0] for one in elements] == [0x00020000, 0x00020010, 0x00080060, 0x00081140]
    assert [(path, one[2]) for path, one in replaced] == [
        ("ReferencedImageSequence[0].CodeValue", b"2 "),
        ("Modality", b"CT"),
    ]
    row = row_of(raw)
    assert row["Modality"] == "MR"
    assert row["ReferencedImageSequence"] == [{"CodeValue": "3", "Manufacturer": "A"}]
    assert {one["path"]: one["text"] for one in row["invalid_elements"]} == {
        "ReferencedImageSequence[0].CodeValue": "2",
        "Modality": "CT",
    }
