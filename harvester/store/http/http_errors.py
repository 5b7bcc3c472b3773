"""Maps an HTTP error response to an error of the tree, and reads what the server says about it."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from harvester.errors import (
    AccessDeniedError,
    NotFoundError,
    PermanentConnectionError,
    RequestRejectedError,
    ServerFaultError,
    StoreError,
    ThrottledError,
    TimedOutError,
)

EXCERPT_BYTES = 2048
PROXY_WANTS_CREDENTIALS = "the proxy requires a valid user name and password (407); write HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT"
_EXCERPT_CHARACTERS = 160
_CODE = re.compile(rb"<Code>([^<]{1,200})")
_MESSAGE = re.compile(rb"<Message>([^<]{1,400})")
_JSON_MESSAGE = re.compile(rb'"message"\s*:\s*"((?:[^"\\]|\\.){1,400})')
# S3 sends these codes with several statuses, 400 too: the code counts, as in the AWS SDKs' retry mode.
_THROTTLING_CODES = frozenset(
    {b"SlowDown", b"RequestLimitExceeded", b"BandwidthLimitExceeded", b"Throttling", b"ThrottlingException"}
    | {b"ThrottledException", b"RequestThrottled", b"RequestThrottledException", b"TooManyRequestsException"}
)
_TIMEOUT_CODES = frozenset({b"RequestTimeout", b"RequestTimeoutException"})
_FAULT_CODES = frozenset({b"InternalError", b"ServiceUnavailable"})
# What a server does not support, it will not support at the next attempt; other 5xx (also 52x) may pass.
_PERMANENT_FAULTS = frozenset({501, 505, 506, 508, 510, 511})
_SECONDS = re.compile(r"[0-9]{1,9}")


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> StoreError:  # noqa: PLR0911
    """The error for a response with a status of 400 or more.

    Args:
        status: The HTTP status.
        headers: The response's headers, by names in lower case.
        body: The beginning of the body.
    """
    message = f"the server responded with {status}"
    details = excerpt(body)
    if details:
        message += f" ({details})"
    found = _CODE.search(body)
    code = b"" if found is None else found.group(1)
    if status == 407:
        return PermanentConnectionError(PROXY_WANTS_CREDENTIALS, status=status)
    if status == 404:
        return NotFoundError(f"{message}: no such object or bucket", status=status)
    if code in _TIMEOUT_CODES:
        return TimedOutError(message, status=status)
    throttled = status in (408, 429, 503) or code in _THROTTLING_CODES
    if throttled or code in _FAULT_CODES or (status >= 500 and status not in _PERMANENT_FAULTS):
        wait = retry_after_seconds(headers.get("retry-after"), now=datetime.now(tz=UTC))
        if throttled:
            return ThrottledError(f"{message}: it asks for fewer requests", status=status, retry_after=wait)
        return ServerFaultError(message, status=status, retry_after=wait)
    if status in (401, 403):
        return AccessDeniedError(message, status=status)
    return RequestRejectedError(message, status=status)


def retry_after_seconds(text: str | None, *, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After header in either form (RFC 9110 10.2.3); None if unreadable."""
    if text is None:
        return None
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def excerpt(body: bytes) -> str:
    """The server's explanation on one short line: S3's Code and Message, GCS's message, else nothing."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    found = [match.group(1) for match in (code, message) if match]
    if not found and (json_message := _JSON_MESSAGE.search(body)):
        found = [json_message.group(1)]
    text = ": ".join(part.decode("utf-8", "replace") for part in found)
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_EXCERPT_CHARACTERS]
