"""The address of a dataset in a bucket: `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, and its endpoint."""

import os
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote

from harvester.errors import DatasetError
from harvester.messages import without_secrets
from harvester.model import BUCKET_NAME, endpoint_url

SCHEMES: Final = ("s3", "gs")
_OPTIONS: Final = ("endpoint", "region")
# The names that boto3 and gsutil read, too.
_VARIABLES: Final = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
}


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The parsed address of a dataset in a bucket.

    Attributes:
        scheme: `s3` or `gs`.
        bucket: The bucket.
        prefix: The prefix of all keys of the dataset, without a slash at either end.
        endpoint: `http://HOST[:PORT]` or `https://...` of another server; None: the cloud's.
        region: The bucket's region; None: it is looked up.
    """

    scheme: str
    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None

    @property
    def url(self) -> str:
        """The address without options."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    @property
    def location(self) -> str:
        """The whole address, as `parse` reads it."""
        given = {"endpoint": self.endpoint, "region": self.region}
        options = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in given.items() if value)
        return f"{self.url}?{options}" if options else self.url

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address; its options take precedence over the environment.

        `?endpoint=http://127.0.0.1:9000` names a server with the API of S3 or GCS; without it
        `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or `STORAGE_EMULATOR_HOST` does. `?region=eu-west-1` saves a
        look-up of the region.

        Raises:
            DatasetError: It is invalid.
        """
        shown = without_secrets(text)
        place, _, query = text.partition("?")
        scheme, _, rest = place.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        if scheme not in SCHEMES:
            raise DatasetError(
                f"{shown}: a dataset is a local directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; "
                f"{scheme}:// is not supported"
            )
        if not BUCKET_NAME.fullmatch(bucket):
            name = without_secrets(f"{scheme}://{bucket}").removeprefix(f"{scheme}://")
            raise DatasetError(f"{shown}: {name!r} is not a bucket name; expected {scheme}://BUCKET/PREFIX")
        if not prefix or any(step in ("", ".", "..") for step in prefix.split("/")) or "\0" in prefix:
            raise DatasetError(
                f"{shown}: expected {scheme}://BUCKET/PREFIX, with a prefix of its own for the dataset"
            )
        options = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := [name for name in options if name not in _OPTIONS]:
            raise DatasetError(f"{shown}: ?{unknown[0]}= is unknown; valid: {', '.join(_OPTIONS)}")
        endpoint = options.get("endpoint") or _from_environment(scheme)
        return cls(scheme, bucket, prefix, _checked(shown, endpoint), options.get("region") or None)


def is_bucket_address(path: object) -> bool:
    """Whether a text is an address with a scheme, and not a directory."""
    return isinstance(path, str) and "://" in path


def _from_environment(scheme: str) -> str | None:
    for name in _VARIABLES[scheme]:
        if value := os.environ.get(name):
            return value if "://" in value else f"http://{value}"
    return None


def _checked(shown: str, endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    try:
        return endpoint_url(endpoint)
    except ValueError as error:
        raise DatasetError(f"{shown}: the endpoint {error}") from None
