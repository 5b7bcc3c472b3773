"""Conditions of PS3.3 as expressions: what is read, and what is left."""

import pytest
from standard_conditions import condition, forbids

# The sentences have the form of PS3.3's; None: not wholly understood.
SENTENCES = {
    "Required if Segmentation Type (0062,0001) is FRACTIONAL.": 'SegmentationType == "FRACTIONAL"',
    "Required if Samples per Pixel (0028,0002) has a value greater than 1. See Section C.7.6.3.": (
        "SamplesPerPixel > 1"
    ),
    "Required if Image Type (0008,0008) Value 1 is ORIGINAL or MIXED, may be present otherwise.": (
        'ImageType[1] in ("ORIGINAL", "MIXED")'
    ),
    "Required if a value of Shutter Shape (0018,1600) is CIRCULAR.": '"CIRCULAR" in ShutterShape',
    "Required if Frame Increment Pointer (0028,0009) points to Frame Time (0018,1063).": (
        '"00181063" in FrameIncrementPointer'
    ),
    "Required if neither Rows (0028,0010) nor Columns (0028,0011) is present.": (
        "not present(Rows) and not present(Columns)"
    ),
    "Required if Rows (0028,0010) is present and Modality (0008,0060) is CT or MR.": (
        'present(Rows) and Modality in ("CT", "MR")'
    ),
    "Required if Rows (0028,0010) or Columns (0028,0011) is not present.": None,
    "Required if Rows (0028,0010) is present and known to the device.": None,
    "Required if contrast media was applied.": None,
    "Required if Rows (0028,0010) is CT.": None,
    "The number of rows.": None,
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_is_read_wholly_or_not_at_all(sentence: str) -> None:
    read = condition(sentence, lambda keyword: keyword)
    assert (read and read.text) == SENTENCES[sentence]


def test_attributes_elsewhere_give_no_condition() -> None:
    assert condition("Required if Rows (0028,0010) is present.", lambda _: None) is None


def test_an_attribute_is_forbidden_unless_it_may_be_present_otherwise() -> None:
    assert forbids("Required if Rows (0028,0010) is present.")
    assert not forbids("Required if Rows (0028,0010) is present. May be present otherwise.")
    assert not forbids("The number of rows.")
