"""Checks that an HTTP response is the range that was requested, because HTTP clients do not."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from harvester.errors import BadResponseError, ObjectChangedError
from harvester.model import ByteRange

# The stop may be -1 or before the start: gcp-storage-emulator sends that for a range behind the end.
_MOST_DIGITS = 19
_CONTENT_RANGE = re.compile(r"bytes[ =]([0-9]{1,19})-(-?[0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes[ =]\*/([0-9]{1,19})", re.IGNORECASE)
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>([0-9]{1,19})</ActualObjectSize>")
# RFC 9110 8.8.3: the characters of an entity tag, without those beyond ASCII.
_ETAG_TEXT = re.compile(r"[\x21\x23-\x7e]+")


class DeclaredBody(NamedTuple):
    """What the head of a response says about its body.

    Attributes:
        length: How many bytes of the requested range it has.
        size: The whole object's size; None if only the body's end shows it.
        is_whole_object: Whether the server ignores ranges, so that the body continues after the range.
    """

    length: int
    size: int | None
    is_whole_object: bool = False


def partial_body(wanted: ByteRange, headers: Mapping[str, str], body_length: int | None) -> DeclaredBody:
    """The body of a 206 (RFC 9110 15.3.7).

    Args:
        wanted: The requested range.
        headers: The response's headers.
        body_length: From Content-Length; None if the body is chunked.

    Raises:
        BadResponseError: It is another range, does not give the object's size, or contradicts itself.
    """
    text = headers.get("content-range")
    length = wanted.stop - wanted.start
    # Nearly always it is the requested range, which takes no regular expression.
    requested, _, size = (text or "").partition("/")
    is_requested = requested == f"bytes {wanted.start}-{wanted.stop - 1}" and body_length in (length, None)
    is_number = size.isascii() and size.isdigit() and len(size) <= _MOST_DIGITS
    if is_requested and is_number and int(size) >= wanted.stop:
        return DeclaredBody(length, int(size))
    return _checked_body(wanted, text, body_length)


def _checked_body(wanted: ByteRange, text: str | None, body_length: int | None) -> DeclaredBody:
    found = _CONTENT_RANGE.fullmatch(text.strip()) if text is not None else None
    if found is None:
        raise BadResponseError(f"206 with Content-Range {text!r}, which is not a single range")
    if found[3] == "*":
        raise BadResponseError(f"206 with Content-Range {text!r}, which lacks the object's size")
    first, last, size = map(int, found.groups())
    if first != wanted.start:
        raise BadResponseError(f"requested byte {wanted.start} on, the response is {text!r}")
    if wanted.start >= size:
        if last >= first or body_length not in (0, None):
            raise BadResponseError(f"206 with Content-Range {text!r}, which contradicts itself")
        return DeclaredBody(length=0, size=size)
    if last != min(wanted.stop, size) - 1:
        raise BadResponseError(
            f"requested bytes {wanted.start} to {wanted.stop - 1}, the response is {text!r}"
        )
    length = last - first + 1
    if body_length not in (length, None):
        raise BadResponseError(f"Content-Range {text!r} with a body of {body_length} bytes")
    return DeclaredBody(length=length, size=size)


def whole_body(wanted: ByteRange, body_length: int | None) -> DeclaredBody:
    """The body of a 200: the server ignores ranges (RFC 9110 14.2), or the object is empty.

    Raises:
        BadResponseError: The range is not at the object's start, so that other bytes would come first.
    """
    if body_length is not None and wanted.start >= body_length:
        return DeclaredBody(length=0, size=body_length, is_whole_object=True)
    if wanted.start > 0:
        raise BadResponseError(
            f"the server ignores ranges: requested byte {wanted.start} on, it sends the whole object"
        )
    length = len(wanted) if body_length is None else min(len(wanted), body_length)
    return DeclaredBody(length=length, size=body_length, is_whole_object=True)


def unsatisfied_size(wanted: ByteRange, headers: Mapping[str, str], body: bytes) -> int:
    """The object's size from a 416 (RFC 9110 15.5.17), or from S3's error document.

    Raises:
        BadResponseError: The range was satisfiable, or the size is missing.
    """
    found = _UNSATISFIED.fullmatch(headers.get("content-range", "").strip())
    size = found[1] if found else None
    if size is None and (actual := _ACTUAL_SIZE.search(body)):
        size = actual[1].decode("ascii")
    if size is None:
        if wanted.start > 0:
            raise BadResponseError(f"416 for byte {wanted.start} on, without the object's size")
        return 0  # only an empty object has no first byte (RFC 9110 14.1.2)
    if wanted.start < int(size):
        raise BadResponseError(f"416 for byte {wanted.start} on, of an object of {size} bytes")
    return int(size)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Refuse an encoded body: its bytes are not the object's.

    Raises:
        BadResponseError: There is a Content-Encoding other than `identity`, or a Transfer-Encoding other
            than `chunked`.
    """
    transfer, encoding = headers.get("transfer-encoding"), headers.get("content-encoding")
    if transfer is not None and transfer.strip().lower() not in ("", "chunked", "identity"):
        raise BadResponseError(f"the body has the transfer coding {transfer[:40]!r}, which was not requested")
    # S3 sends `aws-chunked`, which describes the upload only, with some objects.
    if encoding is not None and encoding.strip().lower() not in ("", "identity", "aws-chunked"):
        raise BadResponseError(f"the body is encoded ({encoding[:40]!r}), though only identity was accepted")


def check_etag(pinned: str | None, found: str | None) -> None:
    """Compare a response's ETag with the first window's; a response without one has passed If-Match.

    Raises:
        ObjectChangedError: They differ.
    """
    if pinned is None or found is None or pinned.removeprefix("W/") == found.removeprefix("W/"):
        return
    raise object_changed(pinned, found)


def object_changed(pinned: str, found: str | None = None) -> ObjectChangedError:
    """The error for an object that does not have the pinned ETag any more (a 412: the new one is unknown)."""
    if found is None:
        return ObjectChangedError(f"the object was replaced: its ETag was {pinned!r}", status=412)
    return ObjectChangedError(f"the object was replaced: its ETag was {pinned!r}, now it is {found[:100]!r}")


def unquoted(etag: str | None) -> str | None:
    """An ETag header's value without quotes (some emulators send none); a weak one keeps its `W/`."""
    if etag is None:
        return None
    etag = etag.strip()
    weak = "W/" if etag.startswith("W/") else ""
    return (weak + etag.removeprefix("W/").strip('"')) or None


def if_match(etag: str | None) -> str | None:
    """The If-Match header for an unquoted ETag; None for a weak one: it never matches (RFC 9110 13.1.1)."""
    if etag is None or etag.startswith("W/") or not _ETAG_TEXT.fullmatch(etag):
        return None
    return f'"{etag}"'
