"""All settings, and how they are read."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from c2cotel import schema, values
from c2cotel.schema import Secret, Section
from c2cotel.settings.logs import Logging, Sentry
from c2cotel.settings.servers import Broadcast, Db, Gunicorn, Redis, StatsDb
from c2cotel.settings.telemetry import (
    Exit,
    Instrumentation,
    Metrics,
    Otel,
    Prometheus,
    RequestId,
    Service,
)
from c2cotel.settings.web import Auth, ClientInfo, HealthCheck, Json, Requests


class Settings(Section, frozen=True, kw_only=True):
    """All settings; each section has its defaults, so ``Settings()`` is an empty environment's."""

    base_path: Annotated[
        str,
        Meta(
            description="Where the views of c2cotel are served.",
            examples=["/c2c"],
            extra={"read": values.path},
        ),
    ] = "/c2c"
    secret: Annotated[
        Secret | None,
        Meta(
            description="Secret that opens the protected views, as parameter `secret`, header "
            f"`X-API-Key` or `Authorization: Bearer`, {values.SHORTEST_SECRET} characters or more; "
            "it wins over GitHub. Never shown.",
            extra={"env": "C2C_SECRET", "ini": "c2c.secret", "read": values.not_guessed},
        ),
    ] = None
    use_session: Annotated[
        bool,
        Meta(
            description="Keep the state of a login by GitHub in the application's "
            "`request.session`, not in a cookie of its own.",
        ),
    ] = False
    log_view_enabled: Annotated[
        bool,
        Meta(description="Serve `{base_path}/logging/level`, to see and change log levels."),
    ] = False
    enable_exception_handling: Annotated[
        bool,
        Meta(description="Answer every exception of the application with JSON."),
    ] = False
    sql_request_id: Annotated[
        bool,
        Meta(
            description="Tag each transaction with the request id, as `application_name`; the same "
            "as `C2C_SQL_TAG=application_name`.",
            extra={"telemetry": True},
        ),
    ] = False
    sql_tag: Annotated[
        Literal["off", "static", "traceparent", "application_name"],
        Meta(
            description="How a statement tells the database which request it belongs to: `static`, "
            "a comment with the application and the route; `traceparent`, one with the trace and "
            "the request id too, of sampled requests; `application_name`, the request id as "
            "PostgreSQL's `%a`; `off`.",
            extra={"telemetry": True},
        ),
    ] = "off"
    sql_profiler_enabled: Annotated[
        bool,
        Meta(description="Serve `{base_path}/sql_profiler`, to see the plans of statements."),
    ] = False
    debug_view_enabled: Annotated[
        bool,
        Meta(
            description="Serve `{base_path}/debug/…`, to see what the threads, the processor and "
            "the memory of all processes are busy with."
        ),
    ] = False
    trace_url: Annotated[
        str | None,
        Meta(
            description="Where a trace is looked at, with `{trace_id}` in it: pages link to it.",
            examples=["https://jaeger.example.com/trace/{trace_id}"],
            extra={"read": values.trace_url},
        ),
    ] = None
    db_maintenance_view_enabled: Annotated[
        bool,
        Meta(description="Serve `{base_path}/db/maintenance`, to make the database read-only."),
    ] = False
    track_redis: Annotated[
        bool,
        Meta(description="Measure the commands sent to Redis.", extra={"telemetry": True}),
    ] = True
    development: Annotated[
        bool,
        Meta(
            description="Show stack traces to everybody; for development only.",
            extra={"env": "DEVELOPMENT"},
        ),
    ] = False
    json: Json = Json()
    requests: Requests = Requests()
    client_info: ClientInfo = ClientInfo()
    sentry: Sentry = Sentry()
    auth: Auth = Auth()
    redis: Redis = Redis()
    broadcast: Broadcast = Broadcast()
    db: Db = Db()
    stats_db: StatsDb = StatsDb()
    health_check: HealthCheck = HealthCheck()
    request_id: RequestId = RequestId()
    prometheus: Prometheus = Prometheus()
    metrics: Metrics = Metrics()
    exit: Exit = Exit()
    service: Service = Service()
    logging: Logging = Logging()
    gunicorn: Gunicorn = Gunicorn()
    otel: Otel = Otel()
    instrumentation: Instrumentation = Instrumentation()


Loaded: TypeAlias = schema.Loaded[Settings]


def load(environ: Mapping[str, str] | None = None, ini: Mapping[str, Any] | None = None) -> Loaded:
    """Read all settings from *environ* (default: this process') and *ini* (default: empty).

    Never raises: what is wrong is in ``problems`` of the result, and the field holds its default.
    *ini* is the dictionary of settings that Pyramid has; keys that do not start with ``c2c.`` are
    not looked at, and values may already have the type of their field.
    """
    return schema.read(Settings, os.environ if environ is None else environ, ini or {})
