"""Error messages for the responses of a cloud: one line each, with the remedy."""

import re
from typing import Final

from harvester.dataset.bucket.address import BucketAddress
from harvester.errors import DatasetError

_LOGIN: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run `aws configure`",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
}
# Codes of S3 and of GCS, as boto3, pyarrow and google-auth spell them in their messages.
_NO_BUCKET: Final = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket '[^']*' not found|bucket does not exist"
)
_FORBIDDEN: Final = re.compile(
    r"ACCESS_DENIED|AccessDenied|PERMISSION_DENIED|\b403\b|Forbidden|does not have storage\."
)
_BAD_KEY: Final = re.compile(
    r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch|EXPIRED|Expired"
    r"|InvalidToken|UNAUTHENTICATED|\b401\b|INVALID_CLIENT_TOKEN_ID|RefreshError|invalid_grant"
)
_NO_CREDENTIALS: Final = re.compile(
    r"Unable to locate credentials|NoCredentials|could not be found in|DefaultCredentialsError|NO_AUTH"
    r"|default credentials were not found|Could not create .*credentials"
)
_UNREACHABLE: Final = re.compile(
    r"NETWORK_CONNECTION|Could not connect|Connection refused|Couldn't (?:connect|resolve)|curlCode"
    r"|Max retries exceeded|UNAVAILABLE|EndpointConnectionError|[Tt]imed? ?out"
)
_LONGEST: Final = 300


def no_credentials(address: BucketAddress) -> DatasetError:
    """The error of missing credentials."""
    return DatasetError(f"{address.url}: there are no credentials for this bucket; {_LOGIN[address.scheme]}")


def no_bucket(address: BucketAddress) -> DatasetError:
    """The error of a missing bucket."""
    maker = "aws s3 mb s3" if address.scheme == "s3" else "gcloud storage buckets create gs"
    where = f" at {address.endpoint}" if address.endpoint else ""
    return DatasetError(
        f"{address.url}: there is no bucket {address.bucket!r}{where}; check its name, or make it: "
        f"`{maker}://{address.bucket}`"
    )


def refusal(address: BucketAddress, what: str, error: BaseException) -> DatasetError:
    """Translate an error of pyarrow, boto3 or google-auth.

    Args:
        address: The dataset's address.
        what: What failed, as `_harvest/lock.json: cannot be written`.
        error: The library's error.
    """
    text = f"{type(error).__name__}: {error}"
    where = f"{address.url}/{what}"
    if _NO_BUCKET.search(text):
        return no_bucket(address)
    if _NO_CREDENTIALS.search(text):
        return no_credentials(address)
    if _BAD_KEY.search(text):
        return DatasetError(f"{where}: the credentials are wrong or have expired; {_LOGIN[address.scheme]}")
    if _FORBIDDEN.search(text):
        needed = (
            "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
            if address.scheme == "s3"
            else "the role roles/storage.objectAdmin"
        )
        return DatasetError(
            f"{where}: these credentials may not do that; they need {needed} on the bucket {address.bucket}"
        )
    if _UNREACHABLE.search(text):
        server = address.endpoint or f"the cloud of {address.scheme}://"
        return DatasetError(f"{where}: {server} cannot be reached; check the endpoint and the network")
    return DatasetError(f"{where} ({' '.join(str(error).split())[:_LONGEST]})")
