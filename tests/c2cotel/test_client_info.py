"""Who asks, by what is in the headers: from whom it is believed, and what of it."""

import ipaddress
import socket
import ssl
import string
import time
import wsgiref.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paste.deploy import loadapp

from c2cotel.client_info import Filter, Proxies, filter_factory, headers
from c2cotel.client_info.servers import scheme_of_connection
from c2cotel.schema import SettingsError
from c2cotel.settings import ClientInfo, load

CLIENT = "203.0.113.9"
OTHER = "198.51.100.7"


def environ(peer="127.0.0.1", **more):
    made = {
        "REMOTE_ADDR": peer,
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "localhost:8080",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        **more,
    }
    wsgiref.util.setup_testing_defaults(made)
    del made["wsgi.input"], made["wsgi.errors"]  # other ones each time
    return made


def prepared(peer="127.0.0.1", trusted="private", more=None, **headers):
    """What the environ says after it, of a request with these headers."""
    client_info = load({}, {"c2c.trusted_proxies": trusted, **(more or {})})
    assert not client_info.problems
    made = environ(peer, **{f"HTTP_{name.upper()}": value for name, value in headers.items()})
    Proxies(client_info.settings.client_info).prepare(made)
    return made


def client(**how):
    return prepared(**how)["REMOTE_ADDR"]


def test_without_proxies_nothing_changes():
    assert prepared() == environ()


def test_everything_that_a_proxy_says_is_taken_and_what_was_there_is_kept():
    found = prepared(
        more={"c2c.proxy_headers": "*,x-forwarded-port"},
        x_forwarded_for=CLIENT,
        x_forwarded_host="example.com",
        x_forwarded_proto="https",
        x_forwarded_port="443",
        x_forwarded_server="front.example.com",
    )
    expected = environ(
        CLIENT,
        **{
            "HTTP_HOST": "example.com",
            "SERVER_NAME": "front.example.com",
            "SERVER_PORT": "443",
            "wsgi.url_scheme": "https",
            "HTTP_ORIGINAL_REMOTE_ADDR": "127.0.0.1",
            "HTTP_ORIGINAL_REMOTE_PORT": "40000",
            "HTTP_ORIGINAL_HOST": "localhost:8080",
            "HTTP_ORIGINAL_SERVER_NAME": "127.0.0.1",
            "HTTP_ORIGINAL_SERVER_PORT": "8080",
            "HTTP_ORIGINAL_WSGI_URL_SCHEME": "http",
            "HTTP_ORIGINAL_X_FORWARDED_FOR": CLIENT,
            "HTTP_ORIGINAL_X_FORWARDED_HOST": "example.com",
            "HTTP_ORIGINAL_X_FORWARDED_PROTO": "https",
            "HTTP_ORIGINAL_X_FORWARDED_PORT": "443",
            "HTTP_ORIGINAL_X_FORWARDED_SERVER": "front.example.com",
            "c2cotel.client_info": True,
        },
    )
    del expected["REMOTE_PORT"]
    assert found == expected


def test_of_somebody_else_nothing_is_believed_and_nothing_is_left_to_be_read():
    found = prepared(
        peer=OTHER,
        forwarded=f"for={CLIENT};host=evil.example;proto=https;by=10.0.0.1",
        x_forwarded_for=CLIENT,
        x_forwarded_host="evil.example",
        x_forwarded_proto="https",
        x_forwarded_scheme="https",
        x_forwarded_server="evil.example",
        x_forwarded_port="1",
    )
    kept = {name for name in found if name.startswith("HTTP_ORIGINAL_")}
    assert len(kept) == 7
    assert {k: v for k, v in found.items() if k not in kept} == {
        **environ(OTHER),
        "c2cotel.client_info": True,
    }
    assert found["HTTP_ORIGINAL_FORWARDED"].startswith(f"for={CLIENT}")


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ("private", "127.0.0.1", True),
        ("private", "10.1.2.3", True),
        ("private", "172.16.0.1", True),
        ("private", "172.32.0.1", False),
        ("private", "192.168.7.7", True),
        ("private", "169.254.1.1", True),
        ("private", "::1", True),
        ("private", "fd00::1", True),
        ("private", "fe80::1%eth0", True),
        ("private", "::ffff:10.0.0.1", True),
        ("private", "::ffff:192.0.2.1", False),
        ("private", "2001:db8::1", False),
        ("private", "192.0.2.1", False),
        ("private", "", True),  # a Unix socket in gunicorn
        ("private", "localhost", True),  # a Unix socket in waitress
        ("private", "not an address", False),
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.0/24", "127.0.0.1", False),
        ("192.0.2.0/24", "", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::1", "2001:0db8:0:0::1", True),
        ("192.0.2.1,private", "10.0.0.1", True),
        ("*", "192.0.2.1", True),
        ("*", "", True),
        ("*", "not an address", True),
        ("", "127.0.0.1", False),
        ("", "", False),
    ],
)
def test_it_is_believed_from_whom_the_setting_names(trusted, peer, believed):
    found = client(trusted=trusted, peer=peer, x_forwarded_for=CLIENT)
    assert found == (CLIENT if believed else peer)


