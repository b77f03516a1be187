"""Whose word counts: the addresses and networks of ``C2C_TRUSTED_PROXIES``."""

import functools
import ipaddress
from collections.abc import Iterable
from typing import Final

from c2cotel.client_info.headers import parse_address

# Loopback, link-local and private: RFC 1918, RFC 3927, RFC 4193, RFC 4291.
PRIVATE: Final = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
# What servers call the other end of a Unix socket: gunicorn nothing, waitress "localhost".
_UNIX_SOCKETS: Final = ("", "localhost", "unix", "unix:")
_REMEMBERED: Final = 1024


class Trust:
    """Knows whom *names* stand for: addresses, networks, ``private`` and ``*``."""

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self._everybody = "*" in wanted
        self._neighbours = "private" in wanted
        networks = wanted - {"*", "private"} | set(PRIVATE if self._neighbours else ())
        self._networks = tuple(ipaddress.ip_network(name) for name in sorted(networks))
        # Proxies are few and their addresses come again with every request.
        self.believes = functools.lru_cache(_REMEMBERED)(self._believes)

    def _believes(self, address: str) -> bool:
        """Whether *address*, as a server or another header has it, is a trusted proxy's."""
        if self._everybody:
            return True
        if address in _UNIX_SOCKETS:
            return self._neighbours
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)
