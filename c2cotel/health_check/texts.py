"""What a failure says: to those who may see everything but secrets, and to everybody."""

import os
import re
from contextlib import suppress
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
# In small letters, only what no sentence looks like: "select a layer from the list" is none.
_STATEMENT: Final = re.compile(
    r"""\b(?:
        (?-i:SELECT)\b.{0,500}?\bFROM\b
      | SELECT\b.{0,500}?\bFROM\s+(?!(?:the|an|this|that|these|those|its?|your|our|their)\s)[\w"(]
      | SELECT\s+[\w.]{1,100}\(
      | INSERT\s+INTO\s | DELETE\s+FROM\s | (?-i:MERGE)\s+INTO\s
      | UPDATE\s+(?:ONLY\s+)?[\w."]{1,100}(?:\s+(?:AS\s+)?\w{1,100})?
          \s+SET\s+[\w."(]{1,100}[^=]{0,100}=
      | WITH\s+(?:RECURSIVE\s+)?[\w"]{1,100}\s*(?:\([^)]{0,200}\)\s*)?
          AS\s+(?:NOT\s+)?(?:MATERIALIZED\s*)?\(
      | (?:ALTER|CREATE|DROP|TRUNCATE|LOCK)\s+(?:TABLE|VIEW|INDEX|SCHEMA|SEQUENCE)\s
      | (?-i:ALTER|CREATE|DROP|TRUNCATE|LOCK|GRANT|REVOKE|TABLE|COPY|CALL)\s+[\w"]
      | CALL\s+[\w."]{1,100}\(
    ).*
    | \[?statement[ ]REDACTED\]?.* | (?-i:\bLINE[ ]\d+:).*""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_URL: Final = re.compile(r"""\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s"'<>)]*""")
_NAMED: Final = re.compile(
    r"""(?i)\b((?:host(?:[ ]?name)?|server(?:[ ]at)?|address|socket)[ ]?=?[ ]?)(["'])[^"']*\2"""
)
# Here any name with a dot is one.
_REACHED: Final = re.compile(
    r"""(?i)\b((?:host(?:[ ]?name)?|server(?:[ ]at)?|reach|resolve|connect(?:ion|ing)?[ ]to)[ ])
        [\w-]{1,63}(?:\.[\w-]{1,63}){1,9}(?::\d{1,5})?""",
    re.VERBOSE,
)
# Without a dot, one only with a port that servers have: "code:404" is none, nor is "EPSG:2056".
_HOST: Final = re.compile(
    r"""(?<![\w.])(?:
        \d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?
      | \[[0-9A-Fa-f:.%]{2,50}\](?::\d{1,5})?
      | [0-9A-Fa-f:]*::[0-9A-Fa-f:.]*
      | (?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}
      | (?!(?i:epsg|srid|crs|code|line|errno|status|version|id):)
        [A-Za-z][A-Za-z0-9-]{0,62}:(?:\d{4,5}|22|25|53|80|389|443|465|587|636)
      | [A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){1,9}:\d{2,5}
      | [A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,9}
          \.(?!py\b)(?i:[a-z]{2}|com|net|org|edu|gov|mil|int|info|app|dev|cloud|local|localdomain
          |internal|intranet|corp|lan|home|svc|cluster|localhost)
    )(?![\w])""",
    re.VERBOSE,
)
# Of an API; the others are known to redacted_text().
_KEY: Final = re.compile(r"(?i)(?<=[?&;])(key=)[^&;#\s]*")
_PATH: Final = re.compile(r"(?<![\w/.])/(?:[\w.+@-]+/)+[\w.+@-]*")


def private_text(error: BaseException | str) -> str:
    """What *error* says, without passwords and other secrets."""
    text = error if isinstance(error, str) else _said(error)
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
        return f"{kind.__name__}: {_system_text(error)}"
    text = _said(error)
    if not isinstance(error, Exception):
        text = f"{kind.__name__}: {text}"
    return without_places(text)


def _system_text(error: OSError) -> str:
    # Of a failed look-up, the number is not one of the system's errors; and whoever raises it
    # himself may give anything for a number.
    if isinstance(error.errno, int) and error.errno > 0:
        with suppress(OverflowError, ValueError):
            return os.strerror(error.errno)
    return without_places(str(error.strerror or ""))


def without_places(text: str) -> str:
    """*text* without secrets, hosts, statements and files, on one short line."""
    text = private_text(text[:_LONGEST_LOOKED_AT])
    text = _STATEMENT.sub("[statement]", text)
    text = _URL.sub("[url]", text)
    text = _NAMED.sub(r"\1[host]", text)
    text = _REACHED.sub(r"\1[host]", text)
    text = _HOST.sub("[host]", text)
    text = _PATH.sub("[file]", text)
    return " ".join(text.split())[:_LONGEST]


def shown_url(url: str) -> str:
    """*url* as a name: without user, password and secret parameters."""
    url = redacted_text(re.sub(r"(?<=://)[^/?#\s]*@", "", url))
    return _KEY.sub(rf"\1{REDACTED}", url)


def _said(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - its __str__ is the application's
        return type(error).__name__
