"""Write log records to a database, beside the work.

In the ini file of the application::

    [handler_database]
    class = c2cotel.sqlalchemylogger.handlers.SQLAlchemyHandler
    kwargs = {
        'sqlalchemy_url': {
            'url': '%(LOG_DATABASE_URL)s',
            'tablename': 'logs',
            'tableargs': {'schema': 'application'}},
        'contains_expression': 'order|payment'}
    level = INFO

===========  ====================================================================
column       value
===========  ====================================================================
id           a number
logger       the logger's name
level        logging's name
trace        the stack trace of the exception, if there is one
msg          the message with its arguments
created_at   when it was logged, in UTC, without a time zone
===========  ====================================================================

Database, schema and table are made where there are none. A thread of each process writes, every
second or as soon as there are a hundred records. While the database is away, ten thousand are kept;
what comes then is counted as ``c2c.log.dropped`` and said once on stderr. At the end of the process
what is left is written, for at most three seconds.
"""

import logging
import os
import re
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry.context import attach
from sqlalchemy.exc import SQLAlchemyError

from c2cotel.log_drops import Drops
from c2cotel.sqlalchemylogger.table import LogTable
from c2cotel_instrumentation.context import without_tracing
from c2cotel_instrumentation.redaction import redacted_text

_KEYS: Final = ("url", "tablename", "tableargs")
# A database that is away is asked again after a second, then less and less often.
_LONGEST_PAUSE: Final = 30.0
_TOO_LATE: Final = "the process has ended before the database took them"


