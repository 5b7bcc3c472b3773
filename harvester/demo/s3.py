"""S3's side of the demo bucket: listings and errors in its XML."""

import html
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from harvester.demo.bucket import LARGEST_PAGE, Bucket, Page, PageRequest, list_page
from harvester.demo.files import entity_tag, iso_time
from harvester.demo.refusal import Refusal

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 2.2
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def list_objects_v2(bucket: Bucket, query: Mapping[str, str]) -> bytes | Refusal:
    """Answer ListObjectsV2; `fetch-owner` and what else a request may say is ignored."""
    limit = whole_number(query.get("max-keys", str(LARGEST_PAGE)))
    if limit is None:
        return Refusal(400, "InvalidArgument", "max-keys must be a number that is not negative")
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        return Refusal(400, "InvalidArgument", "Invalid Encoding Method specified in Request")
    wanted = PageRequest(
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        limit=min(limit, LARGEST_PAGE),
        start_after=query.get("start-after", ""),
        token=query.get("continuation-token"),
    )
    page = list_page(bucket, wanted)
    if page is None:
        return Refusal(400, "InvalidArgument", "The continuation token provided is incorrect")
    return _document(bucket, wanted, page, by_url=bool(encoding))


def whole_number(text: str) -> int | None:
    """A number of at most nine digits, or None."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def error_document(refusal: Refusal) -> bytes:
    """The XML that S3 sends with a status of 400 and above."""
    inner = _element("Code", refusal.code) + _element("Message", refusal.message)
    inner += "".join(_element(name, value) for name, value in refusal.details)
    return f"{_DECLARATION}<Error>{inner}</Error>".encode()


def location_document() -> bytes:
    """The answer to GetBucketLocation: us-east-1, which S3 writes as nothing."""
    return f'{_DECLARATION}<LocationConstraint xmlns="{_NAMESPACE}"/>'.encode()


def _document(bucket: Bucket, wanted: PageRequest, page: Page, *, by_url: bool) -> bytes:
    encoded: Callable[[str], str] = _percent_encoded if by_url else str
    parts = [_element("Name", bucket.name), _element("Prefix", encoded(wanted.prefix))]
    if wanted.delimiter:
        parts.append(_element("Delimiter", encoded(wanted.delimiter)))
    if by_url:
        parts.append(_element("EncodingType", "url"))
    if wanted.start_after:
        parts.append(_element("StartAfter", encoded(wanted.start_after)))
    if wanted.token is not None:
        parts.append(_element("ContinuationToken", wanted.token))
    if page.next_token is not None:
        parts.append(_element("NextContinuationToken", page.next_token))
    parts.append(_element("KeyCount", str(len(page.objects) + len(page.common_prefixes))))
    parts.append(_element("MaxKeys", str(wanted.limit)))
    parts.append(_element("IsTruncated", "false" if page.next_token is None else "true"))
    for listed in page.objects:
        etag = entity_tag(listed.key, listed.size, listed.modified)
        inner = _element("Key", encoded(listed.key)) + _element("LastModified", iso_time(listed.modified))
        inner += _element("ETag", f'"{etag}"') + _element("Size", str(listed.size))
        parts.append(f"<Contents>{inner}{_element('StorageClass', 'STANDARD')}</Contents>")
    parts.extend(
        f"<CommonPrefixes>{_element('Prefix', encoded(common_prefix))}</CommonPrefixes>"
        for common_prefix in page.common_prefixes
    )
    content = "".join(parts)
    return f'{_DECLARATION}<ListBucketResult xmlns="{_NAMESPACE}">{content}</ListBucketResult>'.encode()


def _percent_encoded(text: str) -> str:
    return quote(text, safe="/", errors="replace")


def _element(name: str, text: str) -> str:
    # A parser turns a bare carriage return into a line feed (XML 1.0 2.11).
    safe = html.escape(_NOT_XML.sub("\ufffd", text)).replace("\r", "&#13;")
    return f"<{name}>{safe}</{name}>"
