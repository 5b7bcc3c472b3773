"""Feeds a parser as a crawl does, in pieces of any size, and makes the results comparable."""

import csv
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest
from checkout import CORPUS

from harvester.dicom import ElementCache, Header, HeaderParser, NeedMore
from harvester.dicom.element import Items, RawElement
from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.errors import ObjectError

PACKAGE = Path(pydicom.__file__).parent / "data"
WINDOW = 16 << 10


def read(
    raw: bytes,
    step: int | Iterable[int] = WINDOW,
    *,
    size: int | None = None,
    cache: ElementCache | None = None,
    max_header_bytes: int = MAX_HEADER_BYTES,
) -> Header:
    """The header of an object of these bytes, fed `step` bytes at a time."""
    parser = HeaderParser(len(raw) if size is None else size, max_header_bytes=max_header_bytes, cache=cache)
    return fed(parser, raw, step)


def fed(parser: HeaderParser, raw: bytes, step: int | Iterable[int] = WINDOW) -> Header:
    steps = iter(step) if not isinstance(step, int) else iter(lambda: step, None)
    answer = parser.feed(raw[: next(steps)])
    while isinstance(answer, NeedMore):
        assert answer.start < answer.stop
        assert answer.start < len(raw), "the parser asks for bytes behind the object's end"
        answer = parser.feed(raw[answer.start : answer.start + next(steps)])
    return answer


def outcome(raw: bytes, step: int | Iterable[int] = WINDOW, **how: Any) -> Any:
    """The header's content, or the kind of error."""
    try:
        return content(read(raw, step, **how))
    except ObjectError as error:
        return type(error)


def content(header: Header) -> tuple[Any, ...]:
    """The whole content of a header, comparable: patterns are expanded to items."""
    fields = tuple(
        getattr(header, name) for name in Header.__slots__ if name not in ("elements", "known_values")
    )
    return (*fields, plain(header.elements))


def plain(elements: list[RawElement]) -> list[Any]:
    """Elements with lists in place of items."""
    return [
        (tag, vr, [plain(one) for one in raw] if isinstance(raw, Items) else raw, offset, length)
        for tag, vr, raw, offset, length in elements
    ]


def without_places(elements: list[RawElement]) -> list[Any]:
    """Tag, VR and value of each element; items as lists."""
    return [
        (tag, vr, [without_places(one) for one in raw] if isinstance(raw, Items) else raw)
        for tag, vr, raw, _offset, _length in elements
    ]


def depth_first(elements: list[RawElement]) -> Iterator[RawElement]:
    """Every element at every depth."""
    for element in elements:
        yield element
        if isinstance(element[2], Items):
            for one in element[2]:
                yield from depth_first(one)


def inventory() -> dict[str, dict[str, str]]:
    """The corpus's DICOM files by path, with their rows of the inventory."""
    path = CORPUS / "inventory.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {line["path"]: line for line in csv.DictReader(file) if line["kind"] != "not dicom"}


@cache
def whole_files() -> dict[str, bytes]:
    """Files of pydicom and of the corpus whose header can be read."""
    paths = [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix == ".dcm"]
    paths += [CORPUS / name for name in inventory()]
    found = {}
    for path in paths:
        raw = path.read_bytes()
        if isinstance(outcome(raw), tuple):
            found[str(path)] = raw
    return found


@cache
def whole_headers() -> dict[str, bytes]:
    """The same files, as far as a crawl reads them."""
    return {path: header_only(raw) for path, raw in whole_files().items()}


def header_only(raw: bytes) -> bytes:
    """The object up to 16 bytes behind its pixel data element's header, the most that a crawl requests."""
    header = read(raw)
    return raw if header.deflated else raw[: header.header_bytes + 32]


def sibling(raw: bytes, pick: random.Random) -> bytes:
    """The same object with some bytes behind the meta information changed, inserted, left out or doubled."""
    changed = bytearray(raw)
    for _ in range(pick.choice((1, 1, 2, 5))):
        at = pick.randrange(min(132, len(changed)), len(changed) + 1)
        kind = pick.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([pick.randrange(256)])
        elif kind == 1:
            changed[at : at + 2] = pick.randbytes(2)
        elif kind == 2:
            del changed[at : at + pick.choice((1, 2, 8))]
        elif kind == 3:
            changed[at:at] = changed[at : at + pick.choice((2, 8, 30))]
        else:
            changed[at : at + 1] = b"1"
    return bytes(changed)


needs_corpus = pytest.mark.skipif(not inventory(), reason="the corpus of real files is not here")
