"""Whether an HTTP answer is the range that was asked for: HTTP clients do not check it, so this does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harvester.errors import BadResponseError, ObjectChangedError
from harvester.model import ByteRange

# The stop may be -1 or lie before the start: so says gcp-storage-emulator of a range behind the end.
_CONTENT_RANGE = re.compile(r"bytes[ =]([0-9]{1,19})-(-?[0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes[ =]\*/([0-9]{1,19})", re.IGNORECASE)
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>([0-9]{1,19})</ActualObjectSize>")
# RFC 9110 8.8.3: what may stand between an entity tag's quotes, without the bytes beyond ASCII.
_ETAG_TEXT = re.compile(r"[\x21\x23-\x7e]+")


@dataclass(frozen=True, slots=True)
class Promise:
    """What the head of an answer says that its body holds.

    `length` bytes from the start that was asked for. `size` is the whole object's, None where the body's
    own end has to say. `whole` marks the answer of a server that ignores ranges: its body goes on.
    """

    length: int
    size: int | None
    whole: bool = False


def promise_of_partial(wanted: ByteRange, headers: Mapping[str, str], body_length: int | None) -> Promise:
    """What a 206 promises (RFC 9110 15.3.7), held against what was asked for.

    Args:
        wanted: The range that was asked for.
        headers: The answer's headers.
        body_length: From Content-Length, None where the body is chunked.

    Raises:
        BadResponseError: It is another range, does not say the object's size, or contradicts itself.
    """
    text = headers.get("Content-Range")
    found = _CONTENT_RANGE.fullmatch(text.strip()) if text is not None else None
    if found is None:
        raise BadResponseError(f"206 with Content-Range {text!r}, which is no single range")
    if found[3] == "*":
        raise BadResponseError(f"206 with Content-Range {text!r}, which hides the object's size")
    first, last, size = int(found[1]), int(found[2]), int(found[3])
    if first != wanted.start:
        raise BadResponseError(f"asked for byte {wanted.start} on, the answer is {text!r}")
    if wanted.start >= size:
        if last >= first or body_length not in (0, None):
            raise BadResponseError(f"206 with Content-Range {text!r}, which contradicts itself")
        return Promise(length=0, size=size)
    if last != min(wanted.stop, size) - 1:
        raise BadResponseError(f"asked for bytes {wanted.start} to {wanted.stop - 1}, the answer is {text!r}")
    length = last - first + 1
    if body_length not in (length, None):
        raise BadResponseError(f"Content-Range {text!r} with a body of {body_length} bytes")
    return Promise(length=length, size=size)


def promise_of_whole(wanted: ByteRange, body_length: int | None) -> Promise:
    """What a 200 promises: a server may ignore ranges (RFC 9110 14.2), or the object is empty.

    Raises:
        BadResponseError: The bytes lie behind ones that would have to be read and thrown away.
    """
    if body_length is not None and wanted.start >= body_length:
        return Promise(length=0, size=body_length, whole=True)
    if wanted.start > 0:
        raise BadResponseError(
            f"the server ignores ranges: asked for byte {wanted.start} on, it sends the whole object"
        )
    length = len(wanted) if body_length is None else min(len(wanted), body_length)
    return Promise(length=length, size=body_length, whole=True)


def size_of_unsatisfied(wanted: ByteRange, headers: Mapping[str, str], body: bytes) -> int:
    """The object's size from a 416 (RFC 9110 15.5.17), or from S3's error document.

    Raises:
        BadResponseError: The range was satisfiable, or the size is not told.
    """
    found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
    told = found[1] if found else None
    if told is None and (actual := _ACTUAL_SIZE.search(body)):
        told = actual[1].decode("ascii")
    if told is None:
        if wanted.start > 0:
            raise BadResponseError(f"416 for byte {wanted.start} on, without the object's size")
        return 0  # only an empty object has no first byte (RFC 9110 14.1.2)
    if wanted.start < int(told):
        raise BadResponseError(f"416 for byte {wanted.start} on, of an object of {told} bytes")
    return int(told)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Refuse an encoded body: its bytes are not the object's, and ranges of it count otherwise.

    Raises:
        BadResponseError: There is a Content-Encoding that is not `identity`, or a Transfer-Encoding that is
            more than `chunked`.
    """
    transfer = headers.get("Transfer-Encoding", "").strip().lower()
    if transfer not in ("", "chunked", "identity"):
        raise BadResponseError(
            f"the body is encoded for its way ({transfer[:40]!r}), though that was not asked for"
        )
    encoding = headers.get("Content-Encoding", "").strip().lower()
    # S3 keeps `aws-chunked`, which only ever described the upload, on some objects' answers.
    if encoding not in ("", "identity", "aws-chunked"):
        raise BadResponseError(f"the body is encoded ({encoding[:40]!r}), though only identity was accepted")


def check_etag(pinned: str | None, found: str | None) -> None:
    """Hold an answer's ETag against the first window's; an answer without one has passed If-Match.

    Raises:
        ObjectChangedError: It is another.
    """
    if pinned is None or found is None or pinned.removeprefix("W/") == found.removeprefix("W/"):
        return
    raise ObjectChangedError(f"the object was replaced: its ETag was {pinned!r}, now it is {found[:100]!r}")


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
