"""What ``opentelemetry-instrument`` loads, and the one way in for everybody else.

OpenTelemetry calls, once a process and before the application is imported: distro, configurator,
instrumentors. It swallows every exception on the way and runs the application blind; so nothing
here lets one out, and what is off is said in one line on stderr.

===========  ======================================================================================
propagators  tracecontext, baggage and request id, if ``OTEL_PROPAGATORS`` is not set
traces       to the exporters of ``OTEL_TRACES_EXPORTER``; unset: OTLP if there is an endpoint
logs         likewise with ``OTEL_LOGS_EXPORTER``
metrics      always on the shared store; scraped, pushed or both, see :mod:`c2cotel.metrics`
===========  ======================================================================================
"""

import atexit
import logging
import os
from collections.abc import Mapping, MutableMapping
from functools import cache
from importlib.metadata import EntryPoint
from operator import attrgetter
from typing import Any

from opentelemetry import metrics
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # no __all__
from opentelemetry.instrumentation.propagators import (
    get_global_response_propagator,
    set_global_response_propagator,
)
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util._importlib_metadata import entry_points

from c2cotel.otel import instrumentors
from c2cotel.otel.complaint import complain
from c2cotel.otel.disabled import DisabledMeterProvider
from c2cotel.otel.exit import Exit
from c2cotel.otel.telemetry import Part, Telemetry
from c2cotel.schema import keys
from c2cotel.settings import Loaded, Settings, load
from c2cotel_instrumentation.request_id import (
    DEFAULT_HEADERS,
    RequestIdPropagator,
    RequestIdResponsePropagator,
)

# The old names are still the default of contrib's instrumentors:
# https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/
_ENVIRONMENT = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
    # See c2cotel.otel.self_metrics, which would cost those who do without telemetry its import.
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
}
# What nothing can follow that has begun.
_AT_THE_START = ("metrics.max_series", "metrics.gauge_merge", "exit.timeout", "service.git_hash")
_OURS = "c2cotel_instrumentation."
_LOADER = "opentelemetry.instrumentation.auto_instrumentation._load"


class C2cDistro(BaseDistro):  # type: ignore[misc]  # the base is untyped
    """This distribution in this process: OpenTelemetry keeps one instance of it."""

    telemetry: Telemetry | None = None

    def _configure(self, **_: Any) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Under opentelemetry-instrument nobody tells when loading ends: the filter stays.
        logging.getLogger(_LOADER).addFilter(_is_about_no_name_of_ours)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Instrument one library; ours takes the place of contrib's of the same name."""
        telemetry = set_up()
        telemetry.instrumented = True
        if entry_point.name not in _our_names() or entry_point.value.startswith(_OURS):
            _load(telemetry, entry_point, **kwargs)


class C2cConfigurator:
    """Sets up the providers."""

    def configure(self, **_: Any) -> None:
        set_up()


def set_up(
    environ: MutableMapping[str, str] | None = None, ini: Mapping[str, Any] | None = None
) -> Telemetry:
    """Set up the telemetry of this process, if nobody has yet; never raises.

    *environ* is the process's own environment: what libraries read later and child processes
    inherit is written there. The settings of an application come too late for most parts; what
    can still follow its *ini* does: the headers of the request id, the timeout of outgoing
    requests, the tag of statements, whether Redis is measured, and which requests are probes.
    What cannot is said.
    """
    distro = C2cDistro()
    if distro.telemetry is not None and ini is None:
        return distro.telemetry
    environ = os.environ if environ is None else environ
    loaded = load(environ, ini)
    if distro.telemetry is None:
        distro._configure()  # noqa: SLF001 - same module
        for problem in loaded.problems:
            if problem.telemetry:
                complain(str(problem))
        distro.telemetry = _set_up(environ, loaded.settings)
    else:
        settings = loaded.settings
        distro.telemetry.attempt("propagators", lambda: _set_propagators(environ, settings))
        instrumentors.follow(distro.telemetry, settings)
        _say_what_is_too_late(distro.telemetry, loaded)
    return distro.telemetry


def told(attribute: str) -> str | None:
    """What the resource of this process says, for example of ``service.version``; else None."""
    telemetry = C2cDistro().telemetry
    if telemetry is None or telemetry.resource is None:
        return None
    value = telemetry.resource.attributes.get(attribute)
    return str(value) if value else None


def is_on(part: str) -> bool:
    """Whether this *part* of the telemetry has been set up in this process, and works."""
    telemetry = C2cDistro().telemetry
    parts = telemetry.parts if telemetry is not None else ()
    return any(known.name == part and known.state == "on" for known in parts)


def instrument() -> Telemetry:
    """Load the instrumentors, if ``opentelemetry-instrument`` has not; never raises."""
    telemetry = set_up()
    if not telemetry.instrumented:
        telemetry.instrumented = True
        from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors

        telemetry.attempt("instrumentors", lambda: _load_all(_load_instrumentors))
    return telemetry


def _load_all(load_instrumentors: Any) -> Part:
    try:
        load_instrumentors(C2cDistro())
    finally:
        logging.getLogger(_LOADER).removeFilter(_is_about_no_name_of_ours)
    return Part("instrumentors", "on", "loaded by the application")