def test_without_the_connections_address_it_is_a_unix_socket():
    made = environ()
    del made["REMOTE_ADDR"], made["REMOTE_PORT"]
    made["HTTP_X_FORWARDED_FOR"] = CLIENT
    Proxies(ClientInfo()).prepare(made)
    assert made["REMOTE_ADDR"] == CLIENT
    assert "HTTP_ORIGINAL_REMOTE_ADDR" not in made


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (CLIENT, CLIENT),
        (f"{OTHER}, {CLIENT}", CLIENT),  # the left one is the client's own invention
        (f"{OTHER},{CLIENT}, 10.0.0.1", CLIENT),
        (f"{OTHER},{CLIENT}, 10.0.0.1,10.0.0.2 ", CLIENT),
        (f"10.0.0.1, {CLIENT}", CLIENT),
        ("10.0.0.3, 10.0.0.1, 10.0.0.2", "10.0.0.3"),  # all near: the first of them asks
        (f",, {CLIENT} , ,", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        (f"{CLIENT}:0", "127.0.0.1"),
        (f"{CLIENT}:66000", "127.0.0.1"),
        (f"{CLIENT}:x", "127.0.0.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]4711", "127.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8::1%eth0", "2001:db8::1"),
        ("[2001:db8::1%25eth0]:80", "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        ('"[2001:db8::1]"', "2001:db8::1"),
        (f"{CLIENT}, unknown", "127.0.0.1"),
        (f"{CLIENT}, unknown, 10.0.0.1", "10.0.0.1"),
        ("_hidden", "127.0.0.1"),
        ("", "127.0.0.1"),
        (" , ", "127.0.0.1"),
        ("010.0.0.1", "127.0.0.1"),
        ("1", "127.0.0.1"),
        ("٣.3.3.3", "127.0.0.1"),
        ("<script>", "127.0.0.1"),
        ("fe80::1%<script>", "fe80::1"),
        ("1.2.3.4\r\nX-Evil: 1", "127.0.0.1"),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(header, expected):
    assert client(x_forwarded_for=header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};Proto=http", CLIENT),
        (f"proto=http; for = {CLIENT} ;host=a", CLIENT),
        (f'for="{CLIENT}"', CLIENT),
        (f'for="{CLIENT}:4711"', CLIENT),
        (f"for={CLIENT}:4711", CLIENT),  # not allowed without quotes, and usual
        (f'for="{CLIENT}:_port"', CLIENT),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('For="[2001:db8:cafe::17]"', "2001:db8:cafe::17"),
        ("for=[2001:db8:cafe::17]:4711", "2001:db8:cafe::17"),
        ("for=2001:db8:cafe::17", "2001:db8:cafe::17"),
        (f'for="{CLIENT[:3]}\\{CLIENT[3:]}"', CLIENT),
        (f"for={OTHER}, for={CLIENT}", CLIENT),
        (f"for={OTHER},for={CLIENT};by=10.0.0.1,for=10.0.0.2;by=10.0.0.3", CLIENT),
        (f",, for={CLIENT} ,, ", CLIENT),
        (f";;for={CLIENT};;", CLIENT),
        (f"for={OTHER};for={CLIENT}", CLIENT),
        (f'for={CLIENT};ext="a, for={OTHER}; \\" , b"', CLIENT),
        (f'ext="a,b";for={OTHER}, for={CLIENT};host="a,b"', CLIENT),
        ("for=unknown", "127.0.0.1"),
        ("for=_hidden, for=_SEVKISEK", "127.0.0.1"),
        (f"for={CLIENT}, for=_hidden, for=10.0.0.1", "10.0.0.1"),
        (f"for={CLIENT}, host=inner, for=10.0.0.1", "10.0.0.1"),
        ("for=", "127.0.0.1"),
        ("for", "127.0.0.1"),
        (CLIENT, "127.0.0.1"),
        (f"for={CLIENT}, {OTHER}", "127.0.0.1"),
        (f'for="{CLIENT}', "127.0.0.1"),
        (f'for={CLIENT}"', "127.0.0.1"),
        ("", "127.0.0.1"),
        (",", "127.0.0.1"),
        (";", "127.0.0.1"),
    ],
)
def test_forwarded_is_read_from_the_right(header, expected):
    assert client(forwarded=header) == expected


