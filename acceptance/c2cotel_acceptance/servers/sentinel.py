"""A primary, its replica, and the three Sentinels that let the one take the place of the other."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from c2cotel_acceptance.servers.places import LOCALHOST, START_TIMEOUT, temporary_directory
from c2cotel_acceptance.servers.valkeys import Valkey, ask, running
from c2cotel_acceptance.utils import retry_timeout

_QUORUM = 2
# In memory only; and a replica that asks for everything gets it at once.
_OPTIONS = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")


@dataclass(frozen=True)
class Sentinels:
    """Two servers, one of them the primary, and the Sentinels that watch them."""

    servers: Sequence[Valkey]
    watchers: Sequence[Valkey] = field(repr=False)
    service: str = "mymaster"

    @property
    def addresses(self) -> str:
        """For ``C2C_REDIS_SENTINELS``."""
        return ",".join(f"{LOCALHOST}:{watcher.port}" for watcher in self.watchers)

    def primary(self) -> Valkey:
        """Who the first Sentinel sends its clients to now."""
        return self._by_port(self._known_to(self.watchers[0]))

    def kill_primary(self) -> Valkey:
        """Kill the primary; gives which it was."""
        killed = self.primary()
        killed.kill()
        return killed

    def wait_failover(self, killed: Valkey, timeout: float = 30) -> Valkey:
        """Wait until every Sentinel sends its clients to another than *killed*; gives that one.

        Raises:
            TimeoutError: they did not within *timeout* seconds.
        """

        def agreed() -> bool:
            known = {self._known_to(watcher) for watcher in self.watchers}
            return len(known) == 1 and killed.port not in known and self._writable(known.pop())

        retry_timeout(agreed, timeout, interval=0.05)
        return self.primary()

    def _known_to(self, watcher: Valkey) -> int:
        # *2 $9 127.0.0.1 $5 12345
        return int(ask(watcher.port, f"SENTINEL get-master-addr-by-name {self.service}")[4])

    def _by_port(self, port: int) -> Valkey:
        return next(server for server in self.servers if server.port == port)

    @staticmethod
    def _writable(port: int) -> bool:
        return "role:master" in ask(port, "INFO replication")


@contextlib.contextmanager
def sentinels(service: str = "mymaster", down_after: float = 0.5) -> Iterator[Sentinels]:
    """A primary, a replica and three Sentinels; a failover takes some seconds.

    Two Sentinels that have not heard of the primary for *down_after* seconds begin one.

    Raises:
        MissingError: there is no Valkey nor Redis.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_directory("sentinels"))
        primary = stack.enter_context(running(folder, "primary", _OPTIONS))
        follow = ("--replicaof", LOCALHOST, f"{primary.port}")
        replica = stack.enter_context(running(folder, "replica", (*_OPTIONS, *follow)))
        _wait(replica.port, "INFO replication", _follows)
        watchers = [
            stack.enter_context(running(folder, config.stem, ("--sentinel",), (config,)))
            for config in _configs(folder, service, primary.port, down_after)
        ]
        for watcher in watchers:
            _wait(watcher.port, f"SENTINEL master {service}", _knows_everybody)
        yield Sentinels((primary, replica), watchers, service)


def _wait(port: int, command: str, met: Callable[[Sequence[str]], bool]) -> None:
    retry_timeout(lambda: met(ask(port, command)), START_TIMEOUT, interval=0.05)


def _follows(lines: Sequence[str]) -> bool:
    return "master_link_status:up" in lines


def _knows_everybody(lines: Sequence[str]) -> bool:
    """Whether a Sentinel has found the replica and the two others."""
    told = dict(zip(lines[2::4], lines[4::4], strict=False))
    return (told.get("num-slaves"), told.get("num-other-sentinels")) == ("1", "2")


def _configs(folder: Path, service: str, port: int, down_after: float) -> Iterator[Path]:
    """What each Sentinel reads, and goes on writing: they keep what they know in it."""
    for number in range(3):
        config = folder / f"sentinel-{number}.conf"
        config.write_text(
            f"sentinel monitor {service} {LOCALHOST} {port} {_QUORUM}\n"
            f"sentinel down-after-milliseconds {service} {down_after * 1000:.0f}\n"
            f"sentinel failover-timeout {service} 3000\n"
        )
        yield config
