"""The thread that hears the questions of this host's processes."""

import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from c2cotel.broadcast.local import NOT_SUBSCRIBED, Reply, address
from c2cotel.broadcast.messages import (
    LONGEST,
    LONGEST_CHANNEL,
    Ignored,
    IgnoredError,
    Process,
    Question,
    read_object,
    read_question,
)
from c2cotel.broadcast.sockets import Held
from c2cotel.metrics import lineage

LOGGER = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_PIECE: Final = 65536
# Seconds that somebody has to say what he wants, and to take the answer.
_PATIENCE: Final = 5.0
# Seconds to wait where no descriptor is to be had.
_PAUSE: Final = 0.1


@dataclass
class _Incoming:
    deadline: float
    data: bytearray = field(default_factory=bytearray)


class LocalListener:
    """This process's socket in *directory*.

    *deliver* is given each question and what to answer it with; it must not wait.
    """

    def __init__(
        self,
        directory: Path,
        process: Process,
        deliver: Callable[[Question, Reply], None],
        *,
        held: Held,
        ignored: Ignored,
    ) -> None:
        self._path = directory / f"{lineage.of(process.pid)}.{process.token}.sock"
        self._deliver = deliver
        self._held = held
        self._ignored = ignored
        self._incoming: dict[socket.socket, _Incoming] = {}
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen; when it returns, this process can be asked.

        Raises:
            OSError: no socket can be made there.
        """
        made = self._path.with_name(self._path.name + ".tmp")
        with self._held.changing(), address(made.parent, made.name) as path:
            listener = self._held.made(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            try:
                # Linux gives the socket's mode to the file: nobody else connects, whatever umask.
                os.fchmod(listener.fileno(), 0o600)
                listener.bind(path)
                listener.listen(_BACKLOG)
                listener.settimeout(0)
                # What has its name is listened on, or its process has ended.
                made.rename(self._path)
            except OSError:
                made.unlink(missing_ok=True)
                self._held.close(listener)
                raise
        self._listener = listener
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="c2cotel-broadcast-local", daemon=True
        )
        self._thread.start()

    def unlink(self) -> None:
        """Nobody shall ask this process any more: it is ending."""
        with suppress(OSError):
            self._path.unlink()

    def stop(self) -> None:
        self.unlink()
        listener, self._listener = self._listener, None
        if listener is not None:
            # Wakes the thread, which closes it.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _run(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while self._listener is listener:
                try:
                    self._turn(selector, listener)
                except Exception:
                    # Whatever came: without this thread the process cannot be asked any more.
                    LOGGER.exception("Listening to the processes of this host failed; it goes on.")
                    time.sleep(_PAUSE)
            for connection in self._incoming:
                self._held.close(connection)
        self._held.close(listener)

    def _turn(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        for key, _ in selector.select(_PATIENCE if self._incoming else None):
            if key.fileobj is listener:
                self._accept(selector, listener)
            else:
                self._read(selector, key.fileobj)  # type: ignore[arg-type]  # a socket
        self._hang_up(selector)

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        try:
            with self._held.changing():
                connection = self._held.made(listener.accept()[0])
        except BlockingIOError:
            return
        except OSError as error:
            if self._listener is listener and error.errno != errno.ECONNABORTED:
                LOGGER.warning("A question of another process waits: %s", error.strerror)
                time.sleep(_PAUSE)
            return
        connection.settimeout(0)
        self._incoming[connection] = _Incoming(time.monotonic() + _PATIENCE)
        selector.register(connection, selectors.EVENT_READ)

    def _read(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        incoming = self._incoming[connection]
        try:
            piece = connection.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        incoming.data += piece
        if piece and len(incoming.data) <= LONGEST:
            return
        selector.unregister(connection)
        del self._incoming[connection]
        self._hear(connection, bytes(incoming.data))

    def _hear(self, connection: socket.socket, data: bytes) -> None:
        try:
            document = read_object(data)
            question = read_question(_channel(document), data)
        except IgnoredError as error:
            self._ignored("a process of this host", error)
            self._held.close(connection)
            return
        reply = self._reply_to(connection)
        if document.get("answer") is not True:
            self._held.close(connection)
            reply = _nobody
        self._deliver(question, reply)

    def _reply_to(self, connection: socket.socket) -> Reply:
        def reply(text: str | None) -> None:
            try:
                connection.settimeout(_PATIENCE)
                connection.sendall((text if text is not None else NOT_SUBSCRIBED).encode())
                # Not by close alone: a child forked meanwhile may have it open.
                connection.shutdown(socket.SHUT_WR)
            except OSError as error:
                LOGGER.debug("Nobody takes an answer: %s", error)
            finally:
                self._held.close(connection)

        return reply

    def _hang_up(self, selector: selectors.BaseSelector) -> None:
        """On who does not say what he wants: a process may be stopped in the middle of it."""
        now = time.monotonic()
        for connection in [c for c, each in self._incoming.items() if each.deadline < now]:
            selector.unregister(connection)
            del self._incoming[connection]
            self._held.close(connection)


def _channel(document: dict[str, object]) -> str:
    channel = document.get("channel")
    if not isinstance(channel, str) or len(channel) > LONGEST_CHANNEL:
        raise IgnoredError("it names no channel")
    return channel


def _nobody(_: str | None) -> None:
    """Nobody wants the answer."""