@pytest.mark.parametrize(
    "invented",
    ['for="', 'for="\\', 'for="x, for="', "for=\\", '"', '""', '\\"', 'for=a;b="c;d', "=", ";=,="],
)
@pytest.mark.parametrize("added", [f"for={CLIENT}", f'for="{CLIENT}:1";host="a,b";ext="\\"c"'])
def test_quotes_that_a_client_leaves_open_do_not_swallow_what_the_proxy_adds(invented, added):
    for joint in (", ", ","):
        assert client(forwarded=invented + joint + added) == CLIENT


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"x_forwarded_host": "example.com"}, "example.com"),
        ({"x_forwarded_host": "example.com:8443"}, "example.com:8443"),
        ({"x_forwarded_host": "[2001:db8::1]:8443"}, "[2001:db8::1]:8443"),
        ({"x_forwarded_host": " evil.example, example.com "}, "example.com"),
        ({"x_forwarded_server": "front.example"}, "front.example"),
        ({"x_forwarded_server": "front.example", "x_forwarded_host": "a"}, "a"),
        ({"x_forwarded_server": "in.side", "forwarded": f"for={CLIENT};host=a"}, "in.side"),
        ({"forwarded": "host=127.0.0.1:18553"}, "127.0.0.1:18553"),
        ({"forwarded": 'for=10.0.0.1;host="a:1",host=b'}, "b"),
        ({"forwarded": "host=a;for=1.1.1.1, host=b;for=10.0.0.1, for=10.0.0.2"}, "a"),
        ({"forwarded": "host=a, host=b;for=1.1.1.1, for=10.0.0.2"}, "b"),
        ({"x_forwarded_host": "a/b"}, "localhost:8080"),
        ({"x_forwarded_host": "a b"}, "localhost:8080"),
        ({"x_forwarded_host": "user@a"}, "localhost:8080"),
        ({"x_forwarded_host": "a\r\nb: c"}, "localhost:8080"),
        ({"x_forwarded_host": "a" * 300}, "localhost:8080"),
        ({"x_forwarded_host": "a:port"}, "localhost:8080"),
        ({"x_forwarded_host": ", "}, "localhost:8080"),
        ({"forwarded": 'host="a\\"><script>"'}, "localhost:8080"),
    ],
)
def test_the_host_is_the_one_that_the_client_has_asked_for(headers, host):
    assert prepared(**headers)["HTTP_HOST"] == host


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"x_forwarded_proto": "https"}, "https"),
        ({"x_forwarded_proto": "HTTPS"}, "https"),
        ({"x_forwarded_proto": '"https"'}, "https"),
        ({"x_forwarded_proto": "wss"}, "https"),
        ({"x_forwarded_proto": "ws"}, "http"),
        ({"x_forwarded_scheme": "https"}, "https"),
        ({"x_forwarded_scheme": "https", "x_forwarded_proto": "http"}, "http"),
        ({"x_forwarded_scheme": "https", "x_forwarded_proto": "?"}, "https"),
        ({"forwarded": "proto=https"}, "https"),
        ({"forwarded": "proto=https", "x_forwarded_proto": "http"}, "http"),
        ({"forwarded": f"for={CLIENT}", "x_forwarded_proto": "https"}, "https"),
        ({"forwarded": "for=1.1.1.1;proto=https, for=10.0.0.1;proto=http"}, "https"),
        # Each proxy has added a word, or only one has.
        ({"x_forwarded_proto": "https,http", "x_forwarded_for": f"{CLIENT},10.0.0.1"}, "https"),
        ({"x_forwarded_proto": "https,http", "x_forwarded_for": CLIENT}, "http"),
        ({"x_forwarded_proto": "https", "x_forwarded_for": f"{CLIENT},10.0.0.1"}, "https"),
        ({"x_forwarded_proto": "https,http"}, "http"),
        ({"x_forwarded_proto": "javascript"}, "http"),
        ({"x_forwarded_proto": ""}, "http"),
        ({"forwarded": "proto=ftp"}, "http"),
    ],
)
def test_the_scheme_is_the_one_that_the_client_uses(headers, scheme):
    assert prepared(**headers)["wsgi.url_scheme"] == scheme


