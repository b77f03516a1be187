"""Handlers that write lines to a stream, each of them whole."""

import fcntl
import logging
import os
import stat
from typing import IO, Any, TextIO

from pythonjsonlogger.core import BaseJsonFormatter

from c2cotel.pyramid_logging.formatters import ConsoleFormatter, JsonFormatter


class _LinesHandler(logging.StreamHandler[TextIO]):
    """Writes to *stream* so that no other worker's line gets in between.

    A pipe, which is what stdout of a container is, takes the parts of a long line as it has room:
    where two processes write at a time, they come out mixed. So there is a lock, of the system's:
    it is on the pipe, and gone with the process.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._looked_at: Any = None
        self._pipe: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
            stream = self.stream
            pipe = self._pipe if stream is self._looked_at else self._look_at(stream)
            if pipe is None:
                stream.write(line)
                self.flush()
            else:
                self._write_alone(pipe, line)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as logging does: it tells on stderr
            self.handleError(record)

    def _write_alone(self, pipe: int, line: str) -> None:
        try:
            fcntl.lockf(pipe, fcntl.LOCK_EX)
        except OSError:
            # Not to be had here: as before then.
            self._pipe = None
            self.stream.write(line)
            self.flush()
            return
        try:
            self.stream.write(line)
            self.flush()
        finally:
            fcntl.lockf(pipe, fcntl.LOCK_UN)

    def _look_at(self, stream: TextIO) -> int | None:
        """The file descriptor of *stream*, if that is a pipe."""
        self._looked_at = stream
        self._pipe = None
        try:
            number = stream.fileno()
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                self._pipe = number
        except (OSError, ValueError, AttributeError):
            pass
        return self._pipe


class JsonLogHandler(_LinesHandler):
    """Write JSON lines to *stream* (default: stderr), see :class:`JsonFormatter`.

    Stays with JSON when the logging configuration gives it another kind of formatter.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.formatter = JsonFormatter()

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        if isinstance(fmt, BaseJsonFormatter):
            super().setFormatter(fmt)


class ConsoleLogHandler(_LinesHandler):
    """Write lines for people to *stream* (default: stderr), in colour if that is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.formatter = ConsoleFormatter(colour=_is_terminal(self.stream))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        # A stream in ASCII would refuse the whole line for one accent.
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_terminal(stream: IO[str]) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