class SQLAlchemyHandler(logging.Handler):
    """Writes records to a table, by a thread of its own.

    *sqlalchemy_url* has the keys ``url``, ``tablename`` (default ``logs``) and ``tableargs``, the
    keywords of :class:`sqlalchemy.Table` such as its ``schema``. Only messages in which the regular
    expression *contains_expression* is found are written, and none in which
    *does_not_contain_expression* is. What the thread itself logs is not.

    Raises:
        ValueError: one of these cannot be used; the text says which.
    """

    MAX_NB_LOGS = 100
    """So many records are written without waiting for more."""
    MAX_TIMEOUT = 1
    """Seconds that a record waits for others."""
    MAX_QUEUE = 10_000
    """So many records are kept while the database is away."""
    FLUSH_TIMEOUT = 3.0
    """Seconds that the end of the process waits for the database."""

    def __init__(
        self,
        sqlalchemy_url: Mapping[str, Any],
        does_not_contain_expression: str = "",
        contains_expression: str = "",
    ) -> None:
        super().__init__()
        self._table = _table(sqlalchemy_url)
        without = does_not_contain_expression
        self._without = _expression("does_not_contain_expression", without)
        self._within = _expression("contains_expression", contains_expression)
        url = self._table.url.render_as_string(hide_password=True)
        self._drops = Drops("sqlalchemy", f"to the database {url}")
        self._start_anew()

    def _start_anew(self) -> None:
        """In each process: locks and threads of the parent are of no use."""
        self._pid = os.getpid()
        self._queue: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None
        self._writing = 0
        self._failures = 0
        self._ended = False
        self._wanted = False
        self._table.forget()

    def handle(self, record: logging.LogRecord) -> Any:
        # What writing logs would be written, which logs. Not in emit(): whoever flushes has the
        # lock that is taken before, and waits for the writer.
        if threading.current_thread() is self._writer:
            return False
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        if self._pid != os.getpid():
            self._start_anew()
        try:
            row = self._row(record)
        except Exception:  # noqa: BLE001 - as logging does: it tells on stderr
            self.handleError(record)
            return
        if row is not None:
            self._put(row)

    def flush(self) -> None:
        """Wait until everything is written or that fails, at most ``FLUSH_TIMEOUT`` seconds."""
        if self._pid != os.getpid():
            return
        if self._writer is None or not self._writer.is_alive():
            # None could be started: the interpreter ends.
            while self._queue and self._write(self._taken()):
                pass
            return
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            # The one that is under way says nothing of now.
            enough = self._failures + (2 if self._writing else 1)
            self._changed.wait_for(
                lambda: self._is_done() or self._failures >= enough, self.FLUSH_TIMEOUT
            )

    def close(self) -> None:
        """Write what is left, then end the thread and the connection."""
        if self._pid == os.getpid() and not self._ended:
            self.flush()
            with self._changed:
                self._ended = True
                lost = len(self._queue) + self._writing
                self._queue.clear()
                self._changed.notify_all()
            if lost:
                self._drops.count(_TOO_LATE, lost)
            if self._writer is not None:
                # Unless it hangs in the driver: it ends with the process then.
                self._writer.join(0 if lost else self.FLUSH_TIMEOUT)
        super().close()

    def _is_done(self) -> bool:
        return not self._queue and not self._writing

    def _row(self, record: logging.LogRecord) -> dict[str, Any] | None:
        message = record.getMessage()
        if self._without is not None and self._without.search(message):
            return None
        if self._within is not None and not self._within.search(message):
            return None
        trace = record.exc_text
        if not trace and record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
        return {
            "logger": _storable(record.name),
            "level": record.levelname,
            "trace": None if trace is None else _storable(trace),
            "msg": _storable(message),
            "created_at": datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None),
        }

    def _put(self, row: dict[str, Any]) -> None:
        with self._changed:
            refused = self._ended or len(self._queue) + self._writing >= self.MAX_QUEUE
            if not refused:
                self._queue.append(row)
                if len(self._queue) in (1, self.MAX_NB_LOGS):
                    self._changed.notify_all()
                self._ensure_writer()
        if refused:
            self._drops.count(f"it takes none, and {self.MAX_QUEUE} wait")

    def _ensure_writer(self) -> None:
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(
                target=self._write_all, name="c2cotel-log-table", daemon=True
            )
            # At the interpreter's end none starts any more: flush() writes then.
            with suppress(RuntimeError):
                self._writer.start()

    def _write_all(self) -> None:
        # Of this thread, for as long as it is: no span for each piece of the log.
        attach(without_tracing())
        pause = float(self.MAX_TIMEOUT)
        while batch := self._batch():
            if self._write(batch):
                pause = float(self.MAX_TIMEOUT)
                continue
            with self._changed:
                # Whoever flushes wants it tried again at once.
                self._changed.wait_for(lambda: self._ended or self._wanted, pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._table.close()

    def _batch(self) -> list[dict[str, Any]]:
        """The next rows, when there are enough or the first has waited; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended)
            self._changed.wait_for(
                lambda: len(self._queue) >= self.MAX_NB_LOGS or self._ended or self._wanted,
                self.MAX_TIMEOUT,
            )
            return self._taken()

    def _taken(self) -> list[dict[str, Any]]:
        number = min(len(self._queue), self.MAX_NB_LOGS * 10)
        self._writing = number
        return [self._queue.popleft() for _ in range(number)]

    def _write(self, batch: list[dict[str, Any]]) -> bool:
        """Write *batch*, or put it back and return False."""
        written = True
        try:
            for row, why in self._table.write(batch):
                self._drops.count(f"{why}: {row['logger']}")
        except Exception as error:  # noqa: BLE001 - any driver: what is not written is kept
            self._drops.say(f"They wait for the database: {_short(error)}.")
            written = False
        with self._changed:
            self._writing = 0
            if not written:
                self._failures += 1
                self._wanted = False
                if not self._ended:
                    self._queue.extendleft(reversed(batch))
            elif not self._queue:
                self._wanted = False
            self._changed.notify_all()
        return written


def _table(options: Mapping[str, Any]) -> LogTable:
    if not isinstance(options, Mapping) or not isinstance(options.get("url"), str):
        raise ValueError(  # noqa: TRY004 - what dictConfig reports by the handler's name
            "sqlalchemy_url: not a dictionary with a url. "
            "Write for example {'url': 'postgresql+psycopg://user@host/logs'}."
        )
    for key in options:
        if key not in _KEYS:
            raise ValueError(f"sqlalchemy_url: {key!r} is none of {', '.join(_KEYS)}.")
    try:
        return LogTable(
            options["url"], options.get("tablename") or "logs", options.get("tableargs") or {}
        )
    except SQLAlchemyError:
        # Its text would be the URL.
        raise ValueError(
            "sqlalchemy_url: its url is not one of SQLAlchemy. "
            "Write for example 'postgresql+psycopg://user@host/logs'."
        ) from None


def _expression(name: str, text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(f"{name} = {text!r}: not a regular expression ({error}).") from None


def _storable(text: str) -> str:
    """*text* as every database takes it: no NUL, no half of a character."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _short(error: Exception) -> str:
    """What *error* says of the database; SQLAlchemy adds the rows."""
    original = getattr(error, "orig", None) or error
    return redacted_text(f"{type(original).__name__}: {original}".strip().partition("\n")[0])
