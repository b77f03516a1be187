"""A rsyslog that reads what comes as ``@cee:``, with mmjsonparse."""

import contextlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers.places import LOCALHOST, START_TIMEOUT, temporary_directory
from c2cotel_acceptance.utils import retry_timeout

_CONFIG = """
module(load="imudp")
module(load="mmjsonparse")
input(type="imudp" address="{host}" port="{port}")
template(name="line" type="list" option.jsonf="on") {{
  property(outname="program" name="programname" format="jsonf")
  property(outname="pid" name="procid" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="parsed" name="$.parsed" format="jsonf")
  property(outname="fields" name="$!all-json" format="jsonf")
}}
action(type="mmjsonparse")
set $.parsed = $parsesuccess;
action(type="omfile" file="{out}" template="line")
"""


@dataclass(frozen=True)
class Message:
    """A packet as rsyslog has understood it; *fields* are those of its JSON.

    *parsed* is False where there was none to be understood.
    """

    program: str
    pid: str
    severity: int
    facility: str
    parsed: bool
    fields: dict[str, Any]


@dataclass(frozen=True)
class Syslog:
    """A running rsyslog; it listens at *port* of *host*, for UDP."""

    host: str
    port: int
    out: Path = field(repr=False)
    process: Process = field(repr=False)

    @property
    def messages(self) -> list[Message]:
        """Every packet so far, in the order of arrival."""
        if not self.out.exists():
            return []
        lines = self.out.read_text().split("\n")[:-1]
        return [message for line in lines if (message := _message(line)).program != _PROBE]

    def wait(self, condition: Callable[[list[Message]], Any], timeout: float = 15) -> list[Message]:
        """The packets, as soon as *condition* is true of them.

        Raises:
            TimeoutError: it was not within *timeout* seconds.
        """

        def reached() -> list[Message]:
            found = self.messages
            if not condition(found):
                raise ValueError(
                    f"{len(found)} packets have come, of which the last is {found[-1:]}"
                )
            return found

        return retry_timeout(reached, timeout, interval=0.05)


_PROBE = "probe"


@contextlib.contextmanager
def rsyslog() -> Iterator[Syslog]:
    """A rsyslog of our own.

    Raises:
        MissingError: it is not installed.
    """
    program = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program is None:
        raise MissingError(
            "No rsyslog on this machine: apt-get install -y --no-install-recommends rsyslog"
        )
    with temporary_directory("rsyslog") as folder:
        port, out = _free_udp_port(), folder / "out"
        config = folder / "rsyslog.conf"
        config.write_text(_CONFIG.format(host=LOCALHOST, port=port, out=out))
        argv = [program, "-n", "-f", str(config), "-i", str(folder / "pid")]
        with Process(argv, log=folder / "log") as process:
            server = Syslog(LOCALHOST, port, out, process)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

                def hears() -> bool:
                    sender.sendto(f'<14>{_PROBE}[1]: @cee: {{"a": 1}}'.encode(), (LOCALHOST, port))
                    return out.exists() and out.stat().st_size > 0

                retry_timeout(hears, START_TIMEOUT, interval=0.1)
            yield server


def _message(line: str) -> Message:
    written = json.loads(line)
    fields = written["fields"]
    return Message(
        program=written["program"],
        pid=written["pid"],
        severity=int(written["severity"]),
        facility=written["facility"],
        parsed=written["parsed"] == "OK",
        fields=json.loads(fields) if isinstance(fields, str) else fields,
    )


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as finder:
        finder.bind((LOCALHOST, 0))
        port: int = finder.getsockname()[1]
        return port
