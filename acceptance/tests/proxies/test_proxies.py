"""Who asks, behind nginx, Varnish and HAProxy as they are set up usually, and with hostile clients.

Every client is at 127.0.0.9, every proxy at 127.0.0.1, which is all that the application trusts.
"""

from collections.abc import Iterator

import pytest

from c2cotel_acceptance import servers

from .conftest import CLIENT, PROXIES, ask, or_missing

SPOOFED = "203.0.113.66"
# The addresses in it are nobody's here.
_EVIL = {
    "X_Forwarded_For": f"{SPOOFED}, 127.0.0.1",
    "X_Forwarded_Host": "evil.example",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Scheme": "https",
    "X_Forwarded_Server": "evil.example:66",
    "X_Forwarded_Port": "66",
    "X_Real_IP": SPOOFED,
    "Original_Remote_Addr": SPOOFED,
}
_HTTP = {"X_Forwarded_Proto": "http", "X_Forwarded_Scheme": "http"}
# All that a client could try at once, by what it says in Forwarded.
CLIENTS = {
    "honest": {},
    "another client": {
        **_EVIL,
        "Forwarded": f'for={SPOOFED};host=evil.example;proto=https, for="',
    },
    "its own address": {**_EVIL, "Forwarded": f"for={CLIENT};host=evil.example;proto=https"},
    "no address": {**_EVIL, **_HTTP, "Forwarded": "host=evil.example:66;proto=http"},
    "X-Forwarded-* only": {**_EVIL, **_HTTP},
    "X-Forwarded-Scheme only": {"X_Forwarded_Scheme": "https"},
}
HOSTILE = CLIENTS["its own address"]

USUAL = """
    proxy_pass http://{upstream}/;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
"""
# The name of the application is its proxy's alone.
BARE = """
    proxy_pass http://{upstream}/;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Port $server_port;
"""
STANDARD = """
    proxy_pass http://{upstream}/;
    proxy_set_header Forwarded "$proxy_add_forwarded;host=\\"$http_host\\";proto=$scheme";
"""
# As the documentation of nginx has it.
ADD_FORWARDED = r"""
    map $remote_addr $proxy_forwarded_elem {
        ~^[0-9.]+$ "for=$remote_addr";
        ~^[0-9A-Fa-f:.]+$ "for=\"[$remote_addr]\"";
        default "for=unknown";
    }
    map $http_forwarded $proxy_add_forwarded {
        default "$http_forwarded, $proxy_forwarded_elem";
        "" "$proxy_forwarded_elem";
    }
"""


def told(serve, *written: str) -> int:
    """The port of an application that is told what its proxies write."""
    return serve(C2C_TRUSTED_PROXIES=PROXIES, C2C_PROXY_HEADERS=",".join(written)).port


