"""Spans with their attributes, and the fields of log records; an acceptance test sees real ones."""

from dataclasses import dataclass
from typing import Final

from c2cotel_docs.markdown import code, listed, table


@dataclass(frozen=True)
class Spans:
    """Those of one instrumentor; *scope* is what OpenTelemetry calls where they are made."""

    what: str
    name: str
    kind: str
    scope: str
    attributes: tuple[str, ...]


_URL: Final = ("url.scheme", "url.path", "url.query")
_SERVER: Final = ("server.address", "server.port")
_HTTP: Final = (
    "http.request.method",
    "http.request.method_original",
    "http.response.status_code",
    "network.protocol.version",
    "error.type",
)
_DB: Final = (
    "db.system.name",
    "db.namespace",
    "db.operation.name",
    "db.operation.batch.size",
    "db.query.text",
    "db.response.status_code",
    *_SERVER,
    "error.type",
)

SPANS: Final = (
    Spans(
        "a request",
        "GET /hello/{name}",
        "server",
        "c2cotel_instrumentation.pyramid",
        (
            *_HTTP,
            "http.route",
            *_URL,
            *_SERVER,
            "client.address",
            "user_agent.original",
            "c2c.request.id",
            "c2c.profile.id",
        ),
    ),
    Spans(
        "a statement",
        "SELECT users",
        "client",
        "c2cotel_instrumentation.sqlalchemy",
        (*_DB, "db.collection.name", "db.query.summary", "c2c.engine", "c2c.request.id"),
    ),
    Spans(
        "a command, or a pipeline of them",
        "GET redis:6379",
        "client",
        "c2cotel_instrumentation.redis",
        (*_DB, "db.stored_procedure.name", "c2c.request.id"),
    ),
    Spans(
        "an outgoing request",
        "GET",
        "client",
        "c2cotel_instrumentation.requests",
        (
            *_HTTP,
            "http.request.resend_count",
            "url.scheme",
            "url.full",
            *_SERVER,
            "c2c.request.id",
        ),
    ),
    Spans(
        "a health check",
        "health_check db_engine_sqlalchemy",
        "internal",
        "c2cotel.health_check",
        ("c2c.check.name", "c2c.request.id"),
    ),
    Spans(
        "a script",
        "import_tiles",
        "internal",
        "c2cotel.script",
        ("process.exit.code", "error.type", "c2c.request.id"),
    ),
)

# On each record, as attributes; in JSON lines, as fields.
RECORD: Final = {
    "request_id": "the request id, empty outside of a request",
    "trace_id": "the trace, 32 hexadecimal digits",
    "span_id": "the span, 16 of them",
}
ACCESS: Final = {
    "method": "`GET`…",
    "path": "percent-encoded, without its query",
    "route": "the pattern that Pyramid found",
    "status": "a number",
    "duration": "seconds until the body was sent",
    "bytes": "of the body",
    "client_addr": "who asks",
    "user_agent": "as it was sent",
}
JSON_LINE: Final = {
    "timestamp": "seconds since 1970",
    "level": "syslog's number: 3 error, 4 warning, 6 info, 7 debug",
    "level_name": "logging's: `WARNING`",
    "logger_name": "the logger",
    "msg": "the message with its arguments",
    "full_message": "the stack of the exception, if there is one",
    "full_msg": '`"true"`, if there is one',
    "file": "where the record was made",
    "line": "likewise",
    "function": "likewise",
    "pid": "the process",
    "process_name": "its name",
    "thread_name": "the thread",
    "host": "the host",
    "client_addr": "in a request: who asks",
    "method": "in a request",
    "path": "in a request: without its query",
    "matched_route": "in a request: the name of the route",
}
OTLP_RECORD: Final = {
    "c2c.request.id": "the request id",
    "exception.type": "of a record with an exception",
    "exception.message": "likewise",
    "exception.stacktrace": "likewise",
}
EVENTS: Final = {
    "exception": "what went wrong: `exception.type`, `exception.message`, `exception.stacktrace`, "
    "texts redacted",
    "c2c.switch": "somebody has changed something: `c2c.switch`, `c2c.switch.action`, "
    "`c2c.switch.key`, `c2c.switch.value`",
    "c2c.sql.plan": "while somebody profiles, on the span of a statement: `c2c.sql.plan`, "
    "`c2c.sql.plan.source`, `c2c.sql.fingerprint`",
}

_ABSENT: Final = (
    "Attributes that have nothing to say are absent. Besides, requests have the headers that you "
    "ask for, as `http.request.header.x_name` and `http.response.header.x_name`."
)
_EVERY_RECORD: Final = (
    "On every record of every logger, as attributes of `logging.LogRecord`, so as "
    "`%(request_id)s` in any format:"
)
_OVER_OTLP: Final = (
    "Over OTLP a record has its trace and its span, what is given in `extra`, on access lines what "
    "is listed above, and:"
)
_EXTRA: Final = (
    "What the application gives in `extra` is a field, too; `extra_NAME` where the name is one of "
    "those above."
)


def tables() -> str:
    """Spans, their events, log records."""
    head = ("Span of, and its scope", "Name, for example", "Kind", "Attributes")
    rows = [
        (
            f"{each.what}<br>{code(each.scope)}",
            code(each.name),
            each.kind,
            listed(each.attributes),
        )
        for each in SPANS
    ]
    fields = ("Field", "What it is")
    return "\n\n".join(
        [
            "## Spans",
            _ABSENT,
            table(head, rows),
            "### Events on spans",
            _table(("Event", "What it says"), EVENTS),
            "## Log records",
            _EVERY_RECORD,
            _table(fields, RECORD),
            "On the access lines of gunicorn, besides:",
            _table(fields, ACCESS),
            "A JSON line has them all, and:",
            _table(fields, JSON_LINE),
            _EXTRA,
            _OVER_OTLP,
            _table(fields, OTLP_RECORD),
        ]
    )


def _table(head: tuple[str, str], told: dict[str, str]) -> str:
    return table(head, [(code(name), text) for name, text in told.items()])
