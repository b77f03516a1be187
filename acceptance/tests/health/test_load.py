"""Many ask at once while a check is slow, as balancers of several networks do."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from c2cotel_acceptance.utils import retry_timeout

WORKERS, THREADS = 4, 4
HELLO = "http://localhost/api/hello"  # of the same application
CHECKS = ("db_engine_sqlalchemy", "db_engine_sqlalchemy_slave", "db_engine_slow", HELLO)


class Watch(threading.Thread):
    """Pings the application, and counts the connections to its database, until it is left."""

    def __init__(self, probe, database):
        super().__init__()
        self._probe = probe
        self._database = database
        self._ended = threading.Event()
        self.statuses = set()
        self.pings = []
        self.connections = []

    def run(self):
        while not self._ended.wait(0.05):
            began = time.monotonic()
            self.statuses.add(self._probe.ask("/api/ping").status_code)
            self.pings.append(time.monotonic() - began)
            self.connections.append(self._database.connections())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


@pytest.mark.alone
def test_320_calls_at_once_leave_nothing_open_and_starve_nobody(start, database):
    """The first 16 come to an application that knows nothing of its checks: nobody of a crowd is
    told that all is well, nor made to wait until no thread is left for the application's own page.
    """
    probe = start(
        workers=WORKERS, env={"SQLALCHEMY_SLAVE_URL": f"{database.server.url}?keepalives=1"}
    )
    probe.trouble(sleep=0.7)
    before = database.connections()
    began = time.monotonic()

    def call(_):
        return time.monotonic() - began, probe.check(max_level=100, checks=",".join(CHECKS))

    with Watch(probe, database) as watch, ThreadPoolExecutor(16) as pool:
        calls = list(pool.map(call, range(320)))
    crowd = [(at, report) for at, report in calls if report.failing]
    assert len(crowd) <= 48
    for at, report in crowd:
        assert at < 5
        assert {report.message(name)[:13] for name in report.failing} == {"No result yet"}
    good = [report for _, report in calls if not report.failing]
    assert {(report.status, report.passing) for report in good} == {(200, frozenset(CHECKS))}
    assert max(report.took for _, report in calls) < 5

    # Pings wait in the same queue of the same worker as some of the calls.
    assert watch.statuses == {200}
    assert max(watch.pings) < 3
    assert sorted(watch.pings)[len(watch.pings) // 2] < 0.5
    # Each check has one at a time, each thread of the server one for the page that is asked for.
    assert max(watch.connections) - before <= WORKERS * (len(CHECKS) - 1 + THREADS)
    retry_timeout(lambda: database.connections("idle in transaction%") == 0, 5, 0.1)
    # The slow query of the last run may still be under way.
    retry_timeout(lambda: database.connections("active") == 0, 5, 0.1)
