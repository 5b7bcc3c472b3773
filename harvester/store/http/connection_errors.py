"""Describes why a connection failed, and whether the cause can pass by itself."""

import errno
import socket
import ssl

from harvester.errors import ConnectionFailedError, PermanentConnectionError
from harvester.messages import one_line

_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})


def connection_error(error: Exception, server: str) -> ConnectionFailedError:  # noqa: PLR0911 - one a cause
    """The error for a connection that could not be opened or that broke.

    Args:
        error: What the operating system or the TLS library raised.
        server: The server, or the proxy to it, as `HOST:PORT`.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", str(error))
        return PermanentConnectionError(
            f"the certificate of {server} is not trusted ({reason}); if its issuer is your own, name the"
            " issuer's certificate in SSL_CERT_FILE or [source] ca_bundle"
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        return PermanentConnectionError(
            f"{server} does not speak TLS as expected ({reason}); check http or https, and the port"
        )
    if isinstance(error, socket.gaierror):
        host = server.rpartition(":")[0] or server
        if error.errno in _UNKNOWN_HOST:
            return PermanentConnectionError(
                f"the host name {host} does not exist; check it, the network, and HTTPS_PROXY if you are"
                " behind a proxy"
            )
        return ConnectionFailedError(f"no name server resolves {host} ({error.strerror})")
    if isinstance(error, ConnectionRefusedError):
        return PermanentConnectionError(
            f"{server} refuses connections; check the host, the port, and that the server runs"
        )
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return PermanentConnectionError(
            f"{server} cannot be reached ({error.strerror}); check the network, and HTTPS_PROXY if you are"
            " behind a proxy"
        )
    text = one_line(f"{type(error).__name__}: {error}")[:300]
    return ConnectionFailedError(f"the connection to {server} failed: {text}")
