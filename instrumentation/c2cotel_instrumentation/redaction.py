"""Take secrets out of what telemetry shows: URLs, texts with URLs in them, captured headers."""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_plus

REDACTED: Final = "REDACTED"

# The one list of what the name of a secret has as a part, once decoded: letters that are always in
# it, and what these have to be like. "sig" is a word: "design" is no signature. "key" alone is that
# of a dictionary. A blank after "pass" is one of a sentence.
_NAMES: Final = {
    "secret": r"secret",
    "token": r"token",
    "pass": r"""passw|passphrase|(?<!by)(?<!com)(?<!sur)(?<!tres)(?<!under)(?<!over)
        pass(?![a-z ]|[-_](?:count|fail|rate|thr))""",
    "pwd": r"pwd",
    "credential": r"credential",
    "auth": r"authori[sz]ation|(?<![a-z])auth(?![a-z])",
    "cookie": r"cookie",
    "jwt": r"jwt",
    "sig": r"signature|(?<![a-z])sig(?![a-z])",
    "csrf": r"csrf",
    "sess": r"sess(?:ion)?[-_. ]?ids?(?![a-z])",
    "key": r"""(?:api|access|private|encryption)[-_. ]?key
        |(?<=[a-z\d])(?<!cache)(?<!foreign)(?<!group)(?<!idempotency)(?<!index)(?<!order)
        (?<!partition)(?<!primary)(?<!public)(?<!routing)(?<!sort)(?<!unique)
        (?:[-_]key|(?-i:Key))s?(?![-_]?[a-z])""",
    "dsn": r"dsn",
    "otp": r"(?<![a-z])[ht]?otp(?![a-z ])",
    "salt": r"(?<![a-z])salt(?![a-z ])",
    "pin": r"(?<![a-z])pin[-_. ]?code",
    "assertion": r"client[-_. ]?assertion",
    "saml": r"saml[-_. ]?(?:request|response)",
}
_SECRET: Final = {
    part: re.compile(pattern, re.IGNORECASE | re.VERBOSE) for part, pattern in _NAMES.items()
}
_PART: Final = re.compile("|".join(_NAMES))
# What a query needs to hold, in lower case, before its parameters are looked at one by one.
_SUSPECT: Final = re.compile("|".join([*_NAMES, "code", "%"]))
# Of a query, a text that is given under this name; elsewhere, it may be SQLAlchemy's.
_SESSION: Final = "session"
# https://me:password@host
_PASSWORD: Final = re.compile(r"""(://[^\s/?\#@:"']*):[^\s/?\#"']*@""", re.VERBOSE)
_IN_PATH: Final = re.compile(r"(?<=;)[^/=;]*=[^/]*")
# In a text, a URL ends at a blank or a quote; an apostrophe may also be a part of a value.
_IN_TEXT: Final = re.compile(
    r"""(?<=[?\#]) (?:[^\s"'<>\#]|'(?=[\w%]))+
    |(?<=;) [^\s"'<>/?\#=;]*=(?:[^\s"'<>/?\#]|'(?=[\w%]))*""",
    re.VERBOSE,
)
# Where the text of an exception ends: SQLAlchemy's last line, the next exception of the traceback
# (indented, within a group) or the end.
_END: Final = r"""
    \n[ |]*\(Background[ ]on[ ]this[ ]error[ ]at:
    |\n[ |]*\n[ |]*(?:The[ ]above[ ]exception[ ]was|During[ ]handling[ ]of)
    |\n[ |]*\+-
    |\n[ |]*Traceback[ ]\(most[ ]recent[ ]call[ ]last\):
    |\Z"""
