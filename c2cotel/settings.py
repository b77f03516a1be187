"""Every setting of c2cotel: its type, its default and what it does.

The environment wins over the ini file, and that over the default; how names follow from the place
in the tree, and what a field may say besides, is told in :mod:`c2cotel.schema`. A new setting is a
new field here; the README's table is what ``c2cotel settings --markdown`` prints.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from c2cotel import schema, values
from c2cotel.schema import (
    MASK,
    Problem,
    Secret,
    Section,
    SettingsError,
    without_password,
)

__all__ = [
    "Loaded",
    "Problem",
    "Row",
    "Secret",
    "Settings",
    "SettingsError",
    "load",
    "markdown_table",
    "rows",
    "without_password",
]

GaugeRule: TypeAlias = Literal["pid", "sum", "min", "max", "last"]
# As values.level gives it, which is the "read" of each.
Level: TypeAlias = str | int
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]


class RequestId(Section, frozen=True, kw_only=True):
    """The id that a request has on its way through all services."""

    header: Annotated[
        str | None,
        Meta(
            description="Header that is looked at first for the request id, "
            "before `X-Request-ID` and the other usual ones, and sent on with outgoing requests.",
            examples=["X-My-Request-ID"],
            extra={"read": values.header},
        ),
    ] = None
    response: Annotated[
        bool, Meta(description="Send the request id back to the client, as `X-Request-ID`.")
    ] = True


class Prometheus(Section, frozen=True, kw_only=True):
    """The scrape: on a port of its own, on a route of the application, or both."""

    telemetry: ClassVar[bool] = True

    port: Annotated[
        Port | None,
        Meta(
            description="Port on which all processes together are scraped, 0 for any free one; "
            "no server when unset.",
            examples=[9090],
            extra={"ini": None},
        ),
    ] = None
    host: Annotated[
        str,
        Meta(
            description="Address on which that port is opened, all interfaces when empty.",
            extra={"ini": None},
        ),
    ] = ""
    prefix: Annotated[
        str,
        Meta(
            description="Text put before the name of every scraped metric.",
            examples=["myapp"],
            extra={"ini": None, "read": values.metric_prefix},
        ),
    ] = ""
    view_enabled: Annotated[
        bool,
        Meta(
            description="Serve the same scrape as a view, `{base_path}/metrics`, "
            "of an application that includes c2cotel.",
            extra={"ini": "c2c.prometheus.view_enabled", "telemetry": False},
        ),
    ] = False
    packages: Annotated[
        tuple[str, ...],
        Meta(
            description="Packages whose versions are attributes of `c2c.build_info`.",
            extra={"ini": None},
        ),
    ] = ("c2cotel", "pyramid", "gunicorn", "SQLAlchemy")
    application_package: Annotated[
        str | None,
        Meta(
            description="Package whose version is the attribute `application` of `c2c.build_info`.",
            examples=["myapp"],
            extra={"ini": None},
        ),
    ] = None


class Metrics(Section, frozen=True, kw_only=True):
    """The store that all processes of a service count in, see :mod:`c2cotel.metrics`."""

    telemetry: ClassVar[bool] = True

    run_dir: Annotated[
        str | None,
        Meta(
            description="Directory shared by all processes of one service; "
            "the first process makes one when unset.",
            extra={"env": "C2C_RUN_DIR"},
        ),
    ] = None
    max_series: Annotated[
        int,
        Meta(
            description="Attribute sets kept for one instrument; "
            "what comes after is counted together, with `otel.metric.overflow` = true.",
            ge=1,
            le=1_000_000,
            examples=[2000],
            extra={"ini": "c2c.metrics.max_series"},
        ),
    ] = 2000
    gauge_merge: Annotated[
        Mapping[str, GaugeRule],
        Meta(
            description="How the processes' values of a gauge become one, as `name=rule,…`: "
            "`pid` (one series a process), `sum`, `min`, `max` or `last`.",
            examples=["myapp.queue.size=sum,myapp.age=max"],
            extra={"ini": "c2c.metrics.gauge_merge"},
        ),
    ] = msgspec.field(default_factory=dict)


class Requests(Section, frozen=True, kw_only=True):
    """Outgoing HTTP, see :mod:`c2cotel_instrumentation.requests`."""

    default_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        Meta(
            description="Seconds after which an outgoing call of `requests` that has no timeout of "
            "its own is given up; such a call is warned of when unset.",
            examples=[10],
        ),
    ] = None
    excluded_urls: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions, separated by commas; "
            "outgoing requests whose URL matches one make no spans, but are counted.",
            examples=["^https://maps[.]example[.]com/"],
            extra={
                "env": "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()
    capture_request_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers of outgoing requests recorded on spans: names or "
            "regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()
    capture_response_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers of their answers recorded on spans: names or regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()


class ClientInfo(Section, frozen=True, kw_only=True):
    """Who really asks, behind proxies, see :mod:`c2cotel.client_info`."""

    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks whose `Forwarded` and `X-Forwarded-*` headers are "
            "believed; `*` for all, `private` for loopback, link-local and private ones and Unix "
            "sockets, empty in the ini for none.",
            examples=["10.0.0.0/8,192.0.2.7"],
            extra={
                "env": "C2C_TRUSTED_PROXIES",
                "ini": "c2c.trusted_proxies",
                "read": values.trusted,
            },
        ),
    ] = ("private",)
    proxy_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers that the trusted proxies write, so that a client cannot: "
            "`forwarded`, `x-forwarded-for`, `-host`, `-proto`, `-scheme`, `-server` and `-port`; "
            "`*` for all but `x-forwarded-port`, and for `forwarded` only where it comes alone.",
            examples=["x-forwarded-for,x-forwarded-proto"],
            extra={
                "env": "C2C_PROXY_HEADERS",
                "ini": "c2c.proxy_headers",
                "read": values.proxy_header,
            },
        ),
    ] = ("*",)
    force_proto: Annotated[
        Literal["http", "https"] | None,
        Meta(
            description="Scheme that every request is taken to have.",
            extra={
                "env": ("C2C_FORCE_PROTO", "C2CWSGIUTILS_FORCE_PROTO"),
                "ini": "c2c.force_proto",
            },
        ),
    ] = None
    force_host: Annotated[
        str | None,
        Meta(
            description="Host that every request is taken to have, with its port.",
            examples=["example.com"],
            extra={
                "env": ("C2C_FORCE_HOST", "C2CWSGIUTILS_FORCE_HOST"),
                "ini": "c2c.force_host",
                "read": values.host,
            },
        ),
    ] = None
    force_server_name: Annotated[
        str | None,
        Meta(
            description="Name of the server (`SERVER_NAME`) that every request is taken to have.",
            examples=["example.com"],
            extra={
                "env": ("C2C_FORCE_SERVER_NAME", "C2CWSGIUTILS_FORCE_SERVER_NAME"),
                "ini": "c2c.force_server_name",
                "read": values.host,
            },
        ),
    ] = None
    force_remote_addr: Annotated[
        str | None,
        Meta(
            description="Address that every request is taken to come from.",
            examples=["192.0.2.1"],
            extra={
                "env": ("C2C_FORCE_REMOTE_ADDR", "C2CWSGIUTILS_FORCE_REMOTE_ADDR"),
                "ini": "c2c.force_remote_addr",
                "read": values.address,
            },
        ),
    ] = None


class Json(Section, frozen=True, kw_only=True):
    """The JSON renderers, see :mod:`c2cotel.pyramid.renderers`."""

    pretty_print: Annotated[
        bool,
        Meta(
            description="Let the JSON renderers indent, by two blanks.",
            extra={"ini": "c2c.json.pretty_print"},
        ),
    ] = False
    sort_keys: Annotated[
        bool,
        Meta(
            description="Let the JSON renderers sort the keys of objects.",
            extra={"ini": "c2c.json.sort_keys"},
        ),
    ] = False


class SentryIntegration(Section, frozen=True, kw_only=True):
    """Which of Sentry's integrations are on."""

    logging: Annotated[
        bool,
        Meta(
            description="Events and breadcrumbs of log records.",
            extra={
                "env": "SENTRY_INTEGRATION_LOGGING",
                "ini": "c2c.sentry.integration.logging",
            },
        ),
    ] = True
    pyramid: Annotated[
        bool,
        Meta(
            description="The request on Sentry's events.",
            extra={
                "env": "SENTRY_INTEGRATION_PYRAMID",
                "ini": "c2c.sentry.integration.pyramid",
            },
        ),
    ] = True
    sqlalchemy: Annotated[
        bool,
        Meta(
            description="Breadcrumbs of statements.",
            extra={
                "env": "SENTRY_INTEGRATION_SQLALCHEMY",
                "ini": "c2c.sentry.integration.sqlalchemy",
            },
        ),
    ] = True
    redis: Annotated[
        bool,
        Meta(
            description="Breadcrumbs of Redis commands.",
            extra={"env": "SENTRY_INTEGRATION_REDIS", "ini": "c2c.sentry.integration.redis"},
        ),
    ] = True
    asyncio: Annotated[
        bool,
        Meta(
            description="Exceptions of asyncio tasks.",
            extra={
                "env": "SENTRY_INTEGRATION_ASYNCIO",
                "ini": "c2c.sentry.integration.asyncio",
            },
        ),
    ] = True


