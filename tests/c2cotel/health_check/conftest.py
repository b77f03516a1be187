"""Applications with health checks and the real authentication; telemetry that is kept."""

import threading
from contextlib import contextmanager, nullcontext

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pyramid.config import Configurator
from webob import Request

from c2cotel import broadcast, redis
from c2cotel.draining import draining
from c2cotel.health_check.core import Check, Checks
from c2cotel.health_check.engine import Engine
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret that nobody guesses"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No settings from outside, nothing subscribed, nobody draining, no Redis left open."""
    for name in ("C2C_SECRET", "C2C_BASE_PATH", "C2C_REDIS_URL", "DEVELOPMENT", "GIT_HASH"):
        monkeypatch.delenv(name, raising=False)
    yield
    broadcast.cleanup()
    redis.close_shared()
    draining().end()


class Gate:
    """Something a check waits for, until the test opens it."""

    def __init__(self):
        self.opened = threading.Event()
        self.reached = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, _=None):
        self.calls += 1
        self.reached.release()
        assert self.opened.wait(30)
        return "through"

    def wait(self):
        """Until a check has come here."""
        assert self.reached.acquire(timeout=10)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.opened.set()


class Bench:
    """An engine with checks, its spans and its metrics."""

    def __init__(self, **options):
        self.checks = Checks()
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.engine = Engine(
            self.checks,
            **{"deadline": 5.0, **options},
            tracer_provider=self.tracer_provider,
            meter_provider=MeterProvider([self.reader], shutdown_on_exit=False),
        )

    def add(self, name, run, level=1, timeout=2.0, **more):
        check = Check(name, run, level, timeout, **more)
        self.checks.add(check, "a test")
        return check

    def run(self, *checks, subject=nullcontext, **options):
        return self.engine.run(checks or self.checks, subject, **options)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def points(self, name):
        """The value, or of a histogram the count, of each check."""
        data = self.reader.get_metrics_data()
        return {
            point.attributes["c2c.check.name"]: getattr(point, "count", None)
            if hasattr(point, "count")
            else point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def browse():
    """``browse(config)``: a browser at the application that *config* makes."""
    return Browser


@pytest.fixture
def running():
    return _running


@contextmanager
def _running(function, *args):
    """*function* in a thread; the ``with`` ends when it has, and its results are in the list."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    try:
        yield results
    finally:
        thread.join(30)
        assert not thread.is_alive()


class Browser:
    """Asks an application, as nobody in particular or with the secret."""

    def __init__(self, config):
        self.config = config
        self.registry = config.registry
        self.application = config.make_wsgi_app()

    def get(self, path="/c2c/health_check", *, authorised=False, accept=None, headers=(), **query):
        request = Request.blank(path, headers=dict(headers))
        request.GET.update({key: str(value) for key, value in query.items()})
        if authorised:
            request.headers["X-API-Key"] = SECRET
        if accept:
            request.headers["Accept"] = accept
        return request.get_response(self.application)


@pytest.fixture
def configurator():
    """``configurator(**ini)``: one with the kernel's pieces that the health needs."""

    def make(**ini):
        config = Configurator(settings={"c2c.secret": SECRET, **ini})
        config.registry.c2c_route_prefix = None
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.health_check"):
            config.include(feature)
        config.add_c2c_view("", lambda _: {}, name="c2c_index")
        config.add_c2c_view("settings", lambda _: {})
        config.add_c2c_view("changes", lambda _: {})
        return config

    return make