# What SQLAlchemy adds to the text of the driver's error, with all values; or quoted on one line.
_STATEMENT: Final = re.compile(
    rf"""(^[ |]*)\[(?:SQL|parameters):[ ] .*? (?={_END})
    |\[(?:SQL|parameters):[ ] [^\n]*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
# What PostgreSQL says besides its message: the row, the line of the statement, where it was called.
# Values may have lines of their own, so it goes up to the end; or quoted on one line.
_DETAILS: Final = re.compile(
    rf"""(?:\A|\n)[ |]*(?:LINE[ ]\d+:[ ]|(?:DETAIL|HINT|CONTEXT|QUERY):[ ]{{2}})
        .*? (?=\n[ |]*\[(?:SQL|parameters):[ ] | {_END})
    |\\n(?:LINE[ ]\d+:[ ]|(?:DETAIL|HINT|CONTEXT|QUERY):[ ]{{2}}) [^\n]*""",
    re.DOTALL | re.VERBOSE,
)
# The same without its label.
_ROW: Final = re.compile(r"(Key \([^\n=]{1,200}\)=\(|Failing row contains \()[^\n]*")
# The messages of PostgreSQL that quote a value: to the last quote of the line, or of the next ones.
_VALUE: Final = re.compile(
    r"""( (?: invalid[ ]input[ ]syntax[ ]for[ ]type[ ][^\n:]{1,100}
            | invalid[ ]input[ ]value[ ]for[ ]enum[ ][^\n:]{1,100}
            | invalid[ ]value[ ]for[ ]parameter[ ]"[^"\n]{1,100}"
            | malformed[ ]\w{1,50}[ ]literal
            | (?:field[ ]value|displacement|timestamp|date|interval|oid)[ ]out[ ]of[ ]range
          ):[ ]
        | \bat[ ]or[ ]near[ ]
      ) (?: "[^\n]*" | "[^"]*(?:"|\Z))
    | (\bvalue[ ])"[^"\n]*"(?=[ ]is[ ]out[ ]of[ ]range[ ]for[ ]type)
    | (\binvalid[ ]input[ ]for[ ]query[ ]argument[ ]\$\d+:[ ])[^\n]*""",
    re.VERBOSE,
)
_QUOTED: Final = re.compile(r'(\A|: |\bvalue )".*"', re.DOTALL)
# What redis-py says of a command in a pipeline: "Command # 1 (SET key value) of pipeline …".
_COMMAND: Final = re.compile(r"Command # \d+ \([^\s)]*(?= )")
_COMMAND_END: Final = ") of pipeline caused error"
# What Redis says of a command that it does not know.
_ARGUMENTS: Final = re.compile(r"(?<=, with args beginning with: )[^\n]*")


def names_secret(name: str) -> bool:
    """Whether *name*, of a parameter, a field, a header or a variable, is that of a secret."""
    # Most names have no such part, and those that do have one: the others need not be tried.
    parts = set(_PART.findall(name.lower()))
    return any(_SECRET[part].search(name) for part in parts)


def redacted_query(query: str) -> str:
    """*query* (without the ``?``) with ``REDACTED`` for the value of each secret parameter.

    Secret is what :func:`names_secret` says of its percent-decoded name, and ``session``. So is
    ``code`` beside a ``state``: that pair is an OAuth callback; alone, ``code`` is a country's,
    an error's or a postal one.
    """
    if not _SUSPECT.search(query.lower()):
        return query
    parts = query.split("&")
    # "a=1;secret=x": some servers and proxies separate by semicolons.
    names = [[unquote_plus(piece.partition("=")[0]) for piece in part.split(";")] for part in parts]
    callback = any("state" in group for group in names)
    return "&".join(
        _redacted_part(part)
        if any(_is_secret(name) or (callback and name == "code") for name in group)
        else part
        for part, group in zip(parts, names, strict=True)
    )


def _is_secret(name: str) -> bool:
    return name.lower() == _SESSION or names_secret(name)


def _redacted_part(part: str) -> str:
    name, separator, _ = part.partition("=")
    # A secret may come without a name: "?token:abc" stays a part without "=".
    return f"{name}={REDACTED}" if separator else REDACTED


def redacted_path(path: str) -> str:
    """*path* with ``REDACTED`` for the secret ones among parameters such as ``/x;token=…``."""
    if ";" not in path:
        return path
    return _IN_PATH.sub(lambda found: redacted_query(found[0]), path)


def redacted_url(url: str) -> str:
    """*url*, absolute or not, without its password and its secret parameters."""
    rest, hash_, fragment = url.partition("#")
    before, mark, query = rest.partition("?")
    before = redacted_path(_PASSWORD.sub(rf"\1:{REDACTED}@", before))
    return f"{before}{mark}{redacted_query(query)}{hash_}{redacted_query(fragment)}"


def redacted_text(text: str, *, values: bool = False) -> str:
    """*text* with its URLs redacted, and without the values in errors of databases and Redis.

    Made for the texts of exceptions and their tracebacks. The statement is on its own span. Of what
    PostgreSQL says, the message stays, with ``"?"`` for a value that it quotes; *values* leaves
    all of it.
    """
    if not values:
        text = _ROW.sub(rf"\1{REDACTED})", _DETAILS.sub("", text))
        text = _VALUE.sub(_without_value, text)
    text = _STATEMENT.sub(rf"\1[statement {REDACTED}]", text)
    text = _ARGUMENTS.sub(REDACTED, _without_arguments(text))
    text = _PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return _IN_TEXT.sub(lambda found: redacted_query(found[0]), text)


def without_quoted(message: str) -> str:
    """*message* of a database with ``"?"`` for what it quotes after a colon, or as a value."""
    return _QUOTED.sub(r'\1"?"', message)


def _without_value(found: re.Match[str]) -> str:
    return f'{found[1] or found[2] or found[3]}"?"'


def _without_arguments(text: str) -> str:
    """*text* with the names of Redis' commands alone."""
    if _COMMAND_END not in text:
        return text
    done = 0
    shown: list[str] = []
    for found in _COMMAND.finditer(text):
        if found.start() < done:
            continue  # a value that looks like one
        end = text.find(_COMMAND_END, found.end())
        if end < 0:
            break
        shown += text[done : found.end()], f" {REDACTED}"
        done = end
    return "".join(shown) + text[done:]


class HeaderCapture:
    """Turns chosen headers into span attributes, as contrib's instrumentors do.

    *names* are header names or regular expressions, any case. Values of headers that match
    *sanitized*, and always those that :func:`names_secret` knows, are ``[REDACTED]``.
    """

    def __init__(self, prefix: str, names: Sequence[str], sanitized: Iterable[str] = ()) -> None:
        self._prefix = prefix
        self._names = [_compiled(name, "captured headers") for name in names]
        self._sanitized = [_compiled(name, "sanitized headers") for name in sanitized]

    def __bool__(self) -> bool:
        return bool(self._names)

    def attributes(self, headers: Iterable[tuple[str, str]], longest: int) -> dict[str, list[str]]:
        """Attribute name to values, of the chosen ones among *headers*; values cut at *longest*."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            if any(pattern.fullmatch(name) for pattern in self._names):
                key = self._prefix + name.lower().replace("-", "_")
                found.setdefault(key, []).append(self._shown(name, value)[:longest])
        return found

    def _shown(self, name: str, value: str) -> str:
        secret = names_secret(name) or any(pattern.search(name) for pattern in self._sanitized)
        return "[REDACTED]" if secret else value


def _compiled(pattern: str, what: str) -> re.Pattern[str]:
    """*pattern*, for names of headers: any case.

    Raises:
        ValueError: it is no regular expression; *what* says which list it came from.
    """
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(
            f"{what}: {pattern!r} is no regular expression ({error}). Write for example X-.*"
        ) from error
