import ssl
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong, TransferEncodingError

from harvester.errors import ConnectionFailedError, TimedOutError
from harvester.store.http.proxied import client_error

URL = aiohttp.client.URL("http://scans.example/series/one.dcm")


def errors_of_the_client() -> Iterator[Exception]:
    """One of each class below aiohttp.ClientError, made as aiohttp makes it."""
    key = ConnectionKey("host", 443, True, True, None, None, None)
    request = aiohttp.RequestInfo(
        aiohttp.client.URL("http://host/x"), "GET", {}, aiohttp.client.URL("http://host/x")
    )
    waiting = [aiohttp.ClientError]
    seen = set()
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind in seen:
            continue
        seen.add(kind)
        if issubclass(kind, aiohttp.ClientResponseError):
            yield kind(request, ())
        elif issubclass(kind, aiohttp.ClientConnectorCertificateError):
            yield kind(key, ssl.SSLCertVerificationError("expired"))
        elif issubclass(kind, aiohttp.client_exceptions.UnixClientConnectorError):
            yield kind("/socket", key, OSError(111, "refused"))
        elif issubclass(kind, aiohttp.ClientConnectorError):
            yield kind(key, OSError(111, "refused"))
        elif issubclass(kind, aiohttp.ServerFingerprintMismatch):
            yield kind(b"a", b"b", "host", 443)
        else:
            yield kind("why")


@pytest.mark.parametrize("raised", list(errors_of_the_client()), ids=lambda error: type(error).__name__)
def test_every_error_of_the_client_becomes_one_of_ours(raised):
    expected = TimedOutError if isinstance(raised, TimeoutError) else ConnectionFailedError
    assert isinstance(client_error(raised, URL), expected)


@pytest.mark.parametrize(
    "raised",
    [BadHttpMessage("bad"), LineTooLong(b"a", 5), TransferEncodingError("chunk")],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_its_parser_becomes_one_of_ours(raised):
    assert isinstance(client_error(raised, URL), ConnectionFailedError)
