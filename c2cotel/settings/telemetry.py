"""What is measured, and where it goes."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from c2cotel import values
from c2cotel.schema import Secret, Section

GaugeRule: TypeAlias = Literal["pid", "sum", "min", "max", "last"]
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
