"""Where the numbers of a run go, by the options and the settings."""

import os
from collections.abc import Callable
from typing import Final

from c2cotel.metrics.exposition import OPENMETRICS
from c2cotel.otel.exporters import find_exporter
from c2cotel.otel.telemetry import exporter_names
from c2cotel.settings import Settings, SettingsError, without_password
from c2cotel.stats_db import sending
from c2cotel.stats_db.numbers import Numbers
from c2cotel.stats_db.sending import OneScrape, SendingError, Text

PORT: Final = 9090


class Destination:
    """Checked at once: to take the numbers may last minutes.

    *gateway* is the address of a Pushgateway, *instance* the name of who pushes.

    Raises:
        SettingsError: an address or the name of an exporter cannot be used.
        SendingError: the port is taken.
    """

    def __init__(self, settings: Settings, gateway: str | None, instance: str | None) -> None:
        self._settings = settings
        self._gateway = gateway
        self._instance = instance
        self._exporters = () if gateway is not None else _exporters(settings)
        chosen = settings.otel.metrics_exporter or ()
        self._served = gateway is None and (not self._exporters or "prometheus" in chosen)
        if gateway is not None:
            self._group("database")
        if self._served:
            self._listen(Text(Numbers(""))).server_close()

    def send(self, numbers: Numbers, place: str, say: Callable[[str], None]) -> None:
        """Send *numbers* about the database at *place*, and *say* so; waits for a scrape.

        Raises:
            SendingError: they did not arrive.
        """
        settings = self._settings
        tries, pause = settings.stats_db.tries, settings.stats_db.pause
        prefix = settings.prometheus.prefix
        if self._gateway is not None:
            url = self._group(numbers.namespace)
            sending.attempts(lambda: sending.push(numbers, url, prefix), tries, pause)
            say(f"{len(numbers)} series are pushed to {without_password(url)}.")
            return
        about = sending.target(settings, place, self._instance)
        for name in self._exporters:
            sending.attempts(_exporting(numbers, about, name), tries, pause)
            say(f"{len(numbers)} series are exported by {name}.")
        if self._served:
            text = Text(numbers, prefix, about)
            # Who scrapes may not wait as long as it takes to write it.
            text.expose(OPENMETRICS)
            server = self._listen(text)
            say(f"{len(numbers)} series are served for one scrape, on port {server.port}.")
            server.wait()

    def _group(self, database: str) -> str:
        try:
            return sending.group_url(self._gateway or "", database, self._instance)
        except ValueError:
            # Not shown: there may be a password in it.
            raise SettingsError(
                "--prometheus-url is not the address of a Pushgateway. "
                "Write for example http://pushgateway:9091."
            ) from None

    def _listen(self, text: Text) -> OneScrape:
        host, port = self._settings.prometheus.host, self._settings.prometheus.port
        try:
            return OneScrape(host, PORT if port is None else port, text)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise SendingError(
                f"cannot listen on port {PORT if port is None else port} of "
                f"{host or 'all interfaces'}: {reason}. Set C2C_PROMETHEUS_PORT to another one, or "
                "push by --prometheus-url."
            ) from error


def _exporters(settings: Settings) -> tuple[str, ...]:
    """What is sent to, by OpenTelemetry's own variables."""
    otel = settings.otel
    if otel.disabled:
        return ()
    names = exporter_names(otel.metrics_exporter, otel.otlp_metrics_endpoint, settings)
    pushed = tuple(name for name in names if name != "prometheus")
    for name in pushed:
        try:
            find_exporter("metrics", name)
        except LookupError as error:
            raise SettingsError(str(error)) from error
    return pushed


def _exporting(numbers: Numbers, about: sending.Target, name: str) -> Callable[[], None]:
    return lambda: sending.export(numbers, about, name)