class Sentry(Section, frozen=True, kw_only=True):
    """Errors sent to Sentry, see :mod:`c2cotel.sentry`."""

    url: Annotated[
        Secret | None,
        Meta(
            description="DSN of the project at Sentry, `https://KEY@HOST/PROJECT`; never shown.",
            examples=["https://KEY@sentry.example.com/42"],
            extra={"env": "SENTRY_URL", "ini": "c2c.sentry.url", "read": values.dsn},
        ),
    ] = None
    excludes: Annotated[
        tuple[str, ...],
        Meta(
            description="Loggers that make no events, separated by colons or commas.",
            examples=["myapp.noisy,urllib3"],
            extra={"env": "SENTRY_EXCLUDES", "ini": "c2c.sentry.excludes"},
        ),
    ] = ("sentry_sdk",)
    level: Annotated[
        Level,
        Meta(
            description="Level from which on a log record becomes an event.",
            examples=["ERROR"],
            extra={"env": "SENTRY_LEVEL", "ini": "c2c.sentry.level", "read": values.level},
        ),
    ] = "ERROR"
    traces_sample_rate: Annotated[
        float,
        Meta(
            description="Share of requests whose spans are sent to Sentry too.",
            ge=0,
            le=1,
            examples=[0.1],
            extra={"env": "SENTRY_TRACES_SAMPLE_RATE", "ini": "c2c.sentry.traces_sample_rate"},
        ),
    ] = 0.0
    integration: SentryIntegration = SentryIntegration()


