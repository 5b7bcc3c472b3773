"""GCS's side of the demo bucket: its JSON API's listings, object metadata and errors."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote

from harvester.demo.bucket import LARGEST_PAGE, Bucket, PageRequest, list_page
from harvester.demo.files import entity_tag, iso_time
from harvester.demo.layout import DemoInstance
from harvester.demo.refusal import Refusal
from harvester.demo.s3 import whole_number


def list_objects(bucket: Bucket, query: Mapping[str, str], endpoint: str) -> bytes | Refusal:
    """Answer Objects: list; `fields` and what else a request may say is ignored."""
    limit = whole_number(query.get("maxResults", str(LARGEST_PAGE)))
    if not limit:
        return Refusal(400, "invalid", "maxResults must be a number above 0")
    wanted = PageRequest(
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        limit=min(limit, LARGEST_PAGE),
        token=query.get("pageToken") or None,
    )
    page = list_page(bucket, wanted)
    if page is None:
        return Refusal(400, "invalid", "Invalid pageToken")
    answer: dict[str, object] = {"kind": "storage#objects"}
    if page.next_token is not None:
        answer["nextPageToken"] = page.next_token
    if page.common_prefixes:
        answer["prefixes"] = page.common_prefixes
    if page.objects:
        answer["items"] = [_metadata(bucket.name, listed, endpoint) for listed in page.objects]
    return json.dumps(answer).encode()


def object_document(bucket: Bucket, stored: DemoInstance, endpoint: str) -> bytes:
    """Answer Objects: get without `alt=media`."""
    return json.dumps(_metadata(bucket.name, stored, endpoint)).encode()


def bucket_document(bucket: Bucket, endpoint: str) -> bytes:
    """Answer Buckets: get."""
    return json.dumps(
        {
            "kind": "storage#bucket",
            "id": bucket.name,
            "name": bucket.name,
            "selfLink": f"{endpoint}/storage/v1/b/{bucket.name}",
            "location": "US",
            "storageClass": "STANDARD",
        }
    ).encode()


def error_document(refusal: Refusal) -> bytes:
    """The JSON that GCS sends with a status of 400 and above."""
    reason = {"domain": "global", "reason": refusal.code, "message": refusal.message}
    return json.dumps(
        {"error": {"code": refusal.status, "message": refusal.message, "errors": [reason]}}
    ).encode()


def _metadata(bucket: str, stored: DemoInstance, endpoint: str) -> dict[str, object]:
    generation = str(stored.modified // 1000)
    path = f"b/{bucket}/o/{quote(stored.key, safe='')}"
    tag = entity_tag(stored.key, stored.size, stored.modified)
    modified = iso_time(stored.modified)
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{stored.key}/{generation}",
        "name": stored.key,
        "bucket": bucket,
        "generation": generation,
        "metageneration": "1",
        "contentType": "application/dicom",
        "storageClass": "STANDARD",
        "size": str(stored.size),
        # As on GCS, this one is not the ETag header of a download.
        "etag": base64.b64encode(tag[:12].encode()).decode(),
        "timeCreated": modified,
        "updated": modified,
        "selfLink": f"{endpoint}/storage/v1/{path}",
        "mediaLink": f"{endpoint}/download/storage/v1/{path}?generation={generation}&alt=media",
    }
