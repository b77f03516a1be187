"""Orders and profiles in a service of several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import JSON, PAGE

WORKERS = 3


class Worker:
    def __init__(self, directory):
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("C2C_")},
            "C2C_RUN_DIR": str(directory),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def hear(self):
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def send(self, *paths):
        self._process.stdin.write(json.dumps(paths) + "\n")
        self._process.stdin.flush()

    def ask(self, path):
        self.send(path)
        ((status, _, text),) = self.hear()
        assert status == 200, text
        return text

    def tell(self, query=""):
        return json.loads(self.ask(f"{JSON}?{query}"))

    def kill(self):
        self._process.kill()
        self.end()

    def end(self):
        self._process.stdin.close()
        assert self._process.wait(30) is not None
        self._process.stdout.close()


@pytest.fixture
def workers(tmp_path):
    directory = tmp_path / "run"
    workers = [Worker(directory) for _ in range(WORKERS)]
    for worker in workers:
        assert worker.hear() == str(directory)
    yield workers
    for worker in workers:
        if worker._process.returncode is None:
            worker.end()


def test_all_processes_together_take_as_many_as_are_ordered(workers, tmp_path):
    assert workers[0].tell("requests=4&route=/hello/*&ttl=60")["ordered"]["taken"] == 0
    for number, worker in enumerate(workers):
        worker.send(*(f"/hello/{number}-{each}" for each in range(4)))
    for worker in workers:
        assert [status for status, _, _ in worker.hear()] == [200] * 4
    told = workers[1].tell()
    assert told["ordered"]["taken"] == 4
    assert len(told["profiles"]) == 4
    assert {profile["route"] for profile in told["profiles"]} == {"/hello/{name}"}
    # Each can show what any of them has found, also of one that is no more.
    workers[0].kill()
    listed = workers[2].tell()["profiles"]
    assert {each["id"] for each in listed} == {each["id"] for each in told["profiles"]}
    for profile in listed:
        assert "hot_function" in workers[2].ask(f"{PAGE}/{profile['id']}")
    assert list((tmp_path / "run").glob("claim-*"))
    assert workers[1].tell("requests=0")["ordered"] is None
    assert not list((tmp_path / "run").glob("claim-*"))