class Exit(Section, frozen=True, kw_only=True):
    """The end of a process."""

    telemetry: ClassVar[bool] = True

    timeout: Annotated[
        float,
        Meta(
            description="Seconds that the end of a process may take to send its last spans, "
            "metrics and logs, all together.",
            gt=0,
            le=3600,
            examples=[5],
        ),
    ] = 5.0


class Service(Section, frozen=True, kw_only=True):
    """What runs here."""

    git_hash: Annotated[
        str | None,
        Meta(
            description="Commit that the application was built from, its `service.version`.",
            extra={"env": "GIT_HASH", "ini": "c2c.git_hash"},
        ),
    ] = None
    versions_file: Annotated[
        str,
        Meta(
            description="JSON file whose `main` has the `git_tag` or `git_hash` of what runs.",
            extra={"env": "C2C_VERSIONS_FILE", "ini": "c2c.versions_file"},
        ),
    ] = "/app/versions.json"


class Logging(Section, frozen=True, kw_only=True):
    """Logs where no ini configures them.

    That is with ``gunicorn -c python:c2cotel.gunicorn`` and with ``c2c://``: only there a wrong
    value stops the start. An ini reads the same variables by ``%(LOG_LEVEL)s``, and may have other
    values for them: ``LOG_TYPE`` is the name of a handler there.
    """

    part: ClassVar[str] = "logging"

    type: Annotated[
        Literal["console", "json"],
        Meta(
            description="Form of the log lines of `gunicorn -c python:c2cotel.gunicorn` and of "
            "`c2c://`, where no ini configures logging: `console` for people, `json` for machines.",
            extra={"env": "LOG_TYPE"},
        ),
    ] = "console"
    level: Annotated[
        Level,
        Meta(
            description="Level of its root logger.",
            examples=["INFO"],
            extra={"env": "LOG_LEVEL", "read": values.level},
        ),
    ] = "INFO"
    other_level: Annotated[
        Level | None,
        Meta(
            description="Level of its root logger, instead of `LOG_LEVEL`, which is then that of "
            "the application's packages.",
            examples=["WARNING"],
            extra={"env": "OTHER_LOG_LEVEL", "read": values.level},
        ),
    ] = None
    sql_level: Annotated[
        Level,
        Meta(
            description="Level of the logger of statements, `sqlalchemy.engine`: `INFO` shows "
            "them, `DEBUG` their results too.",
            examples=["WARNING"],
            extra={"env": "SQL_LOG_LEVEL", "read": values.level},
        ),
    ] = "WARNING"
    c2c_level: Annotated[
        Level,
        Meta(
            description="Level of c2cotel's own loggers.",
            examples=["WARNING"],
            extra={"env": ("C2COTEL_LOG_LEVEL", "C2CWSGIUTILS_LOG_LEVEL"), "read": values.level},
        ),
    ] = "WARNING"
    debug_config: Annotated[
        bool,
        Meta(
            description="Print the logging configuration that was made of the ini file, at start.",
            # An ini's logging uses this one.
            extra={"env": "DEBUG_LOGCONFIG", "part": ""},
        ),
    ] = False


