"""What happens to a profile when its process forks or ends."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BEGIN = """
import os, queue, sys, threading, time
from c2cotel_instrumentation.running import Running
from c2cotel_instrumentation.sampler import Order, Sampler

sampler = Sampler(Running())
samples = queue.SimpleQueue()
sampler.start(Order(60), "parent", samples.put)
"""


def run(program):
    """What *program* prints, with a profile of a minute on."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            BEGIN + textwrap.dedent(program),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[2] / "instrumentation",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forked_child_has_no_profile_on_and_can_have_its_own():
    told = run(
        """
        if not (child := os.fork()):
            assert sampler.current is None
            assert sampler.stop()
            sampler.start(Order(0.1, mode="cpu"), "child", samples.put)
            until = time.process_time() + 0.05
            while time.process_time() < until:
                pass
            mine = samples.get(timeout=10)
            threads = {stack.thread for stack in mine.stacks}
            print(mine.profile_id, mine.problem, threads, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert sampler.current.profile_id == "parent"
        assert sampler.stop()
        mine = samples.get_nowait()
        print(mine.profile_id, mine.problem, mine.ticks > 0)
        """
    )
    assert told.splitlines() == ["child None {'MainThread'}", "parent None True"]


def test_a_child_that_is_forked_while_a_profile_begins_is_free():
    told = run(
        """
        with sampler._lock:  # as another thread of the parent would
            if not (child := os.fork()):
                sampler.start(Order(0.05), "child", samples.put)
                print(samples.get(timeout=10).profile_id, flush=True)
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert told == "child\n"


def test_a_child_that_the_end_of_a_profile_forks_is_free():
    told = run(
        """
        assert sampler.stop()
        done = threading.Event()

        def fork(_):
            if not (child := os.fork()):
                sampler.start(Order(0.05), "child", samples.put)
                samples.get()
                print(samples.get(timeout=10).profile_id, flush=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            done.set()

        sampler.start(Order(0.05), "second", fork)
        assert done.wait(20)
        """
    )
    assert told == "child\n"


@pytest.mark.parametrize("way", ["pass", "sys.exit(0)", "os._exit(0)"])
def test_the_interpreter_exits_at_once_during_a_profile(way):
    # The limit of half a minute is half of what the profile would take.
    assert run(f"print('on', flush=True)\n{way}\n") == "on\n"


def test_an_exit_handler_that_stops_gets_the_samples():
    told = run(
        """
        import atexit

        def tell():
            assert sampler.stop()
            print(samples.get_nowait().ended_early)

        atexit.register(tell)
        time.sleep(0.05)
        """
    )
    assert told == "True\n"
