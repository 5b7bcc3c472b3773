"""Reads frame indexes from bytes in memory, and makes objects with encapsulated pixel data."""

import struct
from collections.abc import Sequence

from header_feeding import read
from made_part10 import UNDEFINED, element, item, part10

from harvester.dicom import Header
from harvester.dicom.frames import Effort, Found, FrameIndex, FrameSource, PixelData, find_frames, read_index

JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


class Asked:
    """What was read of an object: rounds, ranges and bytes."""

    def __init__(self) -> None:
        self.rounds = 0
        self.ranges = 0
        self.bytes = 0


def answered(steps, raw: bytes, asked: Asked | None = None):
    """Serve a reading from an object's bytes until it is done."""
    asked = Asked() if asked is None else asked
    data = None
    while True:
        try:
            wanted = steps.send(data)
        except StopIteration as done:
            return done.value
        data = [raw[one.start : one.stop] for one in wanted]
        asked.rounds += 1
        asked.ranges += len(wanted)
        asked.bytes += sum(map(len, data))


def index_from(raw: bytes, source: FrameSource, asked: Asked | None = None) -> FrameIndex:
    """The index of an object from one source."""
    return answered(read_index(PixelData.of(read(raw), len(raw)), source), raw, asked)


def found_in(raw: bytes, effort: Effort = "scan", asked: Asked | None = None) -> Found:
    """What is found about an object's frames."""
    return answered(find_frames(read(raw), len(raw), effort), raw, asked)


def made(
    frames: Sequence[Sequence[bytes]],
    *,
    table: Sequence[int] | None = None,
    number_of_frames: int | None = None,
    extended: tuple[Sequence[int], Sequence[int]] | None = None,
    uid: str = JPEG,
    preamble: bytes = bytes(128),
    behind: bytes = b"",
) -> bytes:
    """An object of frames, each a list of fragments; the tables are as given, correct or not."""
    count = len(frames) if number_of_frames is None else number_of_frames
    elements = [
        element(0x00080016, "UI", b"1.2\0"),
        element(0x00280008, "IS", f"{count} ".encode()[: len(str(count)) + len(str(count)) % 2]),
    ]
    if extended is not None:
        elements += [
            element(0x7FE00001 + place, "OV", struct.pack(f"<{len(one)}Q", *one))
            for place, one in enumerate(extended)
        ]
    basic = item(struct.pack(f"<{len(table or ())}L", *(table or ())))
    fragments = b"".join(item(fragment) for frame in frames for fragment in frame)
    pixel_data = element(0x7FE00010, "OB", basic + fragments + DELIMITER, UNDEFINED)
    syntax = uid.encode() + b"\0" * (len(uid) % 2)
    return part10(*elements, pixel_data, behind, transfer_syntax=syntax, preamble=preamble)


def places(raw: bytes, frames: Sequence[Sequence[bytes]]) -> tuple[list[int], list[int]]:
    """The true offsets and lengths of the frames of such an object."""
    header: Header = read(raw)
    at = header.pixel_data_offset
    at += 8 + int.from_bytes(raw[at + 4 : at + 8], "little")
    offsets, lengths = [], []
    for frame in frames:
        offsets.append(at)
        lengths.append(sum(8 + len(fragment) for fragment in frame))
        at += lengths[-1]
    return offsets, lengths
