import os
import sys

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from c2cotel import broadcast
from c2cotel.metrics.joining import join
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.store import Store
from c2cotel.otel import collectors


@pytest.fixture(autouse=True)
def _not_gunicorn(not_gunicorn):
    """As it says."""


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No channel, subscription, file nor collector of a test reaches the next one."""
    monkeypatch.setenv("C2C_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.delenv("C2C_PROMETHEUS_PREFIX", raising=False)
    collectors._failed.cache_clear()
    before = tuple(prometheus_client.REGISTRY._collector_to_names)
    yield
    collectors.CHANNELS.clear()
    broadcast.cleanup()
    for collector in tuple(prometheus_client.REGISTRY._collector_to_names):
        if collector not in before:
            prometheus_client.REGISTRY.unregister(collector)


@pytest.fixture
def directory(tmp_path):
    made = join({"C2C_RUN_DIR": str(tmp_path / "run")})
    yield made
    made.leave()


@pytest.fixture
def provider(directory):
    made = MeterProvider(Store(directory))
    yield made
    if made.store.slab is not None:
        made.store.slab.close()


@pytest.fixture
def scraper(provider):
    return Scraper(provider, {"service.name": "shop"})


@pytest.fixture
def exposed(scraper):
    """The text of a scrape, without our self-metrics and the target."""

    def expose(accept=""):
        text = scraper.expose(accept)[0].decode()
        return "".join(
            line
            for line in text.splitlines(keepends=True)
            if "c2c_metrics_" not in line and "target" not in line
        )

    return expose


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def run_python(tmp_path):
    """``run_python(code, **env)`` in a process of its own that has no settings of ours."""
    import subprocess

    def run(code, **env):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("C2C_", "OTEL_", "PROM"))}
        done = subprocess.run(
            # A fork beside the thread of the metrics is what is tested.
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**kept, "C2C_RUN_DIR": str(tmp_path / "other"), **env},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