def test_the_interface_of_the_proxy_is_the_servers_name():
    found = prepared(forwarded=f'for={CLIENT};by="[2001:db8::5]:8443"')
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("[2001:db8::5]", "8443")
    found = prepared(forwarded=f"for={CLIENT};by=_secret")
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("127.0.0.1", "8080")
    found = prepared(x_forwarded_server="front.example:81")
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("front.example", "8080")


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("example.com", "8443", ("example.com:8443", "8443")),
        ("[2001:db8::1]", "81", ("[2001:db8::1]:81", "81")),
        ("example.com:81", "82", ("example.com:81", "82")),
        # Often the port behind which somebody ends TLS, not the one that the client sees.
        ("example.com", "80", ("example.com", "80")),
        ("example.com", "443", ("example.com", "443")),
        ("", "8443", ("localhost:8080", "8443")),
        ("example.com", "0", ("example.com", "8080")),
        ("example.com", "66000", ("example.com", "8080")),
        ("example.com", "٣", ("example.com", "8080")),
        ("example.com", "81@evil", ("example.com", "8080")),
    ],
)
def test_a_port_that_is_said_apart_counts_where_the_setting_names_it(host, port, expected):
    said = {"x_forwarded_host": host, "x_forwarded_port": port}
    for named in ("*, X-Forwarded-Port", "x-forwarded-host,x-forwarded-port"):
        found = prepared(more={"c2c.proxy_headers": named}, **said)
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == expected
    # Few proxies write it: it may be the client's.
    for named in ("*", "x-forwarded-host"):
        found = prepared(more={"c2c.proxy_headers": named}, **said)
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == (host or "localhost:8080", "8080")


def test_a_port_that_does_not_count_is_said_once_where_it_would_change_something(caplog):
    proxies = Proxies(ClientInfo())
    for more in (
        {"HTTP_X_FORWARDED_PORT": "443"},
        {"HTTP_X_FORWARDED_HOST": "a.example", "HTTP_X_FORWARDED_PORT": "443"},
        {"HTTP_X_FORWARDED_HOST": "a.example:81", "HTTP_X_FORWARDED_PORT": "82"},
    ):
        proxies.prepare(environ(**more))
    assert not caplog.messages
    for port in ("8443", "8444"):
        more = {"HTTP_X_FORWARDED_HOST": "a.example", "HTTP_X_FORWARDED_PORT": port}
        proxies.prepare(environ(**more))
    assert caplog.messages == [
        (
            "X-Forwarded-Port = '8443' does not count, as few proxies write it: a client may have. "
            "If yours do, name it in C2C_PROXY_HEADERS, for example *,x-forwarded-port. "
            "Further ones are not logged."
        )
    ]


def test_the_clients_port_and_name_go_with_its_address():
    found = prepared(x_forwarded_for=f"{CLIENT}:4711", remote_host="x")
    assert found["REMOTE_PORT"] == "4711"
    made = environ(REMOTE_HOST="proxy.example", HTTP_X_FORWARDED_FOR=CLIENT)
    Proxies(ClientInfo()).prepare(made)
    assert made["REMOTE_HOST"] == CLIENT
    assert made["HTTP_ORIGINAL_REMOTE_HOST"] == "proxy.example"
    assert "REMOTE_PORT" not in made
    # The proxy itself asks.
    found = prepared(x_forwarded_for="127.0.0.1")
    assert found["REMOTE_PORT"] == "40000"


