"""Sentry's client of this process: its start, its life over a fork, its end."""

import logging
import os
import sys
import time
import warnings
from typing import Any

from c2cotel.otel import Part, Telemetry, set_up, told
from c2cotel.sentry.integrations import await_imports, integrations
from c2cotel.sentry.options import client_options, tags
from c2cotel.sentry.scrubbing import Scrubber
from c2cotel.settings import Settings, SettingsError

LOGGER = logging.getLogger(__name__)

_PART = "sentry"
# Seconds: at the end of its time this is left behind.
_TO_SAY_IT = 0.1
# Their frames are in every stack, and at fault in none.
_NOT_THE_APPLICATION = ("c2cotel", "c2cotel_instrumentation", "opentelemetry")


def is_on() -> bool:
    """Whether events are sent; asks no library for what nobody has imported."""
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and bool(sdk.get_client().is_active())


def start(settings: Settings) -> bool:
    """Send events to ``SENTRY_URL``, unless there is none; tells whether events are sent.

    What the application has set up itself stays as it is.

    Raises:
        SettingsError: names the variable of ``SENTRY_CLIENT_*`` that cannot be used.
        ModuleNotFoundError: says what to install.
    """
    if settings.sentry.url is None:
        return is_on()
    try:
        import sentry_sdk
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "SENTRY_URL needs sentry-sdk: pip install 'c2cotel[sentry]'"
        ) from error
    running = sentry_sdk.get_client()
    if running.is_active() and not _is_ours(running):
        LOGGER.warning("Sentry is set up by the application itself: SENTRY_URL is not used.")
        return True
    started = _Started(settings)
    if not _is_ours(running) or running.options["before_send"].started != started:
        started.run()
    return True


def _is_ours(client: Any) -> bool:
    return isinstance(getattr(client.options.get("before_send"), "started", None), _Started)


class _Started:
    """What a client is made of; equal if it would make the same one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.sentry
        self._scrubber = Scrubber(settings)
        self._tags = tags()
        self._chosen = client_options()
        self.share = _share(self._chosen, settings)
        self._release = _release(self._chosen, settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Started) and self._identity == other._identity

    __hash__ = None  # type: ignore[assignment] # nobody puts it into a set

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self._settings, self._tags, self._chosen, self._release

    def run(self) -> None:
        """Set up the client, once more if there is one, and what else belongs to it."""
        telemetry = set_up()
        self._initialise()
        if not any(part.name == _PART for part in telemetry.parts):
            telemetry.exit.last.append(_close)
            self._send_spans(telemetry)
            await_imports(self._settings)
        telemetry.parts = [part for part in telemetry.parts if part.name != _PART]
        telemetry.parts.append(Part(_PART, "on", f"events to {self._host()}"))
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Begin anew: the queue is the parent's, and so is its connection."""
        import sentry_sdk

        client = sentry_sdk.get_client()
        if _is_ours(client) and client.options["before_send"].started is self:
            try:
                self._initialise()
            except Exception:
                LOGGER.exception("Sentry is off in this process: it could not begin anew.")

    def _initialise(self) -> None:
        import sentry_sdk

        options = self._options()
        try:
            with warnings.catch_warnings():
                # Of options that it deprecates: whoever sets a variable has no code to change.
                warnings.simplefilter("ignore", DeprecationWarning)
                sentry_sdk.init(**options)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"Sentry cannot be set up: {error}") from error
        # Its own end would come before ours, with a timeout of its own.
        sentry_sdk.get_client().integrations.pop("atexit", None)

    def _options(self) -> dict[str, Any]:
        from sentry_sdk.consts import DEFAULT_OPTIONS

        from c2cotel.sentry.events import Outgoing, breadcrumb
        from c2cotel.sentry.transport import LoggedTransport

        assert self._settings.url is not None  # noqa: S101 - start() has looked
        chosen = dict(self._chosen)
        propagate = chosen.pop("propagate_traces", False)
        for name in ("traces_sample_rate", "enable_tracing", "release"):
            chosen.pop(name, None)
        outgoing = Outgoing(self._tags, self._scrubber, self)
        # An older SDK sends no logs.
        logs = {"before_send_log": outgoing.log} if "before_send_log" in DEFAULT_OPTIONS else {}
        return {
            "ignore_errors": ["SystemExit"],
            "trace_propagation_targets": [".*"] if propagate else [],
            "enable_backpressure_handling": False,
            **chosen,
            "in_app_exclude": [*_NOT_THE_APPLICATION, *chosen.get("in_app_exclude", ())],
            "dsn": self._settings.url.reveal(),
            "release": self._release,
            # The spans are OpenTelemetry's: those of Sentry's integrations do nothing.
            "instrumenter": "otel",
            "before_send": outgoing,
            "before_send_transaction": outgoing,
            "before_breadcrumb": breadcrumb,
            **logs,
            "transport": LoggedTransport,
            **integrations(self._settings, chosen),
        }

    def _send_spans(self, telemetry: Telemetry) -> None:
        if not self.share:
            return
        from opentelemetry.trace import get_tracer_provider

        from c2cotel.sentry.spans import Transactions

        add = getattr(get_tracer_provider(), "add_span_processor", None)
        if add is None:
            LOGGER.warning("SENTRY_TRACES_SAMPLE_RATE has no effect: there are no spans.")
            return
        add(Transactions(self.share))
        telemetry.parts.append(Part("sentry spans", "on", f"{self.share:g} of the traces"))

    def _host(self) -> str:
        url = self._settings.url.reveal() if self._settings.url is not None else ""
        return url.rpartition("@")[2].partition("/")[0]


def _share(chosen: dict[str, Any], settings: Settings) -> float:
    """The share of the traces whose spans are sent, by any of the names that it has."""
    if settings.sentry.traces_sample_rate:
        return settings.sentry.traces_sample_rate
    if "traces_sample_rate" in chosen:
        return float(chosen["traces_sample_rate"])
    return 1.0 if chosen.get("enable_tracing") else 0.0


def _release(chosen: dict[str, Any], settings: Settings) -> str | None:
    release = chosen.get("release")
    if release and release != "latest":
        return str(release)
    return settings.service.git_hash or told("service.version")


def _close(seconds: float) -> None:
    """Send what is left, within *seconds*; what is not is said."""
    import sentry_sdk

    client = sentry_sdk.get_client()
    if not client.is_active() or client.transport is None:
        return
    waiting = False

    def waits(*_: Any) -> None:
        nonlocal waiting
        waiting = True

    seconds = min(seconds - _TO_SAY_IT, float(client.options["shutdown_timeout"]))
    began = time.monotonic()
    client.close(timeout=seconds, callback=waits)
    if waiting and time.monotonic() - began >= seconds:
        LOGGER.error(
            "Process %d ends with events for Sentry undelivered: it did not take them "
            "within %.1f s.",
            os.getpid(),
            seconds,
        )
