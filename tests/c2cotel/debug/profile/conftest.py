"""Several real processes that can be profiled."""

import subprocess
import sys
from pathlib import Path

import pytest

from c2cotel_acceptance.servers import valkey
from c2cotel_acceptance.utils import retry_timeout

from ...broadcast.service import Outside  # noqa: TID252 - the processes of a neighbour
from .workers import Worker


@pytest.fixture(autouse=True)
def _not_gunicorn(not_gunicorn):
    """As it says."""


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def worker(directory):
    """Makes processes; those without a *path* have no run directory."""
    made = []

    def make(path=directory, *, at_work=True, **options):
        made.append(Outside(lambda: Worker(path, **options)))
        if at_work:
            made[-1].work()
        made[-1].pid = made[-1].process.pid
        return made[-1]

    yield make
    for each in made:
        # Some have been killed already.
        if not each.pipe.closed:
            each.kill()


@pytest.fixture
def program(directory):
    """A process that ends by itself, when it is told to."""
    started = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("workers.py")), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        assert started.stdout.readline().strip() == str(started.pid)
        yield started
        started.kill()


@pytest.fixture(scope="module")
def redis_server():
    with valkey() as server:
        yield server


@pytest.fixture
def ended():
    """Waits until a process says that a profile has ended, and gives the states of the parts."""

    def wait(process, id_, timeout=10):
        retry_timeout(lambda: "running" not in process.states(id_).values(), timeout, 0.05)
        return process.states(id_)

    return wait
