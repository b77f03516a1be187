"""Have PostgreSQL tell the plans of what it executes, in the transactions of one connection.

auto_explain sends a plan when the execution is over, with the values of the statement in it. It is
asked for once a transaction, or savepoint, by the same transaction's settings. They end with it.

Source: https://www.postgresql.org/docs/current/auto-explain.html.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from c2cotel_instrumentation import sql_plans
from c2cotel_instrumentation.sql_asides import IDLE, WITHIN, Aside, ask, is_usable, status, two

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExecutionContext
    from sqlalchemy.pool import PoolProxiedConnection

_GRANTS: Final = (15,)  # the first PostgreSQL in which a role may be allowed to set a parameter
_NEEDED: Final = ("log_min_duration", "log_analyze", "log_format", "log_level", "sample_rate")
_WELCOME: Final = ("log_buffers", "log_timing", "log_parameter_max_length")
_LOADED: Final = """
SELECT name, {allowed} FROM pg_catalog.pg_settings WHERE name ~ '^auto_explain[.]'"""
_MAY_SET: Final = "pg_catalog.has_parameter_privilege(name, 'SET')"
_IS_SUPERUSER: Final = "pg_catalog.current_setting('is_superuser') = 'on'"

# In the __dict__ of a SQLAlchemy Connection: for what it was asked last.
_ASKED: Final = "_c2cotel_explained"
_MOST_LATE: Final = 64
_OURS: Final = "auto_explain."
_PLACEHOLDER: Final = re.compile(r"[%:$]")
_LONGEST_BEGINNING: Final = 200
_HEAD: Final = 4096  # of a message: where its statement begins
# Nothing is executed for it, and nothing can fail.
_NEXT: Final = "SHOW transaction_isolation"


class AutoExplain:
    """The plans that the server tells one connection, as the messages that they come in.

    *late* is called with what :meth:`begin` was given and its message, where that comes later than
    the result: with a server-side cursor, when it is closed.
    """

    def __init__(self, min_duration: float, late: Callable[[Any, str], None]) -> None:
        self._min_duration = min_duration
        self._tell_late = late
        self._question: str | None = None  # that switches it on
        self._tried = False
        # What is executed now, and what has been told of it: of several, of the slowest.
        self._expected: str | None = None
        self._heard: str | None = None
        self._longest = -1.0
        self._late: OrderedDict[str, Any] = OrderedDict()
        self.is_later = False

    def begin(self, connection: "Connection", context: "ExecutionContext", statement: Any) -> bool:
        """Before the execution of *statement*; whether the server will tell its plan."""
        self._expected, self._heard, self._longest = None, None, -1.0
        driver: Any = connection.connection.driver_connection
        if not is_usable(driver) or (driver.autocommit and status(driver) == IDLE):
            return False
        # Kept by the Connection that they belong to: from anywhere else, they would keep it alive.
        asked = (self, connection.get_transaction(), connection.get_nested_transaction())
        if connection.__dict__.get(_ASKED) != asked:
            if not self._ask(connection, driver):
                return False
            connection.__dict__[_ASKED] = asked
        name = _cursor_name(context.cursor)
        self.is_later = name is not None
        if name is None:
            self._expected = _beginning(context.statement or "")
        else:
            self._late[name] = statement
            while len(self._late) > _MOST_LATE:
                self._late.popitem(last=False)
        return True

    def forget(self, connection: "Connection") -> None:
        """Before a statement that may end what was asked for."""
        connection.__dict__.pop(_ASKED, None)

    def heard(self, pooled: "PoolProxiedConnection") -> str | None:
        """What has been told of the execution, which is over."""
        if self._heard is None:
            self._go_on(pooled)
        self._expected = None
        return self._heard

    def stop(self, driver: Any) -> None:
        """Put back what the connection had; may come from another thread than its own."""
        self._question = None
        if hasattr(driver, "remove_notice_handler"):
            with suppress(ValueError):  # it never listened
                driver.remove_notice_handler(self._told)
        elif isinstance(notices := getattr(driver, "notices", None), _Notices) and (
            notices.tell == self._tell
        ):
            # The server goes on until the transaction ends: what it tells must not get in.
            if status(driver) == IDLE:
                driver.notices = list(notices)
            else:
                notices.tell = _ignore

    def _go_on(self, pooled: "PoolProxiedConnection") -> None:
        """Let the server know that the result has been read: it is over then, and it tells.

        What psycopg 3 sends with parameters is over with the next statement of its transaction.
        """
        driver = pooled.driver_connection
        if hasattr(driver, "pgconn") and is_usable(driver) and status(driver) == WITHIN:
            ask(pooled.dbapi_connection, _NEXT, None)

    def _ask(self, connection: "Connection", driver: Any) -> bool:
        """Have the server tell plans until the transaction ends; whether it will."""
        dbapi: Any = connection.connection.dbapi_connection
        if not self._tried:
            self._tried = True
            version = connection.dialect.server_version_info or ()
            allowed = _MAY_SET if version >= _GRANTS else _IS_SUPERUSER
            with suppress(Exception), Aside(dbapi) as run:  # a server that is only alike
                rows = run(_LOADED.format(allowed=allowed), None)
                may = {name for name, ok in map(two, rows) if ok}
                self._question = _switching_on(self._min_duration, may, version)
            if self._question is not None and not self._listen(driver):
                self._question = None
        if self._question is None:
            return False
        if status(driver) != IDLE:
            with Aside(dbapi) as run:
                run(self._question, None)
            return True
        try:
            ask(dbapi, self._question, None)
        except BaseException:
            # Nothing but this was in it.
            dbapi.rollback()
            raise
        return True

    def _listen(self, driver: Any) -> bool:
        if hasattr(driver, "add_notice_handler"):
            driver.add_notice_handler(self._told)
            return True
        notices: Any = getattr(driver, "notices", None)
        # psycopg2: the application may have something of its own in its place.
        if type(notices) not in (list, _Notices):
            return False
        driver.notices = _Notices(notices, self._tell)
        return True

    def _told(self, diagnostic: Any) -> None:
        """Called by psycopg 3 with each notice of the server."""
        message = diagnostic.message_primary
        if isinstance(message, str) and sql_plans.is_plan(message):
            self._tell(message)

    def _tell(self, message: str) -> None:
        head = message[:_HEAD]
        # As JSON writes: DECLARE \"name\" CURSOR …
        name = next((name for name in self._late if f'{name}\\"' in head), None)
        if name is not None:
            self._tell_late(self._late.pop(name), message)
        elif (
            self._expected is not None
            and self._expected in head
            and _OURS not in head
            and (duration := sql_plans.duration_of(message)) > self._longest
        ):
            self._heard, self._longest = message, duration


def _ignore(_: str) -> None:
    """What is told when nobody asks any more."""


class _Notices(list[str]):
    """psycopg2's list of notices: plans do not get in, where others would read and log them."""

    def __init__(self, notices: Iterable[str], tell: Callable[[str], None]) -> None:
        super().__init__(notices)
        self.tell = tell

    def append(self, notice: str) -> None:
        if sql_plans.is_plan(notice):
            self.tell(notice)
        else:
            super().append(notice)


