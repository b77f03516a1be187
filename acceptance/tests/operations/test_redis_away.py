"""Redis hangs, dies, comes back empty, or was never there: the application serves all the same."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from c2cotel_acceptance.servers import closed_port
from c2cotel_acceptance.utils import retry_timeout

NAME = "c2cotel_app.views"
PAGES = ("/c2c", "/c2c?format=json", "/c2c/versions.json", "/c2c/logging/level", "/api/hello")
LONGEST = 1.0  # seconds for an answer while Redis is away


@pytest.fixture
def operator(shared):
    return shared("redis")


@pytest.fixture(autouse=True)
def _there_again(_as_configured, shared, valkey):
    """Redis is there after each test, and found again, before what was set is reset."""
    yield
    if valkey.process.returncode is not None:
        valkey.restart()
    valkey.resume()
    retry_timeout(lambda: not says_unreachable(shared("redis")), 15, interval=0.05)


def says_unreachable(operator):
    return "Redis unreachable" in operator.get("").text


def slowest(operator, paths=PAGES, count=4):
    """Ask each path of several workers at once; the longest that one answer took, in seconds."""

    def ask(path):
        began = time.monotonic()
        answer = operator.ask("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return time.monotonic() - began, path

    # Several in each worker: none may wait for what another one finds out.
    with ThreadPoolExecutor(8) as pool:
        return max(pool.map(ask, paths * count))


def change(operator, level):
    """Set the level; the seconds that it took and the answer."""
    began = time.monotonic()
    answer = operator.get("logging/level", name=NAME, level=level)
    return time.monotonic() - began, answer


@pytest.mark.alone
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_while_redis_is_away_everything_answers_within_a_second(operator, valkey, how):
    operator.level(NAME, level="ERROR")
    getattr(valkey, how)()
    took, path = slowest(operator)
    assert took < LONGEST, path
    retry_timeout(lambda: says_unreachable(operator), 15, interval=0.05)
    took, path = slowest(operator)
    assert took < LONGEST, path
    # What was agreed on stays, and can be changed on this host.
    assert operator.read_back(NAME) == {("ERROR", "ERROR", "ERROR")}
    took, answer = change(operator, "DEBUG")
    assert (answer.status_code, took < LONGEST) == (200, True), (answer.text, took)
    assert operator.read_back(NAME) == {("DEBUG", "DEBUG", "DEBUG")}


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_it_recovers_by_itself_and_nothing_agreed_on_meanwhile_is_lost(operator, valkey, how):
    getattr(valkey, how)()
    retry_timeout(lambda: says_unreachable(operator), 15, interval=0.05)
    operator.level(NAME, level="DEBUG")
    valkey.resume() if how == "pause" else valkey.restart()
    began = time.monotonic()
    retry_timeout(lambda: not says_unreachable(operator), 15, interval=0.05)
    assert time.monotonic() - began < 10
    assert operator.read_back(NAME) == {("DEBUG", "DEBUG", "DEBUG")}
    operator.level(NAME, level="CRITICAL")
    assert operator.read_back(NAME) == {("CRITICAL", "CRITICAL", "CRITICAL")}
    # And every worker is asked again.
    retry_timeout(lambda: len(asked(operator)) == 4, 15, interval=0.1)


def asked(operator):
    answer = operator.ask("GET", "/test/ask", params={"channel": "test_double", "number": "1"})
    return answer.json()["answers"]


@pytest.mark.alone
def test_the_application_starts_without_redis_and_finds_it_later(operate, valkey):
    valkey.kill()
    began = time.monotonic()
    operator = operate(valkey=valkey, workers=2)
    assert time.monotonic() - began < 20, "it takes four seconds with Redis, on a slow machine"
    took, path = slowest(operator)
    assert took < LONGEST, path
    operator.level(NAME, level="DEBUG")
    assert operator.read_back(NAME) == {("DEBUG", "DEBUG", "DEBUG")}
    assert says_unreachable(operator)
    valkey.restart()
    retry_timeout(lambda: not says_unreachable(operator), 15, interval=0.05)
    assert operator.read_back(NAME) == {("DEBUG", "DEBUG", "DEBUG")}
    retry_timeout(lambda: len(asked(operator)) == 2, 15, interval=0.1)


def test_the_password_of_a_redis_that_is_away_is_not_told(operate):
    with closed_port() as port:
        url = f"redis://user:S3KRET-of-redis@127.0.0.1:{port}/0"
        operator = operate(workers=1, env={"C2C_REDIS_URL": url})
        retry_timeout(lambda: says_unreachable(operator), 15, interval=0.05)
        seen = [operator.get("").text, operator.get("", format="json").text]
        operator.service.process.stop()
    for text in (*seen, operator.service.output()):
        assert "S3KRET" not in text
    assert f"127.0.0.1:{port}" in operator.service.output()


@pytest.mark.alone
def test_ending_while_redis_hangs_takes_no_longer(operate, valkey):
    operator = operate(workers=1, valkey=valkey)
    valkey.pause()
    assert operator.service.process.stop() < 5


def test_a_redis_that_is_away_is_not_said_all_the_time(operator, valkey):
    before = len(operator.service.output().splitlines())
    valkey.kill()
    retry_timeout(lambda: says_unreachable(operator), 15, interval=0.05)

    def about():
        return [line for line in operator.service.output().splitlines()[before:] if "edis" in line]

    retry_timeout(lambda: len(about()) >= 4, 15, interval=0.05)
    time.sleep(3)
    assert len(about()) <= 4 * 3, about()
    lines = operator.service.output().splitlines()[before:]
    assert "Traceback" not in "".join(lines)
