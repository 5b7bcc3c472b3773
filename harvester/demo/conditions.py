"""What a GET's Range, If-Match and If-None-Match come to, as S3 answers them."""

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=([0-9]{0,40})-([0-9]{0,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The request's header fields, None where missing; several lines of one field joined by commas."""

    range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The status, and the bytes from `start` up to `stop` (none but for 200 and 206)."""

    status: int
    start: int = 0
    stop: int = 0


def decide(conditions: Conditions, size: int, etag: str) -> Decision:
    """Choose the answer for an object.

    RFC 9110 13.2.2 gives the order. A range that is malformed, and several ranges in one request, are
    ignored, as S3 does: the whole object with 200.

    Args:
        conditions: The request's.
        size: The object's, in bytes.
        etag: The object's, unquoted.
    """
    if conditions.if_match is not None and not _names(conditions.if_match, etag, weak=False):
        return Decision(412)
    if conditions.if_none_match is not None and _names(conditions.if_none_match, etag, weak=True):
        return Decision(304)
    asked = _RANGE.fullmatch(conditions.range.strip()) if conditions.range is not None else None
    if asked is None or asked.groups() == ("", ""):
        return Decision(200, 0, size)
    first, last = asked.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return Decision(200, 0, size)  # RFC 9110 14.1.1: such a range is invalid
    return Decision(206, start, stop) if start < stop else Decision(416)


def _names(field: str, etag: str, *, weak: bool) -> bool:
    for text in field.split(","):
        tag = text.strip()
        if weak:
            tag = tag.removeprefix("W/")
        if tag in ("*", f'"{etag}"', etag):
            return True
    return False
