"""The example application with c2cotel included, under gunicorn and under waitress."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from c2cotel_acceptance.connection import Connection

SECRET = "correct-horse-battery-staple"


@dataclass
class Application:
    """The example, being served."""

    service: Any

    def ask(self, verb: str, path: str, **how: Any) -> requests.Response:
        return requests.request(verb, f"{self.service.url}{path}", timeout=30, **how)

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.ask("GET", path, **how)

    def lines(self, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines with these *fields*; all of them are JSON."""
        lines = self.service.output().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if fields.items() <= line.items()]


@pytest.fixture
def api(application) -> Iterator[Connection]:
    """A connection to it, from a page of another site."""
    with Connection(application.service.url, "http://a.page", timeout=30) as connection:
        yield connection


@pytest.fixture(scope="session")
def secret() -> str:
    return SECRET


@pytest.fixture(scope="session", params=["gunicorn", "waitress"])
def application(request, serve_long, serve_alone_long) -> Application:
    how = {"ini": "production-include.ini", "instrument": False, "env": {"C2C_SECRET": SECRET}}
    if request.param == "waitress":
        return Application(serve_alone_long(**how))
    return Application(serve_long("--preload", workers=2, **how))
