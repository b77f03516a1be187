"""An application with health checks in four workers, and somebody who asks for its health.

``probe`` is of one that all tests share: it lies in ``/app``, as in its image, and what it asks for
names of hosts is a server of the test's (``silent_dns``). For this the tests have to be run by
root; others skip what needs it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.utils import retry_timeout

SECRET = "correct-horse-battery-staple"
VERSION = "0123456789abcdef0123456789abcdef01234567"
RESOLVER = "127.53.53.53"
_HERE = Path(__file__).parent
_APP = _HERE.parents[1] / "app"

# A root of one's own, with everything that there is and besides /app and another resolver.
_OWN_ROOT = """
root=$1 app=$2 resolver=$3; shift 3
mount -t tmpfs -o size=64k,mode=755 tmpfs $root
for entry in /*; do
    if [ -L $entry ]; then cp -P $entry $root
    elif [ -d $entry ]; then mkdir $root$entry && mount --rbind $entry $root$entry
    fi
done
mkdir -p $root/app && mount --bind $app $root/app
echo "nameserver $resolver" > $root/resolv.conf
mount --bind $root/resolv.conf $root/etc/resolv.conf
exec chroot $root env --chdir=/app PWD=/app "$@"
"""


@dataclass(frozen=True)
class Probe:
    """Somebody who asks for the health, on a fresh connection each time, so that any worker may
    answer; they know the secret, unless *secret* is None.
    """

    service: Any = field(repr=False)
    folder: Path
    secret: str | None = field(default=SECRET, repr=False)

    def ask(self, path: str, **params: Any) -> requests.Response:
        headers = {} if self.secret is None else {"X-API-Key": self.secret}
        return requests.get(f"{self.service.url}{path}", params=params, headers=headers, timeout=30)

    def check(self, **params: Any) -> "Report":
        """What the seed's view says."""
        began = time.monotonic()
        answer = self.ask("/c2c/health_check", **params)
        took = time.monotonic() - began
        return Report(
            answer.status_code, answer.json(), took, int(answer.headers.get("X-Worker", "0"))
        )

    def ready(self) -> int:
        return self.ask("/c2c/health/ready").status_code

    def trouble(self, **what: Any) -> None:
        """Have the checks at level 5 do *what*, see :mod:`health_app`."""
        written = self.folder / "control.new"
        written.write_text(json.dumps(what))
        written.replace(self.folder / "control.json")

    def be(self, *, happy: bool) -> None:
        """Have the check called custom pass, or fail."""
        mood = self.folder / "not_happy"
        mood.unlink(missing_ok=True) if happy else mood.touch()

    def anonymous(self) -> "Probe":
        return replace(self, secret=None)


@dataclass(frozen=True)
class Report:
    """An answer of ``health_check``, *took* seconds after it was asked for."""

    status: int
    body: dict[str, Any]
    took: float
    worker: int

    @property
    def failing(self) -> frozenset[str]:
        return frozenset(self.body["failures"])

    @property
    def passing(self) -> frozenset[str]:
        return frozenset(self.body["successes"])

    def message(self, name: str) -> str:
        return self.body["failures"][name]["message"]


Start = Callable[..., Probe]


def _start(serve: Callable[..., Any], folder: Path) -> Start:
    def start(
        *options: str,
        version: str | None = VERSION,
        env: dict[str, str] | None = None,
        **how: Any,
    ) -> Probe:
        # The example's own configuration, its application excepted.
        text = (_APP / "production-include.ini").read_text()
        assert "c2cotel_app:main_with_c2cotel" in text
        text = text.replace("c2cotel_app:main_with_c2cotel", "health_app:main")
        text = text.replace("[app:main]", "[app:main]\ncontrol = %(here)s/control.json")
        (folder / "health.ini").write_text(text)
        versions = folder / "versions.json"
        if version is not None:
            versions.write_text(json.dumps({"main": {"git_hash": version}, "packages": {}}))
        environ = {
            "PYTHONPATH": os.pathsep.join((str(_HERE), str(_APP))),
            "C2C_SECRET": SECRET,
            "C2C_VERSIONS_FILE": str(versions),
            **(env or {}),
        }
        probe = Probe(None, folder)
        probe.trouble()
        how = {"instrument": False, **how}
        service = serve(*options, ini=str(folder / "health.ini"), env=environ, **how)
        return replace(probe, service=service)

    return start


@pytest.fixture
def start(serve, tmp_path) -> Start:
    """``start(*options, version=VERSION, env={}, …)``, the rest as for ``serve``."""
    return _start(serve, tmp_path)


@pytest.fixture(scope="session")
def own_root(tmp_path_factory) -> tuple[str, ...]:
    """A command that runs another one in a root of its own; none where we may not make one."""
    root = tmp_path_factory.mktemp("root")
    root.parent.chmod(0o755)
    command = ("unshare", "--mount", "sh", "-euc", _OWN_ROOT, "sh", str(root), str(_APP), RESOLVER)
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return () if tried.returncode else command


@pytest.fixture(scope="session")
def _shared(serve_long, postgres, valkey, own_root, tmp_path_factory) -> Probe:
    env = {
        "C2C_REDIS_URL": valkey.url,
        # The same URL would be the same engine.
        "SQLALCHEMY_SLAVE_URL": f"{postgres.url}?keepalives=1",
        **({"PYTHONPATH": os.pathsep.join((str(_HERE), "/app"))} if own_root else {}),
    }
    start = _start(serve_long, tmp_path_factory.mktemp("health"))
    return start(env=env, within=own_root)


@pytest.fixture
def probe(_shared) -> Iterator[Probe]:
    """Of the shared application; everything passes when a test begins."""
    retry_timeout(lambda: not _shared.check(max_level="100").failing, 20, 0.1)
    yield _shared
    _shared.trouble()
    _shared.be(happy=True)


@pytest.fixture
def in_own_root(own_root):
    if not own_root:
        pytest.skip("No root of its own can be made for the application here, run this as root")


@pytest.fixture
def silent_dns() -> Iterator[None]:
    """A server that gets the questions of the shared application for hosts, and never answers."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind((RESOLVER, 53))
        yield


@dataclass(frozen=True)
class Database:
    """The database that the applications share, seen by its superuser."""

    server: servers.Postgres

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host="127.0.0.1", port=self.server.port, user="postgres", dbname="app"
        )

    def connections(self, state: str = "%") -> int:
        """How many connections the application has open, in *state* as LIKE has it."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE %s"
        with contextlib.closing(self.connect()) as connection:
            row = connection.execute(query, [state]).fetchone()
        assert row is not None
        return int(row[0])

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else can even read *table* meanwhile."""
        with contextlib.closing(self.connect()) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The server and each process that serves a connection are stopped meanwhile."""
        process = self.server.process
        assert process is not None
        stopped = [process.pid]
        process.signal(signal.SIGSTOP)
        try:
            for pid in process.children():
                process.signal(signal.SIGSTOP, pid)
                stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                process.signal(signal.SIGCONT, pid)


@pytest.fixture
def database(postgres) -> Database:
    if postgres.process is None:
        pytest.skip("This needs a PostgreSQL of its own: unset C2C_ACCEPTANCE_POSTGRES_URL")
    return Database(postgres)
