"""gunicorn's master counts its workers: real ones, which end in all the ways there are."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest
import requests

from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.scraping import scrape
from c2cotel_acceptance.servers import Gunicorn, free_port
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.gunicorn import GunicornInstrumentor
from c2cotel_instrumentation.gunicorn_workers import _End, _reason

METHODS = ("start", "spawn_worker", "kill_worker", "reap_workers", "reexec")
REASON = "c2c_gunicorn_exit_reason"
APPLICATION = """
import os
{begin}

def application(environ, start_response):
    if environ["PATH_INFO"] == "/fails":
        os._exit(7)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


class Service:
    """gunicorn, and what a scrape says of its workers."""

    def __init__(self, gunicorn, port):
        self.gunicorn = gunicorn
        self.url = gunicorn.url
        self._port = port

    def scrape(self):
        return scrape(f"http://127.0.0.1:{self._port}/metrics")

    def workers(self):
        found = self.scrape()
        names = ("workers", "workers_configured", "worker_starts_total")
        return tuple(found.total(f"c2c_gunicorn_{name}") for name in names)

    def exits(self):
        by = self.scrape().by("c2c_gunicorn_worker_exits_total", REASON)
        return {reason: count for (reason,), count in by.items() if count}

    def ended(self, **reasons):
        """Wait until so many more have ended, and all workers are there again."""

        def reached():
            assert self.exits() == {key.replace("_9", " SIGKILL"): n for key, n in reasons.items()}
            alive, configured, starts = self.workers()
            assert (alive, starts) == (configured, configured + sum(reasons.values()))
            return True

        retry_timeout(reached, 40, 0.05)


@pytest.fixture
def serve(tmp_path):
    """Starts gunicorn with *options* under opentelemetry-instrument, or as *instrument* says."""
    started = []

    def start(*options, workers=2, begin="", **how):
        (tmp_path / "app.py").write_text(APPLICATION.format(begin=begin))
        port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("C2C_")}
        gunicorn = Gunicorn(
            ["-w", str(workers), *options, "app:application"],
            log=tmp_path / "log",
            env={**kept, "C2C_PROMETHEUS_PORT": str(port)},
            cwd=tmp_path,
            **how,
        )
        started.append(gunicorn.start())
        gunicorn.wait_url(gunicorn.url)
        service = Service(gunicorn, port)
        retry_timeout(lambda: "c2c_metrics_processes" in service.scrape().text, 40, 0.05)
        return service

    yield start
    for gunicorn in started:
        gunicorn.stop()


def test_workers_that_are_killed_replaced_hang_and_fail(serve):
    # Long enough for a slow machine: nobody but the paused one is late.
    service = serve("--timeout", "6")
    gunicorn = service.gunicorn
    service.ended()
    assert service.scrape().by("c2c_gunicorn_worker_exits_total", REASON) == {
        (reason,): 0
        for reason in (
            *("requested", "max_requests", "timeout", "graceful_timeout", "failed"),
            "signal SIGKILL",
        )
    }
    os.kill(gunicorn.workers()[0], signal.SIGKILL)
    service.ended(signal_9=1)
    gunicorn.signal(signal.SIGHUP)
    service.ended(signal_9=1, requested=2)
    pause(gunicorn.workers()[0])
    service.ended(signal_9=1, requested=2, timeout=1)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{service.url}/fails", timeout=20)
    service.ended(signal_9=1, requested=2, timeout=1, failed=1)
    gunicorn.signal(signal.SIGTTIN)
    retry_timeout(lambda: service.workers() == (3, 3, 8), 40, 0.05)
    gunicorn.signal(signal.SIGTTOU)
    retry_timeout(lambda: service.workers() == (2, 2, 8), 40, 0.05)
    assert service.exits()["requested"] == 3


@pytest.mark.parametrize("preload", [False, True])
def test_recycled_workers_without_opentelemetry_instrument(serve, preload):
    options = ("-c", "python:c2cotel.gunicorn", "--max-requests", "5")
    service = serve(*options, *["--preload"] * preload, workers=1, instrument=False)

    def three_have_ended():
        # One that comes while a worker ends may be answered by it, or by the next one.
        requests.get(service.url, timeout=20)
        return service.exits().get("max_requests") == 3

    retry_timeout(three_have_ended, 40, 0.01)
    service.ended(max_requests=3)


def test_a_successor_goes_on_counting(serve):
    service = serve()
    service.ended()
    service.gunicorn.signal(signal.SIGUSR2)
    retry_timeout(lambda: service.workers() == (4, 4, 4), 40, 0.05)
    service.gunicorn.signal(signal.SIGTERM)
    # The old master's two workers have ended with it; it was counted until it ended itself.
    retry_timeout(lambda: service.workers() == (2, 2, 4), 40, 0.05)
    assert service.exits() == {"requested": 2}


def test_where_nothing_of_ours_is_in_the_master_there_is_nothing(serve):
    service = serve(begin="from c2cotel.otel import instrument; instrument()", instrument=False)
    requests.get(service.url, timeout=20)
    assert "c2c_gunicorn" not in service.scrape().text


def worker(*, aborted=False, max_requests=sys.maxsize):
    return SimpleNamespace(aborted=aborted, max_requests=max_requests)


@pytest.mark.parametrize(
    ("who", "asked", "end", "reason"),
    [
        (worker(aborted=True), {}, _End(os.CLD_EXITED, 1), "timeout"),
        (worker(aborted=True), {signal.SIGKILL}, _End(os.CLD_KILLED, signal.SIGKILL), "timeout"),
        (worker(), {signal.SIGTERM}, _End(os.CLD_EXITED, 0), "requested"),
        (worker(), {signal.SIGTERM}, _End(os.CLD_KILLED, signal.SIGTERM), "requested"),
        (worker(max_requests=5), {signal.SIGTERM}, _End(os.CLD_EXITED, 0), "requested"),
        (worker(max_requests=5), {}, _End(os.CLD_EXITED, 0), "max_requests"),
        (worker(), {}, _End(os.CLD_EXITED, 0), "requested"),
        (worker(), {signal.SIGTERM}, _End(os.CLD_EXITED, 3), "failed"),
        (
            worker(),
            {signal.SIGTERM, signal.SIGKILL},
            _End(os.CLD_KILLED, signal.SIGKILL),
            "graceful_timeout",
        ),
        (worker(), {signal.SIGTERM}, _End(os.CLD_DUMPED, signal.SIGSEGV), "signal SIGSEGV"),
        (worker(), {}, _End(os.CLD_KILLED, 40), "signal of another kind"),
        (worker(), {signal.SIGTERM}, None, "requested"),
        (worker(), {}, None, "unknown"),
        (SimpleNamespace(), {}, _End(os.CLD_EXITED, 0), "requested"),
    ],
)
def test_the_reason_of_an_end(who, asked, end, reason):
    assert _reason(who, asked, end) == reason


def test_uninstrument_restores_the_arbiter():
    # Not at the top: a process with it looks like gunicorn's master to other tests.
    from gunicorn import arbiter

    methods = [getattr(arbiter.Arbiter, name) for name in METHODS]
    for _ in range(2):
        GunicornInstrumentor().instrument()
        assert not set(methods) & {getattr(arbiter.Arbiter, name) for name in METHODS}
        GunicornInstrumentor().uninstrument()
        assert [getattr(arbiter.Arbiter, name) for name in METHODS] == methods
