"""Log lines as packets of syslog: ``<14>gunicorn[77]: @cee: {"msg": …}``."""

import logging
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Any, Final

from pythonjsonlogger.core import BaseJsonFormatter

from c2cotel.log_drops import Drops
from c2cotel.pyramid_logging.formatters import SYSLOG, SYSLOG_DEBUG, JsonFormatter, first_below
from c2cotel.pyramid_logging.packets import bounded

# What rsyslog takes by default is 8192 bytes; some room for what relays put before.
_LARGEST: Final = 8000
_SMALLEST: Final = 480
_LARGEST_DATAGRAM: Final = 65507
# For so long, in seconds, the address of a name is good, and an answer of the resolver waited for.
_FRESH: Final = 60.0
_RESOLVED_WITHIN: Final = 1.0
_TAG: Final = 32


class PyramidCeeSysLogHandler(SysLogHandler):
    """Send each record to syslog as one packet of UDP, with the fields of the JSON lines.

    The arguments are those of :class:`logging.handlers.SysLogHandler`: *address* is ``(host,
    port)`` or the path of a socket such as ``/dev/log``. The program's name is the tag; a
    receiver such as rsyslog with mmjsonparse reads the rest. *largest* is the most bytes of a
    packet: of what does not fit, the longest texts are cut, and ``truncated`` names them with
    the number of characters that they had.

    Nothing of it waits: a receiver that is not there costs what one costs that is. The name of its
    host is looked up beside, again every minute. What could not be sent is counted as
    ``c2c.log.dropped``, and said once on stderr.
    """

    def __init__(
        self,
        address: Any = ("localhost", 514),
        facility: int | str = SysLogHandler.LOG_USER,
        socktype: Any = None,
        *,
        largest: int = _LARGEST,
    ) -> None:
        if socktype not in (None, socket.SOCK_DGRAM):
            raise ValueError("socktype: only datagrams are sent. Leave it away.")
        if not _SMALLEST <= largest <= _LARGEST_DATAGRAM:
            raise ValueError(
                f"largest = {largest!r}: a packet has {_SMALLEST} to {_LARGEST_DATAGRAM} bytes. "
                f"Leave it away for {_LARGEST}."
            )
        logging.Handler.__init__(self)
        self.address = address if isinstance(address, str) else _host_and_port(address)
        self.facility = self._number_of(facility)
        self.socktype = socket.SOCK_DGRAM
        self.unixsocket = isinstance(address, str)
        self.socket: socket.socket | None = None
        self.formatter = JsonFormatter(json_ensure_ascii=True)
        self._largest = largest
        self._tag = _program()
        self._drops = Drops("cee", f"to syslog at {_shown(self.address)}")
        self._destination = _Destination(self.address)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        """Stay with JSON when the logging configuration gives another kind of formatter."""
        if isinstance(fmt, BaseJsonFormatter):
            super().setFormatter(fmt)

    def createSocket(self) -> None:  # noqa: N802 - logging's name
        """Nothing: there is a socket as soon as there is an address."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            packet = self.packet(record)
        except Exception:  # noqa: BLE001 - as logging does: it tells on stderr
            self.handleError(record)
            return
        try:
            self._send(packet)
        except OSError as error:
            # ENOBUFS, EAGAIN: the system has no room; or no way leads there.
            self._close_socket()
            self._drops.count(error.strerror or str(error))

    def packet(self, record: logging.LogRecord) -> bytes:
        """What is sent for *record*."""
        severity = first_below(record.levelno, SYSLOG, SYSLOG_DEBUG)
        head = f"<{self.facility << 3 | severity}>{self._tag}[{os.getpid()}]: @cee: ".encode()
        fields = self.fields(record)
        return head + bounded(self.format(record), fields, self._largest - len(head))

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Fields that the lines have here, besides those of JSON."""
        del record
        return {"source_facility": _FACILITIES.get(self.facility, str(self.facility))}

    def close(self) -> None:
        self.acquire()
        try:
            self._close_socket()
        finally:
            self.release()
        logging.Handler.close(self)

    def _close_socket(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _send(self, packet: bytes) -> None:
        family, address = self._destination.get()
        if self.socket is not None and self.socket.family != family:
            self._close_socket()
        if self.socket is None:
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.settimeout(0)
        self.socket.sendto(packet, address)

    def _number_of(self, facility: int | str) -> int:
        if isinstance(facility, int):
            return facility
        try:
            return self.facility_names[facility]
        except KeyError:
            raise ValueError(
                f"facility = {facility!r}: there is none. "
                f"Write one of {', '.join(self.facility_names)}."
            ) from None


_FACILITIES: Final = {number: name for name, number in SysLogHandler.facility_names.items()}


class _Destination:
    """Where packets go: a path, or an address looked up where nobody waits for it."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._host_and_port = ("", 0) if isinstance(address, str) else address
        self._found: tuple[socket.AddressFamily, Any] | None = None
        self._error = "its name is not known yet"
        self._fresh_until = 0.0
        self._thread: threading.Thread | None = None
        if isinstance(address, str):
            self._found = socket.AF_UNIX, address
            self._fresh_until = float("inf")
            return
        try:
            self._look_up(socket.AI_NUMERICHOST)
            self._fresh_until = float("inf")
        except OSError:
            # Names are mostly known at once: then the first line is not lost.
            if (thread := self._start()).is_alive():
                thread.join(_RESOLVED_WITHIN)

    def get(self) -> tuple[socket.AddressFamily, Any]:
        """The family of the socket, and the address.

        Raises:
            OSError: it is not known (yet).
        """
        if time.monotonic() > self._fresh_until and not (self._thread and self._thread.is_alive()):
            self._start()
        if self._found is None:
            raise OSError(0, self._error)
        return self._found

    def _start(self) -> threading.Thread:
        self._fresh_until = time.monotonic() + _FRESH
        self._thread = thread = threading.Thread(target=self._try, name="c2cotel-cee", daemon=True)
        # At the interpreter's end no thread starts any more: what is known does.
        with suppress(RuntimeError):
            thread.start()
        return thread

    def _try(self) -> None:
        try:
            self._look_up(0)
        except OSError as error:
            self._error = error.strerror or str(error)
            # Soon again, where nothing is known.
            if self._found is None:
                self._fresh_until = time.monotonic() + _RESOLVED_WITHIN

    def _look_up(self, flags: int) -> None:
        host, port = self._host_and_port
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM, 0, flags)
        family, _, _, _, address = found[0]
        self._found = family, address


def _host_and_port(address: Any) -> tuple[str, int]:
    try:
        host, port = address
        number = int(port)
    except (TypeError, ValueError):
        number = -1
    if not 0 < number < 1 << 16:
        raise ValueError(
            f"address = {address!r}: not a host and its port. Write ('syslog', 514), or '/dev/log'."
        )
    return str(host), number


def _shown(address: str | tuple[str, int]) -> str:
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def _program() -> str:
    """The name of the program, as a tag may be: RFC 3164 wants it short."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.stem == "__main__" else path.stem
    kept = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-_."))
    return kept[:_TAG] or "python"
