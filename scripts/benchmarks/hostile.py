"""Hostile headers: the element headers read, CPU seconds and memory of each.

Every input is made on the spot and goes the way of a crawl: fetched in windows, parsed, appended to
columns, written as Parquet. Each runs in a newly forked process; memory is what that process needed at
most beyond what it had with the input made.
"""

import argparse
import gc
import io
import json
import platform
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.datadict import DicomDictionary

from harvester.dicom import Header, HeaderColumns, HeaderParser, NeedMore
from harvester.engine.shard_task import collect_garbage_rarely
from harvester.errors import ObjectError

FIRST, WINDOW = 16 << 10, 1 << 20
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
DEFLATED = b"1.2.840.10008.1.2.1.99"
LONG_FORM = frozenset({"OB", "SQ", "UN", "UT"})


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element in Explicit VR Little Endian."""
    size = len(value) if length is None else length
    field = struct.pack("<HL", 0, size) if vr in LONG_FORM else struct.pack("<H", size)
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + field + value


def item(body: bytes = b"") -> bytes:
    """One item."""
    return ITEM + struct.pack("<L", len(body)) + body


def part10(body: bytes, syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    """A file with this data set."""
    meta = element(0x00020010, "UI", syntax)
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(meta))) + meta + body


def lying_length(_: float) -> Iterator[bytes]:
    """A length of 3 GiB in 100 kB."""
    yield part10(element(0x00091001, "OB", bytes(100_000), 3 << 30))


def lying_text(_: float) -> Iterator[bytes]:
    """A text of 3 GiB in 100 kB."""
    yield part10(element(0x00104000, "UT", b"A" * 100_000, 3 << 30))


def deep_nesting(_: float) -> Iterator[bytes]:
    """Sequences nested 10,000 deep."""
    head = element(0x00081140, "SQ", b"", UNDEFINED) + ITEM + struct.pack("<L", UNDEFINED)
    yield part10(head * 10_000 + (ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)) * 10_000)


def deflated_bomb(_: float) -> Iterator[bytes]:
    """1 MB that inflates to 1 GiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = packer.compress(element(0x00091001, "OB", b"", 1 << 30)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    yield part10(head + zeros * 1024 + packer.flush(), DEFLATED)


def deflated_nothing(_: float) -> Iterator[bytes]:
    """100 MB of deflated blocks that inflate to nothing."""
    yield part10(b"\0\0\0\xff\xff" * (20 << 20), DEFLATED)


def empty_items(scale: float) -> Iterator[bytes]:
    """1,000,000 empty items."""
    yield part10(element(0x00081140, "SQ", item() * int(1_000_000 * scale)))


def small_items(scale: float) -> Iterator[bytes]:
    """500,000 items of one element each."""
    body = item(element(0x00080100, "SH", b"T-1 "))
    yield part10(element(0x00081140, "SQ", body * int(500_000 * scale)))


def private_elements(scale: float) -> Iterator[bytes]:
    """1,000,000 private elements of one byte."""
    tags = (group << 16 | number for group in range(0x0009, 0x0100, 2) for number in range(0x1000, 0x10000))
    yield part10(
        b"".join(
            element(tag, "LO", b"x") for tag, _ in zip(tags, range(int(1_000_000 * scale)), strict=False)
        )
    )


def unknown_tags(scale: float) -> Iterator[bytes]:
    """500,000 unknown tags, each once, in 100 headers."""
    for header in range(int(100 * scale)):
        group = 0x0009 + 2 * header
        yield part10(b"".join(element(group << 16 | 0x1000 + i, "LO", b"x ") for i in range(5000)))


def unknown_public_tags(scale: float) -> Iterator[bytes]:
    """500,000 unknown tags of even groups, each once."""
    tags = (group << 16 | number for group in range(0x0100, 0x0200, 2) for number in range(0x1000, 0x10000))
    yield part10(
        b"".join(element(tag, "LO", b"x ") for tag, _ in zip(tags, range(int(500_000 * scale)), strict=False))
    )


def different_attributes(_: float) -> Iterator[bytes]:
    """200,000 different attributes, each at a place of its own."""
    known = sorted(tag for tag in DicomDictionary if 0x00090000 < tag < 0x7FE00000)
    texts = [tag for tag in known if DicomDictionary[tag][0] == "LO"]
    inside = item(b"".join(element(tag, "LO", b"a ") for tag in texts[:200]))
    sequences = [tag for tag in known if DicomDictionary[tag][0] == "SQ"][:1000]
    yield part10(b"".join(element(tag, "SQ", inside) for tag in sequences))


def overlapping_items(scale: float) -> Iterator[bytes]:
    """100,000 items whose lengths reach into the next ones."""
    lying = ITEM + struct.pack("<L", 40) + element(0x00080100, "SH", b"T-1 ")
    yield part10(element(0x00081140, "SQ", lying * int(100_000 * scale)))


def long_paths(_: float) -> Iterator[bytes]:
    """200,000 private elements nested 60 deep."""
    inside = b"".join(element(0x00090000 | 0x1000 + i % 0xF000, "LO", b"") for i in range(200_000))
    for _ in range(60):
        inside = element(0x00081140, "SQ", item(inside))
    yield part10(inside)


def long_header(_: float) -> Iterator[bytes]:
    """A header of 64 MiB and a little."""
    text = b"A" * (1 << 20)
    texts = [tag for tag, entry in sorted(DicomDictionary.items()) if entry[0] == "LT" and tag > 0x00080010]
    yield part10(b"".join(element(tag, "UT", text) for tag in (texts * 9)[:65]))


def long_numbers(_: float) -> Iterator[bytes]:
    """60 numbers of 60,000 digits and a letter."""
    numbers = [
        tag for tag, entry in sorted(DicomDictionary.items()) if entry[0] in {"DS", "IS"} and tag > 0x00080010
    ][:60]
    yield part10(b"".join(element(tag, "LO", b"1" * 60_000 + b"x ") for tag in numbers))


def escapes(scale: float) -> Iterator[bytes]:
    """1 MB of escape sequences in a text."""
    body = element(0x00080005, "CS", b"\\ISO 2022 IR 87 ") + element(
        0x00104000, "UT", b"\x1b" * int(scale * (1 << 20))
    )
    yield part10(body)


def repeated_tags(scale: float) -> Iterator[bytes]:
    """500,000 times the same tag."""
    yield part10(element(0x00100020, "LO", b"id") * int(500_000 * scale))


def lut_data(scale: float) -> Iterator[bytes]:
    """200,000 elements whose VR other elements decide, in one private item."""
    inside = struct.pack("<HHL", 0x0028, 0x3006, 2) + b"\1\0"
    count = int(200_000 * scale)
    items = ITEM + struct.pack("<L", 10 * count) + inside * count
    body = struct.pack("<HHL", 0x0009, 0x1001, UNDEFINED) + items + SEQUENCE_END + bytes(4)
    yield part10(struct.pack("<HHL", 0x0008, 0x0060, 2) + b"MR" + body, b"1.2.840.10008.1.2\0")


def attributes(vr: str, *, many: bool = False) -> list[int]:
    """The tags of all attributes of a value representation."""
    return [
        tag
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] == vr and 0x00090000 < tag < 0x7FE00000 and (entry[1].endswith("n") or not many)
    ]


