"""An application with c2cotel's operations console in four workers, and somebody who operates it.

``operate`` starts :mod:`operations_app` in gunicorn and gives an :class:`Operator` of it, who asks
on a fresh connection each time, so that any worker may answer.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.utils import retry_timeout

SECRET = "correct-horse-battery-staple"
VERSIONS = {
    "main": {"git_hash": "0123456789abcdef0123456789abcdef01234567", "git_tag": "2.4.1"},
    "packages": {"c2cotel": "0.1.0", "pyramid": "2.1"},
}
_HERE = Path(__file__).parent
_APP = _HERE.parents[1] / "app"


@dataclass(frozen=True)
class Operator:
    """Somebody who knows the secret, unless *secret* is None; *address* is where they sit.

    Every address of 127.0.0.0/8 is this machine: wrong tries from one slow down no other.
    """

    service: Any = field(repr=False)
    secret: str | None = field(default=SECRET, repr=False)
    address: str = "127.0.0.1"
    base: str = "/c2c"
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.service.url

    def ask(self, verb: str, path: str, **how: Any) -> requests.Response:
        """Send a request on a connection of its own, to *path* as it is."""
        headers = {"Accept": "*/*", **how.pop("headers", {})}
        if self.secret is not None:
            headers.setdefault("X-API-Key", self.secret)
        how = {"timeout": 30, "allow_redirects": False, "cookies": self.cookies, **how}
        with _session(self.address) as session:
            return session.request(verb, f"{self.url}{path}", headers=headers, **how)

    def get(self, path: str = "", **params: Any) -> requests.Response:
        """GET below the base path."""
        return self.ask("GET", f"{self.base}/{path}", params=params)

    def post(self, path: str = "", **data: Any) -> requests.Response:
        """POST a form below the base path."""
        return self.ask("POST", f"{self.base}/{path}", data=data)

    def level(self, name: str, **params: Any) -> Any:
        """What the view of log levels says of a logger, or what it is set to."""
        answer = self.get("logging/level", name=name, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def read_back(self, name: str, count: int = 20) -> set[tuple[str, str, str | None]]:
        """What *count* answers of two or more workers say of a logger: all that differ.

        Level and effective level, and the override or None.
        """
        workers: set[str] = set()
        seen: set[tuple[str, str, str | None]] = set()

        def look(_: int) -> None:
            answer = self.get("logging/level", name=name)
            overrides = self.get("logging/level")
            workers.update(a.headers["X-Worker"] for a in (answer, overrides))
            told = answer.json()
            override = overrides.json()["overrides"].get(name)
            seen.add((told["level"], told["effective_level"], override))

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(look, range(count)))
        assert len(workers) >= 2, "one worker answered everything: the machine is idle?"
        return seen

    def levels_by_worker(self, name: str) -> dict[int, str]:
        """The level of a logger in each worker, as the application's own code finds it."""
        found: dict[int, str] = {}

        def look() -> bool:
            with ThreadPoolExecutor(8) as pool:
                for told in pool.map(lambda _: self._level_here(name), range(16)):
                    found[told["pid"]] = told["level"]
            return set(self.service.workers()) <= set(found)

        retry_timeout(look, 20, interval=0)
        return {pid: found[pid] for pid in self.service.workers()}

    def _level_here(self, name: str) -> dict[str, Any]:
        return self.ask("GET", "/test/level", params={"name": name}).json()

    def wait_workers(self, without: Sequence[int] = (), count: int = 4) -> list[int]:
        """Wait until *count* workers answer, none of them in *without*; their process ids."""

        def answer() -> list[int]:
            workers = self.service.workers()
            if len(workers) != count or set(workers) & set(without):
                return []
            self.levels_by_worker("c2cotel_app")
            return workers

        return retry_timeout(answer, 30, interval=0.05)

    def told(self, words: str) -> list[str]:
        """The lines of the application's output with *words* in them."""
        return [line for line in self.service.output().splitlines() if words in line]

    def anonymous(self) -> "Operator":
        return replace(self, secret=None)


@contextlib.contextmanager
def _session(address: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://", _From(address))
        yield session


class _From(requests.adapters.HTTPAdapter):
    """Connections that come from one of this machine's addresses."""

    def __init__(self, address: str) -> None:
        self._source = (address, 0)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=self._source, **kwargs)


Operate = Callable[..., Operator]


