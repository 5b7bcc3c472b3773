"""Chooses the proxy of a request, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""

import ipaddress
import urllib.request
from collections.abc import Mapping
from typing import Final, Self

from yarl import URL

from harvester.errors import ConfigError

_SCHEMES: Final = ("http", "https")


class Proxies:
    """The proxies of this machine, for `http` and `https` URLs.

    Args:
        settings: Proxy URLs by the scheme they serve (`all`: any), and under `no` the hosts without a proxy:
            names, suffixes, IP addresses, networks (`10.0.0.0/8`), each with or without a port; `*` is any.

    Raises:
        ConfigError: A proxy is not `http://HOST:PORT`.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        if "no" in self._settings:  # urllib knows the suffix .example, but not *.example
            self._settings["no"] = self._settings["no"].replace("*.", ".")
        everywhere = self._settings.get("all")
        found = {scheme: self._settings.get(scheme) or everywhere for scheme in _SCHEMES}
        self._proxies = {scheme: _checked(scheme, text) for scheme, text in found.items() if text}
        self._chosen: dict[str, URL | None] = {}

    @classmethod
    def of_environment(cls) -> Self:
        """Those of the environment, else of the operating system's settings.

        Raises:
            ConfigError: A proxy is not `http://HOST:PORT`.
        """
        return cls(urllib.request.getproxies())

    @property
    def exist(self) -> bool:
        """Whether there are any."""
        return bool(self._proxies)

    def of(self, url: str) -> URL | None:
        """The proxy for a URL; None: a direct connection."""
        if not self._proxies:
            return None
        scheme, _, rest = url.partition("://")
        origin = f"{scheme}://{rest.partition('/')[0]}"
        if origin not in self._chosen:
            self._chosen[origin] = self._choose(URL(origin, encoded=True))
        return self._chosen[origin]

    def _choose(self, origin: URL) -> URL | None:
        proxy = self._proxies.get(origin.scheme)
        if proxy is None or origin.host is None:
            return None
        host = f"{origin.host}:{origin.port}"
        if urllib.request.proxy_bypass_environment(host, self._settings):  # type: ignore[attr-defined]
            return None
        return None if _is_in_a_network(origin, self._settings.get("no", "")) else proxy


def _checked(scheme: str, text: str) -> URL:
    # The text may hold a password, so that no message repeats it.
    name = f"{scheme.upper()}_PROXY (or ALL_PROXY)"
    try:
        url = URL(text if "://" in text else f"http://{text}")
        is_usable = url.scheme in _SCHEMES and url.host is not None
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError(f"{name} is not http://[USER:PASSWORD@]HOST:PORT; SOCKS proxies are not supported")
    return url


def _is_in_a_network(origin: URL, no_proxy: str) -> bool:
    try:
        address = ipaddress.ip_address(origin.host or "")
    except ValueError:
        return False
    for text in no_proxy.split(","):
        whole = text.strip()
        rest, _, port = whole.rpartition(":")
        # The colon may be one of an IPv6 address.
        if _holds(whole, address) or (port == str(origin.port) and _holds(rest, address)):
            return True
    return False


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False  # a name
