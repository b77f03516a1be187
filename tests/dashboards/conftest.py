"""The dashboards as they are committed."""

import json
import shutil
from typing import Any

import pytest

from c2cotel_boards import build


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``name`` for each dashboard."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", build.NAMES)


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's own judge of rules and queries."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("No promtool: apt-get install -y --no-install-recommends prometheus")
    return found


@pytest.fixture
def text(name) -> str:
    """What is in the file."""
    return (build.FOLDER / f"{name}.json").read_text(encoding="utf-8")


@pytest.fixture
def board(text) -> dict[str, Any]:
    return json.loads(text)
