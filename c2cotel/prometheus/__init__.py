"""The scrape as a view, and the functions that gunicorn configurations of c2cwsgiutils call.

The metrics of all processes are served on ``C2C_PROMETHEUS_PORT`` by whoever of them gets the
port first (:mod:`c2cotel.metrics.serving`); nothing has to be called for it. A server without a
port to spare sets ``C2C_PROMETHEUS_VIEW_ENABLED``: any process answers ``{base_path}/metrics``
with the same. Do not let clients from outside reach it.
"""

import os
from typing import TYPE_CHECKING

from c2cotel import otel

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from pyramid.config import Configurator

__all__ = ["cleanup", "includeme", "start", "start_single_process"]


def start(registry: "CollectorRegistry | None" = None) -> None:
    """Serve the metrics, if nobody does yet; from gunicorn's ``on_starting``.

    What prometheus_client collects in *registry*, in this process, is served with them. With
    ``PROMETHEUS_MULTIPROC_DIR`` so are the application's own prometheus_client metrics.
    """
    scraper = otel.set_up().scraper
    if scraper is not None:
        for each in (registry, _multiprocess_registry()):
            if each is not None:
                scraper.add_registry(each)


def start_single_process() -> None:
    """The same for a server of one process, such as waitress."""
    start()


def cleanup() -> None:
    """Nothing: a forked worker starts afresh by itself. For gunicorn's ``post_fork``."""


def _multiprocess_registry() -> "CollectorRegistry | None":
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return None
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
    return registry


def includeme(config: "Configurator") -> None:
    """Serve ``{base_path}/metrics``, if ``C2C_PROMETHEUS_VIEW_ENABLED``."""
    from c2cotel.prometheus import views
    from c2cotel.pyramid import settings_of
    from c2cotel.pyramid.access import Access

    if settings_of(config).prometheus.view_enabled:
        config.add_c2c_view(
            "metrics",
            views.metrics,
            access=Access.PUBLIC,
            title="Metrics",
            description="What Prometheus scrapes: all processes together.",
        )
