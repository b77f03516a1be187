"""What an ordinary request pays for the console: nothing."""

import pytest
import redis

from c2cotel_acceptance.traffic import Call

PING = Call("/api/ping", route="/api/ping")


@pytest.fixture
def operator(shared):
    return shared("redis")


def commands(valkey):
    """How often Redis was asked for what, those of this look excepted."""
    with redis.Redis.from_url(valkey.url) as client:
        stats = client.info("commandstats")
    ours = ("info", "client", "hello", "ping", "config")
    return {
        name.removeprefix("cmdstat_"): numbers["calls"]
        for name, numbers in stats.items()
        if not name.removeprefix("cmdstat_").startswith(ours)
    }


def test_a_request_of_the_application_does_not_ask_redis(operator, valkey):
    operator.level("c2cotel_app.views", level="INFO")
    before = commands(valkey)
    traffic = operator.service.send(PING, count=400)
    assert traffic.by_route() == {("/api/ping", 200): 400}
    after = commands(valkey)
    grown = {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name)}
    # Whatever is done by the clock goes on: a presence, once in a while; not once in four requests.
    assert sum(grown.values()) < 100, grown


def test_a_request_of_the_application_gets_and_sets_no_cookie(operator):
    answer = operator.ask("GET", "/api/ping", params={"secret": operator.secret})
    assert "Set-Cookie" not in answer.headers
    # And a wrong secret is nothing to it: it is the console's only.
    for _ in range(20):
        answer = operator.ask("GET", "/api/ping", headers={"X-API-Key": "wrong"})
        assert answer.status_code == 200
    assert operator.get("logging/level").status_code == 200


def test_looking_at_a_view_asks_redis_for_nothing_that_grows(operator, valkey):
    """Reading a level is answered by the process that is asked."""
    before = commands(valkey)
    for _ in range(100):
        operator.level("c2cotel_app.views")
    grown = sum(commands(valkey).values()) - sum(before.values())
    assert grown < 50
