import os
import subprocess
import sys
import threading
import time
import warnings

from c2cotel.pool import DaemonPool


def test_work_is_done_by_daemon_threads():
    pool, done, names = DaemonPool(2, 10, "pool"), threading.Barrier(3), []

    def work(name):
        names.append((name, threading.current_thread().daemon, pool.is_mine()))
        done.wait(10)

    assert pool.submit(work, "a")
    assert pool.submit(work, "b")
    done.wait(10)
    assert sorted(names) == [("a", True, True), ("b", True, True)]
    assert not pool.is_mine()


def test_no_more_threads_than_allowed_and_no_more_work_than_may_wait():
    pool, release, started = DaemonPool(2, 3, "pool"), threading.Event(), threading.Semaphore(0)

    def work():
        started.release()
        release.wait(10)

    for _ in range(2):
        assert pool.submit(work)
        assert started.acquire(timeout=10)
    assert [pool.submit(work) for _ in range(4)] == [True, True, True, False]
    assert len([t for t in threading.enumerate() if t in pool._threads]) == 2
    release.set()
    assert all(started.acquire(timeout=10) for _ in range(3))
    assert pool.submit(work)


def test_one_thread_does_for_work_that_comes_one_by_one():
    pool = DaemonPool(8, 10, "pool")
    for _ in range(50):
        done = threading.Event()
        assert pool.submit(done.set)
        assert done.wait(10)
        while not pool._idle:
            time.sleep(0)
    assert len(pool._threads) == 1


def test_what_work_raises_is_logged_and_the_next_is_done(caplog):
    pool, done = DaemonPool(1, 10, "pool"), threading.Event()
    pool.submit(lambda: 1 / 0)
    pool.submit(done.set)
    assert done.wait(10)
    assert "ZeroDivisionError" in caplog.text
    assert caplog.records[0].getMessage().startswith("pool: <function ")


def test_a_forked_child_has_threads_of_its_own():
    pool, release = DaemonPool(1, 1, "pool"), threading.Event()
    pool.submit(release.wait, 10)
    pool.submit(release.wait, 10)
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; that this works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        done = threading.Event()
        os._exit(0 if pool.submit(done.set) and done.wait(10) else 1)
    release.set()
    assert os.waitpid(pid, 0)[1] == 0


def test_nothing_waits_for_it_at_exit():
    program = (
        "import threading\n"
        "from c2cotel.pool import DaemonPool\n"
        "DaemonPool(1, 1, 'pool').submit(threading.Event().wait, 60)\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert time.monotonic() - began < 20
