"""An application that is in trouble, in four workers, and somebody who has to find out why."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

SECRET = "correct-horse-battery-staple"
_HERE = Path(__file__).parent
_APP = _HERE.parents[1] / "app"


@dataclass(frozen=True)
class Operator:
    """Somebody who knows the secret, unless *secret* is None."""

    service: Any = field(repr=False)
    secret: str | None = field(default=SECRET, repr=False)

    @property
    def url(self) -> str:
        return self.service.url

    def ask(self, verb: str, path: str, **how: Any) -> requests.Response:
        headers = {} if self.secret is None else {"X-API-Key": self.secret}
        headers |= how.pop("headers", {})
        # A connection of its own each time: any worker may answer.
        timeout = how.pop("timeout", 30)
        return requests.request(verb, f"{self.url}{path}", headers=headers, timeout=timeout, **how)

    def get(self, path: str, **params: Any) -> requests.Response:
        """GET below the base path."""
        return self.ask("GET", f"/c2c/{path}", params=params)

    def post(self, path: str, **data: Any) -> requests.Response:
        """POST a form below the base path."""
        return self.ask("POST", f"/c2c/{path}", data=data)


Operate = Callable[..., Operator]


@pytest.fixture
def operate(serve, tmp_path) -> Operate:
    """``operate(*options, env={}, …)``: an operator of :mod:`debug_app`, served as by ``serve``."""

    def start(*options: str, env: dict[str, str] | None = None, **how: Any) -> Operator:
        text = (_APP / "production-include.ini").read_text()
        assert "c2cotel_app:main_with_c2cotel" in text
        ini = tmp_path / "debug.ini"
        ini.write_text(text.replace("c2cotel_app:main_with_c2cotel", "debug_app:main"))
        environ = {
            "PYTHONPATH": os.pathsep.join((str(_HERE), str(_APP))),
            "C2C_SECRET": SECRET,
            "C2C_DEBUG_VIEW_ENABLED": "1",
            **(env or {}),
        }
        how = {"instrument": False, **how}
        return Operator(serve(*options, ini=str(ini), env=environ, **how))

    return start