@pytest.mark.parametrize(
    "forwarded",
    [
        "host=evil.example;proto=https",
        f"for={CLIENT};host=evil.example;proto=https;by=192.0.2.66:66",
        f"for={OTHER};host=evil.example;proto=https;by=192.0.2.66:66",
        'for=unknown;host=evil.example;proto=https, for="',
    ],
)
@pytest.mark.parametrize(
    "written",
    [
        {"x_forwarded_for": CLIENT},
        {"x_forwarded_host": "localhost:8080"},
        {"x_forwarded_proto": "http"},
        {"x_forwarded_scheme": "http"},
        {"x_forwarded_server": "127.0.0.1"},
        {
            "x_forwarded_for": CLIENT,
            "x_forwarded_host": "localhost:8080",
            "x_forwarded_proto": "http",
        },
    ],
)
def test_forwarded_does_not_count_beside_what_nearly_every_proxy_writes(forwarded, written):
    """The proxy hands on what it does not write: that one is the client's."""
    with_it, without = prepared(forwarded=forwarded, **written), prepared(**written)
    assert with_it.pop("HTTP_ORIGINAL_FORWARDED") == forwarded
    assert with_it == without


def test_forwarded_counts_when_it_comes_alone():
    found = prepared(forwarded=f"for={CLIENT};host=a.example;proto=https", x_forwarded_port="1")
    assert found["REMOTE_ADDR"] == CLIENT
    assert (found["HTTP_HOST"], found["wsgi.url_scheme"]) == ("a.example", "https")
    assert found["SERVER_PORT"] == "8080"


def test_that_forwarded_does_not_count_is_said_once_if_it_says_otherwise(caplog):
    proxies = Proxies(ClientInfo())
    usual = {"HTTP_X_FORWARDED_FOR": f"{OTHER}, {CLIENT}", "HTTP_X_FORWARDED_PROTO": "https"}
    proxies.prepare(environ(HTTP_FORWARDED=f"for={CLIENT};proto=https;by=_front", **usual))
    assert not caplog.messages
    for host in ("a.example", "b.example"):
        proxies.prepare(environ(HTTP_FORWARDED=f"for={CLIENT};host={host}", **usual))
    assert caplog.messages == [
        (
            f"Forwarded = 'for={CLIENT};host=a.example' says otherwise than X-Forwarded-*: it does "
            "not count, as a client may have written it. Name in C2C_PROXY_HEADERS what the "
            "proxies write. Further ones are not logged."
        )
    ]


@pytest.mark.parametrize(
    "named",
    [
        "*,forwarded",
        "Forwarded, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto",
    ],
)
def test_two_headers_that_the_proxies_write_complete_each_other(named):
    more = {"c2c.proxy_headers": named}
    found = prepared(
        more=more,
        forwarded=f"for={CLIENT};host=a.example",
        x_forwarded_for=f"{OTHER}, {CLIENT}",
        x_forwarded_host="b.example",
        x_forwarded_proto="https",
    )
    assert found["REMOTE_ADDR"] == CLIENT
    assert found["HTTP_HOST"] == "a.example"
    assert found["wsgi.url_scheme"] == "https"
    assert client(more=more, forwarded="for=_hidden", x_forwarded_for=CLIENT) == CLIENT
    assert client(more=more, forwarded=f"for={CLIENT}", x_forwarded_for="unknown") == CLIENT


def test_of_two_clients_that_the_proxies_name_the_usual_one_is_believed_and_it_is_said(caplog):
    proxies = Proxies(ClientInfo(proxy_headers=("forwarded", "x-forwarded-for")))
    for _ in range(3):
        made = environ(
            HTTP_FORWARDED=f"for={OTHER};host=evil.example;proto=https",
            HTTP_X_FORWARDED_FOR=CLIENT,
        )
        proxies.prepare(made)
        assert made["REMOTE_ADDR"] == CLIENT
        assert made["HTTP_HOST"] == "localhost:8080"
        assert made["wsgi.url_scheme"] == "http"
    assert caplog.messages == [
        (
            f"Forwarded names {OTHER} as the client and X-Forwarded-For {CLIENT}: the latter is "
            "believed. Name in C2C_PROXY_HEADERS what the proxies write. "
            "Further ones are not logged."
        )
    ]


def test_headers_that_no_proxy_writes_never_count():
    said = {
        "forwarded": f"for={OTHER}",
        "x_forwarded_for": CLIENT,
        "x_forwarded_host": "evil.example",
    }
    more = {"c2c.proxy_headers": "Forwarded"}
    found = prepared(more=more, **said)
    assert (found["REMOTE_ADDR"], found["HTTP_HOST"]) == (OTHER, "localhost:8080")
    assert found["HTTP_ORIGINAL_X_FORWARDED_HOST"] == "evil.example"
    more = {"c2c.proxy_headers": "x-forwarded-for, x-forwarded-proto"}
    found = prepared(more=more, **said)
    assert (found["REMOTE_ADDR"], found["HTTP_HOST"]) == (CLIENT, "localhost:8080")


