"""Chooses which certificates are trusted: the system's, and those that the environment or the user names."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harvester.errors import ConfigError

# OpenSSL reads the first two in place of the system's; the others, of requests and botocore, add to them.
_READ_BY_OPENSSL: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_ADDED: Final = ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


def trusted_certificates(ca_bundle: str | None = None) -> ssl.SSLContext | None:
    """A TLS context with the certificates to trust; None: those of the system.

    Args:
        ca_bundle: A file of PEM certificates, or a directory as OpenSSL has them.

    Raises:
        ConfigError: A file or directory cannot be read, or has no certificate.
    """
    named = named_certificates(ca_bundle)
    return tls_context(named) if named else None


def named_certificates(ca_bundle: str | None = None) -> dict[str, str]:
    """The files and directories of certificates besides the system's, by the setting that names them.

    Args:
        ca_bundle: A file of PEM certificates, or a directory as OpenSSL has them.

    Raises:
        ConfigError: One of them does not exist.
    """
    named = {name: os.environ[name] for name in (*_READ_BY_OPENSSL, *_ADDED) if os.environ.get(name)}
    if ca_bundle is not None:
        named["source.ca_bundle"] = ca_bundle
    for name, path in named.items():
        if not Path(path).exists():
            raise ConfigError(f"{name} = {path!r}: there is no such file or directory")
    return named


def tls_context(named: Mapping[str, str]) -> ssl.SSLContext:
    """A TLS context that trusts the system's certificates and those of `named_certificates`.

    Raises:
        ConfigError: A file or directory cannot be read, or has no certificate.
    """
    context = ssl.create_default_context()
    # Each file once: one of all authorities takes 50 ms.
    read = {named.get(name) for name in _READ_BY_OPENSSL}
    added = {path: name for name, path in named.items() if path not in read}
    for path, name in added.items():
        is_folder = Path(path).is_dir()
        try:
            context.load_verify_locations(None if is_folder else path, path if is_folder else None)
        except OSError as error:  # also ssl.SSLError
            raise ConfigError(f"{name} = {path!r} is not a file of PEM certificates: {error}") from None
    return context
