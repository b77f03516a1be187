"""Death by SIGTERM of a process that nobody taught to handle it: pserve, scripts, their children.

gunicorn does, see the acceptance tests.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import requests

from c2cotel.otel.exit import Exit
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver

from .conftest import clean_environ

# What pserve does: waitress in the main thread of a process of its own.
SERVE = """
import os
from pyramid.config import Configurator
from pyramid.response import Response
from waitress.server import create_server

config = Configurator()
config.include("c2cotel.pyramid")
config.add_route("r", "/r")
config.add_view(lambda request: Response("x"), route_name="r")
server = create_server(config.make_wsgi_app(), host="127.0.0.1", port=0)
print(server.effective_port, os.environ["C2C_RUN_DIR"], flush=True)
server.run()
"""

CHILD = """
import multiprocessing, os, time, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
from c2cotel import otel
from opentelemetry import trace

def work(ready):
    trace.get_tracer("t").start_span("child").end()
    ready.set()
    time.sleep(60)

otel.instrument()
context = multiprocessing.get_context("fork")
ready = context.Event()
child = context.Process(target=work, args=(ready,))
child.start()
ready.wait()
child.terminate()
child.join()
print(child.exitcode, os.path.exists(os.environ["C2C_RUN_DIR"]), flush=True)
time.sleep(60)
"""

LAUNCHER = str(Path(sys.executable).with_name("opentelemetry-instrument"))


class Running:
    """A process that has written its first line."""

    def __init__(self, code: str, *launcher: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-c", code],
            env=clean_environ(PYTHONWARNINGS="ignore", **environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self.told = self.process.stdout.readline().split()
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()

    def terminate(self) -> tuple[int, float, str]:
        """Its status, the seconds that it took to end, and what it wrote on stderr."""
        started = time.monotonic()
        self.process.terminate()
        _, errors = self.process.communicate(timeout=30)
        # waitress' own word on a slow machine.
        said = (line for line in errors.splitlines() if not line.startswith("Task queue depth"))
        return self.process.returncode, time.monotonic() - started, "\n".join(said)


@pytest.mark.parametrize("launcher", [(), (LAUNCHER,)])
def test_nothing_is_lost_and_nothing_is_left(launcher):
    with (
        OtlpReceiver() as collector,
        Running(SERVE, *launcher, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint) as server,
    ):
        port, run_dir = server.told
        for _ in range(20):
            assert requests.get(f"http://127.0.0.1:{port}/r", timeout=5).text == "x"
        assert Path(run_dir).is_dir()
        assert server.terminate()[::2] == (-signal.SIGTERM, "")
        assert len(collector.server_spans()) == 20
        counts = [it.count for it in collector.points if it.name == "http.server.request.duration"]
        assert counts == [20]
        assert not Path(run_dir).exists()


@pytest.mark.alone
def test_a_hanging_collector_is_given_its_time_and_no_more():
    with (
        HangingCollector() as collector,
        Running(
            SERVE, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, C2C_EXIT_TIMEOUT="2"
        ) as server,
    ):
        port, run_dir = server.told
        requests.get(f"http://127.0.0.1:{port}/r", timeout=5)
        status, took, errors = server.terminate()
    assert status == -signal.SIGTERM
    assert 1.9 < took < 4
    # On a busy machine waitress may have warned of its queue, which is a log record to be sent.
    assert re.search(r"ends with 1 spans( and \d+ log records)? undelivered", errors)
    assert not Path(run_dir).exists()


def test_a_child_of_multiprocessing_sends_its_own_and_leaves_the_rest_to_its_parent():
    with (
        OtlpReceiver() as collector,
        Running(CHILD, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint) as parent,
    ):
        assert parent.told == ["-15", "True"]
        assert [span.name for span in collector.spans] == ["child"]
        assert parent.terminate()[::2] == (-signal.SIGTERM, "")


def test_who_has_a_handler_keeps_it(in_child):
    def kept():
        signal.signal(signal.SIGTERM, mine := lambda *_: None)
        end = Exit(1)
        end.last.append(lambda _: None)
        end.heed_sigterm()
        return signal.getsignal(signal.SIGTERM) is mine

    assert in_child(kept)


def test_where_there_is_nothing_to_lose_nothing_is_handled(in_child):
    def default():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        Exit(1).heed_sigterm()
        return signal.getsignal(signal.SIGTERM)

    assert in_child(default) is signal.SIG_DFL


def test_in_another_thread_python_lets_nobody_handle_it(in_child):
    def default():
        from threading import Thread

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end = Exit(1)
        end.last.append(lambda _: None)
        thread = Thread(target=end.heed_sigterm)
        thread.start()
        thread.join()
        return signal.getsignal(signal.SIGTERM)

    assert in_child(default) is signal.SIG_DFL


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("ending", [False, True])
def test_a_signal_ends_the_process_once_all_is_done_also_when_it_was_ending(in_child, ending):
    def died_of():
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            end = Exit(5)
            if ending:
                end.last.append(lambda _: os.kill(os.getpid(), signal.SIGTERM))
            end.last.append(lambda _: time.sleep(0.3))
            end.last.append(lambda _: os.write(writing, b"done"))
            end.heed_sigterm()
            end.run() if ending else os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), os.read(reading, 100)

    assert in_child(died_of) == (-signal.SIGTERM, b"done")
