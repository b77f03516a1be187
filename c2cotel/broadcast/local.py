"""Questions to the processes of this host, over Unix sockets in the run directory.

Each process listens on ``<pid>-<start time>.<token>.sock``. A question is one connection: a JSON
object, then the end of what the asker sends; back comes a JSON object, then the end. A process
that has not subscribed to the channel says ``{"subscribed": false}``.
"""

import errno
import json
import os
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from c2cotel.broadcast.messages import (
    LONGEST_ANSWER,
    Heard,
    Ignored,
    Process,
)
from c2cotel.broadcast.sockets import Held
from c2cotel.metrics import lineage

NAME: Final = re.compile(r"(?P<process>(?P<pid>\d+)-\d+)\.(?P<token>[0-9a-f]{16})\.sock")
"""The name of a socket; before it is listened on, ``.tmp`` follows."""

NOT_SUBSCRIBED: Final = '{"subscribed": false}'

# Bytes of a path that the kernel takes in the address of a Unix socket.
_LONGEST_PATH: Final = 107
_PIECE: Final = 65536
# Seconds between two attempts where the backlog of a process is full.
_AGAIN: Final = 0.005


@contextmanager
def address(directory: Path, name: str) -> Iterator[str]:
    """What reaches *name* in *directory*, however long its path is."""
    path = str(directory / name)
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class _Peer:
    """One process that is being asked."""

    def __init__(self, name: str, process: Process, request: bytes) -> None:
        self.name = name
        self.process = process
        self.socket: socket.socket | None = None
        self.unsent = memoryview(request)
        self.received = bytearray()


class LocalAsk:
    """One question to all other processes that listen in *directory*."""

    def __init__(  # noqa: PLR0913 - what a question is made of
        self,
        directory: Path,
        asker: Process,
        request: bytes,
        *,
        wants_answers: bool,
        held: Held,
        ignored: Ignored,
    ) -> None:
        self._directory = directory
        self._wants_answers = wants_answers
        self._held = held
        self._ignored = ignored
        self._selector = selectors.DefaultSelector()
        self._waiting: list[_Peer] = []
        self._heard: list[Heard] = []
        self._silent: list[_Peer] = []
        self.reached: list[str] = []
        """Tokens of the processes that get the question in this way."""
        for peer in self._peers(asker, request):
            if self._try(peer):
                self.reached.append(peer.process.token)

    def _peers(self, asker: Process, request: bytes) -> Iterator[_Peer]:
        try:
            names = sorted(path.name for path in self._directory.iterdir())
        except OSError as error:
            self._ignored(str(self._directory), f"nobody of this host is asked: {error.strerror}")
            return
        for name in names:
            if (found := NAME.fullmatch(name)) and found["token"] != asker.token:
                process = Process(asker.host, int(found["pid"]), found["token"])
                yield _Peer(name, process, request)

    def _try(self, peer: _Peer) -> bool:
        """Connect, and send what can be sent at once; false if there is nobody."""
        try:
            with self._held.changing(), address(self._directory, peer.name) as path:
                peer.socket = self._held.made(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                peer.socket.settimeout(0)
                peer.socket.connect(path)
        except BlockingIOError:
            # So many questions wait for it that its backlog is full: it is stopped, or busy.
            self._close(peer)
            self._waiting.append(peer)
            return True
        except OSError as error:
            self._close(peer)
            if error.errno == errno.ECONNREFUSED:
                # It listened before it had this name: whoever it was has ended.
                with suppress(OSError):
                    (self._directory / peer.name).unlink()
            elif error.errno != errno.ENOENT:
                self._ignored(peer.name, f"process {peer.process} is not asked: {error.strerror}")
            return False
        self._selector.register(peer.socket, selectors.EVENT_WRITE, peer)
        self._send(peer)
        return True

    def collect(self, deadline: float) -> tuple[list[Heard], list[Process]]:
        """Wait for answers until *deadline* of the monotonic clock: these, and who is silent.

        Whoever wants no answers waits until the question is sent.
        """
        try:
            while self._selector.get_map() or self._waiting:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                pause = min(left, _AGAIN) if self._waiting else left
                for key, _ in self._selector.select(pause):
                    self._go_on(key.data)
                again, self._waiting = self._waiting, []
                for peer in again:
                    self._try(peer)
            return self._heard, [peer.process for peer in (*self._silent, *self._late())]
        finally:
            self.close()

    def _late(self) -> Iterator[_Peer]:
        asked = [key.data for key in self._selector.get_map().values()]
        for peer in (*asked, *self._waiting):
            # Whatever keeps the socket of an ended process open, nobody will answer there.
            if not lineage.is_alive(peer.name.partition(".")[0]):
                with suppress(OSError):
                    (self._directory / peer.name).unlink()
            yield peer

    def _go_on(self, peer: _Peer) -> None:
        if peer.unsent:
            self._send(peer)
        else:
            self._receive(peer)

    def _send(self, peer: _Peer) -> None:
        assert peer.socket is not None  # noqa: S101 - only connected ones are registered
        try:
            peer.unsent = peer.unsent[peer.socket.send(peer.unsent) :]
            if peer.unsent:
                return
            peer.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._lose(peer)
            return
        if self._wants_answers:
            self._selector.modify(peer.socket, selectors.EVENT_READ, peer)
        else:
            self._close(peer)

    def _receive(self, peer: _Peer) -> None:
        assert peer.socket is not None  # noqa: S101 - only connected ones are registered
        try:
            piece = peer.socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        peer.received += piece
        if piece and len(peer.received) <= LONGEST_ANSWER + _PIECE:
            return
        if piece or not peer.received:
            self._lose(peer)
            return
        self._close(peer)
        if peer.received != NOT_SUBSCRIBED.encode():
            try:
                self._heard.append(Heard(peer.process, json.loads(peer.received)))
            except (ValueError, RecursionError) as error:
                self._ignored(f"the answer of process {peer.process}", error)
                self._silent.append(peer)

    def _lose(self, peer: _Peer) -> None:
        """It ended, or hung up, before it had answered."""
        self._close(peer)
        self._silent.append(peer)

    def _close(self, peer: _Peer) -> None:
        if peer.socket is not None:
            with suppress(KeyError):
                self._selector.unregister(peer.socket)
            self._held.close(peer.socket)
            peer.socket = None

    def close(self) -> None:
        """Hang up on everybody; harmless when it is done already."""
        for key in list((self._selector.get_map() or {}).values()):
            self._close(key.data)
        self._waiting = []
        self._selector.close()


def request(channel: str, params: object, context: dict[str, str], *, answer: bool) -> bytes:
    """What is sent to a process of this host."""
    document = {"channel": channel, "params": params, "context": context, "answer": answer}
    return json.dumps(document).encode()


Reply = Callable[[str | None], None]
"""Sends the JSON of an answer back; ``None``: this process has not subscribed."""
