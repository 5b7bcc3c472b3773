"""Signs requests to S3 and Cloud Storage with the credentials that botocore and google-auth find."""

from typing import Any, Final

import anyio
from anyio import to_thread

from harvester.errors import ConfigError
from harvester.messages import one_line, pip_install
from harvester.model import ObjectRef

_GCS_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
_LONGEST_CAUSE: Final = 300
_DEFAULT_REGION: Final = "us-east-1"
_MISSING: Final = f'credentials = "environment" needs boto3 and google-auth: {pip_install("buckets")}'


class Signer:
    """Adds authorization to the headers of requests; credentials that expire are renewed.

    For S3 they are botocore's (keys, profiles, SSO, containers, instance roles), for Cloud Storage the
    application default credentials. They are looked up at the first request to each cloud.

    Args:
        requester_pays: Whether requests may be billed to the owner of the credentials.
    """

    def __init__(self, *, requester_pays: bool = False) -> None:
        self._requester_pays = requester_pays
        self._aws: tuple[Any, str] | None = None
        self._gcs: Any = None
        self._lock = anyio.Lock()

    async def headers(
        self, ref: ObjectRef, url: str, headers: dict[str, str], region: str | None
    ) -> dict[str, str]:
        """The headers of a GET request, with its authorization if the object is in S3 or Cloud Storage.

        Args:
            ref: The object or prefix.
            url: The URL that the request is sent to.
            headers: The request's own.
            region: The S3 bucket's, if it is known.

        Raises:
            ConfigError: There are no credentials, or they cannot be renewed.
        """
        if ref.scheme == "s3":
            return await self._signed_for_s3(url, headers, region)
        if ref.scheme == "gs":
            return headers | await self._gcs_headers()
        return headers

    async def _signed_for_s3(self, url: str, headers: dict[str, str], region: str | None) -> dict[str, str]:
        async with self._lock:
            if self._aws is None:
                self._aws = await to_thread.run_sync(_find_aws)
            credentials, default_region = self._aws
            if getattr(credentials, "refresh_needed", bool)():
                frozen = await to_thread.run_sync(_renewed_aws, credentials)
            else:
                frozen = credentials.get_frozen_credentials()
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - slow, and an extra
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415

        payer = {"x-amz-request-payer": "requester"} if self._requester_pays else {}
        request = AWSRequest(method="GET", url=url, headers=headers | payer)
        S3SigV4Auth(frozen, "s3", region or default_region).add_auth(request)
        return dict(request.headers.items())

    async def _gcs_headers(self) -> dict[str, str]:
        async with self._lock:
            if self._gcs is None:
                self._gcs = await to_thread.run_sync(_find_gcs)
            if not self._gcs.valid:
                await to_thread.run_sync(_renew_gcs, self._gcs)
        headers = {"Authorization": f"Bearer {self._gcs.token}"}
        project = getattr(self._gcs, "quota_project_id", None)
        if self._requester_pays and project:
            headers["x-goog-user-project"] = project
        return headers


def _find_aws() -> tuple[Any, str]:
    try:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415
    except ImportError:
        raise ConfigError(_MISSING) from None
    try:
        session = Session()
        credentials, region = session.get_credentials(), session.get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigError(f"AWS credentials cannot be read: {one_line(error, _LONGEST_CAUSE)}") from None
    if credentials is None:
        raise ConfigError(
            "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE,"
            ' or remove credentials = "environment"'
        )
    return credentials, region or _DEFAULT_REGION


def _renewed_aws(credentials: Any) -> Any:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        return credentials.get_frozen_credentials()
    except (BotoCoreError, RuntimeError) as error:  # the latter: the renewed ones have expired, too
        raise ConfigError(f"AWS credentials cannot be renewed: {one_line(error, _LONGEST_CAUSE)}") from None


def _find_gcs() -> Any:
    try:
        import google.auth  # noqa: PLC0415
        import google.auth.exceptions  # noqa: PLC0415
    except ImportError:
        raise ConfigError(_MISSING) from None
    try:
        return google.auth.default(scopes=[_GCS_SCOPE])[0]
    except google.auth.exceptions.GoogleAuthError:
        raise ConfigError(
            "no Google credentials found; set GOOGLE_APPLICATION_CREDENTIALS, or run"
            ' `gcloud auth application-default login`, or remove credentials = "environment"'
        ) from None


def _renew_gcs(credentials: Any) -> None:
    import google.auth.exceptions  # noqa: PLC0415
    import google.auth.transport.requests  # noqa: PLC0415

    try:
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.GoogleAuthError as error:
        raise ConfigError(f"Google credentials cannot be renewed: {type(error).__name__}") from None
