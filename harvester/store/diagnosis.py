"""Checks step by step whether an object can be read: name, connection, TLS or proxy, listing, range."""

import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from anyio.streams.tls import TLSAttribute
from yarl import URL

from harvester.config.certificates import trusted_certificates
from harvester.config.proxies import Proxies
from harvester.errors import HarvesterError
from harvester.messages import one_line
from harvester.model import ByteRange, ListedObject, ObjectRef
from harvester.store.base import Store
from harvester.store.http.connection_errors import connection_error
from harvester.store.http.urls import object_url
from harvester.store.open import DEFAULT_SETTINGS, StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

_STEP_SECONDS: Final = 10.0
_ONCE: Final = RetryPolicy(attempts=1, patience_seconds=0.0)
_RANGE: Final = ByteRange(0, 1024)


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Attributes:
        name: What was checked.
        target: The host, file or setting.
        passed: Whether it is as it should be; None: for information only.
        detail: What was found, and the way out of a failure.
        seconds: How long it took.
    """

    name: str
    target: str
    passed: bool | None
    detail: str
    seconds: float = 0.0


@dataclass(slots=True)
class _Checks:
    """Runs steps that build on each other: after a failure the rest is left out."""

    target: str
    results: list[Check] = field(default_factory=list)

    async def run(self, name: str, step: Callable[[], Awaitable[str]]) -> bool:
        started = time.monotonic()
        try:
            with anyio.fail_after(_STEP_SECONDS):
                detail, passed = await step(), True
        except TimeoutError:
            detail, passed = f"no response in {_STEP_SECONDS:.0f} s", False
        except HarvesterError as error:
            detail, passed = one_line(error), False
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            detail, passed = f"{self.target} closed the connection", False
        except OSError as error:
            detail, passed = one_line(connection_error(_first_cause(error), self.target)), False
        self.results.append(Check(name, self.target, passed, detail, time.monotonic() - started))
        return passed


async def check_series(
    prefix: ObjectRef, settings: StoreSettings = DEFAULT_SETTINGS, *, endpoint: str | None = None
) -> list[Check]:
    """Check whether a series can be listed, and the first bytes of its first object can be read.

    Args:
        prefix: The series' prefix in one bucket.
        settings: Certificates to trust, and credentials; each request is sent once.
        endpoint: Replaces the endpoints of S3 and GCS.

    Returns:
        One result for each step, up to the first failure.
    """
    checks = _Checks(prefix.bucket)
    try:
        url = URL(object_url(ObjectRef(prefix.bucket, prefix.key + "x", prefix.scheme), endpoint=endpoint))
    except HarvesterError as error:
        return [Check("address", prefix.url, passed=False, detail=one_line(error))]
    host, port = url.host or "", url.port or 443
    proxy = Proxies.of_environment().of(str(url))
    checks.target = f"{host}:{port}" if proxy is None else f"the proxy {proxy.host}:{proxy.port}"
    reached = proxy or url
    steps = [("name", lambda: _resolve(reached)), ("connection", lambda: _connect(reached))]
    if proxy is None and url.scheme == "https":
        steps.append(("TLS", lambda: _handshake(url, settings.ca_bundle)))
    for name, step in steps:
        if not await checks.run(name, step):
            return checks.results
    checks.target = f"{prefix.scheme}://{prefix.bucket}"
    settings = replace(settings, concurrency=1, timeout_seconds=_STEP_SECONDS, retry=_ONCE)
    async with open_store(settings, endpoint=endpoint) as store:
        found: list[ListedObject] = []
        if await checks.run("listing", lambda: _list(store.fail_fast, prefix, found)) and found:
            await checks.run("range", lambda: _read(store.fail_fast, found[0]))
    return checks.results


def _first_cause(error: OSError) -> Exception:
    """The error of the first address, which anyio raises as the cause of a general one."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error


async def _resolve(url: URL) -> str:
    found = await anyio.getaddrinfo(url.host or "", url.port, type=socket.SOCK_STREAM)
    return ", ".join(sorted({str(address[4][0]) for address in found})[:4])


async def _connect(url: URL) -> str:
    async with await anyio.connect_tcp(url.host or "", url.port or 443):
        return "open"


async def _handshake(url: URL, ca_bundle: str | None) -> str:
    context = trusted_certificates(ca_bundle) or ssl.create_default_context()
    stream = await anyio.connect_tcp(
        url.host or "",
        url.port or 443,
        ssl_context=context,
        tls_standard_compatible=False,  # at its end, most HTTP servers close without TLS's farewell
    )
    async with stream:
        return str(stream.extra(TLSAttribute.tls_version))  # noqa: S610  anyio's, not Django's


async def _list(store: Store, prefix: ObjectRef, found: list[ListedObject]) -> str:
    found += [one async for one in store.list_objects(prefix)]
    return f"{len(found)} objects below {prefix.key}" if found else f"nothing below {prefix.key}"


async def _read(store: Store, listed: ListedObject) -> str:
    response = await store.get_range(listed.ref, _RANGE)
    return f"{len(response.data):,} of {response.size:,} bytes of {listed.ref.key}"