class Gunicorn(Section, frozen=True, kw_only=True):
    """Defaults of ``gunicorn -c python:c2cotel.gunicorn``."""

    workers: Annotated[
        int,
        Meta(
            description="Worker processes.",
            ge=1,
            le=1000,
            examples=[2],
            extra={"env": "GUNICORN_WORKERS"},
        ),
    ] = 2
    threads: Annotated[
        int,
        Meta(
            description="Threads of each worker.",
            ge=1,
            le=1000,
            examples=[10],
            extra={"env": "GUNICORN_THREADS"},
        ),
    ] = 10
    log_level: Annotated[
        Level,
        Meta(
            description="Level of gunicorn's own logs.",
            examples=["INFO"],
            extra={
                "env": ("GUNICORN_LOG_LEVEL", "GUNICORN_ERROR_LOG_LEVEL"),
                "part": "gunicorn",
                "read": values.level,
            },
        ),
    ] = "INFO"
    access_log_format: Annotated[
        str | None,
        Meta(
            description="Format of the access lines, with gunicorn's atoms.",
            examples=['%(h)s "%(r)s" %(s)s %(M)sms'],
            extra={"env": "GUNICORN_ACCESS_LOG_FORMAT"},
        ),
    ] = None
    config: Annotated[
        str,
        Meta(
            description="The ini file of the application, where no `--paste` names one.",
            extra={"env": ("C2COTEL_CONFIG", "C2CWSGIUTILS_CONFIG")},
        ),
    ] = "production.ini"


