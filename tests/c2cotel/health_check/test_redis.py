"""The checks that Redis brings along: of itself, and of the versions of all instances."""

import json

import pytest

from c2cotel import broadcast
from c2cotel.health_check import HealthCheck
from c2cotel.health_check.checks.redis_server import name_of
from c2cotel.health_check.checks.version import CHANNEL, compare
from c2cotel.health_check.core import CheckFailedError
from c2cotel.settings import Redis
from c2cotel_acceptance.servers import valkey


@pytest.fixture
def server():
    with valkey() as running:
        yield running


@pytest.fixture
def versions(tmp_path):
    path = tmp_path / "versions.json"
    path.write_text(json.dumps({"main": {"git_hash": "abc"}, "packages": {}}))
    return {"c2c.versions_file": str(path)}


def test_redis_is_checked_where_it_is_configured(configurator, browse, server):
    config = configurator(**{"c2c.redis_url": server.url.replace("://", "://:@")})
    HealthCheck(config)
    HealthCheck(config)
    browser = browse(config)
    assert browser.get().json["successes"] == {}
    body = browser.get(max_level=2).json
    (name,) = body["successes"]
    assert name == server.url
    assert set(body["successes"][name]) == {"timing", "level"}
    result = browser.get(max_level=2, authorised=True).json["successes"][name]["result"]
    assert result["dbsize"] == 0
    assert "used_memory" in result["info"]


def test_without_redis_there_is_no_check(configurator, browse, versions):
    config = configurator(**versions)
    HealthCheck(config)
    assert browse(config).get(max_level=9).json["successes"] == {}


def test_a_redis_that_is_away_fails_alone(configurator, browse, server, versions):
    config = configurator(**{"c2c.redis_url": server.url}, **versions)
    health = HealthCheck(config)
    health.add_redis_check()
    health.add_custom_check("good", lambda _: None)
    config.include("c2cotel.broadcast")
    browser = browse(config)
    assert browser.get(max_level=2).status_int == 200
    server.kill()
    body = browser.get(max_level=2).json
    assert sorted(body["successes"]) == ["good", "version"]
    assert body["failures"][server.url]["message"] == "ConnectionError"
    assert body["failures"][server.url]["level"] == 1


@pytest.mark.alone
def test_a_redis_that_hangs_fails_in_time(configurator, browse, server):
    config = configurator(**{"c2c.redis_url": server.url})
    HealthCheck(config).add_redis_check("redis")
    browser = browse(config)
    assert browser.get(checks="redis").status_int == 200
    server.pause()
    entry = browser.get(checks="redis").json["failures"]["redis"]
    assert (entry["message"], entry["timing"] < 1.5) == ("TimeoutError", True)
    server.resume()
    assert browser.get(checks="redis").status_int == 200


def test_a_check_of_no_redis_fails(configurator, browse):
    config = configurator()
    HealthCheck(config).add_redis_check()
    entry = browse(config).get().json["failures"]["redis"]
    assert entry["message"].startswith("Redis is not configured: set C2C_REDIS_URL")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (Redis(url="redis://me:hunter2@redis:6379/0?password=x"), "redis://redis:6379/0"),
        (Redis(sentinels=("a:26379", "b:26379")), "a:26379,b:26379"),
    ],
)
def test_its_name_has_no_password(settings, name):
    assert name_of(settings) == name


def test_all_of_one_version(configurator, browse, versions):
    config = configurator(**versions)
    HealthCheck(config).add_version_check()
    entry = browse(config).get(max_level=2).json["successes"]["version"]
    assert entry["result"] == {"version": "abc", "count": 1}


def test_an_unknown_version_fails(configurator, browse):
    config = configurator(**{"c2c.versions_file": "/nowhere/versions.json"})
    HealthCheck(config).add_version_check()
    entry = browse(config).get(max_level=2).json["failures"]["version"]
    assert "c2cotel genversion" in entry["message"]


def answer(version, pid, host="web"):
    return {"version": version, "hostname": host, "pid": pid}


def test_the_odd_one_out_is_named_to_the_authorised():
    answers = [answer("abc", 1), answer("def", 9, "old"), answer("abc", 2), None, "?"]
    with pytest.raises(CheckFailedError) as raised:
        compare(answers)
    assert str(raised.value) == "Non identical versions: abc (2), def (1)"
    assert raised.value.details == "Non identical versions: abc (2), but def on old/9"
    assert raised.value.found == {"abc": ["web/1", "web/2"], "def": ["old/9"]}


def test_each_process_tells_its_version(configurator, versions):
    HealthCheck(configurator(**versions)).add_version_check()
    ((told),) = broadcast.ask(CHANNEL).answers
    assert told["version"] == "abc"
