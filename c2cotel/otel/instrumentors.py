"""What the settings say to the instrumentors: their options, and what an ini changes later."""

import os
import re
from typing import Any

from c2cotel.metrics.directory import VARIABLE
from c2cotel.otel.served_ini import configure_logging, has_logging, load_paste
from c2cotel.otel.telemetry import Part, Telemetry
from c2cotel.settings import Settings
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.redis import RedisInstrumentor
from c2cotel_instrumentation.requests import RequestsInstrumentor
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor


def options(name: str, telemetry: Telemetry, settings: Settings) -> dict[str, Any]:
    """The keyword arguments of an instrumentor that are ours to choose."""
    chosen = settings.instrumentation
    if name == "requests":
        return {
            "default_timeout": settings.requests.default_timeout,
            "excluded_urls": settings.requests.excluded_urls,
            "captured_request_headers": settings.requests.capture_request_headers,
            "captured_response_headers": settings.requests.capture_response_headers,
            "sanitized_headers": chosen.sanitize_fields,
        }
    if name == "gunicorn":
        return {
            "inherited": (VARIABLE,),
            "load_paste": load_paste,
            "has_logging": has_logging,
            "configure_logging": configure_logging,
        }
    if name == "sqlalchemy":
        # For the comment with the span of a statement, and for a BEGIN that fails in its place.
        return {"early": settings.sql_request_id or settings.sql_tag not in ("off", "static")}
    if name == "sql_tag":
        return {
            "tag": settings.sql_tag,
            "request_id": settings.sql_request_id,
            "application": _application(telemetry),
        }
    if name != "pyramid":
        return {}
    excluded = chosen.excluded_urls
    if excluded is None:
        # Probes ask every few seconds, and nobody looks at their traces.
        excluded = (rf"{re.escape(settings.base_path)}/(health|health_check|ping|metrics)(/|\?|$)",)
    return {
        "excluded_urls": excluded,
        "captured_request_headers": chosen.capture_request_headers,
        "captured_response_headers": chosen.capture_response_headers,
        "sanitized_headers": chosen.sanitize_fields,
    }


def follow(telemetry: Telemetry, settings: Settings) -> None:
    """Do what the ini of an application says to instrumentors that are on."""
    requests, redis = RequestsInstrumentor(), RedisInstrumentor()
    if requests.is_instrumented_by_opentelemetry:
        requests.default_timeout = settings.requests.default_timeout
    if redis.is_instrumented_by_opentelemetry and not settings.track_redis:
        redis.uninstrument()
        telemetry.attempt("instrumentor redis", untracked)
    measuring: dict[str, SQLAlchemyInstrumentor | PyramidInstrumentor] = {
        "sqlalchemy": SQLAlchemyInstrumentor(),
        "pyramid": PyramidInstrumentor(),
    }
    for name, instrumentor in measuring.items():
        wanted = options(name, telemetry, settings)
        changed = wanted != options(name, telemetry, telemetry.settings)
        if instrumentor.is_instrumented_by_opentelemetry and changed:
            instrumentor.uninstrument()
            instrumentor.instrument(**wanted)
    tag(telemetry, settings)


def tag(telemetry: Telemetry, settings: Settings) -> None:
    """Tag statements, if they are, as *settings* say, and after what measures them has begun.

    The span of a statement, which a tag may tell, is to be there before.
    """
    tagging = SqlTagInstrumentor()
    if tagging.is_instrumented_by_opentelemetry:
        tagging.uninstrument()
        tagging.instrument(**options("sql_tag", telemetry, settings))


def untracked() -> Part:
    """Why Redis is not measured."""
    return Part("instrumentor redis", "off", "C2C_TRACK_REDIS = false")


def _application(telemetry: Telemetry) -> str | None:
    """What somebody has called this service."""
    resource = telemetry.resource
    name = str(resource.attributes.get("service.name") or "") if resource is not None else ""
    name = name or os.environ.get("OTEL_SERVICE_NAME", "")
    return None if not name or name.startswith("unknown_service") else name