def _operate(serve: Callable[..., Any], folder: Path) -> Operate:
    ini = folder / "operations.ini"
    versions = folder / "versions.json"
    versions.write_text(json.dumps(VERSIONS))

    def start(
        *options: str,
        valkey: servers.Valkey | None = None,
        sentinels: servers.Sentinels | None = None,
        env: dict[str, str] | None = None,
        ready: bool = True,
        **how: Any,
    ) -> Operator:
        # The example's own configuration, its application excepted.
        text = (_APP / "production-include.ini").read_text()
        assert "c2cotel_app:main_with_c2cotel" in text
        ini.write_text(text.replace("c2cotel_app:main_with_c2cotel", "operations_app:main"))
        environ = {
            "PYTHONPATH": os.pathsep.join((str(_HERE), str(_APP))),
            "C2C_SECRET": SECRET,
            "C2C_LOG_VIEW_ENABLED": "1",
            "C2C_VERSIONS_FILE": str(versions),
            **({"C2C_REDIS_URL": valkey.url} if valkey else {}),
            **({"C2C_REDIS_SENTINELS": sentinels.addresses} if sentinels else {}),
            **(env or {}),
        }
        how = {"instrument": False, "wait": ready, **how}
        service = serve(*options, ini=str(ini), env=environ, **how)
        operator = Operator(service, environ["C2C_SECRET"] or None)
        if ready:
            operator.wait_workers(count=how.get("workers", 4))
        return operator

    return start


@pytest.fixture(scope="session")
def secret() -> str:
    return SECRET


@pytest.fixture(scope="session")
def versions() -> dict[str, Any]:
    """What is in the versions.json of the applications here."""
    return VERSIONS


@pytest.fixture
def operate(serve, tmp_path) -> Operate:
    """``operate(*options, valkey=None, sentinels=None, env={}, …)``, the rest as for ``serve``."""
    return _operate(serve, tmp_path)


@pytest.fixture(scope="session")
def operate_long(serve_long, tmp_path_factory) -> Operate:
    """The same, for what many tests share."""
    return _operate(serve_long, tmp_path_factory.mktemp("operations"))


@pytest.fixture(scope="session")
def collector() -> Iterator[telemetry.OtlpReceiver]:
    """What the shared application with Redis exports."""
    with telemetry.OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def shared(request, operate_long) -> Callable[[str], Operator]:
    """``shared("redis")``: of an application in four workers that many tests share.

    To start one takes some seconds. Overrides of levels are reset after each test; whatever else
    a test changes, it puts back.
    """
    return _Shared(operate_long, request.getfixturevalue).get


class _Shared:
    def __init__(self, operate: Operate, fixture: Callable[[str], Any]) -> None:
        self._operate = operate
        self._fixture = fixture
        self._started: dict[str, Operator] = {}

    def get(self, name: str) -> Operator:
        if name not in self._started:
            self._started[name] = self._start(name)
        return self._started[name]

    def reset(self) -> None:
        for name, operator in list(self._started.items()):
            try:
                for logger in operator.get("logging/level").json()["overrides"]:
                    operator.get("logging/level", name=logger, reset="1")
            except requests.RequestException:
                # A test has ended it: that one fails, not all that follow.
                operator.service.process.stop()
                del self._started[name]

    def _start(self, name: str) -> Operator:
        server, _, preload = name.partition("+")
        options = [f"--{preload}"] if preload else []
        env = {"C2C_BROADCAST_PREFIX": f"{name}_"}
        how: dict[str, Any] = {}
        match server:
            case "no-redis":
                env["C2C_PROMETHEUS_APPLICATION_PACKAGE"] = "c2cotel"
                how["instrument"] = not preload
            case "redis":
                # Each page on a connection of its own: none hangs on a worker that is stopped.
                options += ["--keep-alive", "0"]
                env["GIT_HASH"] = VERSIONS["main"]["git_hash"]
                how |= {"valkey": self._fixture("valkey"), "instrument": True}
                how["otlp"] = self._fixture("collector")
            case "sentinel":
                how["sentinels"] = self._fixture("sentinels")
        return self._operate(*options, env=env, **how)


@pytest.fixture(autouse=True)
def _as_configured(request) -> Iterator[None]:
    """Nothing that a test has set is still so in the next one."""
    yield
    if "shared" in request.fixturenames:
        request.getfixturevalue("shared").__self__.reset()
