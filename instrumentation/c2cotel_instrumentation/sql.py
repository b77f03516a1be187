"""What an SQL statement says, in the words of the database conventions.

Nothing here understands SQL: it finds the operation and the table that a statement starts with,
and what in it could be a value. A text that it cannot read has no operation, never a wrong one
made of the text's values.

Source: https://opentelemetry.io/docs/specs/semconv/db/.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

LONGEST: Final = 8192
"""Characters of a statement that are looked at and get on a span; only such texts are cached."""

HELD: Final = "_c2cotel_held"
"""Where a list may lie in the ``__dict__`` of an ExecutionContext: the span of the statement is
then not ended, but put there with the time when it should have been, in nanoseconds since 1970."""

RUNNING: Final = "_c2cotel_running"
"""Where a tuple lies in the ``__dict__`` of an ExecutionContext while its statement is measured;
the last part of it is the span of the statement, or None."""

_LONGEST_NAME: Final = 63
_CACHED: Final = 512
_BACKSLASHES: Final = frozenset(("mysql", "mariadb"))

_OPERATIONS: Final = frozenset(
    re.findall(
        r"\w+",
        """ABORT ALTER ANALYZE ATTACH BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE
        DEALLOCATE DECLARE DELETE DESC DESCRIBE DETACH DISCARD DO DROP END EXEC EXECUTE EXPLAIN
        FETCH GRANT IMPORT INSERT KILL LISTEN LOAD LOCK MERGE MOVE NOTIFY OPTIMIZE PRAGMA PREPARE
        REFRESH REINDEX RELEASE RENAME REPLACE RESET REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW START
        TABLE TRUNCATE UNLISTEN UNLOCK UPDATE USE VACUUM VALUES WITH""",
    )
)
_AFTER_WITH: Final = frozenset(
    ("DELETE", "INSERT", "MERGE", "REPLACE", "SELECT", "UPDATE", "VALUES")
)
# The word that the table follows; None where it comes at once.
_BEFORE_TABLE: Final = {
    "COPY": None,
    "DELETE": "FROM",
    "INSERT": "INTO",
    "MERGE": "INTO",
    "REPLACE": "INTO",
    "SELECT": "FROM",
    "TRUNCATE": None,
    "UPDATE": None,
}
_NO_TABLES: Final = frozenset(("IGNORE", "LATERAL", "LOW_PRIORITY", "ONLY", "TABLE"))


class Operation(NamedTuple):
    """The operation in capitals and the first table it works on, as far as they are known."""

    name: str | None
    table: str | None


class _Token(NamedTuple):
    kind: str | None  # "word", "quoted" or "sign"; literals are left out
    text: str
    depth: int  # of parentheses around it


class _Dialect(NamedTuple):
    tokens: re.Pattern[str]
    values: re.Pattern[str]


def _dialect(*, mysql: bool) -> _Dialect:
    # Whatever stands there, one of the ends fits: no text makes them try twice. (Possessive
    # repetitions of groups are wrong in Python before 3.11.5.)
    escaped = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\\?\Z)"
    simple = escaped if mysql else r"'[^']*(?:''[^']*)*(?:'|\Z)"
    double = r'"[^"]*(?:""[^"]*)*(?:"|\Z)'
    comment = r"--[^\n]*|/\*.*?(?:\*/|\Z)" + (r"|\#[^\n]*" if mysql else "")
    text = rf"(?<![\w$])[eE]{escaped}|{simple}|\$((?:[^\W\d]\w*)?)\$.*?(?:\$\1\$|\Z)"
    quoted = "`[^`]*`"
    if mysql:
        text += r'|"[^"\\]*(?:(?:\\.|"")[^"\\]*)*(?:"|\\?\Z)'
    else:
        quoted += f"|{double}"
    number = r"(?<![\w$])\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?"
    placeholder = r"%\(\w[^)%]*\)s|[:$@?]\w+"
    # The group of the text's quotes is the first one: \1 is written above.
    return _Dialect(
        re.compile(
            rf"(?:{text})|(?P<comment>{comment})|(?P<word>[^\W\d][\w$]*)|(?P<quoted>{quoted})"
            r"|(?P<sign>\S)",
            re.DOTALL,
        ),
        re.compile(
            rf"(?:{text}|{number})|(?P<comment>{comment})|(?P<kept>{quoted}|{placeholder})",
            re.DOTALL,
        ),
    )


_STANDARD: Final = _dialect(mysql=False)
_MYSQL: Final = _dialect(mysql=True)


def operation(statement: str, system: str) -> Operation:
    """What *statement* does, for a database *system* of the conventions."""
    mysql = system in _BACKSLASHES
    if len(statement) <= LONGEST:
        return _cached_operation(statement, mysql)
    return _operation(statement[:LONGEST], mysql)


def without_values(statement: str, system: str) -> str:
    """*statement* with ``?`` for each literal, without comments, at most ``LONGEST`` long.

    Placeholders and quoted names stay. A literal that the cut has opened is one, too.
    """
    mysql = system in _BACKSLASHES
    if len(statement) <= LONGEST:
        return _cached_without_values(statement, mysql)
    return _without_values(statement[:LONGEST], mysql)


def uncached_without_values(text: str, system: str) -> str:
    """The same for what is no statement that comes again, such as a part of a plan."""
    return _without_values(text[:LONGEST], system in _BACKSLASHES)


def _without_values(statement: str, mysql: bool) -> str:  # noqa: FBT001 - lru_cache is faster so
    values = (_MYSQL if mysql else _STANDARD).values
    return values.sub(_masked, statement).strip()


def _masked(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match[0]
    return "?" if match["comment"] is None else " "


def _operation(statement: str, mysql: bool) -> Operation:  # noqa: FBT001 - lru_cache is faster so
    tokens = _tokens((_MYSQL if mysql else _STANDARD).tokens, statement)
    # "(SELECT 1) UNION …", "{call …}": signs before the first word say nothing.
    first = next((token for token in tokens if token.kind != "sign"), None)
    if first is None or first.kind != "word":
        return Operation(None, None)
    name, depth = first.text.upper(), first.depth
    if name not in _OPERATIONS:
        return Operation(None, None)
    temporary: set[str] = set()
    if name == "WITH":
        name = _main_operation(tokens, depth, temporary) or name
    if name not in _BEFORE_TABLE:
        return Operation(name, None)
    before = _BEFORE_TABLE[name]
    if before is not None and not _skip_to(tokens, before, depth):
        return Operation(name, None)
    table = _name(tokens, may_be_function=name == "SELECT")
    return Operation(name, None if table in temporary else table)


_cached_operation = lru_cache(_CACHED)(_operation)
_cached_without_values = lru_cache(_CACHED)(_without_values)


def _tokens(pattern: re.Pattern[str], statement: str) -> Iterator[_Token]:
    depth = 0
    for match in pattern.finditer(statement):
        kind = match.lastgroup
        if kind is None or kind == "comment":
            continue
        text = match[0]
        if text == ")":
            depth -= 1
        yield _Token(kind, text, depth)
        if text == "(":
            depth += 1


def _main_operation(tokens: Iterator[_Token], depth: int, temporary: set[str]) -> str | None:
    """Go past the WITH; its names are put in *temporary*."""
    for token in tokens:
        if token.depth != depth or token.kind == "sign":
            continue
        if token.kind == "word" and token.text.upper() in _AFTER_WITH:
            return token.text.upper()
        temporary.add(_unquoted(token))
    return None


def _skip_to(tokens: Iterator[_Token], word: str, depth: int) -> bool:
    before = ""
    for token in tokens:
        if token.depth < depth or (token.depth == depth and token.text == ";"):
            return False
        text = token.text.upper() if token.kind == "word" else ""
        # "a IS DISTINCT FROM b" is no table.
        if token.depth == depth and text == word and before != "DISTINCT":
            return True
        before = text
    return False


def _name(tokens: Iterator[_Token], *, may_be_function: bool) -> str | None:
    parts: list[str] = []
    expected = True
    for token in tokens:
        if expected:
            if token.kind == "word" and not parts and token.text.upper() in _NO_TABLES:
                continue
            if token.kind == "sign":
                return None
            parts.append(_unquoted(token))
            expected = False
        elif token.text == ".":
            expected = True
        elif token.text == "(" and may_be_function:
            return None
        else:
            break
    if expected or any(len(part) > _LONGEST_NAME for part in parts):
        return None
    return ".".join(parts)


def _unquoted(token: _Token) -> str:
    if token.kind == "word":
        return token.text
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)
