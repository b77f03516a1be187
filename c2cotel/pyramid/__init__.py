"""What the features stand on in a Pyramid application, and the order they are included in."""

import logging
import os
from importlib.metadata import entry_points

from pyramid.config import Configurator

from c2cotel.pyramid.settings import settings_of
from c2cotel.pyramid.views import add_c2c_view

__all__ = ["FEATURES", "includeme", "settings_of"]

LOGGER = logging.getLogger(__name__)

# In this order: Sentry hears of what fails later, and the broadcast begins to listen when everybody
# has subscribed.
FEATURES = (
    "c2cotel.sentry",
    "c2cotel.pyramid.proxies",
    "c2cotel.pyramid.transactions",
    "c2cotel.pyramid.renderers",
    "c2cotel.pyramid.pages",
    "c2cotel.auth",
    "c2cotel.request_tracking",
    "c2cotel.prometheus",
    "c2cotel.versions",
    "c2cotel.logging_level",
    "c2cotel.db_maintenance",
    "c2cotel.sql_profiler",
    "c2cotel.debug",
    "c2cotel.health_check",
    "c2cotel.errors",
    "c2cotel.services",
    "c2cotel.index",
    "c2cotel.broadcast",
)


def includeme(config: Configurator) -> None:
    """Set up the telemetry, if nothing has yet, and include every feature.

    ``opentelemetry-instrument`` before it is harmless, and so is the lack of it.
    """
    unknown = _without_unknown_propagators()
    # Not before: it imports OpenTelemetry's propagators, which raise if one is unknown.
    from c2cotel import otel

    otel.set_up(ini=config.registry.settings)
    otel.instrument()
    # Nothing is logged before: only now do records have what a format may ask for.
    if unknown:
        LOGGER.error("%s", unknown)
    settings_of(config)
    config.registry.c2c_route_prefix = config.route_prefix
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in FEATURES:
        config.include(feature)


def _without_unknown_propagators() -> str:
    """Take unknown names out of ``OTEL_PROPAGATORS``, at which OpenTelemetry's import would fail.

    Returns what to say about them.
    """
    chosen = os.environ.get("OTEL_PROPAGATORS")
    if not chosen:
        return ""
    names = [name.strip() for name in chosen.split(",")]
    known = {"none", *entry_points(group="opentelemetry_propagator").names}
    unknown = [name for name in names if name not in known]
    if not unknown:
        return ""
    os.environ["OTEL_PROPAGATORS"] = ",".join(n for n in names if n in known) or "none"
    return (
        f"OTEL_PROPAGATORS = {chosen}: there is no {', '.join(unknown)}. "
        f"Write some of: {', '.join(sorted(known))}."
    )
