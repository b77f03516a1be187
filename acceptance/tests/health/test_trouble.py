"""What a check asks hangs, drips or is gone: the view answers in time, and blames nobody else."""

import contextlib
import itertools
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from c2cotel_acceptance.utils import retry_timeout

HELLO = "http://localhost/api/hello"
ALEMBIC = "alembic_app_alembic.ini_alembic"
READING = {"db_engine_sqlalchemy", "db_engine_sqlalchemy_slave", HELLO}
ALL = {*READING, "custom", "version", ALEMBIC, "db_engine_slow", "drip", "lost"}
# Seconds that the default of the longest check is, and what a slow machine takes besides.
LONGEST = 3.0 + 2.0
THREADS = 4


@pytest.fixture
def everything(probe, valkey, own_root):
    """Ask for all checks; gives a report whose checks fail as expected, or pass."""
    known = {*ALL, valkey.url}
    if not own_root:  # then the name of the check has another folder in it
        known = probe.check(max_level=100).passing

    def ask(failing):
        report = probe.check(max_level=100)
        assert (report.failing, report.passing) == (set(failing), known - set(failing))
        assert report.status == (500 if failing else 200)
        assert report.took < LONGEST
        return report

    ask(())
    return ask


@pytest.mark.alone
@pytest.mark.usefixtures("in_own_root")
def test_only_who_reads_a_locked_table_fails(everything, database):
    with database.locked("alembic_version"):
        report = everything({ALEMBIC})
    assert "lock timeout" in report.message(ALEMBIC)
    assert 1.5 < report.took < 3
    with database.locked("message"):
        everything(READING)
    retry_timeout(lambda: everything(()), 10, 0.1)
    assert database.connections("idle in transaction%") == 0


def test_a_locked_table_is_told_to_load_balancers(probe, database):
    with database.locked("message"):
        # Not more of them: who comes to a crowd is told what was so before.
        assert at_once(probe.ready, 2) == [503] * 2
        assert probe.ask("/c2c/health/live").status_code == 200
        told = probe.anonymous().check().body["failures"]["db_engine_sqlalchemy"]
    assert told["message"] == "OperationalError: LockNotAvailable"


@pytest.mark.alone
@pytest.mark.usefixtures("in_own_root")
def test_a_hung_database_fails_what_needs_it(everything, database, probe):
    guilty = {*READING, ALEMBIC, "db_engine_slow"}
    own = ",".join(guilty - {HELLO})
    with database.hanging():
        report = everything(guilty)
        assert "No result after 2.0 s" in report.message("db_engine_sqlalchemy")
        # Who comes later has not to wait again for what hangs, nor starts it again.
        first = at_once(probe.check, max_level=100, checks=own)
        assert {each.took < LONGEST for each in first} == {True}
        threads = {pid: threads_of(pid) for pid in probe.service.workers()}
        known = {each.worker for each in (report, *first)}
        again = at_once(probe.check, max_level=100, checks=own)
        assert {each.took < 0.9 for each in again if each.worker in known} == {True}
        # gunicorn makes its own only when it needs them.
        assert all(threads_of(pid) <= threads[pid] + THREADS for pid in known)
        assert probe.ask("/c2c/health/live").elapsed.total_seconds() < 1
    retry_timeout(lambda: everything(()), 20, 0.1)
    retry_timeout(lambda: database.connections("idle in transaction%") == 0, 5, 0.1)


def at_once(ask, count=8, **params):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(**params), range(count)))


def threads_of(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.fixture
def _there_again(valkey):
    yield
    if valkey.process.returncode is not None:
        valkey.restart()
    valkey.resume()


@pytest.mark.usefixtures("_there_again")
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_without_redis_only_its_own_check_fails(everything, valkey, how, probe):
    getattr(valkey, how)()
    reports = [everything({valkey.url}) for _ in range(6)]
    # What others run is known all the same: they are on this host.
    assert {each.body["successes"]["version"]["result"]["count"] for each in reports} == {4}
    assert [probe.ready() for _ in range(6)] == [200] * 6
    valkey.resume() if how == "pause" else valkey.restart()
    retry_timeout(lambda: everything(()), 20, 0.1)


@contextlib.contextmanager
def dripping():
    """A URL that sends its header a byte a second."""
    ended = threading.Event()

    def drip(connection):
        text = itertools.chain(b"HTTP/1.1 200 OK\r\n", itertools.cycle(b"X-Header: x\r\n"))
        with connection, contextlib.suppress(OSError):
            for byte in text:
                connection.sendall(bytes([byte]))
                if ended.wait(1):
                    return

    def serve():
        with contextlib.suppress(OSError):
            while True:
                drips.append(threading.Thread(target=drip, args=[listener.accept()[0]]))
                drips[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        drips = [threading.Thread(target=serve)]
        drips[0].start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        for thread in drips:
            thread.join()


@pytest.mark.usefixtures("in_own_root")
def test_a_url_that_drips_is_given_up(everything, probe):
    with dripping() as url:
        probe.trouble(drip=url)
        report = everything({"drip"})
        assert "No result after 3.0 s" in report.message("drip")
        assert report.took > 2.9
        probe.trouble()
        # It is broken off, and so it can be asked again at once.
        everything(())


@pytest.mark.usefixtures("in_own_root", "silent_dns")
def test_a_name_that_nobody_resolves_fails_its_own_check(everything, probe):
    probe.trouble(lost="http://nobody.knows.example/")
    report = everything({"lost"})
    assert "No result after 3.0 s" in report.message("lost")
    assert report.took > 2.9
