"""TERM under load: readiness fails first, everything that was sent is answered, then the end."""

import http.client
import signal
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from c2cotel_acceptance.utils import retry_timeout

GRACE = 3.0


@dataclass
class Load:
    """Threads that send requests on fresh connections until the port is closed."""

    address: str
    path: str
    threads: int
    pause: float = 0.0
    answers: list[tuple[float, int]] = field(default_factory=list)
    """When each was sent, and its status."""
    refused: list[float] = field(default_factory=list)
    lost: list[tuple[float, str]] = field(default_factory=list)

    def start(self):
        self._running = [threading.Thread(target=self._run) for _ in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def join(self):
        for thread in self._running:
            thread.join(30)
            assert not thread.is_alive()
        return self

    def _run(self):
        while not self.refused:
            sent = time.monotonic()
            connection = http.client.HTTPConnection(self.address, timeout=20)
            try:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                answer.read()
            except ConnectionRefusedError:
                self.refused.append(sent)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append((sent, repr(error)))
            else:
                self.answers.append((sent, answer.status))
            finally:
                connection.close()
            time.sleep(self.pause)


@pytest.mark.alone
def test_readiness_fails_before_the_port_closes_and_no_request_is_lost(start):
    probe = start("-c", "python:c2cotel.gunicorn", env={"C2C_HEALTH_CHECK_GRACE": str(GRACE)})
    address = urlsplit(probe.service.url).netloc
    ready = Load(address, "/c2c/health/ready", threads=1, pause=0.05).start()
    pings = Load(address, "/api/ping", threads=8, pause=0.01).start()
    # There are always some of them when the port is closed.
    long = Load(address, "/api/slow?seconds=1", threads=4).start()
    retry_timeout(lambda: ready.answers and long.answers, 10, 0.05)
    told = time.monotonic()
    probe.service.process.signal(signal.SIGTERM)
    assert probe.service.process.wait(30) == 0
    assert [load.join().lost for load in (ready, pings, long)] == [[], [], []]

    closed = min(pings.refused) - told
    assert GRACE - 0.1 < closed < GRACE + 2
    statuses = dict.fromkeys(status for _, status in sorted(ready.answers))
    assert list(statuses) == [200, 503]
    failing = min(at for at, status in ready.answers if status == 503) - told
    assert failing < 0.5
    for load in (pings, long):
        assert {status for _, status in load.answers} == {200}
        assert max(at for at, _ in load.answers) - told > GRACE - 0.5
    assert len(pings.answers) > 200
    assert "Not ready any more: the service ends in 3 s." in probe.service.output()


def test_where_nobody_asks_for_readiness_the_end_is_not_put_off(start):
    probe = start("-c", "python:c2cotel.gunicorn", workers=1, env={"C2C_HEALTH_CHECK_GRACE": "30"})
    probe.check()
    assert probe.service.process.stop() < 10
    assert probe.service.process.returncode == 0
