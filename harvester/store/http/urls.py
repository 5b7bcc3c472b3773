"""Where objects and listings lie on the web: addresses of S3 and GCS, and which redirects are followed."""

import re
from functools import lru_cache
from urllib.parse import quote

from yarl import URL

from harvester.errors import ConfigError, RequestRejectedError
from harvester.model import PLAIN_KEY, ObjectRef

# Anything else in a bucket's or a host's place could name another host (`s3://other.example#/key`).
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
# A dot in the bucket breaks the wildcard certificate of *.s3.amazonaws.com; capitals are no host names.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")

PAGE_KEYS = 1000
GCS_HOST = "https://storage.googleapis.com"


def checked_endpoint(endpoint: str) -> str:
    """An endpoint's address without a trailing slash.

    Raises:
        ConfigError: It is not `http(s)://host[:port][/path]`.
    """
    scheme, _, rest = endpoint.partition("://")
    host, _, path = rest.partition("/")
    if scheme not in ("http", "https") or not _is_host(host) or re.search(r"[\s?#]", path):
        raise ConfigError(f"endpoint {endpoint!r}: expected http://HOST[:PORT] or https://HOST[:PORT]")
    return endpoint.rstrip("/")


def object_address(ref: ObjectRef, *, endpoint: str | None = None, region: str | None = None) -> str:
    """The address that a GET of the object goes to, in ASCII and without a fragment.

    Args:
        ref: An object in S3 or GCS, or at an HTTP address.
        endpoint: Replaces the provider's, with the bucket in the path.
        region: The S3 bucket's, where an earlier answer named it.

    Raises:
        RequestRejectedError: The bucket or the key cannot be part of an address.
    """
    if not ref.key:
        raise RequestRejectedError("an object's address needs a key", url=ref.url)
    if ref.scheme in ("http", "https"):
        if not _is_host(ref.bucket):
            raise RequestRejectedError(f"{ref.bucket!r} is not a host name; write it in ASCII", url=ref.url)
        _check_text(ref, ref.key)
        return ref.url
    key = ref.key if PLAIN_KEY.fullmatch(ref.key) else _encoded(ref, ref.key, "/")
    return f"{_bucket_address(ref, endpoint, region)}/{key}"


def xml_listing_address(
    prefix: ObjectRef, token: str | None, *, endpoint: str | None = None, region: str | None = None
) -> str:
    """The address of one page of S3's ListObjectsV2, keys percent-encoded so that XML can hold them all."""
    query = f"list-type=2&encoding-type=url&max-keys={PAGE_KEYS}&prefix={_encoded(prefix, prefix.key)}"
    if token is not None:
        query += f"&continuation-token={_encoded(prefix, token)}"
    return f"{_bucket_address(prefix, endpoint, region)}/?{query}"


def json_listing_address(prefix: ObjectRef, token: str | None, *, endpoint: str | None = None) -> str:
    """The address of one page of GCS's JSON listing (Objects: list), only the fields that are read."""
    _check_bucket(prefix)
    query = (
        f"prefix={_encoded(prefix, prefix.key)}&maxResults={PAGE_KEYS}"
        "&fields=nextPageToken%2Citems(name%2Csize%2Cmd5Hash)"
    )
    if token is not None:
        query += f"&pageToken={_encoded(prefix, token)}"
    return f"{endpoint or GCS_HOST}/storage/v1/b/{prefix.bucket}/o?{query}"


def redirect_target(address: str, location: str) -> str | None:
    """Where a redirect leads, or None where it is not followed.

    Followed to the same host only, at the same port, or from http to https at their usual ports. A
    bucket has no reason to send a client elsewhere, and following would let any server on a list of
    URLs aim requests at addresses that only this machine can reach.
    """
    current = URL(address, encoded=True)
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
    """Whether an answer's `x-amz-bucket-region` may become a part of a host name."""
    return _REGION.fullmatch(name) is not None


def _bucket_address(ref: ObjectRef, endpoint: str | None, region: str | None) -> str:
    _check_bucket(ref)
    if endpoint is not None:
        return f"{endpoint}/{ref.bucket}"
    if ref.scheme == "gs":
        return f"{GCS_HOST}/{ref.bucket}"
    host = "s3.amazonaws.com" if region is None else f"s3.{region}.amazonaws.com"
    if _HOST_LABEL.fullmatch(ref.bucket):
        return f"https://{ref.bucket}.{host}"
    return f"https://{host}/{ref.bucket}"


@lru_cache(maxsize=1024)  # asked for each request, of very few hosts
def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found[1] or 0) < 2**16


def _check_bucket(ref: ObjectRef) -> None:
    if ref.scheme not in ("s3", "gs"):
        raise RequestRejectedError(f"{ref.scheme}:// has no buckets", url=ref.url)
    if not _BUCKET.fullmatch(ref.bucket):
        raise RequestRejectedError(f"{ref.bucket!r} is not a bucket name", url=ref.url)


def _encoded(ref: ObjectRef, text: str, safe: str = "") -> str:
    _check_text(ref, text)
    return quote(text, safe=safe)


def _check_text(ref: ObjectRef, text: str) -> None:
    try:
        text.encode()  # a loop over the letters would take as long as the rest of an address
    except UnicodeEncodeError:
        raise RequestRejectedError(f"{ref.key!r} is not a key: half a character in it") from None
