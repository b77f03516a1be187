"""Send many requests at once, and count the ones that were answered."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Call:
    """A request to send; *route* is the pattern the application is expected to match, if any."""

    path: str
    method: str = "GET"
    route: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Traffic:
    """What became of the requests.

    A request that failed may have been handled: its answer was lost. So the application has
    counted at least ``total`` and at most ``total + failed`` of them.
    """

    answered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Answers by method, route and status."""
    failed: int = 0
    """Requests whose connection broke or timed out."""
    request_ids: list[str] = field(default_factory=list)
    """The ``X-Request-ID`` of each answer that had one."""
    seconds: float = 0.0
    """The time it all took."""

    @property
    def total(self) -> int:
        """The number of answers."""
        return self.answered.total()

    def by_route(self) -> dict[tuple[str, int], int]:
        """Answers by route and status."""
        totals: Counter[tuple[str, int]] = Counter()
        for (_, route, status), count in self.answered.items():
            totals[route, status] += count
        return dict(totals)

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.answered + other.answered,
            self.failed + other.failed,
            self.request_ids + other.request_ids,
            self.seconds + other.seconds,
        )


def send(  # noqa: PLR0913 - the ways a load differs, by keyword
    url: str,
    calls: Iterable[Call],
    count: int | None = None,
    *,
    concurrency: int = 8,
    timeout: float = 30,
    until: threading.Event | None = None,
) -> Traffic:
    """Send *calls* to *url*, *concurrency* at a time, each on a connection of its own.

    *count* repeats them until so many are sent; *until*, when it is set, ends the sending early.
    *timeout* is for one answer, in seconds.
    """
    todo = list(calls)
    planned = islice(cycle(todo), count if count is not None else len(todo))
    traffic = Traffic()
    lock = threading.Lock()
    address = urlsplit(url).netloc

    def work() -> None:
        while not (until and until.is_set()):
            with lock:
                call = next(planned, None)
            if call is None:
                return
            try:
                status, request_id = _ask(address, call, timeout)
            except (OSError, http.client.HTTPException):
                with lock:
                    traffic.failed += 1
            else:
                with lock:
                    traffic.answered[call.method, call.route, status] += 1
                    if request_id:
                        traffic.request_ids.append(request_id)

    began = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        for future in [pool.submit(work) for _ in range(concurrency)]:
            future.result()
    traffic.seconds = time.monotonic() - began
    return traffic


def _ask(address: str, call: Call, timeout: float) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(
            call.method, call.path, call.body, {"Connection": "close", **call.headers}
        )
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("X-Request-ID")
    finally:
        connection.close()
