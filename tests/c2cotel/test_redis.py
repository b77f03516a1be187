import ssl

import pytest
import redis as redis_py

from c2cotel import redis_utils
from c2cotel.redis import connect
from c2cotel.settings import Redis, SettingsError
from c2cotel_acceptance.servers import valkey

URL = "redis://redis:6379/2"


@pytest.fixture(scope="module")
def server():
    with valkey() as running:
        yield running


@pytest.fixture
def clean():
    yield
    redis_utils.cleanup()


def options_of(**settings):
    return connect(Redis(**settings)).primary.connection_pool.connection_kwargs


def test_without_a_url_or_sentinels_there_is_none():
    assert connect(Redis()) is None


def test_timeouts_are_short_and_nothing_is_tried_twice():
    options = options_of(url=URL)
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 0.5
    assert options["health_check_interval"] == 30
    assert options["db"] == 2
    assert options["decode_responses"] is True
    assert options["retry"]._retries == 0


def test_options_are_read_as_yaml():
    given = {
        "socket_timeout": "2",
        "health_check_interval": "0",
        "socket_keepalive": "yes",
        "retry_on_timeout": "true",
        "password": "0123",
        "username": "no",
        "client_name": "'quoted'",
    }
    options = options_of(url=URL, options=given)
    assert {name: options[name] for name in given} == {
        "socket_timeout": 2,
        "health_check_interval": 0,
        "socket_keepalive": True,
        "retry_on_timeout": True,
        "password": "0123",
        "username": "no",
        "client_name": "quoted",
    }
    assert options["retry"]._retries == 1


def test_tls_options_go_with_a_rediss_url():
    connections = connect(Redis(url="rediss://redis", options={"ssl_cert_reqs": "none"}))
    assert connections.primary.connection_pool.make_connection().cert_reqs == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"socket_timeot": "1"}, "socket_timeot is not an option of Redis. Is socket_timeout mea"),
        ({"decode_responses": "no"}, "decode_responses is not an option of Redis"),
        ({"sentinel_pasword": "x"}, "sentinel_pasword is not an option.* Is sentinel_password mea"),
        ({"socket_timeout": "soon"}, "socket_timeout = 'soon': not a number from 0.001 to 3600"),
        ({"socket_timeout": "null"}, "socket_timeout = 'null': not a number"),
        ({"socket_timeout": "-1"}, "socket_timeout = '-1': not a number"),
        ({"socket_timeout": "true"}, "socket_timeout = 'true': not a number"),
        ({"max_connections": "1.5"}, "max_connections = '1.5': not a whole number"),
        ({"socket_keepalive": "1"}, "socket_keepalive = '1': not true or false"),
        ({"sentinel_kwargs": "x"}, "sentinel_kwargs is not a mapping"),
        ({"ssl_cert_reqs": "none"}, "ssl_cert_reqs is of use with TLS only: begin C2C_REDIS_URL"),
        ({"ssl": "true"}, "ssl is an option for Sentinels: begin the URL with rediss://"),
        ({"min_other_sentinels": "1"}, "min_other_sentinels is an option for Sentinels"),
    ],
)
def test_an_option_that_nothing_can_be_done_with_stops_the_start(options, message):
    with pytest.raises(SettingsError, match=f"C2C_REDIS_OPTIONS: {message}"):
        connect(Redis(url=URL, options=options))


@pytest.mark.parametrize(
    "url", ["redis://me:hunter2@redis:port", "redis://me:hunter2@redis?hunter2=hunter2"]
)
def test_a_url_that_nothing_can_be_done_with_stops_the_start_without_its_password(url):
    with pytest.raises(SettingsError, match="C2C_REDIS_URL = redis://me:") as raised:
        connect(Redis(url=url))
    assert "me:hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("foo=bar", "foo is not an option of Redis. Known are "),
        ("db=1&socket_timeot=1", "socket_timeot is not an option of Redis. Is socket_timeout mean"),
        ("ssl_cert_reqs=none", "ssl_cert_reqs is of use with TLS only: begin it with rediss://"),
        ("sentinel_password=x", "sentinel_password is an option for Sentinels"),
    ],
)
def test_an_option_in_the_url_that_redis_does_not_have_is_named(query, message):
    url = f"redis://me:hunter2@redis/1?{query}"
    with pytest.raises(SettingsError) as raised:
        connect(Redis(url=url))
    assert str(raised.value).startswith(f"C2C_REDIS_URL = redis://me:***@redis/1: {message}")


def test_an_option_in_the_url_is_used():
    options = options_of(url="redis://redis?socket_timeout=2&client_name=me")
    assert (options["socket_timeout"], options["client_name"]) == (2, "me")


def test_no_password_is_described():
    shown = connect(Redis(url="redis://me:hunter2@redis/1?password=hunter2")).description
    assert shown == "redis://me:***@redis/1"


def test_sentinels_win_over_the_url_and_have_options_of_their_own():
    connections = connect(
        Redis(
            url=URL,
            sentinels=("one:26379", "[::1]:26380"),
            servicename="main",
            db=3,
            options={"password": "a", "sentinel_password": "b", "ssl": "true"},
        )
    )
    assert connections.description == "Sentinels one:26379,[::1]:26380, service main"
    pool = connections.primary.connection_pool
    assert (pool.service_name, pool.is_master) == ("main", True)
    assert issubclass(pool.connection_class, redis_py.SSLConnection)
    assert {name: pool.connection_kwargs[name] for name in ("db", "password")} == {
        "db": 3,
        "password": "a",
    }
    assert connections.replica.connection_pool.is_master is False
    watchers = [each.connection_pool.connection_kwargs for each in connections.sentinel.sentinels]
    assert [(w["host"], w["port"], w["password"], w["socket_timeout"]) for w in watchers] == [
        ("one", 26379, "b", 0.5),
        ("::1", 26380, "b", 0.5),
    ]
    assert watchers[0]["retry"]._retries == 0


def test_the_clients_work(server):
    connections = connect(Redis(url=server.url))
    connections.primary.set("key", "ä")
    assert connections.replica.get("key") == "ä"
    bytes_of = connections.undecoded()
    assert bytes_of.get("key") == "ä".encode()
    bytes_of.close()
    connections.close()


@pytest.mark.usefixtures("clean")
def test_the_seed_s_function_gives_the_same_clients_until_cleanup(server, monkeypatch):
    monkeypatch.delenv("C2C_REDIS_URL", raising=False)
    assert redis_utils.get({}) == (None, None, None)
    settings = {"c2c.redis_url": server.url}
    primary, replica, sentinel = redis_utils.get(settings)
    assert primary.ping()
    assert primary is replica
    assert sentinel is None
    assert redis_utils.get(settings)[0] is primary
    redis_utils.cleanup()
    assert redis_utils.get(settings)[0] is not primary