def sparse_items(scale: float) -> Iterator[bytes]:
    """1,200,000 items of one element, of 300 different attributes."""
    items = b"".join(item(element(tag, "LO", b"")) for tag in attributes("LO")[:300])
    yield part10(element(0x00081140, "SQ", items * int(4000 * scale)))


def empty_sequences(scale: float) -> Iterator[bytes]:
    """2,300,000 empty sequences in items."""
    tags = attributes("SQ")[:400]
    items = b"".join(
        item(b"".join(element(tag, "SQ", b"") for tag in tags[at : at + 20])) for at in range(0, 380, 20)
    )
    yield part10(element(0x00081140, "SQ", items * int(6053 * scale)))


def uneven_nesting(scale: float) -> Iterator[bytes]:
    """2,400,000 sequences and items, 18 deep, hardly two alike."""
    tags, items = attributes("SQ"), []
    for number in range(100):
        inside = b""
        for level in range(18):
            inside = element(tags[(number >> level % 7) % 2 + level], "SQ", item(inside))
        items.append(item(inside))
    yield part10(element(0x00081115, "SQ", b"".join(items) * int(650 * scale)))


def private_sequences(scale: float) -> Iterator[bytes]:
    """1,400,000 elements in the items of a private sequence."""
    items = item(b"".join(element(0x00080100 + 2 * number, "SH", b"") for number in range(50)))
    yield part10(element(0x00091001, "SQ", items * int(28_000 * scale)))


def invalid_values(scale: float) -> Iterator[bytes]:
    """500,000 dates that are none, in items."""
    tags = attributes("DA")[:20]
    dates = (item(element(tags[i % 20], "DA", b"%06d" % i)) for i in range(int(500_000 * scale)))
    yield part10(element(0x00081140, "SQ", b"".join(dates)))


def small_names(scale: float) -> Iterator[bytes]:
    """1,200,000 names, each in an item."""
    tags = attributes("PN")[:20]
    names = (item(element(tags[i % 20], "PN", b"%06d" % (i % 10**6))) for i in range(int(1_200_000 * scale)))
    yield part10(element(0x00081140, "SQ", b"".join(names)))


def lists(vr: str, values: bytes, count: int) -> bytes:
    """Long values of a multi-valued attribute, in implicit VR, which has room for them."""
    body, longest = b"", (4 << 20) // len(values)
    for tag in attributes(vr, many=True):
        value = values * min(count, longest)
        count -= min(count, longest)
        value = value[:-1] + b" " if value.endswith(b"\\") else value
        body += struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
        if not count:
            break
    return part10(body, b"1.2.840.10008.1.2\0")


def names(scale: float) -> Iterator[bytes]:
    """Lists of 1,400,000 names."""
    yield lists("PN", b"ab^c=d=e\\", int(1_400_000 * scale))


