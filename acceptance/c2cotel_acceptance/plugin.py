"""Fixtures for the acceptance tests of an application; pytest has them when c2cotel is installed.

==================  ========  ==================================================================
fixture             lives     what it is
==================  ========  ==================================================================
``app_connection``  session   a :class:`~c2cotel_acceptance.connection.Connection` to ``url``,
                              once that answers
``composition``     session   the :class:`~c2cotel_acceptance.composition.Composition` of
                              ``compose_file``
``chromium``        session   a :class:`~c2cotel_acceptance.browser.Chromium`, for
                              ``check_screenshot(…, chromium=chromium)`` and pages of your own
``otlp_receiver``   session   an :class:`~c2cotel_acceptance.telemetry.OtlpReceiver`, for
                              ``OTEL_EXPORTER_OTLP_ENDPOINT`` of the application
``telemetry``       test      a :class:`~c2cotel_acceptance.witness.Witness` of what it is told::

                                  def test_hello(app_connection, telemetry):
                                      answer = app_connection.get_raw("hello")
                                      telemetry.span(answer, "GET /hello", kind="SERVER")
                                      telemetry.log(answer, "said hello", severity="INFO")
                                      telemetry.metric("hello.said", {"language": "en"})
==================  ========  ==================================================================

A fixture of the same name in a ``conftest.py`` replaces it. What they need stands in pytest's
configuration, as ``c2c_acceptance_url`` and so on, or in the environment, which wins, as
``C2C_ACCEPTANCE_URL`` and so on:

=================  ==========================  ===================================================
name               default                     meaning
=================  ==========================  ===================================================
``url``            (none)                      where the API is
``origin``         ``http://localhost``        the site whose pages call it
``trace_url``      ``C2C_TRACE_URL``           where a trace is looked at, with ``{trace_id}``
``compose_file``   compose's own names         the compose file, from pytest's root folder
``screenshots``    ``results``                 the folder of ``chromium``'s own pictures, from
                                               pytest's root folder
``otlp_host``      ``127.0.0.1``               where the receiver listens; containers reach it when
                                               this is ``0.0.0.0``
``otlp_port``      0                           its port; 0 is a free one
=================  ==========================  ===================================================

Nothing but pytest is imported until a test asks for a fixture. ``chromium`` keeps an event loop in
the thread of the tests, as playwright does: tests with loops of their own run in another pytest.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from c2cotel_acceptance.browser import Chromium
    from c2cotel_acceptance.composition import Composition
    from c2cotel_acceptance.connection import Connection
    from c2cotel_acceptance.telemetry import OtlpReceiver
    from c2cotel_acceptance.witness import Witness

_OPTIONS = {
    "url": "where the API is that app_connection talks to",
    "origin": "the site whose pages call it (default: http://localhost)",
    "trace_url": "where a trace is looked at, with {trace_id} in it",
    "compose_file": "the compose file of the composition",
    "screenshots": "the folder of chromium's own pictures (default: results)",
    "otlp_host": "the address on which otlp_receiver listens (default: 127.0.0.1)",
    "otlp_port": "its port (default: a free one)",
}
# https://docs.docker.com/compose/intro/compose-application-model/: in the order of preference.
_COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_NOBODY_YET = (502, 503, 504)  # a proxy, or what Docker puts before a container


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the names known that may stand in pytest's configuration."""
    for name, help_ in _OPTIONS.items():
        parser.addini(f"c2c_acceptance_{name}", f"c2cotel: {help_}", default="")


def _option(config: pytest.Config, name: str) -> str:
    given = os.environ.get(f"C2C_ACCEPTANCE_{name.upper()}")
    return given or str(config.getini(f"c2c_acceptance_{name}"))


@pytest.fixture(scope="session")
def app_connection(request: pytest.FixtureRequest) -> Iterator["Connection"]:
    """A connection to the application's API, once something better than 502 to 504 answers."""
    from c2cotel_acceptance.connection import Connection
    from c2cotel_acceptance.utils import retry_timeout

    url = _option(request.config, "url")
    if not url:
        raise pytest.UsageError(
            "app_connection: where is the API? Set c2c_acceptance_url in pytest's configuration, "
            "or C2C_ACCEPTANCE_URL in the environment, for example to http://localhost:8080/api"
        )
    origin = _option(request.config, "origin") or "http://localhost"
    trace_url = _option(request.config, "trace_url") or None

    def answers() -> bool:
        import requests

        with requests.get(connection.base_url, timeout=10, stream=True) as response:
            if response.status_code in _NOBODY_YET:
                raise ConnectionError(f"{url} answers {response.status_code}")
        return True

    with Connection(url, origin, trace_url=trace_url) as connection:
        retry_timeout(answers)
        yield connection


@pytest.fixture(scope="session")
def composition(request: pytest.FixtureRequest) -> "Composition":
    """The application's composition, built, started and healthy; stopped with the last test."""
    from c2cotel_acceptance.composition import Composition

    root = request.config.rootpath
    given = _option(request.config, "compose_file")
    candidates = [root / given] if given else [root / name for name in _COMPOSE_FILES]
    for path in candidates:
        if path.is_file():
            return Composition(request, path)
    raise pytest.UsageError(
        f"composition: no {' nor '.join(map(str, candidates))}. Set c2c_acceptance_compose_file "
        "in pytest's configuration, or C2C_ACCEPTANCE_COMPOSE_FILE in the environment"
    )


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Iterator["Chromium"]:
    """A browser without a window, one for all tests; each visit begins without cookies."""
    from c2cotel_acceptance import browser

    folder = request.config.rootpath / (_option(request.config, "screenshots") or "results")
    with browser.chromium(folder) as running:
        yield running


@pytest.fixture(scope="session")
def otlp_receiver(request: pytest.FixtureRequest) -> Iterator["OtlpReceiver"]:
    """What the application sends its telemetry to; its ``endpoint`` is for the environment."""
    from c2cotel_acceptance.telemetry import OtlpReceiver

    port = _option(request.config, "otlp_port") or "0"
    if not port.isascii() or not port.isdigit():
        raise pytest.UsageError(f"c2c_acceptance_otlp_port = {port!r}: not a port. Write 4318")
    host = _option(request.config, "otlp_host") or "127.0.0.1"
    try:
        made = OtlpReceiver(port=int(port), host=host)
    except OSError as error:
        raise pytest.UsageError(
            f"otlp_receiver: {host}:{port} cannot be listened on: {error.strerror}. With "
            "c2c_acceptance_otlp_port = 0 it takes a free port, as workers of pytest-xdist have to"
        ) from None
    with made as receiver:
        yield receiver


@pytest.fixture
def telemetry(otlp_receiver: "OtlpReceiver") -> "Witness":
    """What the application tells of this test's requests."""
    from c2cotel_acceptance.witness import Witness

    return Witness(otlp_receiver)
