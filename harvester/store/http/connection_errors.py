"""Describes why a connection failed, and whether the cause can pass by itself."""

import errno
import socket
import ssl

import aiohttp

from harvester.errors import ConnectionFailedError, PermanentConnectionError
from harvester.messages import one_line
from harvester.store.http.http_errors import PROXY_WANTS_CREDENTIALS

_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})


def connection_error(error: Exception, server: str) -> ConnectionFailedError:  # noqa: PLR0911 - one a cause
    """The error for a connection that could not be opened or that broke.

    Args:
        error: What the operating system, the TLS library or aiohttp raised.
        server: The server, or the proxy to it, as `HOST:PORT`.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _refused_by_proxy(error)
    cause = _cause(error)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        server = f"the proxy {error.host}:{error.port}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "verify_message", str(cause))
        return PermanentConnectionError(
            f"the certificate of {server} is not trusted ({reason}); if its issuer is your own, name the"
            " issuer's certificate in SSL_CERT_FILE or [source] ca_bundle"
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLSyscallError):
        reason = (getattr(cause, "reason", None) or str(cause)).replace("_", " ").lower()
        return PermanentConnectionError(
            f"{server} does not speak TLS as expected ({reason}); check http or https, and the port"
        )
    if isinstance(cause, socket.gaierror):
        host = server.rpartition(":")[0] or server
        if cause.errno in _UNKNOWN_HOST:
            return PermanentConnectionError(
                f"the host name {host} does not exist; check it, the network, and HTTPS_PROXY if you are"
                " behind a proxy"
            )
        return ConnectionFailedError(f"no name server resolves {host} ({cause.strerror})")
    if isinstance(cause, ConnectionRefusedError):
        return PermanentConnectionError(
            f"{server} refuses connections; check the host, the port, and that the server runs"
        )
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return PermanentConnectionError(
            f"{server} cannot be reached ({cause.strerror}); check the network, and HTTPS_PROXY if you are"
            " behind a proxy"
        )
    text = one_line(f"{type(cause).__name__}: {cause}")[:300]
    return ConnectionFailedError(f"the connection to {server} failed: {text}")


def _cause(error: Exception) -> Exception:
    """The error of the operating system or of the TLS library inside one of aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error


def _refused_by_proxy(error: aiohttp.ClientHttpProxyError) -> ConnectionFailedError:
    """The error for a proxy that does not open the connection; its address may hold a password."""
    if error.status in (401, 407):  # tinyproxy: the former for a wrong password
        return PermanentConnectionError(PROXY_WANTS_CREDENTIALS, status=error.status)
    kind = PermanentConnectionError if 400 <= error.status < 500 else ConnectionFailedError
    return kind(
        f"the proxy refuses to connect to the server ({error.status}); ask its operator, or name the host in"
        " NO_PROXY if it can be reached directly",
        status=error.status,
    )