def timestamps(scale: float) -> Iterator[bytes]:
    """Lists of 1,400,000 timestamps with offsets."""
    yield lists("DT", b"19990101+0100\\", int(1_400_000 * scale))


def decimals(scale: float) -> Iterator[bytes]:
    """Lists of 8,000,000 decimal strings, 64 MB."""
    yield lists("DS", b"-12.345\\", int(8_000_000 * scale))


def numbers(scale: float) -> Iterator[bytes]:
    """Lists of 32,000,000 numbers of two bytes, 64 MB."""
    yield lists("US", b"\0\x10", int(32_000_000 * scale))


def known_escapes(scale: float) -> Iterator[bytes]:
    """450,000 escape sequences, one in each text."""
    codes = (
        item(element(0x00080104, "LO", b"\x1b$B%05d" % (i % 10**5))) for i in range(int(450_000 * scale))
    )
    body = element(0x00080005, "CS", b"\\ISO 2022 IR 87 ")
    yield part10(body + element(0x00081140, "SQ", b"".join(codes)))


def character_sets(scale: float) -> Iterator[bytes]:
    """100,000 items, each with a character set of its own."""
    sets = (
        item(element(0x00080005, "CS", b"X%05d" % i) + element(0x00080104, "LO", b"\xe4 "))
        for i in range(int(100_000 * scale))
    )
    yield part10(element(0x00081140, "SQ", b"".join(sets)))


CASES: dict[str, Callable[[float], Iterator[bytes]]] = {
    one.__name__: one
    for one in (
        *(lying_length, lying_text, deep_nesting, deflated_bomb, deflated_nothing, empty_items, small_items),
        *(
            private_elements,
            unknown_tags,
            unknown_public_tags,
            different_attributes,
            overlapping_items,
            long_paths,
            long_header,
        ),
        *(long_numbers, escapes, repeated_tags, lut_data),
        *(sparse_items, empty_sequences, uneven_nesting, private_sequences, invalid_values, small_names),
        *(names, timestamps, decimals, numbers, known_escapes, character_sets),
    )
}


def parsed(raw: bytes) -> tuple[Header, int]:
    """Fetch the header in windows, as a crawl does; return it and the number of headers read."""
    parser = HeaderParser(len(raw))
    try:
        answer = parser.feed(raw[:FIRST])
        while isinstance(answer, NeedMore):
            answer = parser.feed(raw[answer.start : max(answer.stop, answer.start + WINDOW)])
    except ObjectError as error:
        error.add_note(str(parser.headers_read))
        raise
    return answer, parser.headers_read


def measured(name: str, scale: float) -> dict[str, object]:
    """Run one case in this process."""
    collect_garbage_rarely()  # as in every process that harvests
    raws = list(CASES[name](scale))
    gc.collect()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    began, looked_at, columns, outcome = time.process_time(), 0, HeaderColumns(), "rows"
    try:
        for raw in raws:
            header, headers_read = parsed(raw)
            looked_at += headers_read
            columns.append(header)
        del header
        pq.write_table(pa.table(columns.finish()), io.BytesIO())
    except ObjectError as error:
        looked_at = int(error.__notes__[0]) if hasattr(error, "__notes__") else looked_at
        outcome = f"{type(error).__name__}: {error.message}"
    return {
        "case": name,
        "what": (CASES[name].__doc__ or "").rstrip("."),
        "bytes": sum(map(len, raws)),
        "outcome": outcome,
        "headers_read": looked_at,
        "cpu_seconds": round(time.process_time() - began, 3),
        "memory_bytes": max(0, memory("VmHWM") - before),
        "columns_left": len(columns._top.columns),  # noqa: SLF001  its cache of tags
    }


def memory(kind: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM the peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(kind + ":"))
    return int(line.split()[1]) << 10


def main() -> None:
    """Print a table, or one JSON object per case."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--case", choices=CASES, help="run only this case")
    options.add_argument("--scale", type=float, default=1, help="scale of the inputs; default: 1")
    options.add_argument("--json", action="store_true", help="print JSON, one object per case")
    given = options.parse_args()
    if not given.json:
        print(f"Python {platform.python_version()}, {platform.machine()}\n")
        print("| hostile input | size | outcome | headers read | CPU seconds | memory |")
        print("|---|---:|---|---:|---:|---:|")
    names = [given.case] if given.case else CASES
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["harvester.dicom", "harvester.engine.shard_task", "pyarrow.parquet"])
    with processes.Pool(1, maxtasksperchild=1) as pool:
        for found in pool.imap(partial(measured, scale=given.scale), names):
            print(json.dumps(found) if given.json else row(found), flush=True)


def row(found: dict[str, object]) -> str:
    """One row of the table."""
    size, peak = int(str(found["bytes"])), int(str(found["memory_bytes"]))
    return (
        f"| {found['what']} | {size / 1e6:.1f} MB | {found['outcome']} | {found['headers_read']:,} "
        f"| {found['cpu_seconds']} | {peak / 1e6:.0f} MB |"
    )


if __name__ == "__main__":
    main()