def test_what_cannot_be_used_is_said_once(caplog):
    proxies = Proxies(ClientInfo())
    for host in ("<script>", "another/one"):
        proxies.prepare(environ(HTTP_X_FORWARDED_HOST=host, HTTP_X_FORWARDED_PROTO="ftp\n" * 99))
    first, second = caplog.messages
    assert first == (
        "X-Forwarded-Host = '<script>' is nothing that can be used: it is ignored. "
        "Further ones are not logged."
    )
    assert second.startswith("X-Forwarded-Proto = 'ftp\\nftp")
    assert len(second) < 250


def test_a_client_cannot_invent_an_original():
    found = prepared(original_remote_addr=OTHER, original_x_forwarded_for=OTHER)
    assert not [name for name in found if name.startswith("HTTP_ORIGINAL_")]
    found = prepared(peer=OTHER, original_remote_addr="127.0.0.1", original_host="x")
    assert not [name for name in found if name.startswith("HTTP_ORIGINAL_")]


def test_it_is_done_once():
    proxies = Proxies(ClientInfo())
    made = environ(HTTP_X_FORWARDED_FOR=f"{CLIENT}, 10.0.0.1")
    proxies.prepare(made)
    once = dict(made)
    proxies.prepare(made)
    Proxies(ClientInfo(force_host="other.example")).prepare(made)
    assert made == once


