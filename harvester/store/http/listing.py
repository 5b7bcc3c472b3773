"""Reads the pages of bucket listings, S3's XML and GCS's JSON, and joins them into one checked listing."""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from harvester.errors import EndpointUnreachableError, ListingError, StoreError
from harvester.messages import one_line
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.http.range_response import unquoted

# Bounds on what a server can make a listing cost. A thousand percent-encoded keys are under 4 MB.
MOST_PAGE_BYTES: Final = 16 << 20
_MOST_PAGES: Final = 1_000_000
_MOST_EMPTY_PAGES: Final = 100  # one after the other
_LONGEST_TOKEN: Final = 8192
_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing; `next_token` is None on the last."""

    objects: tuple[ListedObject, ...]
    next_token: str | None


class PagedStore(ABC):
    """A store whose listings come in pages, so that one page can be requested again."""

    @abstractmethod
    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of an object; see `Store.get_range`."""

    @abstractmethod
    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing, in one request.

        Raises:
            StoreError: One of its subclasses says what is wrong.
        """

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects whose key starts with the prefix's key.

        Raises:
            ListingError: A page failed, or the listing contradicts itself.
        """
        async for listed in join_pages(partial(self.list_page, prefix), prefix):
            yield listed


def parse_xml_page(document: bytes, bucket: str, scheme: str = "s3") -> ListingPage:
    """Read one response of S3's ListObjectsV2.

    Args:
        document: The XML, `ListBucketResult`.
        bucket: The bucket of the objects' refs.
        scheme: Their scheme.

    Raises:
        ListingError: It is another document, or an entry lacks its key or its size.
    """
    try:
        root = fromstring(document, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:
        raise ListingError(f"the listing is not well-formed XML: {_error_text(error)}") from error
    if _name(root) != "ListBucketResult":
        raise ListingError(f"the listing is a <{_name(root)[:80]}>, not a <ListBucketResult>")
    decoded = _text(root, "EncodingType") == "url"
    objects = tuple(
        ListedObject(
            ref=ObjectRef(bucket=bucket, key=_xml_key(entry, decoded=decoded), scheme=scheme),
            size=_size(_text(entry, "Size")),
            etag=unquoted(_text(entry, "ETag")),
        )
        for entry in root
        if _name(entry) == "Contents"
    )
    truncated = _text(root, "IsTruncated")
    if truncated not in ("true", "false"):
        raise ListingError(f"the listing does not tell whether it is truncated: {truncated!r}")
    token = _text(root, "NextContinuationToken") or None
    if truncated == "true" and token is None:
        raise ListingError("the listing is truncated, but gives no continuation token")
    return ListingPage(objects=objects, next_token=token if truncated == "true" else None)


def parse_json_page(document: bytes, bucket: str) -> ListingPage:
    """Read one response of GCS's `Objects: list`.

    The ETag of range requests on the XML path is the MD5 in hexadecimal, not the JSON resource's `etag`;
    composite objects have no MD5 and so no ETag here.

    Raises:
        ListingError: It is another document, or an entry lacks its name or its size.
    """
    try:
        page = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"the listing is not JSON: {_error_text(error)}") from error
    items = page.get("items", []) if isinstance(page, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ListingError("the listing is not a page of Cloud Storage objects")
    token = page.get("nextPageToken") or None
    if token is not None and not isinstance(token, str):
        raise ListingError("the listing's nextPageToken is not text")
    return ListingPage(objects=tuple(_json_object(item, bucket) for item in items), next_token=token)


async def join_pages(
    page_of: Callable[[str | None], Awaitable[ListingPage]], prefix: ObjectRef
) -> AsyncIterator[ListedObject]:
    """All objects of a listing, page after page, without the placeholders of folders.

    Args:
        page_of: Requests the page of a token; None is the first page.
        prefix: Every key must start with its key.

    Raises:
        ListingError: A page failed, a token came twice, a key does not have the prefix or came twice on a
            page, or the listing passes a bound.
    """
    token: str | None = None
    tokens: set[int] = set()
    pages = empty = 0
    while True:
        page = await _page(page_of, token, prefix)
        pages += 1
        empty = 0 if page.objects else empty + 1
        _check_keys(page, prefix)
        for listed in page.objects:
            if listed.size or not listed.ref.key.endswith("/"):
                yield listed
        token = page.next_token
        if token is None:
            return
        if len(token) > _LONGEST_TOKEN or hash(token) in tokens:
            raise ListingError(
                "the listing's continuation token was used before, or is too long", url=prefix.url
            )
        tokens.add(hash(token))
        if pages >= _MOST_PAGES or empty >= _MOST_EMPTY_PAGES:
            raise ListingError(f"the listing does not end after {pages} pages", url=prefix.url)


async def _page(
    page_of: Callable[[str | None], Awaitable[ListingPage]], token: str | None, prefix: ObjectRef
) -> ListingPage:
    try:
        return await page_of(token)
    except EndpointUnreachableError:
        raise
    except StoreError as error:
        message = error.message if isinstance(error, ListingError) else f"the listing failed: {error.message}"
        failed = ListingError(message, url=prefix.url, status=error.status)
        failed.attempts, failed.requests = error.attempts, error.requests
        failed.bytes_fetched = error.bytes_fetched
        raise failed from error


def _check_keys(page: ListingPage, prefix: ObjectRef) -> None:
    keys = {listed.ref.key for listed in page.objects}
    if len(keys) != len(page.objects):
        raise ListingError("the listing has a key twice", url=prefix.url)
    strange = next((key for key in keys if not key.startswith(prefix.key)), None)
    if strange is not None:
        raise ListingError(f"the listing has {strange[:200]!r}, which lacks the prefix", url=prefix.url)


def _json_object(item: dict[str, Any], bucket: str) -> ListedObject:
    key, md5 = item.get("name"), item.get("md5Hash")
    if not isinstance(key, str) or not key:
        raise ListingError("the listing has an entry without a name")
    try:
        etag = base64.b64decode(md5, validate=True).hex() if isinstance(md5, str) and md5 else None
    except ValueError as error:
        raise ListingError(f"the listing's md5Hash of {key[:200]!r} is not base64") from error
    ref = ObjectRef(bucket=bucket, key=_checked_text(key), scheme="gs")
    return ListedObject(ref=ref, size=_size(item.get("size")), etag=etag)


def _xml_key(entry: Element, *, decoded: bool) -> str:
    key = _text(entry, "Key")
    if not key:
        raise ListingError("the listing has an entry without a key")
    if not decoded:
        return key
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise ListingError(f"the listing's key {key[:200]!r} is not UTF-8") from error


def _size(text: object) -> int:
    if not isinstance(text, int | str) or not _DIGITS.fullmatch(str(text)):
        raise ListingError(f"the listing has a size of {text!r:.80}")
    return int(text)


def _checked_text(key: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in key):  # JSON can spell a lone surrogate
        raise ListingError(f"the listing's key {key[:200]!r} is not Unicode text")
    return key


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(parent: Element, name: str) -> str | None:
    return next((child.text or "" for child in parent if _name(child) == name), None)


def _error_text(error: Exception) -> str:
    return one_line(f"{type(error).__name__} {error}")[:200]