class Otel(Section, frozen=True, kw_only=True):
    """OpenTelemetry's own variables, as far as c2cotel decides by them."""

    telemetry: ClassVar[bool] = True

    disabled: Annotated[
        bool,
        Meta(
            description="Make no spans, metrics and OTLP logs; request ids go on.",
            extra={"env": "OTEL_SDK_DISABLED"},
        ),
    ] = False
    traces_exporter: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Exporters of spans; when unset `otlp` if there is an endpoint, else none.",
            extra={"env": "OTEL_TRACES_EXPORTER"},
        ),
    ] = None
    metrics_exporter: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Exporters of metrics; when unset `otlp` if there is an endpoint. "
            "`prometheus` is the same server as `C2C_PROMETHEUS_PORT`.",
            extra={"env": "OTEL_METRICS_EXPORTER"},
        ),
    ] = None
    logs_exporter: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Exporters of logs; when unset `otlp` if there is an endpoint, else none.",
            extra={"env": "OTEL_LOGS_EXPORTER"},
        ),
    ] = None
    otlp_endpoint: Annotated[
        str | None,
        Meta(
            description="Collector for all signals; `/v1/traces` and so on are added to it.",
            examples=["http://collector:4318"],
            extra={
                "env": "OTEL_EXPORTER_OTLP_ENDPOINT",
                "read": values.url,
            },
        ),
    ] = None
    otlp_traces_endpoint: Annotated[
        str | None,
        Meta(
            description="Where spans go instead, as it is.",
            examples=["http://collector:4318/v1/traces"],
            extra={
                "env": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "read": values.url,
            },
        ),
    ] = None
    otlp_metrics_endpoint: Annotated[
        str | None,
        Meta(
            description="Where metrics go instead, as it is.",
            examples=["http://collector:4318/v1/metrics"],
            extra={
                "env": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "read": values.url,
            },
        ),
    ] = None
    otlp_logs_endpoint: Annotated[
        str | None,
        Meta(
            description="Where logs go instead, as it is.",
            examples=["http://collector:4318/v1/logs"],
            extra={
                "env": "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
                "read": values.url,
            },
        ),
    ] = None
    otlp_headers: Annotated[
        Secret | None,
        Meta(
            description="Headers sent to the collector, `name=value,name=value`; never shown.",
            extra={"env": "OTEL_EXPORTER_OTLP_HEADERS"},
        ),
    ] = None
    prometheus_host: Annotated[
        str,
        Meta(
            description="Address of the scrape with `OTEL_METRICS_EXPORTER=prometheus`, "
            "where `C2C_PROMETHEUS_PORT` is unset.",
            extra={"env": "OTEL_EXPORTER_PROMETHEUS_HOST"},
        ),
    ] = "localhost"
    prometheus_port: Annotated[
        int,
        Meta(
            description="Port of the scrape with `OTEL_METRICS_EXPORTER=prometheus`, "
            "where `C2C_PROMETHEUS_PORT` is unset.",
            ge=0,
            le=65535,
            examples=[9464],
            extra={"env": "OTEL_EXPORTER_PROMETHEUS_PORT"},
        ),
    ] = 9464


class Instrumentation(Section, frozen=True, kw_only=True):
    """Options of the instrumentors, under the names that OpenTelemetry's own contrib gave them."""

    telemetry: ClassVar[bool] = True

    excluded_urls: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Regular expressions, separated by commas; "
            "requests whose URL matches one make no spans, but are counted.",
            examples=["healthcheck,static/.*"],
            extra={
                "env": ("OTEL_PYTHON_PYRAMID_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"),
                "read": values.regex,
            },
        ),
    ] = None
    capture_request_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Request headers recorded on spans: names or regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
                "read": values.regex,
            },
        ),
    ] = ()
    capture_response_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Response headers recorded on spans: names or regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
                "read": values.regex,
            },
        ),
    ] = ()
    sanitize_fields: Annotated[
        tuple[str, ...],
        Meta(
            description="Recorded headers whose value is replaced by `[REDACTED]`: "
            "names or regular expressions.",
            examples=["set-cookie,.*token.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS",
                "read": values.regex,
            },
        ),
    ] = ()


