"""A bucket's keys in order, and pages of them as a listing with prefix and delimiter gives them."""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harvester.demo.layout import DemoInstance

LARGEST_PAGE: Final = 1000  # S3 and GCS alike
_BEHIND_ALL: Final = "\U0010ffff"  # the last code point: no key of ours has it


@dataclass(frozen=True, slots=True)
class Bucket:
    """A name, objects by key, and the keys in order. What has no key here can't be reached."""

    name: str
    objects: Mapping[str, DemoInstance]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, name: str, objects: Mapping[str, DemoInstance]) -> "Bucket":
        """A bucket of these objects."""
        return cls(name, objects, tuple(sorted(objects)))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a listing asks for.

    `start_after` is a key (or the start of one) that the page lies behind; `token` is the last page's
    `next_token` and takes its place.
    """

    prefix: str = ""
    delimiter: str = ""
    limit: int = LARGEST_PAGE
    start_after: str = ""
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Objects and common prefixes in order; `next_token` is None on the last page."""

    objects: tuple[DemoInstance, ...]
    common_prefixes: tuple[str, ...]
    next_token: str | None


def list_page(bucket: Bucket, wanted: PageRequest) -> Page | None:
    """One page of a listing, or None where the token is none of ours.

    Takes time for what the page holds, not for the keys that a common prefix stands for.
    """
    keys = bucket.keys
    at = bisect_left(keys, wanted.prefix)
    if wanted.token is not None:
        behind = _position_of(wanted.token, keys)
        if behind is None:
            return None
        at = max(at, behind)
    elif wanted.start_after:
        at = max(at, bisect_right(keys, wanted.start_after))
    objects: list[DemoInstance] = []
    common_prefixes: list[str] = []
    last = ""
    while at < len(keys) and keys[at].startswith(wanted.prefix):
        if len(objects) + len(common_prefixes) >= wanted.limit:
            return Page(tuple(objects), tuple(common_prefixes), _token(last) if last else None)
        common_prefix = _common_prefix(keys[at], wanted)
        if common_prefix:
            common_prefixes.append(common_prefix)
            last = "p" + common_prefix
            at = bisect_left(keys, common_prefix + _BEHIND_ALL)
        else:
            objects.append(bucket.objects[keys[at]])
            last = "k" + keys[at]
            at += 1
    return Page(tuple(objects), tuple(common_prefixes), None)


def _common_prefix(key: str, wanted: PageRequest) -> str:
    if not wanted.delimiter:
        return ""
    found = key.find(wanted.delimiter, len(wanted.prefix))
    return "" if found < 0 else key[: found + len(wanted.delimiter)]


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _position_of(token: str, keys: tuple[str, ...]) -> int | None:
    try:
        last = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    if last[:1] == "k":
        return bisect_right(keys, last[1:])
    if last[:1] == "p":
        return bisect_left(keys, last[1:] + _BEHIND_ALL)
    return None
