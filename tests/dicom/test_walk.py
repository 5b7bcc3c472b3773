"""Where elements are: encodings, sequences, lengths that lie, bounds, values that are hopped over."""

import struct

import pytest
from header_feeding import content, read
from made_part10 import element, implicit, item, part10

from harvester.dicom import WalkLimits

IMPLICIT = b"1.2.840.10008.1.2\0"


@pytest.mark.parametrize("step", [1, 61, 4096])
def test_small_limits_give_the_same_header_in_pieces_and_whole(step: int) -> None:
    limits = WalkLimits(kept_value=16, longest_value=32)
    values = (b"x" * length for length in (0, 8, 16, 18, 32, 34, 3000))
    explicit = [element(0x00091001 + i, vr, one) for i, one in enumerate(values) for vr in ("LO", "UT", "OB")]
    values = (b"x" * length for length in (0, 8, 16, 18, 32, 34, 3000))
    tags = (0x00080070, 0x00081030, 0x00104000, 0x00182001, 0x00186011, 0x00203401, 0x00324000)
    plain = [implicit(tag, one) for tag, one in zip(tags, values, strict=True)]
    for raw in (part10(*explicit), part10(*plain, transfer_syntax=IMPLICIT)):
        assert content(read(raw, step, limits=limits)) == content(read(raw, len(raw), limits=limits))