@pytest.fixture(scope="module")
def nginx(application, serve) -> Iterator[servers.Proxy]:
    bare = told(serve, "x-forwarded-for", "x-forwarded-host", "x-forwarded-port")
    locations = {
        "/usual/": USUAL.format(upstream=f"127.0.0.1:{application.port}"),
        "/bare/": BARE.format(upstream=f"127.0.0.1:{bare}"),
        "/standard/": STANDARD.format(upstream=f"127.0.0.1:{told(serve, 'forwarded')}"),
    }
    with or_missing(servers.nginx(locations, http=ADD_FORWARDED)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def varnish(serve) -> Iterator[servers.Proxy]:
    with or_missing(servers.varnish(told(serve, "x-forwarded-for"))) as proxy:
        yield proxy


FORWARD = ["option forwardfor", "http-request set-header X-Forwarded-Proto http"]
FORWARD_STANDARD = [
    "option forwardfor",
    "http-request set-header X-Forwarded-Proto http",
    'http-request set-header Forwarded "for=%[src];proto=http;host=%[req.hdr(host)]"',
]


@pytest.fixture(scope="module")
def haproxy(serve) -> Iterator[servers.Proxy]:
    port = told(serve, "forwarded", "x-forwarded-for", "x-forwarded-proto")
    with or_missing(servers.haproxy(port, rules=FORWARD_STANDARD)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def chain(nginx) -> Iterator[servers.Proxy]:
    """HAProxy, behind which stands nginx."""
    rules = [*FORWARD, "http-request set-path /usual%[path]"]
    with or_missing(servers.haproxy(nginx.port, rules=rules)) as proxy:
        yield proxy


@pytest.mark.parametrize("hostile", CLIENTS.values(), ids=CLIENTS)
class TestTheClientIsSeenWhereItIsAndForWhatItAsks:
    def test_behind_nginx(self, nginx, hostile):
        who = ask(f"{nginx.url}/usual/who", **hostile)
        assert (who.client, who.remote, who.url) == (CLIENT, CLIENT, f"{nginx.url}/who")
        written = {"X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto"}
        sent = {name for name in hostile if "Forwarded" in name}
        assert who.left == sorted(f"Original-{name}".replace("_", "-") for name in written | sent)
        assert who.originals["HTTP_ORIGINAL_REMOTE_ADDR"] == "127.0.0.1"

    def test_behind_nginx_with_tls(self, nginx, hostile):
        url = f"{nginx.secure_url}/usual/who"
        who = ask(url, verify=nginx.certificate, **hostile)
        assert (who.client, who.url) == (CLIENT, f"{nginx.secure_url}/who")

    def test_behind_nginx_that_says_the_port_apart(self, nginx, hostile):
        who = ask(f"{nginx.url}/bare/who", **hostile)
        assert (who.client, who.url) == (CLIENT, f"{nginx.url}/who")
        assert who.server == f"127.0.0.1:{nginx.port}"

    def test_behind_nginx_that_writes_the_standard_header_alone(self, nginx, hostile):
        url = f"{nginx.secure_url}/standard/who"
        who = ask(url, verify=nginx.certificate, **hostile)
        assert (who.client, who.url) == (CLIENT, f"{nginx.secure_url}/who")

    def test_behind_varnish(self, varnish, hostile):
        who = ask(f"{varnish.url}/who", **hostile)
        assert (who.client, who.url) == (CLIENT, f"{varnish.url}/who")

    def test_behind_haproxy_that_writes_both(self, haproxy, hostile):
        who = ask(f"{haproxy.url}/who", **hostile)
        assert (who.client, who.url) == (CLIENT, f"{haproxy.url}/who")

    def test_behind_haproxy_and_nginx(self, chain, hostile):
        who = ask(f"{chain.url}/who", **hostile)
        assert (who.client, who.url) == (CLIENT, f"{chain.url}/who")

    def test_without_any_proxy(self, application, hostile):
        who = ask(f"{application.url}/who", **hostile)
        assert (who.client, who.remote, who.url) == (CLIENT, CLIENT, f"{application.url}/who")


def test_the_span_knows_who_asks(nginx, spans):
    url = f"{nginx.secure_url}/usual/who"
    ask(url, verify=nginx.certificate, X_Request_ID="of-this-test", **HOSTILE)
    (span,) = spans.wait(
        lambda receiver: [
            span
            for span in receiver.server_spans()
            if span.attributes["c2c.request.id"] == "of-this-test"
        ]
    )
    assert span.attributes["client.address"] == CLIENT
    assert span.attributes["url.scheme"] == "https"
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes["server.port"] == int(nginx.secure_url.rpartition(":")[2])


def test_several_lines_of_a_header_are_one_list(haproxy):
    # HAProxy adds a line of its own below the client's.
    who = ask(f"{haproxy.url}/who", X_Forwarded_For=SPOOFED)
    assert who.originals["HTTP_ORIGINAL_X_FORWARDED_FOR"] == f"{SPOOFED},{CLIENT}"
    assert who.client == CLIENT