def _switching_on(min_duration: float, may: set[str], version: tuple[Any, ...]) -> str | None:
    """The statement that has auto_explain tell plans; None if the role may not have it."""
    if not may.issuperset(f"auto_explain.{name}" for name in _NEEDED):
        return None
    chosen = {
        "log_min_duration": str(int(min_duration * 1000)),
        "log_analyze": "on",
        "log_format": "json",
        # Unlike notices, these are sent whatever client_min_messages says, and not logged there.
        "log_level": "info",
        "sample_rate": "1",
        "log_buffers": "on",
        "log_timing": "on",
        "log_parameter_max_length": "0",
    }
    parts = []
    for name in (*_NEEDED, *_WELCOME):
        if (full := f"auto_explain.{name}") in may:
            part = f"pg_catalog.set_config('{full}', '{chosen[name]}', true)"
            if version >= _GRANTS:
                # What has been taken back meanwhile would make the transaction fail.
                allowed = f"pg_catalog.has_parameter_privilege('{full}', 'SET')"
                part = f"CASE WHEN {allowed} THEN {part} END"
            parts.append(part)
    return f"SELECT {', '.join(parts)}"


def _beginning(statement: str) -> str:
    """What *statement* begins with in a message: placeholders are others there."""
    beginning = _PLACEHOLDER.split(statement, maxsplit=1)[0][:_LONGEST_BEGINNING].strip()
    return json.dumps(beginning, ensure_ascii=False)[1:-1]


def _cursor_name(cursor: Any) -> str | None:
    """That of a server-side cursor."""
    name = getattr(cursor, "name", None) or getattr(getattr(cursor, "_cursor", None), "name", None)
    return name if isinstance(name, str) else None
