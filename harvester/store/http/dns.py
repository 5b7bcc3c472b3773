"""Where hosts can be reached: each is looked up once in a while, and its addresses take turns."""

import ipaddress
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

import aiohappyeyeballs
import anyio
from aiohttp.abc import AbstractResolver

_KEPT_SECONDS: Final = 10.0


class Hosts:
    """The addresses of hosts.

    Args:
        resolver: Finds them.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver
        self._found: dict[tuple[str, int], _Found] = {}
        self._looking: dict[tuple[str, int], anyio.Lock] = {}

    async def addresses(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        """Where a host can be reached, in another order each time that it is asked.

        Raises:
            OSError: Nobody knows it.
        """
        if _is_address(host):
            return [_info(host, port)]
        where = (host, port)
        # Whoever else wants to know it meanwhile waits for the one that looks it up.
        async with self._looking.setdefault(where, anyio.Lock()):
            try:
                if where not in self._found or self._found[where].until <= anyio.current_time():
                    self._found[where] = await self._look_up(host, port)
            finally:
                self._looking.pop(where, None)
            found = self._found[where].infos
            found.rotate(-1)
            return list(found)

    async def _look_up(self, host: str, port: int) -> "_Found":
        known = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        infos = deque(_info(one["host"], one["port"]) for one in known)
        if not infos:
            raise OSError(f"no address of {host} is known")
        now = anyio.current_time()
        self._found = {where: found for where, found in self._found.items() if found.until > now}
        return _Found(now + _KEPT_SECONDS, infos)

    async def close(self) -> None:
        """Let the resolver go."""
        await self._resolver.close()


@dataclass(frozen=True, slots=True)
class _Found:
    """A host's addresses, and when they are looked up again."""

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
