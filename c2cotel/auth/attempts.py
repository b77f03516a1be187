"""Slow down who guesses: after some wrong secrets, an address has to wait before the next.

Nothing sleeps: whoever is too early is told for how long, and what he tried is not looked at.
Each process counts for itself, and only so many addresses.
"""

import hashlib
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_LONGEST_ADDRESS = 64
# So many of an address' latest wrong tries are known again.
_KNOWN = 8


@dataclass
class _Failures:
    count: int = 0
    last: float = 0.0
    locked_until: float = 0.0
    known: list[bytes] = field(default_factory=list)


class Attempts:
    """Wrong tries by address.

    Args:
        free: So many may be wrong without a wait; the next wait is twice as long each time.
        longest: Seconds that a wait grows to.
        forget: Seconds without a wrong try after which all of them are forgotten.
        addresses: How many addresses are remembered, the latest ones.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        free: int = 5,
        longest: float = 60.0,
        forget: float = 900.0,
        addresses: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free = free
        self._longest = longest
        self._forget = forget
        self._addresses = addresses
        self._key = secrets.token_bytes(16)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds that *address* has to wait for its next try, 0 for none."""
        with self._lock:
            found = self._failures.get(_network(address))
            return max(0.0, found.locked_until - self._clock()) if found else 0.0

    def failed(self, address: str, tried: str | None = None) -> float:
        """Count a wrong try; returns the seconds that the next one has to wait for.

        What is *tried* again is not counted again, if it is told: that teaches nobody anything.
        """
        now, network = self._clock(), _network(address)
        with self._lock:
            found = self._failures.get(network)
            if found is None or now - found.last > self._forget:
                found = self._failures[network] = _Failures()
            self._failures.move_to_end(network)
            while len(self._failures) > self._addresses:
                self._failures.popitem(last=False)
            if tried is not None and self._is_known(found, tried):
                return 0.0
            found.count += 1
            found.last = now
            over = found.count - self._free
            # The exponent is bounded: 2.0 ** 1100 is an OverflowError.
            wait = min(self._longest, 2.0 ** min(over, 30)) if over >= 0 else 0.0
            found.locked_until = now + wait
            return wait

    def _is_known(self, found: _Failures, tried: str) -> bool:
        # Nothing of it can be found in the memory of the process.
        digest = hashlib.blake2b(
            tried.encode(errors="surrogatepass"), digest_size=16, key=self._key
        ).digest()
        known = digest in found.known
        if not known:
            found.known = [*found.known, digest][-_KNOWN:]
        return known

    def succeeded(self, address: str) -> None:
        """Forget the wrong tries of *address*."""
        with self._lock:
            self._failures.pop(_network(address), None)


def _network(address: str) -> str:
    """What one person has: an address, but all of a /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST_ADDRESS]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