class GitHub(Section, frozen=True, kw_only=True):
    """Login by GitHub, see :mod:`c2cotel.auth`."""

    repository: Annotated[
        str | None,
        Meta(
            description="Repository on which a user of GitHub needs a right to log in; "
            "with it, all four of repository, client id, client secret and secret are required.",
            examples=["camptocamp/c2cotel"],
            extra={"ini": "c2c.auth.github.repository", "read": values.repository},
        ),
    ] = None
    access_type: Annotated[
        Literal["pull", "push", "admin"],
        Meta(
            description="Right that changing something needs; "
            "who has it, or `pull` on a private repository, may look at everything.",
            extra={
                "env": ("C2C_AUTH_GITHUB_ACCESS_TYPE", "C2C_AUTH_GITHUB_REPOSITORY_ACCESS_TYPE"),
                "ini": "c2c.auth.github.access_type",
            },
        ),
    ] = "push"
    client_id: Annotated[
        str | None,
        Meta(
            description="Id of the OAuth application on GitHub.",
            extra={"ini": "c2c.auth.github.client_id"},
        ),
    ] = None
    client_secret: Annotated[
        Secret | None,
        Meta(
            description="Secret of the OAuth application on GitHub; never shown.",
            extra={"ini": "c2c.auth.github.client_secret"},
        ),
    ] = None
    scope: Annotated[
        str,
        Meta(
            description="Scope that is asked of GitHub.",
            extra={"ini": "c2c.auth.github.scope"},
        ),
    ] = "repo"
    secret: Annotated[
        Secret | None,
        Meta(
            description="Text that the key of the session cookie is made of, "
            f"{values.SHORTEST_KEY} characters or more; "
            "with `C2C_SECRET` that one is used when unset.",
            extra={
                "env": ("C2C_AUTH_GITHUB_SECRET", "C2C_AUTH_SECRET"),
                "ini": "c2c.auth.github.auth.secret",
                "read": values.long,
            },
        ),
    ] = None
    previous_secret: Annotated[
        Secret | None,
        Meta(
            description="What it was before: cookies made with it are still read.",
            extra={
                "env": ("C2C_AUTH_GITHUB_PREVIOUS_SECRET", "C2C_AUTH_PREVIOUS_SECRET"),
                "ini": "c2c.auth.github.auth.previous_secret",
                "read": values.long,
            },
        ),
    ] = None
    cookie: Annotated[
        str,
        Meta(
            description="Name of the session cookie.",
            extra={
                "env": ("C2C_AUTH_GITHUB_COOKIE", "C2C_AUTH_COOKIE"),
                "ini": "c2c.auth.github.auth.cookie",
                "read": values.cookie,
            },
        ),
    ] = "c2c-auth-jwt"
    auth_url: Annotated[
        str,
        Meta(
            description="Page where a user of GitHub agrees.",
            extra={"ini": "c2c.auth.github.auth_url", "read": values.url},
        ),
    ] = "https://github.com/login/oauth/authorize"
    token_url: Annotated[
        str,
        Meta(
            description="Where GitHub changes a code for a token.",
            extra={"ini": "c2c.auth.github.token_url", "read": values.url},
        ),
    ] = "https://github.com/login/oauth/access_token"  # noqa: S105 - an address
    user_url: Annotated[
        str,
        Meta(
            description="Where GitHub tells who a token belongs to.",
            extra={"ini": "c2c.auth.github.user_url", "read": values.url},
        ),
    ] = "https://api.github.com/user"
    repo_url: Annotated[
        str,
        Meta(
            description="Where GitHub tells the rights on a repository, which is added to it.",
            extra={"ini": "c2c.auth.github.repo_url", "read": values.url},
        ),
    ] = "https://api.github.com/repos"
    proxy_url: Annotated[
        str | None,
        Meta(
            description="Page that redirects to its parameter `came_from`: where GitHub sends "
            "the user back to, for applications that share one OAuth application.",
            extra={"ini": "c2c.auth.github.auth.proxy_url", "read": values.url},
        ),
    ] = None
    cache_ttl: Annotated[
        float,
        Meta(
            description="Seconds that a right on the repository is believed before it is asked "
            "for again.",
            ge=0,
            le=86400,
            examples=[300],
            extra={"ini": "c2c.auth.github.cache_ttl"},
        ),
    ] = 300.0


