"""URLs of objects and listings in S3, GCS and HTTP servers, and which redirects are followed."""

import re
from functools import lru_cache
from urllib.parse import quote

from yarl import URL

from harvester.errors import ConfigError, RequestRejectedError
from harvester.model import BUCKET_NAME, PLAIN_KEY, ObjectRef, endpoint_url

# Anything else in a host's place could name another host.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
# A dot in the bucket breaks the wildcard certificate of *.s3.amazonaws.com; capitals are no host names.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")

PAGE_KEYS = 1000
GCS_HOST = "https://storage.googleapis.com"


def checked_endpoint(endpoint: str) -> str:
    """An endpoint without a trailing slash.

    Raises:
        ConfigError: It is not `http(s)://HOST[:PORT]`.
    """
    try:
        return endpoint_url(endpoint)
    except ValueError as error:
        raise ConfigError(f"endpoint {error}") from None


def object_url(ref: ObjectRef, *, endpoint: str | None = None, region: str | None = None) -> str:
    """The URL of a GET of the object, in ASCII and without a fragment.

    Args:
        ref: An object in S3 or GCS, or on an HTTP server.
        endpoint: Replaces the provider's; the bucket is the first part of the path.
        region: The S3 bucket's, if an earlier response gave it.

    Raises:
        RequestRejectedError: The bucket or the key cannot be part of a URL.
    """
    if not ref.key:
        raise RequestRejectedError("an object's URL needs a key", url=ref.url)
    if ref.scheme in ("http", "https"):
        if not _is_host(ref.bucket):
            raise RequestRejectedError(
                f"{ref.public.bucket!r} is not a host name; write it in ASCII, without a user", url=ref.url
            )
        if PLAIN_KEY.fullmatch(ref.key):
            return f"{ref.scheme}://{ref.bucket}/{ref.key}"
        _check_text(ref, ref.key)
        return ref.address
    key = ref.key if PLAIN_KEY.fullmatch(ref.key) else _encoded(ref, ref.key, "/")
    return f"{_bucket_url(ref, endpoint, region)}/{key}"


def xml_listing_url(
    prefix: ObjectRef, token: str | None, *, endpoint: str | None = None, region: str | None = None
) -> str:
    """The URL of one page of S3's ListObjectsV2; keys come percent-encoded: XML cannot hold them all."""
    query = f"list-type=2&encoding-type=url&max-keys={PAGE_KEYS}&prefix={_encoded(prefix, prefix.key)}"
    if token is not None:
        query += f"&continuation-token={_encoded(prefix, token)}"
    return f"{_bucket_url(prefix, endpoint, region)}/?{query}"


def json_listing_url(prefix: ObjectRef, token: str | None, *, endpoint: str | None = None) -> str:
    """The URL of one page of GCS's JSON listing (Objects: list), with only the fields that are used."""
    _check_bucket(prefix)
    query = (
        f"prefix={_encoded(prefix, prefix.key)}&maxResults={PAGE_KEYS}"
        "&fields=nextPageToken%2Citems(name%2Csize%2Cmd5Hash)"
    )
    if token is not None:
        query += f"&pageToken={_encoded(prefix, token)}"
    return f"{endpoint or GCS_HOST}/storage/v1/b/{prefix.bucket}/o?{query}"


def redirect_target(url: str, location: str) -> str | None:
    """The URL that a redirect leads to, or None if it is not followed.

    Redirects are followed to the same host and port only, or from http to https at their default ports.
    Otherwise any server on a list of URLs could send requests to hosts that only this machine can reach.
    """
    current = URL(url, encoded=True)
    try:
        target = current.join(URL(location))
    except ValueError:
        return None
    upgraded = (current.scheme, current.port, target.scheme, target.port) == ("http", 80, "https", 443)
    same = (current.scheme, current.port) == (target.scheme, target.port)
    if target.host != current.host or target.user is not None or not (same or upgraded):
        return None
    return str(target.with_fragment(None))


def is_region(name: str) -> bool:
    """Whether a response's `x-amz-bucket-region` may become part of a host name."""
    return _REGION.fullmatch(name) is not None


def _bucket_url(ref: ObjectRef, endpoint: str | None, region: str | None) -> str:
    _check_bucket(ref)
    if endpoint is not None:
        return f"{endpoint}/{ref.bucket}"
    if ref.scheme == "gs":
        return f"{GCS_HOST}/{ref.bucket}"
    return _s3_bucket_url(ref.bucket, region)


# Called for each request, with very few buckets and hosts.
@lru_cache(maxsize=1024)
def _s3_bucket_url(bucket: str, region: str | None) -> str:
    host = "s3.amazonaws.com" if region is None else f"s3.{region}.amazonaws.com"
    return f"https://{bucket}.{host}" if _HOST_LABEL.fullmatch(bucket) else f"https://{host}/{bucket}"


@lru_cache(maxsize=1024)
def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found[1] or 0) < 2**16


@lru_cache(maxsize=1024)
def _is_bucket(text: str) -> bool:
    return BUCKET_NAME.fullmatch(text) is not None


def _check_bucket(ref: ObjectRef) -> None:
    if ref.scheme not in ("s3", "gs"):
        raise RequestRejectedError(f"{ref.scheme}:// has no buckets", url=ref.url)
    if not _is_bucket(ref.bucket):
        raise RequestRejectedError(f"{ref.bucket!r} is not a bucket name", url=ref.url)


def _encoded(ref: ObjectRef, text: str, safe: str = "") -> str:
    _check_text(ref, text)
    return quote(text, safe=safe)


def _check_text(ref: ObjectRef, text: str) -> None:
    try:
        text.encode()  # a loop over the characters takes as long as the rest of a URL
    except UnicodeEncodeError:
        raise RequestRejectedError(f"{ref.key!r} is not a key: it has a lone surrogate") from None
