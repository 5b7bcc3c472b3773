"""An anonymous, read-only HTTP server that answers for demo buckets as S3 and GCS do."""

import errno
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import unquote

from aiohttp import web
from anyio import to_thread

from harvester.demo import gcs, s3
from harvester.demo.bucket import Bucket
from harvester.demo.conditions import Conditions, decide
from harvester.demo.files import FirstChunk, http_time, read_chunk, read_first_chunk
from harvester.demo.layout import DemoInstance
from harvester.demo.refusal import Refusal

_log = logging.getLogger(__name__)

_JSON_API: Final = re.compile(
    r"(?:/download)?/storage/v1(?:/b(?:/(?P<bucket>[^/]+)(?:/o(?:/(?P<key>.+)|/?))?)?)?/?"
)
_LISTS: Final = re.compile(r".*/o/?")
_REFUSALS: Final = {
    412: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    416: ("InvalidRange", "The requested range is not satisfiable"),
}


@dataclass(frozen=True, slots=True)
class DemoServer:
    """Answers requests from a fixed map of buckets and keys: a path in a URL never becomes a file's path."""

    buckets: Mapping[str, Bucket]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever it says, the answer is one of S3's or GCS's."""
        path = request.rel_url.raw_path
        json_api = _JSON_API.fullmatch(path)
        if request.method not in ("GET", "HEAD"):
            refusal = Refusal(
                405, "MethodNotAllowed", "The specified method is not allowed: this bucket is read-only"
            )
            response = _refused(refusal, json_api=json_api is not None)
            response.headers["Allow"] = "GET, HEAD"
            response.force_close()  # rather than read a body that may have no end
            return response
        if json_api is not None:
            return await self._answer_gcs(request, json_api)
        return await self._answer_s3(request, path)

    async def _answer_s3(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        name, _, key = (unquote(part) for part in path.removeprefix("/").partition("/"))
        if not name and not key:
            return _refused(Refusal(403, "AccessDenied", "Access Denied: name a bucket"))
        bucket = self.buckets.get(name)
        if bucket is None:
            details = (("BucketName", name),)
            return _refused(Refusal(404, "NoSuchBucket", "The specified bucket does not exist", details))
        if key:
            stored = bucket.objects.get(key)
            return _refused(_no_such_key(key)) if stored is None else await _send(request, stored)
        return self._answer_for_bucket(request, bucket)

    def _answer_for_bucket(self, request: web.BaseRequest, bucket: Bucket) -> web.StreamResponse:
        query = request.rel_url.query
        if request.method == "HEAD":
            return web.Response(headers={"x-amz-bucket-region": "us-east-1"})
        if "location" in query:
            return _xml(200, s3.location_document())
        if query.get("list-type") != "2":
            message = "Of what can be asked of a bucket, list-type=2 and location are implemented"
            return _refused(Refusal(501, "NotImplemented", message))
        document = s3.list_objects_v2(bucket, query)
        return _refused(document) if isinstance(document, Refusal) else _xml(200, document)

    async def _answer_gcs(self, request: web.BaseRequest, path: re.Match[str]) -> web.StreamResponse:
        name, key = unquote(path["bucket"] or ""), unquote(path["key"] or "")
        endpoint = f"{request.scheme}://{request.host}"
        bucket = self.buckets.get(name)
        if bucket is None:
            refusal = Refusal(404, "notFound", "The specified bucket does not exist.")
            return _refused(refusal, json_api=True)
        if not key:
            lists = _LISTS.fullmatch(path[0]) is not None
            document = (
                gcs.list_objects(bucket, request.rel_url.query, endpoint)
                if lists
                else gcs.bucket_document(bucket, endpoint)
            )
            return (
                _refused(document, json_api=True) if isinstance(document, Refusal) else _json(200, document)
            )
        stored = bucket.objects.get(key)
        if stored is None:
            return _refused(Refusal(404, "notFound", f"No such object: {name}/{key}"), json_api=True)
        if request.rel_url.query.get("alt") == "media":
            return await _send(request, stored)
        return _json(200, gcs.object_document(bucket, stored, endpoint))


async def _send(request: web.BaseRequest, stored: DemoInstance) -> web.StreamResponse:
    conditions = Conditions(
        range=_field(request, "Range"),
        if_match=_field(request, "If-Match"),
        if_none_match=_field(request, "If-None-Match"),
    )
    body = request.method == "GET"
    try:
        first = await to_thread.run_sync(
            partial(read_first_chunk, stored, partial(decide, conditions), body=body)
        )
    except PermissionError:
        return _refused(Refusal(403, "AccessDenied", "Access Denied: the file may not be read"))
    except OSError as error:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError)) or _is_link(error)
        _log.warning("%s: %s", stored.path, error)
        if gone:
            return _refused(_no_such_key(stored.key))
        return _refused(Refusal(500, "InternalError", "We encountered an internal error. Please try again."))
    return await _send_from(request, stored, first)


async def _send_from(request: web.BaseRequest, stored: DemoInstance, first: FirstChunk) -> web.StreamResponse:
    decision = first.decision
    headers = {
        "ETag": f'"{first.etag}"',
        "Last-Modified": http_time(first.modified),
        "Accept-Ranges": "bytes",
    }
    if decision.status == 304:
        return web.Response(status=304, headers=headers)
    if decision.status in _REFUSALS:
        return _refused_condition(decision.status, request, first.size)
    headers["Content-Type"] = _content_type(stored.key)
    headers["Content-Length"] = str(decision.stop - decision.start)
    if decision.status == 206:
        headers["Content-Range"] = f"bytes {decision.start}-{decision.stop - 1}/{first.size}"
    if request.method == "HEAD":
        return web.StreamResponse(status=decision.status, headers=headers)
    if decision.start + len(first.data) == decision.stop:
        del headers["Content-Length"]  # aiohttp takes it from the body
        return web.Response(status=decision.status, headers=headers, body=first.data)
    response = web.StreamResponse(status=decision.status, headers=headers)
    await _stream(request, stored, first, response)
    return response


async def _stream(
    request: web.BaseRequest, stored: DemoInstance, first: FirstChunk, response: web.StreamResponse
) -> None:
    """Send the first chunk and those behind it, one in memory at a time."""
    stop = first.decision.stop
    try:
        await response.prepare(request)
        await response.write(first.data)
        at = first.decision.start + len(first.data)
        while at < stop:
            chunk = await to_thread.run_sync(read_chunk, stored, at, stop, first.etag)
            await response.write(chunk)
            at += len(chunk)
    except ConnectionError:
        return  # the client has enough
    except OSError as error:
        # Content-Length is on its way: only a cut connection says that the body is not whole.
        _log.warning("%s: %s", stored.path, error)
        if request.transport is not None:
            request.transport.abort()


def _field(request: web.BaseRequest, name: str) -> str | None:
    values = request.headers.getall(name, [])
    return ", ".join(values) if values else None


def _is_link(error: OSError) -> bool:
    return error.errno == errno.ELOOP  # what O_NOFOLLOW says of a link


def _content_type(key: str) -> str:
    return "application/dicom" if key.endswith(".dcm") else "application/vnd.apache.parquet"


def _no_such_key(key: str) -> Refusal:
    return Refusal(404, "NoSuchKey", "The specified key does not exist.", (("Key", key),))


def _refused_condition(status: int, request: web.BaseRequest, size: int) -> web.Response:
    code, message = _REFUSALS[status]
    details = (("RangeRequested", _field(request, "Range") or ""), ("ActualObjectSize", str(size)))
    response = _refused(Refusal(status, code, message, details if status == 416 else ()))
    if status == 416:
        response.headers["Content-Range"] = f"bytes */{size}"
    return response


def _refused(refusal: Refusal, *, json_api: bool = False) -> web.Response:
    if json_api:
        return _json(refusal.status, gcs.error_document(refusal))
    return _xml(refusal.status, s3.error_document(refusal))


def _xml(status: int, document: bytes) -> web.Response:
    return web.Response(status=status, body=document, content_type="application/xml")


def _json(status: int, document: bytes) -> web.Response:
    return web.Response(status=status, body=document, content_type="application/json", charset="utf-8")
