"""Metrics: our provider on the shared store, and whoever serves and pushes it."""

import math
import os
from collections.abc import MutableMapping
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import metrics

from c2cotel.metrics.directory import RunDirectory, RunDirectoryError
from c2cotel.metrics.joining import shared
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.serving import Address, Push, Serving
from c2cotel.metrics.store import Store
from c2cotel.otel.complaint import complain
from c2cotel.otel.exporters import find_exporter
from c2cotel.otel.resource import group_attributes
from c2cotel.otel.telemetry import Part, Telemetry, exporter_names
from c2cotel.settings import Settings

if TYPE_CHECKING:
    from c2cotel.otel.collectors import Processes

_DEFAULT_INTERVAL = 60_000.0


def set_up_metrics(telemetry: Telemetry, environ: MutableMapping[str, str]) -> Part:
    """Set the global meter provider, and serve if no other process of the group does.

    Raises:
        RuntimeError: the application has set a provider before.
    """
    settings = telemetry.settings
    directory = _join(environ)
    store = Store(directory, settings.metrics.max_series)
    provider = MeterProvider(store, settings.metrics.gauge_merge)
    metrics.set_meter_provider(provider)
    if metrics.get_meter_provider() is not provider:
        raise RuntimeError("the application has set a meter provider of its own; that one is kept")
    instance = directory.group.instance if directory else f"{os.getpid()}"
    assert telemetry.resource is not None  # noqa: S101 - set before any part
    target = group_attributes(telemetry.resource, instance)
    scraper = telemetry.scraper = Scraper(provider, target, settings.prometheus.prefix)
    _ask_processes(scraper, directory)
    pushed = _pushed(settings)

    def make_push() -> Push | None:
        if not pushed:
            return None
        # Only whoever serves pays for importing an exporter.
        from c2cotel.otel.push import MetricsPush

        return MetricsPush(scraper, pushed, target, _interval(environ))

    address = _address(settings)
    telemetry.serving = serving = Serving(provider, scraper, address, make_push)
    store.on_use = serving.start
    telemetry.exit.last.append(serving.stop)
    if directory is not None:
        telemetry.exit.last.append(lambda _: directory.leave())
    serving.lead_now()
    return Part("metrics", "on", _describe(directory, address, pushed))


def _ask_processes(scraper: Scraper, directory: RunDirectory | None) -> None:
    @cache
    def processes() -> "Processes":
        # Only who is scraped pays for importing the broadcast.
        from c2cotel.otel.collectors import Processes

        return Processes(directory, scraper.foreign)

    scraper.foreign.add_source("Asking the processes", lambda: processes().collect())


def _join(environ: MutableMapping[str, str]) -> RunDirectory | None:
    try:
        return shared(environ)
    except RunDirectoryError as error:
        complain(f"metrics of this process only, a scrape shows no others: {error}")
        return None


def _address(settings: Settings) -> Address | None:
    if settings.prometheus.port is not None:
        return Address(settings.prometheus.host, settings.prometheus.port)
    if "prometheus" in (settings.otel.metrics_exporter or ()):
        otel = settings.otel
        return Address(otel.prometheus_host, otel.prometheus_port, "OTEL_EXPORTER_PROMETHEUS_PORT")
    return None


def _pushed(settings: Settings) -> list[str]:
    """The names of the exporters that are pushed to, those that exist."""
    otel = settings.otel
    names = []
    for name in exporter_names(otel.metrics_exporter, otel.otlp_metrics_endpoint, settings):
        if name != "prometheus":
            try:
                find_exporter("metrics", name)
            except LookupError as error:
                complain(f"metrics are not pushed: {error}")
            else:
                names.append(name)
    return names


def _interval(environ: MutableMapping[str, str]) -> float:
    """Seconds between two pushes."""
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL") or str(_DEFAULT_INTERVAL)
    try:
        interval = float(text)
    except ValueError:
        interval = math.nan
    if not 0 < interval < math.inf:
        complain(
            f"OTEL_METRIC_EXPORT_INTERVAL = {text}: not a number of milliseconds above 0. "
            f"{_DEFAULT_INTERVAL:.0f} is used."
        )
        interval = _DEFAULT_INTERVAL
    return interval / 1000


def _describe(directory: RunDirectory | None, address: Address | None, pushed: list[str]) -> str:
    where = f"in {directory.path}" if directory else "of this process only"
    scraped = f"scraped on port {address.port}" if address else "not scraped"
    return f"{where}, {scraped}, {'pushed to ' + ', '.join(pushed) if pushed else 'not pushed'}"
