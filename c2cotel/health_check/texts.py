"""What a failure says: to those who may see everything but secrets, and to everybody."""

import os
import re
from typing import Final

from c2cotel_instrumentation.redaction import REDACTED, redacted_text

_LONGEST: Final = 500
# What is looked at for patterns: an endless text would cost endless time.
_LONGEST_LOOKED_AT: Final = 2000
# Their messages are about hosts, statements and files; the name of the class says enough.
_LIBRARIES: Final = frozenset(
    {
        *("sqlalchemy", "psycopg", "psycopg2", "asyncpg", "sqlite3", "alembic", "mako"),
        *("requests", "urllib3", "urllib", "http", "httpx", "httpcore", "ssl", "botocore"),
        *("redis", "valkey", "pymysql", "MySQLdb", "oracledb"),
    }
)
_PASSWORD: Final = re.compile(
    r"(?i)\b([\w-]*(?:passw(?:or)?d|pwd|passphrase|secret|token|api[-_]?key))(\s*[=:]\s*)"
    r"""("[^"]*"|'[^']*'|[^\s,;&'")]+)"""
)
_STATEMENT: Final = re.compile(
    r"\b(?:SELECT\b.{0,500}?\bFROM|INSERT\s+INTO|UPDATE\b.{0,100}?\bSET|DELETE\s+FROM)\b.*"
    r"|\[?statement REDACTED\]?.*|\bLINE \d+:.*",
    re.DOTALL,
)
_URL: Final = re.compile(r"""\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s"'<>)]*""")
_NAMED: Final = re.compile(
    r"""(?i)\b((?:host(?:[ ]?name)?|server(?:[ ]at)?|address|socket)[ ]?=?[ ]?)(["'])[^"']*\2"""
)
_HOST: Final = re.compile(
    r"""(?<![\w.])(?:
        \d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?
      | \[[0-9A-Fa-f:.%]{2,50}\](?::\d{1,5})?
      | [0-9A-Fa-f:]*::[0-9A-Fa-f:.]*
      | (?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}
      | [A-Za-z][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,9}:\d{2,5}
      | [A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){1,9}
          \.(?:[A-Za-z]{2,24})
      | [A-Za-z0-9][A-Za-z0-9-]{0,62}\.(?:local|localdomain|internal|intranet|corp|lan|home|svc
          |cluster|com|net|org|io|ch|fr|de|eu)
    )(?![\w])""",
    re.VERBOSE,
)
_PATH: Final = re.compile(r"(?<![\w/.])/(?:[\w.+@-]+/)+[\w.+@-]*")


def private_text(error: BaseException | str) -> str:
    """What *error* says, without passwords and other secrets."""
    text = error if isinstance(error, str) else getattr(error, "details", "") or _said(error)
    return _PASSWORD.sub(rf"\1\2{REDACTED}", redacted_text(text))


def public_text(error: BaseException) -> str:
    """The same for everybody: without hosts, addresses, statements and files, on one line.

    Errors of libraries that talk to servers are told by their kind only.
    """
    kind = type(error)
    if kind.__module__.partition(".")[0] in _LIBRARIES:
        # SQLAlchemy keeps the driver's error, whose kind says more: LockNotAvailable.
        cause = type(getattr(error, "orig", None) or error).__name__
        return kind.__name__ if cause == kind.__name__ else f"{kind.__name__}: {cause}"
    if isinstance(error, OSError) and error.errno is not None:
        # Of a failed look-up, the number is not one of the system's errors.
        text = os.strerror(error.errno) if error.errno > 0 else str(error.strerror or "")
        return f"{kind.__name__}: {text}"
    text = _said(error)
    if not isinstance(error, Exception):
        text = f"{kind.__name__}: {text}"
    return without_places(text)


def without_places(text: str) -> str:
    """*text* without secrets, hosts, statements and files, on one short line."""
    text = private_text(text[:_LONGEST_LOOKED_AT])
    text = _STATEMENT.sub("[statement]", text)
    text = _URL.sub("[url]", text)
    text = _NAMED.sub(r"\1[host]", text)
    text = _HOST.sub("[host]", text)
    text = _PATH.sub("[file]", text)
    return " ".join(text.split())[:_LONGEST]


def shown_url(url: str) -> str:
    """*url* as a name: without user, password and secret parameters."""
    return redacted_text(re.sub(r"(?<=://)[^/?#\s]*@", "", url))


def _said(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - its __str__ is the application's
        return type(error).__name__
