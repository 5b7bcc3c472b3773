"""Caches the addresses of hosts for some seconds, and rotates them."""

import asyncio
import ipaddress
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohappyeyeballs
import anyio

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver  # loaded for proxies only

_CACHE_SECONDS: Final = 10.0


class AddressCache:
    """The addresses of hosts.

    Args:
        resolver: Finds them; None: the operating system does.
    """

    def __init__(self, resolver: "AbstractResolver | None" = None) -> None:
        self._resolver = resolver
        self._cached: dict[tuple[str, int], _Addresses] = {}
        self._lookups: dict[tuple[str, int], anyio.Lock] = {}

    async def of(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        """The addresses of a host, in another order at each call.

        Raises:
            OSError: It has none.
        """
        if _is_address(host):
            return [_info(host, port)]
        server = (host, port)
        # Concurrent callers wait for one look-up.
        async with self._lookups.setdefault(server, anyio.Lock()):
            try:
                if server not in self._cached or self._cached[server].until <= anyio.current_time():
                    self._cached[server] = await self._look_up(host, port)
            finally:
                self._lookups.pop(server, None)
            infos = self._cached[server].infos
            infos.rotate(-1)
            return list(infos)

    async def close(self) -> None:
        """Close the resolver."""
        if self._resolver is not None:
            await self._resolver.close()

    async def _look_up(self, host: str, port: int) -> "_Addresses":
        infos: deque[aiohappyeyeballs.AddrInfoType]
        if self._resolver is None:
            kind, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
            infos = deque(await asyncio.get_running_loop().getaddrinfo(host, port, type=kind, flags=flags))
        else:
            resolved = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
            infos = deque(_info(one["host"], one["port"]) for one in resolved)
        if not infos:
            raise OSError(f"the host {host} has no address")
        now = anyio.current_time()
        self._cached = {server: cached for server, cached in self._cached.items() if cached.until > now}
        return _Addresses(now + _CACHE_SECONDS, infos)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """A host's addresses, and when they expire."""

    until: float
    infos: deque[aiohappyeyeballs.AddrInfoType]


def _info(address: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