def test_forced_values_win_also_without_any_header():
    forced = {
        "c2c.force_proto": "https",
        "c2c.force_host": "example.com:8443",
        "c2c.force_server_name": "example.com",
        "c2c.force_remote_addr": "192.0.2.1",
    }
    for said in ({}, {"x_forwarded_for": f"{CLIENT}:1", "x_forwarded_host": "other.example"}):
        found = prepared(more=forced, **said)
        assert found["wsgi.url_scheme"] == "https"
        assert found["HTTP_HOST"] == "example.com:8443"
        assert found["SERVER_NAME"] == "example.com"
        assert found["REMOTE_ADDR"] == "192.0.2.1"
        assert "REMOTE_PORT" not in found
        assert found["HTTP_ORIGINAL_HOST"] == "localhost:8080"
        assert found["HTTP_ORIGINAL_REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("prefix", ["C2C_", "C2CWSGIUTILS_"])
def test_the_predecessors_variables_force_too(prefix):
    loaded = load({f"{prefix}FORCE_PROTO": "https", f"{prefix}FORCE_REMOTE_ADDR": "192.0.2.1"})
    assert loaded.settings.client_info.force_proto == "https"
    assert loaded.settings.client_info.force_remote_addr == "192.0.2.1"


def test_an_error_of_ours_hurts_no_request_and_leaves_no_header(caplog, monkeypatch):
    monkeypatch.setattr(headers, "items", lambda _: 1 / 0)
    found = prepared(x_forwarded_for=CLIENT, more={"c2c.force_proto": "https"})
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["wsgi.url_scheme"] == "https"
    assert "HTTP_X_FORWARDED_FOR" not in found
    assert caplog.records[0].exc_info


def test_the_scheme_of_a_connection_with_tls_stays_whatever_the_headers_say():
    # Without TLS: acceptance/tests/proxies/test_servers.py.
    said = {"wsgi.url_scheme": "https", "HTTP_X_FORWARDED_PROTO": "https"}
    context = ssl.create_default_context()
    with socket.socket() as plain:
        assert scheme_of_connection({**said, "gunicorn.socket": plain}) == "http"
        with context.wrap_socket(plain, server_hostname="a", do_handshake_on_connect=False) as tls:
            assert scheme_of_connection({**said, "gunicorn.socket": tls}) is None
    # A server that decides otherwise, or that believes no header.
    assert scheme_of_connection(said) is None
    assert scheme_of_connection({"wsgi.url_scheme": "https", "gunicorn.socket": plain}) is None


@pytest.mark.parametrize("unknown", [None, print, [].append, Proxies(ClientInfo()).prepare])
def test_another_waitress_than_we_know_hurts_no_request(unknown, caplog):
    # With the real one: acceptance/tests/proxies/test_servers.py.
    made = environ(**{"waitress.client_disconnected": unknown})
    Proxies(ClientInfo()).prepare(made)
    assert made["REMOTE_ADDR"] == "127.0.0.1"
    assert not caplog.messages


@pytest.mark.parametrize(
    "text",
    [
        *('"' * 800_000, ',"' * 400_000, "a=\t " * 200_000, '="\\' * 270_000),
        *("for=10.0.0.1," * 60_000, "10.0.0.1," * 90_000),
    ],
)
def test_long_headers_do_not_take_long(text):
    began = time.process_time()
    prepared(forwarded=text, x_forwarded_for=text, x_forwarded_host=text, x_forwarded_proto=text)
    assert time.process_time() - began < 0.25


def test_an_address_that_is_cut_off_is_not_taken_for_another():
    # The cut falls within the first address: its end is an address, too.
    text = ",".join(["1.1.1.1", *["10.0.0.1"] * 600])
    for number in range(9):
        found = client(x_forwarded_for="2" * number + text)
        assert found == "10.0.0.1"


CHARACTERS = st.sampled_from([*string.printable, "\0", "ÿ", "٣", *['"', ",", ";", "=", "\\"] * 4])
WORDS = st.sampled_from(
    [
        *("for=", "by=", "host=", "10.0.0.1", "1.1.1.1", "::1", "80", "_x"),
        *('"', ",", ";", " ", "\\", "[", "]", ":"),
    ]
)
_KINDS = ("for", "host", "proto", "scheme", "server", "port")
# What a client would try who has read this.
LIKELY = {
    "forwarded": (
        "host=evil.example;proto=https",
        f"for={CLIENT};host=evil.example:66;proto=https;by=192.0.2.66:66",
        f"for={OTHER};host=evil.example:66;proto=http",
    ),
    "x_forwarded_for": (OTHER, f"{OTHER}, 10.0.0.1", f"{CLIENT}:66"),
    "x_forwarded_host": ("evil.example", "evil.example:66"),
    "x_forwarded_proto": ("http", "https"),
    "x_forwarded_scheme": ("http", "https"),
    "x_forwarded_server": ("evil.example", "evil.example:66"),
    "x_forwarded_port": ("66", "443"),
}
HOSTILE = st.text(CHARACTERS, max_size=60) | st.lists(WORDS, max_size=14).map("".join)


KINDS = ("forwarded", *(f"x_forwarded_{kind}" for kind in _KINDS))
# What each proxy makes of a header of the client's, by the header; the others it hands on.
SET_UPS = {
    "one that appends the address, and sets host and scheme": (
        "*",
        {
            "x_forwarded_for": "{}, " + CLIENT,
            "x_forwarded_host": "example.com:8443",
            "x_forwarded_proto": "https",
        },
        (CLIENT, "example.com:8443", "https"),
    ),
    "one that appends all, as Apache does": (
        "x-forwarded-for,x-forwarded-host,x-forwarded-server",
        {
            "x_forwarded_for": "{}, " + CLIENT,
            "x_forwarded_host": "{}, example.com:8443",
            "x_forwarded_server": "{}, front.example",
        },
        (CLIENT, "example.com:8443", "http"),
    ),
    "one that says the port apart": (
        "x-forwarded-for,x-forwarded-host,x-forwarded-port",
        {
            "x_forwarded_for": "{}," + CLIENT,
            "x_forwarded_host": "example.com",
            "x_forwarded_port": "8443",
        },
        (CLIENT, "example.com:8443", "http"),
    ),
    "one that says only the address": (
        "x-forwarded-for",
        {"x_forwarded_for": "{}," + CLIENT},
        (CLIENT, "localhost:8080", "http"),
    ),
    "one that says only the scheme": (
        "x-forwarded-proto",
        {"x_forwarded_proto": "https"},
        ("127.0.0.1", "localhost:8080", "https"),
    ),
    "one that writes the standard alone": (
        "forwarded",
        {"forwarded": "{}, for=" + CLIENT + ';host="example.com:8443";proto=https'},
        (CLIENT, "example.com:8443", "https"),
    ),
    "one that writes both": (
        "forwarded,x-forwarded-for,x-forwarded-proto",
        {
            "x_forwarded_for": "{}," + CLIENT,
            "x_forwarded_proto": "https",
            "forwarded": f"for={CLIENT};host=example.com:8443;proto=https",
        },
        (CLIENT, "example.com:8443", "https"),
    ),
}


@pytest.mark.parametrize("set_up", SET_UPS)
@settings(max_examples=150, deadline=None)
@given(
    invented=st.fixed_dictionaries(
        {}, optional={name: HOSTILE | st.sampled_from(LIKELY[name]) for name in KINDS}
    )
)
def test_whatever_a_client_sends_it_is_seen_where_it_is_and_for_what_it_asks(set_up, invented):
    named, writes, expected = SET_UPS[set_up]
    sent = {name: text.replace("{}", invented.get(name, "")) for name, text in writes.items()}
    found = prepared(more={"c2c.proxy_headers": named}, **invented | sent)
    assert (found["REMOTE_ADDR"], found["HTTP_HOST"], found["wsgi.url_scheme"]) == expected
    port = writes.get("x_forwarded_port", "8080")
    assert found["SERVER_PORT"] == port


@settings(max_examples=400, deadline=None)
@given(
    texts=st.lists(HOSTILE, min_size=7, max_size=7),
    peer=st.sampled_from(["127.0.0.1", "", OTHER]),
)
def test_whatever_stands_in_the_headers_what_comes_out_is_well_formed(texts, peer):
    found = prepared(peer=peer, **dict(zip(KINDS, texts, strict=True)))
    if found["REMOTE_ADDR"]:
        assert str(ipaddress.ip_address(found["REMOTE_ADDR"])) == found["REMOTE_ADDR"]
    if peer == OTHER:
        assert found["REMOTE_ADDR"] == OTHER
    assert found["wsgi.url_scheme"] in ("http", "https")
    assert 0 < int(found["SERVER_PORT"]) < 65536
    assert set(found["HTTP_HOST"] + found["SERVER_NAME"]) <= set(
        string.ascii_letters + string.digits + "._-:[]"
    )
    assert not {f"HTTP_{name.upper()}" for name in KINDS} & found.keys()


class TestFilter:
    def test_the_application_sees_who_asks(self):
        seen = []
        application = Filter(lambda environ, _: seen.append(environ["REMOTE_ADDR"]), ClientInfo())
        application(environ(HTTP_X_FORWARDED_FOR=CLIENT), None)
        assert seen == [CLIENT]

    def test_pastedeploy_finds_it_by_name(self, tmp_path, monkeypatch):
        monkeypatch.setenv("C2CWSGIUTILS_FORCE_PROTO", "https")
        ini = tmp_path / "app.ini"
        ini.write_text(
            "[pipeline:main]\npipeline = proxies app\n"
            "[filter:proxies]\nuse = egg:c2cotel#client_info\ntrusted_proxies = 192.0.2.0/24\n"
            "force_host = example.com\n"
            "[app:app]\npaste.app_factory = echoing_who_asks:factory\n"
        )
        (tmp_path / "echoing_who_asks.py").write_text(
            "def factory(_):\n"
            "    return lambda e, _: [e['REMOTE_ADDR'], e['HTTP_HOST'], e['wsgi.url_scheme']]\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        application = loadapp(f"config:{ini}")
        made = environ("192.0.2.1", HTTP_X_FORWARDED_FOR=CLIENT)
        assert application(made, None) == [CLIENT, "example.com", "https"]
        made = environ("127.0.0.1", HTTP_X_FORWARDED_FOR=CLIENT)
        assert application(made, None) == ["127.0.0.1", "example.com", "https"]

    def test_the_environment_wins_over_an_option(self, monkeypatch):
        monkeypatch.setenv("C2C_FORCE_HOST", "a.example")
        made = environ()
        filter_factory({}, force_host="b.example")(lambda *_: [])(made, None)
        assert made["HTTP_HOST"] == "a.example"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"trusted_proxys": "*"},
                (
                    "The filter client_info: c2c.trusted_proxys is not a setting of c2cotel. "
                    "Is c2c.trusted_proxies meant?"
                ),
            ),
            ({"trusted_proxies": "10.0.0.0/40"}, "c2c.trusted_proxies = '10.0.0.0/40': neither"),
            ({"force_proto": "ftp"}, "c2c.force_proto = 'ftp'"),
            ({"proxy_headers": "x-real-ip"}, "c2c.proxy_headers = 'x-real-ip': not a header"),
            ({"force_host": "http://a"}, "c2c.force_host = 'http://a': not a host"),
        ],
    )
    def test_a_wrong_option_stops_the_start_and_is_named(self, options, message):
        with pytest.raises(SettingsError) as caught:
            filter_factory({}, **options)
        assert str(caught.value).startswith(message)
