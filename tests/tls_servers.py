"""TLS for test servers: the tests' own certificate authority, and names that resolve to loopback."""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

AUTHORITY = trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    """The TLS side of a server with these host names or addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def authority_file(folder: Path) -> Path:
    """The authority's certificate in a file."""
    path = folder / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


def lead_to_loopback(patch: pytest.MonkeyPatch, suffix: str, port: int) -> None:
    """Let every host name that ends so lead to a port of this machine."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(host, str) and host.endswith(suffix):
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]
        return look_up(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
