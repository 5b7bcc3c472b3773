from datetime import UTC, datetime

import pytest

from harvester.errors import (
    AccessDeniedError,
    NotFoundError,
    RequestRejectedError,
    ServerFaultError,
    ThrottledError,
    TimedOutError,
)
from harvester.store.http.http_errors import excerpt, retry_after_seconds, status_error

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 01 Jan 2025 12:01:30 GMT", 90.0),
        ("Wed, 01 Jan 2025 12:01:30 -0000", 90.0),
        ("Wed, 01 Jan 2025 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1e9", None),
        ("9" * 400, None),
        ("Wed, 99 Jan 2025 12:01:30 GMT", None),
        ("Wed, 01 Jan 99999999999 12:01:30 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after_seconds(text, now=NOW) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<Error><Code>NoSuchKey</Code><Message>Not here.</Message></Error>", "NoSuchKey: Not here."),
        (b'{"error": {"code": 404, "message": "No such bucket"}}', "No such bucket"),
        (b"<html>Bad gateway</html>", ""),
        (b"", ""),
        (b"<Code>a\r\n\x1b[31mb\x00\xff</Code>", "a [31mb \ufffd"),
    ],
)
def test_an_error_body_becomes_one_printable_line(body, said):
    assert excerpt(body) == said


def test_an_error_body_stays_short():
    assert len(excerpt(b"<Code>" + b"x" * 200 + b"</Code><Message>" + b"y" * 10_000)) <= 160
    assert len(str(status_error(500, {}, b"<Code>" + b"x" * 2000))) < 300


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "RequestTimeout", TimedOutError),
        (400, "SlowDown", ThrottledError),
        (403, "RequestThrottled", ThrottledError),
        (400, "InternalError", ServerFaultError),
        (500, "InternalError", ServerFaultError),
        (500, "SlowDown", ThrottledError),
        (400, "InvalidArgument", RequestRejectedError),
        (403, "AccessDenied", AccessDeniedError),
        (404, "NoSuchKey", NotFoundError),
        (408, "", ThrottledError),
        (429, "", ThrottledError),
        (503, "", ThrottledError),
        (500, "", ServerFaultError),
        (502, "", ServerFaultError),
        (504, "", ServerFaultError),
        (522, "", ServerFaultError),
        (501, "NotImplemented", RequestRejectedError),
        (505, "", RequestRejectedError),
    ],
)
def test_what_may_pass_is_told_by_the_status_or_by_the_code(status, code, kind):
    error = status_error(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
    assert type(error) is kind
    assert error.status == status