class Auth(Section, frozen=True, kw_only=True):
    """Who may see and change things, see :mod:`c2cotel.auth`."""

    github: GitHub = GitHub()
    lifetime: Annotated[
        int,
        Meta(
            description="Seconds without a visit after which somebody has to log in again.",
            ge=60,
            le=31_536_000,
            examples=[604800],
        ),
    ] = 604_800


class Redis(Section, frozen=True, kw_only=True):
    """The Redis through which the processes of several hosts agree, see :mod:`c2cotel.redis`."""

    url: Annotated[
        str | None,
        Meta(
            description="URL of a single Redis.",
            examples=["redis://redis:6379/0"],
            extra={"read": values.redis_url},
        ),
    ] = None
    options: Annotated[
        Mapping[str, str],
        Meta(
            description="Options of the connections, `name=value,name=value`, "
            "each value as YAML writes it.",
            examples=["socket_timeout=2,ssl_cert_reqs=none"],
        ),
    ] = msgspec.field(default_factory=dict)
    sentinels: Annotated[
        tuple[str, ...],
        Meta(
            description="Redis Sentinels, `host:port,host:port`; they win over the URL.",
            examples=["sentinel-1:26379,sentinel-2:26379"],
            extra={"read": values.host_and_port},
        ),
    ] = ()
    servicename: Annotated[
        str,
        Meta(description="Name of the service that the Sentinels watch."),
    ] = "mymaster"
    db: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="Number of the database, with Sentinels.", examples=[0]),
    ] = None
    pubsub_retry_delay: Annotated[
        float,
        Meta(
            description="Seconds between two attempts to reach a Redis that is away.",
            gt=0,
            le=3600,
            examples=[0.5],
        ),
    ] = 0.5
    pubsub_get_message_timeout: Annotated[
        float,
        Meta(
            description="Seconds that the listener waits for a message before it looks around.",
            gt=0,
            le=60,
            examples=[1],
        ),
    ] = 1.0


class Broadcast(Section, frozen=True, kw_only=True):
    """Questions to all processes, see :mod:`c2cotel.broadcast`."""

    prefix: Annotated[
        str,
        Meta(
            description="Text put before the name of every channel and key in Redis; "
            "another one for each service that shares a Redis.",
            examples=["myapp_"],
        ),
    ] = "broadcast_api_"


class Db(Section, frozen=True, kw_only=True):
    """Databases with a replica, see :mod:`c2cotel.db`."""

    connect_timeout: Annotated[
        int,
        Meta(
            description="Seconds that connecting to PostgreSQL may take, where the URL says no "
            "`connect_timeout`; 0 for as long as it takes.",
            ge=0,
            le=3600,
            examples=[10],
        ),
    ] = 10
    network_timeout: Annotated[
        int,
        Meta(
            description="Seconds after which a PostgreSQL whose host has vanished from the network "
            "is given up, also within a statement; 0 leaves that to the system.",
            ge=0,
            le=86400,
            examples=[30],
        ),
    ] = 30
    replica_down: Annotated[
        Literal["error", "primary"],
        Meta(
            description="What sessions for reading do while the replica cannot be connected to: "
            "fail, or use the primary.",
        ),
    ] = "error"
    read_your_writes: Annotated[
        float,
        Meta(
            description="Seconds that a client reads from the primary after it has written, told "
            "by a cookie; 0 is off.",
            ge=0,
            le=86400,
            examples=[5],
        ),
    ] = 0.0
    readonly_answer: Annotated[
        Literal["error", "503"],
        Meta(
            description="What a request for writing gets while the database is read-only for "
            "maintenance: the database's error when it writes, or 503 when it asks for a session.",
        ),
    ] = "error"
    readonly_retry_after: Annotated[
        int,
        Meta(
            description="Seconds after which a client may try again, told as `Retry-After` with "
            "a 503 during maintenance; 0 tells nothing.",
            ge=0,
            le=604_800,
            examples=[60],
        ),
    ] = 60


