"""The clients of a bucket, pyarrow's file system and boto3 or google-auth, and their credentials."""

from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from pyarrow import fs

from harvester.dataset.bucket.address import BucketAddress
from harvester.dataset.bucket.errors import refusal
from harvester.errors import DatasetError
from harvester.messages import pip_install

_CONNECT_SECONDS: Final = 5
_TIMEOUT: Final = timedelta(seconds=60)
_RETRIED: Final = (429, 500, 502, 503, 504)
_EMULATOR_REGION: Final = "us-east-1"
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """The clients of one bucket; make them by `open_bucket`.

    Attributes:
        address: The dataset's.
        filesystem: Reads and writes whole files.
        session: boto3's client or google-auth's session, for conditional writes, which pyarrow lacks.
        anonymous: Whether there are no credentials; public datasets can be read without.
        turn: Held while the session is used: threads must not share google-auth's.
    """

    address: BucketAddress
    filesystem: fs.FileSystem
    session: Any = field(repr=False)
    anonymous: bool = False
    turn: Lock = field(default_factory=Lock, repr=False, compare=False)


def open_bucket(address: BucketAddress) -> BucketAccess:
    """Find credentials as the cloud's own tools do, and make the clients; sends no request to the bucket.

    Without credentials the bucket is read anonymously.

    Raises:
        DatasetError: The packages for buckets are not installed, or the bucket's region cannot be found.
    """
    try:
        return _open_s3(address) if address.scheme == "s3" else _open_gcs(address)
    except ImportError as error:
        raise DatasetError(
            f"{address.url}: datasets in buckets need {error.name}; {pip_install('buckets')}"
        ) from error


def _open_s3(address: BucketAddress) -> BucketAccess:
    import boto3  # noqa: PLC0415  a third of a second, and an extra
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = boto3.Session()
        anonymous = session.get_credentials() is None
        region = address.region or session.region_name or _region(address)
    except (BotoCoreError, OSError) as error:
        raise refusal(address, "_harvest: cannot be reached", error) from error
    endpoint = {} if address.endpoint is None else _override(address.endpoint)
    filesystem = fs.S3FileSystem(
        anonymous=anonymous,
        region=region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_TIMEOUT.total_seconds(),
        allow_delayed_open=True,  # a small file is one request
        **endpoint,
    )
    return BucketAccess(
        address, filesystem, _s3_client(session, address, region, anonymous=anonymous), anonymous
    )


def _s3_client(session: Any, address: BucketAddress, region: str, *, anonymous: bool) -> Any:
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 3},
        s3={"addressing_style": "path"} if address.endpoint else {},
        **({"signature_version": UNSIGNED} if anonymous else {}),
    )
    return session.client("s3", region_name=region, endpoint_url=address.endpoint, config=config)


def _region(address: BucketAddress) -> str:
    return _EMULATOR_REGION if address.endpoint else str(fs.resolve_s3_region(address.bucket))


def _open_gcs(address: BucketAddress) -> BucketAccess:
    import google.auth  # noqa: PLC0415
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415
    from urllib3 import Retry  # noqa: PLC0415

    anonymous = False
    if address.endpoint is None:
        try:
            credentials, _project = google.auth.default(scopes=[_SCOPE])
        except DefaultCredentialsError:
            credentials, anonymous = AnonymousCredentials(), True
    else:
        credentials = AnonymousCredentials()  # as google-cloud-storage does for an emulator
    session: AuthorizedSession = AuthorizedSession(credentials)
    # A repeated write whose first response was lost looks like a conflict; `lease` tells them apart.
    again = Retry(total=3, backoff_factor=0.5, status_forcelist=_RETRIED, allowed_methods=None)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    endpoint = {} if address.endpoint is None else _override(address.endpoint)
    filesystem = fs.GcsFileSystem(
        anonymous=anonymous or address.endpoint is not None, retry_time_limit=_TIMEOUT, **endpoint
    )
    return BucketAccess(address, filesystem, session, anonymous)


def _override(endpoint: str) -> dict[str, str]:
    parts = urlsplit(endpoint)
    return {"endpoint_override": parts.netloc, "scheme": parts.scheme}
