"""``c2cotel demo``, as it is typed."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from c2cotel_acceptance.processes import Process, script
from c2cotel_acceptance.utils import retry_timeout


def _still_running(mark):
    """The processes that have *mark* in their environment: descendants, wherever they went."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environ.read_bytes():
                found.append(environ.parent.joinpath("cmdline").read_text().replace("\0", " "))
    return found


@pytest.fixture
def demo(tmp_path):
    """Starts the demo with a temporary directory of its own; looks at what is left at the end."""
    mark = uuid.uuid4().hex
    # Not below tmp_path, where names are longer than a socket of PostgreSQL may have.
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        temporary = Path(folder)
        temporary.chmod(0o755)  # PostgreSQL's user goes through there
        environ = {**os.environ, "TMPDIR": folder, "MARK": mark}
        argv = [script("c2cotel"), "demo"]
        with Process(argv, log=tmp_path / "out", env=environ, stop_signal=signal.SIGINT) as process:
            yield process
        assert list(temporary.iterdir()) == []
        assert _still_running(mark) == []


@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.4, 2.0, 4.0, 7.0])
def test_ctrl_c_at_any_moment_leaves_nothing_behind(demo, seconds):
    time.sleep(seconds)
    demo.signal(signal.SIGINT)
    demo.signal(signal.SIGINT)  # people press it twice
    demo.wait(30)


def test_term_ends_the_running_demo_cleanly(demo):
    retry_timeout(lambda: "Ctrl-C ends it all" in demo.output(), timeout=60)
    demo.signal(signal.SIGTERM)
    assert demo.wait(30) == 0
    assert "nothing is left behind" in demo.output()


def test_the_check_finds_every_request_everywhere():
    done = subprocess.run(
        [script("c2cotel"), "demo", "--check", "--requests", "300"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong" not in done.stdout


def test_json_is_for_the_check():
    done = subprocess.run(
        [script("c2cotel"), "demo", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("c2cotel demo: --json is for what --check finds")
