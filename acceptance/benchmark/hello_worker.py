"""The example's hello, called without a server: ``hello_worker.py bare|c2cotel|contrib``.

``c2cotel`` is started by ``opentelemetry-instrument``; ``contrib`` is contrib's instrumentors on
the stock SDK, set up here as ``opentelemetry-instrument`` would without our distribution.
The application is configured by its production.ini, and writes its log, to nowhere.
"""

import cProfile
import io
import logging.config
import pstats
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from opentelemetry import trace
from workers import answer, silence

_APP = Path(__file__).parents[1] / "app"
_SITE_PACKAGES = "site-packages/"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main() -> None:
    told = silence()
    if sys.argv[1] == "contrib":
        set_up_contrib()
    sys.path.insert(0, str(_APP))
    logging.config.fileConfig(_APP / "production.ini", disable_existing_loggers=False)
    from c2cotel_app import main as make

    application = make({})
    answer(
        told,
        begin=lambda: None,
        call=lambda times: cpu(lambda: _call(application, times)),
        end=lambda: None,
        flush=lambda: cpu(flush),
        profile=lambda times: profile_of(lambda: _call(application, times), times),
    )


def set_up_contrib() -> None:
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.pyramid import PyramidInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator

    _OTelSDKConfigurator().configure()  # type: ignore[no-untyped-call] # it has no types
    PyramidInstrumentor().instrument()
    # It refuses SQLAlchemy 2.1, and works with it.
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    RequestsInstrumentor().instrument()
    LoggingInstrumentor().instrument(inject_trace_context=True)


def cpu(work: Callable[[], None]) -> float:
    """Microseconds of CPU that all threads of this process take for *work*."""
    started = time.process_time_ns()
    work()
    return (time.process_time_ns() - started) / 1000


def flush() -> None:
    """Send the spans."""
    send = getattr(trace.get_tracer_provider(), "force_flush", None)
    if send is not None:
        send()


def _call(application: Application, times: int) -> None:
    def start_response(status: str, *_: Any) -> None:
        assert status == "200 OK"

    for _ in range(times):
        body = application(_environ(), start_response)
        assert b"hello" in b"".join(body)


def _environ() -> dict[str, Any]:
    """What gunicorn makes of a browser's request that comes through a proxy."""
    return {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "SERVER_SOFTWARE": "gunicorn/27.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/api/hello",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/hello",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "51234",
        "HTTP_HOST": "www.example.com",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "HTTP_ACCEPT": "application/json",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_CONNECTION": "keep-alive",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    }


def profile_of(work: Callable[[], None], times: int) -> list[tuple[str, float, float, float]]:
    """Function, and of each of the *times* that *work* does something: calls, own and cumulated
    µs; the dearest by own time first.

    Without the export: cProfile sees this thread only.
    """
    profile = cProfile.Profile()
    profile.runcall(work)
    flush()
    rows = []
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, line, function), (_, calls, own, cumulated, _) in stats.items():
        where = file.rpartition(_SITE_PACKAGES)[2]
        name = f"{where}:{line} {function}"
        rows.append((name, calls / times, own / times * 1e6, cumulated / times * 1e6))
    return sorted(rows, key=lambda row: -row[2])


if __name__ == "__main__":
    main()
