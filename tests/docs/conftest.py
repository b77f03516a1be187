"""The documentation as it is written."""

import os
import shutil
from pathlib import Path

import pytest

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError

ROOT = Path(__file__).parents[2]


def _missing(why: str) -> None:
    """Skip for want of a program; in CI nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL, shared by the pages that need one."""
    try:
        with servers.postgres() as server:
            yield server
    except MissingError as error:
        _missing(str(error))


@pytest.fixture(scope="session")
def redis():
    try:
        with servers.valkey() as server:
            yield server
    except MissingError as error:
        _missing(str(error))


@pytest.fixture
def environment_for(request):
    """``environment_for(page)``: the variables that stand for what it needs."""

    def of(page):
        found = {}
        if "postgresql" in page.needs:
            url = request.getfixturevalue("postgresql").url
            found |= {"DATABASE_URL": url, "SQLALCHEMY_URL": url}
        if "redis" in page.needs:
            found["C2C_REDIS_URL"] = request.getfixturevalue("redis").url
        if "prometheus" in page.needs and shutil.which("prometheus") is None:
            _missing("No Prometheus on this machine: apt-get install prometheus")
        return found

    return of
