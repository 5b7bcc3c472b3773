"""Reads bucket listings, S3's XML and GCS's JSON, and joins their pages into one that can be trusted."""

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from harvester.errors import ListingError, StoreError
from harvester.model import ListedObject, ObjectRef
from harvester.store.base import Store
from harvester.store.http.range_response import unquoted

_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class ListingLimits:
    """Bounds that keep a server from making a listing endless.

    Args:
        page_bytes: One page's body. A thousand keys of 1024 percent-encoded bytes are under 4 MB.
        pages: Pages of one listing.
        empty_pages: Pages without an object one after the other.
        objects: Objects of one listing.
        token_letters: The length of a continuation token.
    """

    page_bytes: int = 16 << 20
    pages: int = 1_000_000
    empty_pages: int = 100
    objects: int = 1_000_000_000
    token_letters: int = 8192


DEFAULT_LISTING_LIMITS = ListingLimits()


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing, as the store gave it; `next_token` is None on the last."""

    objects: tuple[ListedObject, ...]
    next_token: str | None


@runtime_checkable
class PagingStore(Store, Protocol):
    """A store whose listings come in pages, so that one page can be asked for again."""

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing, in one request.

        Raises:
            StoreError: One of its children says what is wrong.
        """
        ...


def parse_xml_page(document: bytes, bucket: str, scheme: str = "s3") -> ListingPage:
    """Read one answer of S3's ListObjectsV2.

    Args:
        document: The XML, `ListBucketResult`.
        bucket: What the objects' refs name as their bucket.
        scheme: What they name as their scheme.

    Raises:
        ListingError: It is no such document, or an entry lacks its key or its size.
    """
    try:
        root = fromstring(document, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:
        raise ListingError(f"the listing is not well-formed XML: {_one_line(error)}") from error
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
        raise ListingError(f"the listing does not say whether it is truncated: {truncated!r}")
    token = _text(root, "NextContinuationToken") or None
    if truncated == "true" and token is None:
        raise ListingError("the listing is truncated, but gives no continuation token")
    return ListingPage(objects=objects, next_token=token if truncated == "true" else None)


def parse_json_page(document: bytes, bucket: str) -> ListingPage:
    """Read one answer of GCS's `Objects: list`.

    The ETag that range requests on the XML path answer with is the MD5 in hexadecimal, not the JSON
    resource's `etag`; composite objects have no MD5 and so no ETag here.

    Raises:
        ListingError: It is no such document, or an entry lacks its name or its size.
    """
    try:
        page = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"the listing is not JSON: {_one_line(error)}") from error
    items = page.get("items", []) if isinstance(page, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ListingError("the listing is not a page of Cloud Storage objects")
    token = page.get("nextPageToken") or None
    if token is not None and not isinstance(token, str):
        raise ListingError("the listing's nextPageToken is not text")
    return ListingPage(objects=tuple(_json_object(item, bucket) for item in items), next_token=token)


async def join_pages(
    page_of: Callable[[str | None], Awaitable[ListingPage]],
    prefix: ObjectRef,
    limits: ListingLimits = DEFAULT_LISTING_LIMITS,
) -> AsyncIterator[ListedObject]:
    """All objects of a listing, page after page, without placeholders of folders.

    Args:
        page_of: Gives the page that a token names, the first one for None.
        prefix: Where every key has to begin.
        limits: Bounds of the whole.

    Raises:
        ListingError: A page failed, a token came twice, a key lies elsewhere or came twice on a page, or
            the listing passes a bound.
    """
    token: str | None = None
    tokens: set[int] = set()
    pages = objects = empty = 0
    while True:
        page = await _page(page_of, token, prefix)
        pages += 1
        objects += len(page.objects)
        empty = 0 if page.objects else empty + 1
        _check_keys(page, prefix)
        for listed in page.objects:
            if listed.size or not listed.ref.key.endswith("/"):
                yield listed
        token = page.next_token
        if token is None:
            return
        if len(token) > limits.token_letters or hash(token) in tokens:
            raise ListingError("the listing's continuation token came before, or is too long", url=prefix.url)
        tokens.add(hash(token))
        if pages >= limits.pages or objects >= limits.objects or empty >= limits.empty_pages:
            raise ListingError(f"the listing goes on after {pages} pages, {objects} objects", url=prefix.url)


async def _page(
    page_of: Callable[[str | None], Awaitable[ListingPage]], token: str | None, prefix: ObjectRef
) -> ListingPage:
    try:
        return await page_of(token)
    except StoreError as error:
        message = error.message if isinstance(error, ListingError) else f"the listing failed: {error.message}"
        failed = ListingError(message, url=prefix.url, status=error.status)
        failed.attempts, failed.requests = error.attempts, error.requests
        failed.bytes_fetched = error.bytes_fetched
        raise failed from error


def _check_keys(page: ListingPage, prefix: ObjectRef) -> None:
    keys = {listed.ref.key for listed in page.objects}
    if len(keys) != len(page.objects):
        raise ListingError("the listing names a key twice", url=prefix.url)
    strange = next((key for key in keys if not key.startswith(prefix.key)), None)
    if strange is not None:
        raise ListingError(f"the listing names {strange[:200]!r}, which is elsewhere", url=prefix.url)


def _json_object(item: dict[str, Any], bucket: str) -> ListedObject:
    key, md5 = item.get("name"), item.get("md5Hash")
    if not isinstance(key, str) or not key:
        raise ListingError("the listing has an entry without a name")
    try:
        etag = base64.b64decode(md5, validate=True).hex() if isinstance(md5, str) and md5 else None
    except ValueError as error:
        raise ListingError(f"the listing's md5Hash of {key[:200]!r} is not base64") from error
    ref = ObjectRef(bucket=bucket, key=_whole(key), scheme="gs")
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
        raise ListingError(f"the listing gives a size of {text!r:.80}")
    return int(text)


def _whole(key: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in key):  # JSON can spell half a character
        raise ListingError(f"the listing's key {key[:200]!r} is not Unicode text")
    return key


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(parent: Element, name: str) -> str | None:
    return next((child.text or "" for child in parent if _name(child) == name), None)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]
