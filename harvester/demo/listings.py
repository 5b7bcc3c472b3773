"""One page of a bucket listing, as S3's ListObjectsV2 (XML) or GCS's Objects: list (JSON)."""

import json
import xml.etree.ElementTree as ET
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from harvester.demo.layout import DemoInstance

_PAGE_KEYS: Final = 1000  # the largest page of S3 and GCS
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_LAST_SECOND: Final = 253_402_300_799  # the end of year 9999; a file may have any time


@dataclass(frozen=True, slots=True)
class Bucket:
    """A name, objects by key, and the keys in order."""

    name: str
    objects: Mapping[str, DemoInstance]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, name: str, objects: Mapping[str, DemoInstance]) -> "Bucket":
        """A bucket of these objects."""
        return cls(name, objects, tuple(sorted(objects)))


@dataclass(frozen=True, slots=True)
class Page:
    """Objects and common prefixes in order; `next_token` is None on the last page."""

    objects: tuple[DemoInstance, ...]
    common_prefixes: tuple[str, ...]
    next_token: str | None


def list_page(bucket: Bucket, prefix: str, delimiter: str, token: str, limit: int) -> Page:
    """List the keys behind a token, which is the last key of the page before.

    Args:
        bucket: The bucket.
        prefix: The beginning of every listed key.
        delimiter: Keys with this text behind the prefix become one common prefix. Empty: none do.
        token: The key after which the page begins. Empty: the first page.
        limit: The most entries, objects and common prefixes together.
    """
    keys = bucket.keys
    start = max(bisect_left(keys, prefix), bisect_right(keys, token) if token else 0)
    entries: dict[str, DemoInstance | None] = {}
    next_token = None
    for position in range(start, len(keys)):
        key = keys[position]
        if not key.startswith(prefix):
            break
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        name = key if end < 0 else key[: end + len(delimiter)]
        if name not in entries and len(entries) >= limit:
            next_token = keys[position - 1] if entries else None
            break
        entries[name] = bucket.objects[key] if end < 0 else None
    return Page(
        tuple(stored for stored in entries.values() if stored is not None),
        tuple(name for name, stored in entries.items() if stored is None),
        next_token,
    )


def list_as_xml(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """Respond to ListObjectsV2.

    Raises:
        ValueError: `max-keys` is not a number.
    """
    limit = min(int(query.get("max-keys", _PAGE_KEYS)), _PAGE_KEYS)
    token = query.get("continuation-token") or query.get("start-after", "")
    page = list_page(bucket, query.get("prefix", ""), query.get("delimiter", ""), token, limit)
    root = ET.Element("ListBucketResult", xmlns=_NAMESPACE)
    _add(root, "Name", bucket.name)
    _add(root, "MaxKeys", str(limit))
    _add(root, "KeyCount", str(len(page.objects) + len(page.common_prefixes)))
    _add(root, "IsTruncated", "false" if page.next_token is None else "true")
    if page.next_token is not None:
        _add(root, "NextContinuationToken", page.next_token)
    for stored in page.objects:
        entry = ET.SubElement(root, "Contents")
        _add(entry, "Key", stored.key)
        _add(entry, "LastModified", _iso_time(stored.modified))
        _add(entry, "ETag", f'"{stored.etag}"')
        _add(entry, "Size", str(stored.size))
    for common_prefix in page.common_prefixes:
        _add(ET.SubElement(root, "CommonPrefixes"), "Prefix", common_prefix)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def list_as_json(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """Respond to Objects: list.

    Raises:
        ValueError: `maxResults` is not a number.
    """
    limit = min(int(query.get("maxResults", _PAGE_KEYS)), _PAGE_KEYS)
    page = list_page(
        bucket, query.get("prefix", ""), query.get("delimiter", ""), query.get("pageToken", ""), limit
    )
    items = [
        {
            "kind": "storage#object",
            "bucket": bucket.name,
            "name": stored.key,
            "size": str(stored.size),
            "updated": _iso_time(stored.modified),
        }
        for stored in page.objects
    ]
    document = {
        "kind": "storage#objects",
        "nextPageToken": page.next_token,
        "prefixes": page.common_prefixes,
        "items": items,
    }
    return json.dumps({name: value for name, value in document.items() if value}).encode()


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _iso_time(modified: int) -> str:
    seconds = min(max(0, modified // 1_000_000_000), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
