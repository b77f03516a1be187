"""Run the application and its servers with ``docker compose`` while the tests go on.

::

    @pytest.fixture(scope="session")
    def composition(request):
        return Composition(request, str(Path(__file__).parents[1] / "compose.yaml"))


    def test_it_survives_its_database(composition, app_connection):
        composition.stop("db")
        app_connection.get("c2c/health_check", expected_status=500)
        composition.start("db")

What stands in the environment:

================  ========  ====================================================================
variable          default   meaning
================  ========  ====================================================================
``docker_start``  1         0: it runs already, neither build nor start it
``docker_stop``   1         0: let it run when the tests end
``docker_keep``   0         1: let it run when a test failed, to look at it
``DOCKER_TAG``    latest    for the compose file, as are ``DOCKER_CB_HOST`` (localhost) and
                            ``TEST_IP`` (this machine, seen from the containers)
================  ========  ====================================================================

When a test fails, the end of the containers' logs is shown.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, Self

import pytest

from c2cotel_acceptance import docker
from c2cotel_acceptance.containers import (
    CompositionError,
    Container,
    containers,
    not_ready,
    ruined,
)
from c2cotel_acceptance.processes import MissingError

__all__ = ["Composition", "CompositionError", "Container"]

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (CompositionError, MissingError))

_INTERVAL = 0.5  # seconds between two looks at the containers
_TAIL = 200  # lines of the logs that a failure shows
_REPORTS = "/reports/"


class Composition:
    """The composition of the compose file *composition*, from now until *request* ends.

    Args:
        request: The ``request`` of the pytest fixture: when the fixture ends, so does this.
        composition: The path of the compose file; commands run in its folder.
        coverage_paths: ``CONTAINER:PATH`` of what is copied to *reports* after the stop.
        project: The project's name; none is what compose makes of the folder's. Two runs on one
            machine need two names, and so do two workers of pytest-xdist.
        env: Variables for the compose file, besides those of this process.
        build: Build the images before the start.
        keep: Let it run when a test failed (default: ``docker_keep``).
        timeout: Seconds until all services are healthy, and for each command.
        reports: The folder that coverage data goes to.

    Raises:
        MissingError: there is no ``docker compose``; the text says what to do.
        UsageError: several workers of pytest-xdist would start and stop the same one.
        CompositionError: compose failed, or a service ended or is not healthy; with its logs.
    """

    def __init__(  # noqa: PLR0913 - what a composition is started with, mostly by keyword
        self,
        request: pytest.FixtureRequest,
        composition: str | os.PathLike[str],
        coverage_paths: Sequence[str] | None = None,
        *,
        project: str | None = None,
        env: Mapping[str, str] | None = None,
        build: bool = True,
        keep: bool | None = None,
        timeout: float = 300,
        reports: str | os.PathLike[str] = _REPORTS,
    ) -> None:
        path = Path(composition).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such compose file")
        self.cwd = str(path.parent)
        self.coverage_paths = coverage_paths
        self.reports = Path(reports)
        self.timeout = timeout
        self.keep = docker.is_set("docker_keep", default=False) if keep is None else keep
        self.env = docker.environ() | dict(env or {})
        self.docker_compose = [*docker.compose(self.env), f"--file={path.name}"]
        if project is not None:
            self.docker_compose.append(f"--project-name={project}")
        self._session = request.session
        self._config = request.config
        self._failed_before = request.session.testsfailed
        starts = docker.is_set("docker_start", default=True)
        stops = docker.is_set("docker_stop", default=True)
        workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
        if workers != "1" and project is None and (starts or stops):
            raise pytest.UsageError(
                f"{path}: {workers} workers of pytest-xdist would each start it, and stop it under "
                "the others. Start it yourself and set docker_start=0 and docker_stop=0 in the "
                "environment, or give each worker a project of its own, without published ports"
            )
        self._ends = stops
        request.addfinalizer(self._end)
        if starts:
            self._start_all(build=build)

    # One service

    def start(self, container: str, timeout: float | None = None) -> None:
        """Start a service that was stopped, and wait until it is healthy."""
        self.dc(["start", container])
        self.wait_healthy(container, timeout=timeout)

    def stop(self, container: str) -> None:
        """Stop a service."""
        self.dc(["stop", container])

    def restart(self, container: str, timeout: float | None = None) -> None:
        """Stop a service, start it, and wait until it is healthy."""
        self.dc(["restart", container])
        self.wait_healthy(container, timeout=timeout)

    def exec(self, container: str, *command: str, **kwargs: Any) -> str:
        """Run *command* in a running service; return its output.

        *kwargs* are those of :func:`subprocess.run`, such as ``input``.
        """
        return self.dc(["exec", "-T", container, *command], **kwargs)

    def run(self, container: str, *command: str, **kwargs: Any) -> str:
        """Run *command* in a new container of a service; return its output."""
        return self.dc(["run", "--rm", "-T", container, *command], **kwargs)

    def logs(self, *names: str, tail: int | None = None) -> str:
        """What these services (default: all) have written; the last *tail* lines of each."""
        end = [] if tail is None else [f"--tail={tail}"]
        return self.dc(["logs", "--no-color", *end, *names], stderr=subprocess.STDOUT)

    def address(self, container: str, port: int) -> str:
        """``HOST:PORT`` where the service's *port* is published on this machine."""
        told = self.dc(["port", container, str(port)]).strip()
        host, _, published = told.rpartition(":")
        if not published.isdigit() or published == "0":
            raise CompositionError(1, ["port", container, str(port)], told or "not published")
        return f"{'127.0.0.1' if host == '0.0.0.0' else host.replace('[::]', '[::1]')}:{published}"  # noqa: S104 - that is what docker says

    # All of them

    def containers(self) -> list[Container]:
        """Every container, also those that ended."""
        return containers(self.dc(["ps", "--all", "--format=json"]))

    def wait_healthy(self, *names: str, timeout: float | None = None) -> None:
        """Wait until these services (default: all) run and are healthy, or ended with status 0.

        Raises:
            CompositionError: one ended or is unhealthy, or it takes more than *timeout* seconds.
        """
        timeout = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while True:
            found = [one for one in self.containers() if not names or one.service in names]
            if bad := ruined(found):
                raise self._unhealthy(bad, "will not become healthy")
            missing = set(names) - {one.service for one in found}
            waiting = not_ready(found)
            if found and not missing and not waiting:
                return
            if time.monotonic() >= deadline:
                if not waiting:
                    gone = ", ".join(sorted(missing)) or "any service"
                    raise CompositionError(
                        1, self.docker_compose, f"There is no container of {gone}"
                    )
                raise self._unhealthy(waiting, f"not healthy after {timeout:g} s")
            time.sleep(_INTERVAL)

    def stop_all(self) -> None:
        """Stop all services, and copy the coverage data out of their containers."""
        self.dc(["stop"])
        for path in self.coverage_paths or ():
            self.reports.mkdir(parents=True, exist_ok=True)
            self._run([self.docker_compose[0], "cp", path, str(self.reports)])

    def dc(self, args: Sequence[str], **kwargs: Any) -> str:
        """Run ``docker compose`` with *args*; return what it writes to its standard output.

        *kwargs* are those of :func:`subprocess.run`.

        Raises:
            CompositionError: it failed, or took more than *timeout* seconds.
        """
        return self._run([*self.docker_compose, *args], **kwargs)

    def dc_try(
        self, args: Sequence[str], *, fail: bool = True, times: int = 5, delay: float = 10
    ) -> None:
        """As :meth:`dc`, up to *times* times, *delay* seconds apart.

        With ``fail=False`` it may fail each time.
        """
        for left in reversed(range(times)):
            try:
                self.dc(args)
            except CompositionError:
                if left:
                    time.sleep(delay)
                elif fail:
                    raise
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    # Within

    def _start_all(self, *, build: bool) -> None:
        self.dc(["down", "--remove-orphans"])  # what an earlier run may have left
        if build:
            self.dc(["build"])
        self.dc(["up", "--detach"])
        self.wait_healthy()

    def _end(self) -> None:
        """Once: a ``with`` ends before *request* does."""
        if not self._ends:
            return
        self._ends = False
        failed = self._session.testsfailed > self._failed_before
        if failed:
            self._say(f"Logs of the composition in {self.cwd}:", self._last_logs())
            if self.keep:
                command = " ".join(self.docker_compose)
                self._say(f"It still runs; in {self.cwd}: {command} ps | logs | down")
                return
        try:
            self.stop_all()
        finally:
            self.dc(["down", "--remove-orphans"])

    def _say(self, *lines: str) -> None:
        """Say it past pytest's capture, which shows nobody what a passing last test printed."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - to a person

    def _last_logs(self, *names: str) -> str:
        try:
            return self.logs(*names, tail=_TAIL)
        except CompositionError as error:
            return f"(no logs: {error})"

    def _unhealthy(self, which: list[Container], what: str) -> CompositionError:
        names = sorted({one.service for one in which})
        told = "; ".join(str(one) for one in which)
        return CompositionError(
            1, self.docker_compose, f"{what}: {told}\n{self._last_logs(*names)}"
        )

    def _run(self, argv: list[str], **kwargs: Any) -> str:
        how = {"cwd": self.cwd, "env": self.env, "timeout": self.timeout} | kwargs
        return docker.run(argv, **how)