class HealthCheck(Section, frozen=True, kw_only=True):
    """Checks of what the service needs, see :mod:`c2cotel.health_check`."""

    timeout: Annotated[
        float,
        Meta(
            description="Seconds that a health check may take, unless it says otherwise.",
            gt=0,
            le=3600,
            examples=[2],
        ),
    ] = 2.0
    url_timeout: Annotated[
        float,
        Meta(
            description="Seconds that the check of a URL may take, unless it says otherwise.",
            gt=0,
            le=3600,
            examples=[3],
        ),
    ] = 3.0
    deadline: Annotated[
        float,
        Meta(
            description="Seconds after which the health views answer, whatever still runs.",
            gt=0,
            le=3600,
            examples=[10],
        ),
    ] = 10.0
    cache: Annotated[
        float,
        Meta(
            description="Seconds that the outcome of a health check is told again before it is "
            "run again.",
            ge=0,
            le=3600,
            examples=[0],
        ),
    ] = 0.0
    grace: Annotated[
        float,
        Meta(
            description="Seconds from SIGTERM on that readiness fails while requests are still "
            "accepted, if somebody has asked for readiness lately "
            "(`gunicorn -c python:c2cotel.gunicorn`).",
            ge=0,
            le=600,
            examples=[5],
        ),
    ] = 5.0


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


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as ``c2cotel settings`` shows it: nothing secret is in it."""

    name: str
    value: Any
    origin: str
    environment: tuple[str, ...]
    ini: str | None
    default: Any
    description: str


def rows(loaded: Loaded) -> list[Row]:
    """One row a setting, in the order of the schema; secrets and passwords of URLs are masked.

    Values and defaults are made of what JSON has: None, bool, numbers, text, lists, dictionaries.
    """
    return [
        Row(
            name=key.name,
            value=_showable(_at(loaded.settings, key.path)),
            origin=loaded.origins[key.name],
            environment=key.env,
            ini=key.ini,
            default=_showable(key.default),
            description=key.meta.description or "",
        )
        for key in schema.keys(Settings)
    ]


def markdown_table() -> str:
    """The table of all settings that stands in the README, without a line break at its end."""
    lines = ["| Environment | ini | Default | What it does |", "| --- | --- | --- | --- |"]
    for row in rows(load({}, {})):
        environment = ", else ".join(f"`{name}`" for name in row.environment)
        ini = f"`{row.ini}`" if row.ini else ""
        # A bar ends the cell in every Markdown dialect, even within backticks.
        text = row.description.replace("|", "\\|")
        lines.append(f"| {environment} | {ini} | {_cell(row.default)} | {text} |")
    return "\n".join(lines)


def _cell(default: Any) -> str:
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


def _at(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for field in path:
        value = getattr(value, field)
    return value


def _showable(value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        # What the system could not decode is in there as surrogates, which nothing can write.
        return without_password(value).encode(errors="backslashreplace").decode()
    if isinstance(value, tuple):
        return [_showable(item) for item in value]
    if isinstance(value, Mapping):
        return {_showable(name): _item(name, item) for name, item in value.items()}
    return value


def _item(name: str, value: Any) -> Any:
    """The value of *name* in a mapping: options of Redis may be its password."""
    return MASK if re.search("(?i)passw|secret|token", name) else _showable(value)