def _is_about_no_name_of_ours(record: logging.LogRecord) -> bool:
    """Whether to log it: contrib's range of versions is none of ours, which takes its place."""
    text = record.getMessage()
    return "nothing can be instrumented" not in text or text.split()[0] not in _our_names()


def _wanted_logging(environ: Mapping[str, str]) -> list[EntryPoint]:
    disabled = environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    if {"logging", "*"} & {name.strip() for name in disabled}:
        return []
    return [it for it in _ours() if it.name == "logging"]


def _load(telemetry: Telemetry, entry_point: EntryPoint, **kwargs: Any) -> None:
    options = {**kwargs, **instrumentors.options(entry_point.name, telemetry, telemetry.settings)}
    name = f"instrumentor {entry_point.name}"
    if entry_point.name == "redis" and not telemetry.settings.track_redis:
        telemetry.attempt(name, instrumentors.untracked)
    else:
        telemetry.attempt(name, lambda: _instrument(entry_point, name, options))
    if entry_point.name == "sqlalchemy":
        instrumentors.tag(telemetry, telemetry.settings)


def _say_what_is_too_late(telemetry: Telemetry, loaded: Loaded) -> None:
    """Name what an ini says to those who had been set up before it was read."""
    for key in keys(Settings):
        where, _, name = loaded.origins[key.name].partition(" ")
        if key.name not in _AT_THE_START or where != "ini" or name in telemetry.too_late:
            continue
        of = attrgetter(key.name)
        if of(telemetry.settings) != of(loaded.settings):
            telemetry.too_late.add(name)
            complain(
                f"{name} comes too late: the telemetry of this process was set up before the ini "
                f"was read. Set {key.env[0]} in the environment."
            )


def _set_up(environ: MutableMapping[str, str], settings: Settings) -> Telemetry:
    telemetry = Telemetry(settings, Exit(settings.exit.timeout))
    telemetry.attempt("propagators", lambda: _set_propagators(environ, settings))
    # The other parts log, and a format with %(request_id)s fails on records without it.
    for entry_point in _wanted_logging(environ):
        _load(telemetry, entry_point)
    if settings.otel.disabled:
        telemetry.attempt("metrics", _disabled)
        telemetry.parts += [Part(name, "off", "OTEL_SDK_DISABLED") for name in ("traces", "logs")]
        return telemetry
    if environ.get("OTEL_CONFIG_FILE"):
        complain("OTEL_CONFIG_FILE is not read: set the OTEL_* and C2C_* variables instead.")
    # Metrics first: the SDK's processors make instruments.
    telemetry.attempt("resource", lambda: _set_resource(telemetry))
    telemetry.attempt("metrics", lambda: _metrics(telemetry, environ))
    telemetry.attempt("traces", lambda: _traces(telemetry, environ))
    telemetry.attempt("logs", lambda: _logs(telemetry))
    atexit.register(telemetry.exit.run)
    telemetry.exit.heed_sigterm()
    return telemetry


# The SDK is imported by these, not before: a disabled one costs nothing.


def _set_resource(telemetry: Telemetry) -> Part:
    from c2cotel.otel.resource import process_resource

    telemetry.resource = process_resource(telemetry.settings)
    return Part("resource", "on", str(telemetry.resource.attributes["service.name"]))


def _metrics(telemetry: Telemetry, environ: MutableMapping[str, str]) -> Part:
    from c2cotel.otel.metrics import set_up_metrics

    return set_up_metrics(telemetry, environ)


def _traces(telemetry: Telemetry, environ: MutableMapping[str, str]) -> Part:
    from c2cotel.otel.traces import set_up_traces

    return set_up_traces(telemetry, environ)


def _logs(telemetry: Telemetry) -> Part:
    from c2cotel.otel.logs import set_up_logs

    return set_up_logs(telemetry)


def _disabled() -> Part:
    metrics.set_meter_provider(DisabledMeterProvider())
    return Part("metrics", "off", "OTEL_SDK_DISABLED")


def _set_propagators(environ: Mapping[str, str], settings: Settings) -> Part:
    if settings.request_id.response and get_global_response_propagator() is None:  # type: ignore[no-untyped-call]  # theirs
        set_global_response_propagator(RequestIdResponsePropagator())  # type: ignore[no-untyped-call]  # theirs
    if chosen := environ.get("OTEL_PROPAGATORS"):
        return Part("propagators", "on", f"OTEL_PROPAGATORS = {chosen}")
    extra = (settings.request_id.header,) if settings.request_id.header else ()
    set_global_textmap(
        CompositePropagator(
            [
                TraceContextTextMapPropagator(),
                W3CBaggagePropagator(),
                RequestIdPropagator((*extra, *DEFAULT_HEADERS)),
            ]
        )
    )
    return Part("propagators", "on", "tracecontext, baggage, request id")


@cache
def _ours() -> tuple[EntryPoint, ...]:
    found = entry_points(group="opentelemetry_instrumentor")
    return tuple(entry_point for entry_point in found if entry_point.value.startswith(_OURS))


def _our_names() -> set[str]:
    return {entry_point.name for entry_point in _ours()}


def _instrument(entry_point: EntryPoint, name: str, options: dict[str, Any]) -> Part:
    try:
        instrumentor = entry_point.load()()
    except ModuleNotFoundError as error:
        return Part(name, "off", str(error))
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(**options)
    return Part(name, "on", entry_point.value.partition(":")[0])
