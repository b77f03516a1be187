"""An application behind real proxies, and clients at several addresses of this machine."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.processes import MissingError

_HERE = Path(__file__).parent
# The proxies connect from the first; clients are elsewhere, and trusted by nobody.
PROXIES = "127.0.0.1"
CLIENT = "127.0.0.9"


class _From(requests.adapters.HTTPAdapter):
    """Connections that come from one of this machine's addresses: all of 127.0.0.0/8 are."""

    def __init__(self, address: str) -> None:
        self._source = (address, 0)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, source_address=self._source, **kwargs)


@dataclass(frozen=True)
class Who:
    """What the application has seen."""

    status: int
    client: str
    remote: str
    url: str
    server: str
    originals: dict[str, str]
    left: list[str]


def raw(url: str, headers: dict[str, str], address: str, verify: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, _From(address))
        return session.get(url, headers=headers, timeout=20, verify=verify)


def ask(url: str, *, address: str = CLIENT, verify: Any = True, **headers: str) -> Who:
    """GET of *url*, sent from *address*; an underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = raw(url, named, address, verify)
    return Who(response.status_code, **response.json())


Serve = Callable[..., servers.Gunicorn]


def environ(more: dict[str, str]) -> dict[str, str]:
    ours = ("C2C_", "C2CWSGIUTILS_", "OTEL_", "GUNICORN_", "LOG_", "FORWARDED_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(_HERE), **more}


@pytest.fixture(scope="module")
def serve(tmp_path_factory) -> Iterator[Serve]:
    """``serve(*options, instrument=False, env={})``: gunicorn with the application."""
    folder = tmp_path_factory.mktemp("proxies")
    with contextlib.ExitStack() as stack:

        def start(*options: str, instrument: bool = False, **env: str) -> servers.Gunicorn:
            log = folder / f"{len(list(folder.iterdir()))}.log"
            gunicorn = servers.Gunicorn(
                ["--threads", "4", "--access-logfile", "-", *options, "proxies_app:application"],
                instrument=instrument,
                log=log,
                env=environ(env),
                cwd=_HERE,
            )
            stack.enter_context(gunicorn)
            gunicorn.wait_url(f"{gunicorn.url}/who")
            return gunicorn

        yield start


@contextlib.contextmanager
def or_missing(server: contextlib.AbstractContextManager[servers.Proxy]) -> Iterator[servers.Proxy]:
    """*server*, or the test is skipped for want of it; in CI nothing may be skipped."""
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(server)
        except MissingError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        yield started


@pytest.fixture(scope="module")
def spans() -> Iterator[telemetry.OtlpReceiver]:
    with telemetry.OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def application(serve, spans) -> servers.Gunicorn:
    """One that trusts the address of the proxies, and no other."""
    return serve(
        instrument=True,
        C2C_TRUSTED_PROXIES=PROXIES,
        OTEL_EXPORTER_OTLP_ENDPOINT=spans.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
