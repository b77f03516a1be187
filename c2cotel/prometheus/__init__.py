"""The scrape as a view, and what applications of c2cwsgiutils know as its Prometheus.

The metrics of all processes are served on ``C2C_PROMETHEUS_PORT`` by whoever of them gets the
port first (:mod:`c2cotel.metrics.serving`); nothing has to be called for it. A server without a
port to spare sets ``C2C_PROMETHEUS_VIEW_ENABLED``: any process answers ``{base_path}/metrics``
with the same. Do not let clients from outside reach it.

With them are what prometheus_client collects:

- the registries given to :func:`start`: of the process that answers, or that was forked from the
  one that was given it; of another process with its ``pid``;
- with ``PROMETHEUS_MULTIPROC_DIR``, the application's own metrics, merged by prometheus_client;
- without it, those in the default registry of each process of an application that includes c2cotel,
  with the ``pid`` of the process;
- what the callbacks of :data:`MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS` return in each process::

    prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("app_pool")
    broadcast.subscribe("app_pool", lambda: prometheus.serialize_collected_data(PoolCollector()))

A family that has the name and the type of another one, or of ours, stands below one ``HELP`` and
``TYPE`` with it; of two types the first one stays. A series that comes twice is there once. None of
them is pushed over OTLP. What cannot be collected is left out, and said once.
"""

from typing import TYPE_CHECKING

from c2cotel import otel
from c2cotel.metrics.serialized import (
    SerializedMetric,
    SerializedSample,
    serialize_collected_data,
)
from c2cotel.otel.collectors import CHANNELS as MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS
from c2cotel.prometheus.collectors import (
    MemoryInfoCollector,
    MemoryMapCollector,
    MultiProcessCustomCollector,
    ResourceCollector,
    build_metric_name,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from pyramid.config import Configurator

__all__ = [
    "MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS",
    "MemoryInfoCollector",
    "MemoryMapCollector",
    "MultiProcessCustomCollector",
    "ResourceCollector",
    "SerializedGauge",
    "SerializedMetric",
    "SerializedSample",
    "build_metric_name",
    "cleanup",
    "includeme",
    "serialize_collected_data",
    "start",
    "start_single_process",
]

#: Another name of the same.
SerializedGauge = SerializedMetric


def start(registry: "CollectorRegistry | None" = None) -> None:
    """Serve the metrics, if nobody does yet; from gunicorn's ``on_starting``.

    What prometheus_client collects in *registry*, in this process, is served with them. It may be
    called in several processes, with a registry each.
    """
    scraper = otel.set_up().scraper
    if scraper is not None and registry is not None:
        scraper.foreign.add(registry)


def start_single_process() -> None:
    """The same for a server of one process, such as waitress.

    The whole default registry of prometheus_client is served, as it is.
    """
    from prometheus_client import REGISTRY

    start(REGISTRY)


def cleanup() -> None:
    """Nothing: a forked worker starts afresh by itself. For gunicorn's ``post_fork``."""


def includeme(config: "Configurator") -> None:
    """Answer scrapes with what prometheus_client collects in this process.

    And serve ``{base_path}/metrics``, if ``C2C_PROMETHEUS_VIEW_ENABLED``.
    """
    from pyramid.events import ApplicationCreated

    from c2cotel.metrics.directory import RunDirectoryError
    from c2cotel.metrics.joining import shared
    from c2cotel.otel.collectors import announce, listen
    from c2cotel.prometheus import views
    from c2cotel.pyramid import settings_of
    from c2cotel.pyramid.access import Access

    try:
        directory = shared()
    except RunDirectoryError:
        # The broadcast says so, and that the processes cannot ask each other.
        directory = None
    listen(directory)
    config.add_subscriber(lambda _: announce(directory), ApplicationCreated)
    if settings_of(config).prometheus.view_enabled:
        config.add_c2c_view(
            "metrics",
            views.metrics,
            access=Access.PUBLIC,
            title="Metrics",
            description="What Prometheus scrapes: all processes together.",
        )
