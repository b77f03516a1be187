"""Which library a thread is in, and what that asks whom for."""

import os
import re
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from c2cotel.debug.stacks.frames import MISSING, Sight, attribute, module
from c2cotel.debug.texts import masked, printable, truncated
from c2cotel_instrumentation import sql

_Found = tuple[str, str]

# Frames further out that belong to the same call.
_FAR: Final = 40
_LONGEST_STATEMENT: Final = 300
_LONGEST_NAME: Final = 100
_COMMAND: Final = re.compile(r"[A-Za-z]{2,20}(?:[ .][A-Za-z]{2,20})?")
_METHOD: Final = re.compile(r"[A-Z]{2,10}")
_EXECUTES: Final = frozenset({"do_execute", "do_executemany", "do_execute_no_params"})
_OTHERS: Final = {
    "do_commit": "COMMIT",
    "do_rollback": "ROLLBACK",
    "do_ping": "whether a connection still works",
    "do_prepare_twophase": "PREPARE TRANSACTION",
    "do_commit_twophase": "COMMIT PREPARED",
    "do_rollback_twophase": "ROLLBACK PREPARED",
    "connect": "connecting",
}
_HOST, _DATABASE = 3, 5  # in the tuple that a URL of SQLAlchemy is


def inside(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    """The kind of wait and its details, of the innermost call to a library that is known here."""
    for index, frame in enumerate(frames):
        rule = _RULES.get(module(frame).partition(".")[0])
        if rule is not None and (found := rule(frames[index : index + _FAR], sight)) is not None:
            return found[0], truncated(printable(found[1]), _LONGEST_STATEMENT)
    return None


def _of_sqlalchemy(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    frame = frames[0]
    name, where = frame.f_code.co_name, module(frame)
    if where == "sqlalchemy.pool.impl" and name == "_do_get":
        # It makes connections, too; that is below, in another frame.
        return "connection pool", _sentence("a free connection", _engine(frames, sight))
    if name in _EXECUTES:
        text = _statement(sight.local(frame, "statement"), _system(frame, sight))
    elif name in _OTHERS and where.startswith(("sqlalchemy.engine.default", "sqlalchemy.dialects")):
        text = _OTHERS[name]
    else:
        return None
    return "SQL", _sentence(text, _engine(frames, sight))


def _sentence(text: str, engine: str) -> str:
    return f"{text} (engine {engine})" if engine else text


def _statement(statement: object, system: str) -> str:
    if type(statement) is bytes:
        statement = statement[: sql.LONGEST].decode("utf-8", "replace")
    if type(statement) is not str:
        return ""
    text = sql.uncached_without_values(statement, system)
    return truncated(" ".join(text.split()), _LONGEST_STATEMENT - _LONGEST_NAME)


def _system(frame: FrameType, sight: Sight) -> str:
    # Of a function that stands for the dialect's, "self" may be something else.
    for name in ("self", "dialect"):
        system = attribute(sight.local(frame, name), "name")
        if type(system) is str:
            return system
    return ""


def _engine(frames: Sequence[FrameType], sight: Sight) -> str:
    """What the engine is called that a Connection further out belongs to."""
    for frame in frames:
        if not module(frame).startswith("sqlalchemy."):
            continue
        one = sight.local(frame, "self")
        found = one if attribute(one, "url") is not MISSING else attribute(one, "engine")
        if found is not MISSING and attribute(found, "url") is not MISSING:
            return _engine_name(found)
    return ""


def _engine_name(engine: object) -> str:
    for one in (engine, attribute(engine, "_proxied")):
        name = attribute(one, "c2c_name")
        if type(name) is str:
            return truncated(name, _LONGEST_NAME)
    url = attribute(engine, "url")
    if not issubclass(type(url), tuple):
        return ""
    parts = [tuple.__getitem__(url, index) for index in (_HOST, _DATABASE)]
    # The database of SQLite is a file: its name is enough.
    texts = [os.path.basename(part) for part in parts if type(part) is str]  # noqa: PTH119 - as said
    return truncated("/".join(texts), _LONGEST_NAME)


def _of_psycopg(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    if module(frames[0]).startswith("psycopg_pool"):
        waits = frames[0].f_code.co_name in ("getconn", "wait", "_getconn_unchecked")
        return ("connection pool", "a free connection") if waits else None
    text = ""
    for index, frame in enumerate(frames):
        root = module(frame).partition(".")[0]
        if root == "sqlalchemy":
            if (found := _of_sqlalchemy(frames[index:], sight)) is not None:
                return found
        elif root.startswith("psycopg"):
            if not text:
                text = _statement(sight.local(frame, "query"), "postgresql")
        elif not root.startswith(("c2cotel", "opentelemetry")):
            break
    return "SQL", text


def _of_http(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    """The host, which is told by one of the next frames out; and the method."""
    host, port, method = "", None, ""
    for frame in frames:
        if module(frame).partition(".")[0] not in _HTTP:
            break
        told, its_port = _host(frame, sight)
        if told and not host:
            host, port = told, its_port
        method = method or _method(frame, sight)
    if not host:
        return None
    return "HTTP", " ".join(filter(None, (method, f"{host}:{port}" if port else host)))


def _method(frame: FrameType, sight: Sight) -> str:
    # That of http.client is where it waits for the answer.
    for found in (sight.local(frame, "method"), attribute(sight.local(frame, "self"), "_method")):
        if type(found) is str and _METHOD.fullmatch(found):
            return found
    return ""


def _host(frame: FrameType, sight: Sight) -> tuple[str, int | None]:
    # httpcore keeps it in the URL of the request.
    url = attribute(sight.local(frame, "request"), "url")
    for one in (sight.local(frame, "self"), url):
        host, port = attribute(one, "host"), attribute(one, "port")
        if host is MISSING:  # a property of redis-py's connections
            host = attribute(one, "_host")
        if type(host) is bytes:
            host = host.decode("ascii", "replace")
        if type(host) is str:
            shown = truncated(masked(host), _LONGEST_NAME)
            return shown, port if type(port) is int else None
    return "", None


def _of_http_client(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    return _of_http(frames, sight) if module(frames[0]) == "http.client" else None


def _of_redis(frames: Sequence[FrameType], sight: Sight) -> _Found | None:
    host, command = "", ""
    for frame in frames:
        if module(frame).partition(".")[0] not in _REDIS:
            break
        if not host:
            told, port = _host(frame, sight)
            host = f"{told}:{port}" if told and port else told
        if not command:
            command = _command(frame, sight)
    return "Redis", " at ".join(filter(None, (command, host)))


def _command(frame: FrameType, sight: Sight) -> str:
    if frame.f_code.co_qualname.startswith("Pipeline."):
        return "pipeline"
    if frame.f_code.co_qualname.startswith("Lock."):
        return "a lock"
    name = sight.local(frame, "command_name")
    if name is MISSING:
        arguments = sight.local(frame, "args")
        name = arguments[0] if type(arguments) is tuple and arguments else None
    # What comes after the command are keys and values.
    return name.upper() if type(name) is str and _COMMAND.fullmatch(name) else ""


_HTTP: Final = frozenset({"http", "httpcore", "httpx", "requests", "socket", "ssl", "urllib3"})
_REDIS: Final = frozenset({"redis", "valkey"})
_RULES: Final[dict[str, Callable[[Sequence[FrameType], Sight], Any]]] = {
    "http": _of_http_client,
    "httpcore": _of_http,
    "psycopg": _of_psycopg,
    "psycopg_pool": _of_psycopg,
    "redis": _of_redis,
    "sqlalchemy": _of_sqlalchemy,
    "urllib3": _of_http,
    "valkey": _of_redis,
}
