"""Where the statistics go: to a Pushgateway, to a collector, or to whoever scrapes them."""

import base64
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

from c2cotel.metrics.exposition import OPENMETRICS, TEXT, Exposition
from c2cotel.metrics.server import MetricsServer, ScrapeHandler
from c2cotel.otel import snapshot
from c2cotel.otel.resource import group_attributes, process_resource
from c2cotel.settings import Settings, without_password
from c2cotel.stats_db.numbers import Numbers

JOB: Final = "db_counts"

Target: TypeAlias = Mapping[str, Any]
"""The attributes of a resource."""

_TIMEOUT: Final = (5.0, 30.0)  # seconds to connect, and to wait for an answer
_TAKEN: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
_PASSING: Final = frozenset((429, 500, 502, 503, 504))
_UNNAMED: Final = "unknown_service"


class SendingError(Exception):
    """The numbers were taken, and did not arrive; the message says why, without a password.

    Attributes:
        passing: It may be otherwise a moment later.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def attempts(
    send: Callable[[], None],
    tries: int,
    pause: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call *send* until it works, at most *tries* times, *pause* seconds between.

    Raises:
        SendingError: it did not.
    """
    for left in reversed(range(tries)):
        try:
            send()
        except SendingError as error:
            if not error.passing or not left:
                raise
            sleep(pause)
        else:
            return


# The Pushgateway


def group_url(gateway: str, database: str, instance: str | None) -> str:
    """Where the group of this *database* is, in the Pushgateway at the address *gateway*.

    Raises:
        ValueError: that is no address; the text has no password.
    """
    # As prometheus_client takes it: host:port will do.
    url = gateway if "://" in gateway else f"http://{gateway}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not the address of a Pushgateway")
    _ = parts.port  # a ValueError if it is none
    keys = {"job": JOB, "db_namespace": database} | ({"instance": instance} if instance else {})
    path = "".join(f"/{_key(name, value)}" for name, value in keys.items())
    return f"{url.rstrip('/')}/metrics{path}"


def _key(name: str, value: str) -> str:
    """As https://github.com/prometheus/pushgateway#url tells."""
    if "/" in value or not value:
        encoded = base64.urlsafe_b64encode(value.encode()).decode() or "="
        return f"{name}@base64/{encoded}"
    return f"{name}/{quote(value, safe='')}"


def push(numbers: Numbers, url: str, prefix: str = "") -> None:
    """Put *numbers* in the place of the group at *url*.

    Raises:
        SendingError: the Pushgateway did not take them.
    """
    import requests

    text, content_type = Text(numbers, prefix).expose()
    shown = without_password(url).partition("/metrics/")[0]
    try:
        answer = requests.put(
            url,
            data=text,
            headers={"Content-Type": content_type},
            timeout=_TIMEOUT,
            # It would become a GET.
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise SendingError(f"{shown} cannot be reached: {_cause(error)}", passing=True) from error
    if answer.status_code not in _TAKEN:
        said = " ".join(answer.text.split())[:300]
        raise SendingError(
            f"{shown} answers {answer.status_code}: {said or answer.reason}",
            passing=answer.status_code in _PASSING,
        )


def _cause(error: BaseException) -> str:
    """What was at the bottom of it: requests and urllib3 each put a layer around."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return without_password(getattr(error, "strerror", None) or str(error) or type(error).__name__)


# A collector


def target(settings: Settings, place: str, instance: str | None) -> Target:
    """What the numbers are about: the service, and its *instance* or else the database's *place*.

    A process that ends is no instance: with an id of its own, each run would begin new series.
    """
    attributes = group_attributes(process_resource(settings), place)
    if instance:
        attributes["service.instance.id"] = instance
    if str(attributes.get("service.name", _UNNAMED)).startswith(_UNNAMED):
        attributes["service.name"] = JOB
    return attributes


def export(numbers: Numbers, about: Target, name: str) -> None:
    """Send *numbers* by the exporter called *name*.

    Raises:
        SendingError: they did not arrive.
    """
    try:
        snapshot.send(numbers.collected(), about, name, time.time_ns())
    except snapshot.NotDeliveredError as error:
        raise SendingError(str(error), passing=error.passing) from error
    except LookupError as error:
        raise SendingError(str(error)) from error


# A scrape


class Text:
    """*numbers* as Prometheus reads them; the names have *prefix*."""

    def __init__(self, numbers: Numbers, prefix: str = "", about: Target | None = None) -> None:
        self._numbers = numbers
        self._exposition = Exposition(prefix, about)
        self._lock = threading.Lock()
        self._written: dict[bool, bytes] = {}

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The text for a client that sends *accept*, and its content type."""
        openmetrics = "application/openmetrics-text" in accept
        with self._lock:
            if openmetrics not in self._written:
                text = self._exposition.write(self._numbers.collected(), openmetrics=openmetrics)
                self._written[openmetrics] = text.encode("utf-8", "backslashreplace")
            return self._written[openmetrics], OPENMETRICS if openmetrics else TEXT


class OneScrape(MetricsServer):
    """Ends when somebody has got the text: a GET that has been answered to its last byte.

    Raises:
        OSError: the address cannot be bound; somebody else has it, most likely.
    """

    def __init__(self, host: str, port: int, text: Text) -> None:
        self._answered: set[int] = set()
        self._over = threading.Event()
        super().__init__(host, port, text.expose)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if _Scrape(request, client_address, self).answered:
            self._answered.add(id(request))

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        if id(request) in self._answered:
            self._over.set()

    def wait(self) -> None:
        """Serve until it has happened."""
        self.start()
        try:
            self._over.wait()
        finally:
            self.stop()


class _Scrape(ScrapeHandler):
    answered = False

    def _send(self, body: bytes, content_type: str) -> None:
        super()._send(body, content_type)
        self.answered = self.command == "GET"
