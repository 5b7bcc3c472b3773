"""Conditional writes: a small object is replaced only if it is still the version that was read.

pyarrow's file systems lack them. S3 has If-None-Match and If-Match on PUT since 2024, as do MinIO and Ceph's
newer releases; Google Cloud Storage has `ifGenerationMatch`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from harvester.dataset.bucket.client import BucketAccess
from harvester.dataset.bucket.errors import no_bucket, refusal

_GCS: Final = "https://storage.googleapis.com"
_SECONDS: Final = 30
_PRECONDITION: Final = frozenset({409, 412})  # 409: another conditional write is under way
_PRECONDITION_CODES: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class ConflictError(Exception):
    """The object has another version than the writer has read."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """An object as it was read.

    Attributes:
        data: Its content.
        version: Its ETag or generation, which a write that replaces it must name.
        age: Seconds since it was written, by the server's clock.
    """

    data: bytes
    version: str
    age: float


class ConditionalObject(ABC):
    """One object in a bucket."""

    @abstractmethod
    def read(self) -> StoredVersion | None:
        """Read it; None if there is none.

        Raises:
            DatasetError: The bucket refuses, or is unreachable.
        """

    @abstractmethod
    def put(self, data: bytes, seen: str | None) -> str:
        """Write it if its version is still the one that was read; return the new version.

        Args:
            data: The new content.
            seen: The version to replace; None: there is no object yet.

        Raises:
            ConflictError: It has another version.
            DatasetError: The bucket refuses, or is unreachable.
        """


def conditional_object(access: BucketAccess, path: str) -> ConditionalObject:
    """The object at a path of the dataset."""
    return (_S3Object if access.address.scheme == "s3" else _GcsObject)(access, path)


class _S3Object(ConditionalObject):
    def __init__(self, access: BucketAccess, path: str) -> None:
        self._access = access
        self._path = path
        self._place = {"Bucket": access.address.bucket, "Key": f"{access.address.prefix}/{path}"}

    def read(self) -> StoredVersion | None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            response = self._access.session.get_object(**self._place)
            data = response["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise refusal(self._access.address, f"{self._path}: cannot be read", error) from error
        except BotoCoreError as error:
            raise refusal(self._access.address, f"{self._path}: cannot be read", error) from error
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        return StoredVersion(data, response["ETag"], _age(response["LastModified"], headers.get("date")))

    def put(self, data: bytes, seen: str | None) -> str:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        try:
            response = self._access.session.put_object(**self._place, Body=data, **condition)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            # The version that was read may also have been deleted.
            if code in _PRECONDITION_CODES or (seen is not None and code == "NoSuchKey"):
                raise ConflictError from error
            raise refusal(self._access.address, f"{self._path}: cannot be written", error) from error
        except BotoCoreError as error:
            raise refusal(self._access.address, f"{self._path}: cannot be written", error) from error
        return str(response["ETag"])


class _GcsObject(ConditionalObject):
    """By the JSON API: https://cloud.google.com/storage/docs/json_api/v1/objects, `insert` and `get`."""

    def __init__(self, access: BucketAccess, path: str) -> None:
        self._access = access
        self._path = path
        address = access.address
        self._name = quote(f"{address.prefix}/{path}", safe="")
        self._root = address.endpoint or _GCS
        self._objects = f"storage/v1/b/{quote(address.bucket, safe='')}/o"

    def read(self) -> StoredVersion | None:
        response = self._request("GET", f"{self._root}/{self._objects}/{self._name}", "read")
        if response is None:
            return None
        resource = response.json()
        generation = str(resource["generation"])
        where = f"{self._root}/{self._objects}/{self._name}?alt=media&generation={generation}"
        content = self._request("GET", where, "read")
        if content is None:  # replaced in between
            return self.read()
        updated = datetime.fromisoformat(resource["updated"])
        return StoredVersion(content.content, generation, _age(updated, response.headers.get("Date")))

    def put(self, data: bytes, seen: str | None) -> str:
        where = (
            f"{self._root}/upload/{self._objects}?uploadType=media&name={self._name}"
            f"&ifGenerationMatch={seen or 0}"
        )
        response = self._request("POST", where, "written", data)
        if response is None:
            raise no_bucket(self._access.address)
        return str(response.json()["generation"])

    def _request(self, method: str, where: str, done: str, data: bytes | None = None) -> Any:
        """The response; None for 404."""
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        address = self._access.address
        headers = {} if data is None else {"Content-Type": "text/plain"}
        try:
            with self._access.turn:
                response = self._access.session.request(
                    method, where, data=data, headers=headers, timeout=_SECONDS
                )
            if response.status_code in _PRECONDITION:
                raise ConflictError
            if response.status_code == 404:
                return None
            response.raise_for_status()
        except (RequestException, GoogleAuthError) as error:
            raise refusal(address, f"{self._path}: cannot be {done}", error) from error
        return response


def _age(written: datetime, now: str | None) -> float:
    """Seconds between two times of the server; 0 if its response has no Date."""
    if now is None:
        return 0.0
    return max(0.0, (parsedate_to_datetime(now).astimezone(UTC) - written.astimezone(UTC)).total_seconds())
