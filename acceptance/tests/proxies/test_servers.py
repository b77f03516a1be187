"""What gunicorn and waitress believe themselves, and what becomes of it."""

import contextlib
from collections.abc import Iterator

import pytest

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import Process, script

from .conftest import CLIENT, PROXIES, ask, environ, or_missing, raw

REAL = "203.0.113.9"
HTTPS = {"X_Forwarded_For": REAL, "X_Forwarded_Proto": "https"}


@pytest.fixture(scope="module")
def trusting(serve, tmp_path_factory) -> tuple[servers.Gunicorn, str]:
    """The default: loopback and private addresses, Unix sockets. And its socket."""
    path = str(tmp_path_factory.mktemp("socket") / "gunicorn.sock")
    return serve("-b", f"unix:{path}"), path


@pytest.fixture(scope="module")
def strict(serve) -> servers.Gunicorn:
    """One that trusts nobody here."""
    return serve(C2C_TRUSTED_PROXIES="192.0.2.1")


class TestGunicorn:
    def test_a_proxy_that_gunicorn_does_not_know_is_believed(self, trusting):
        # Its forwarded_allow_ips is 127.0.0.1 by default.
        gunicorn, _ = trusting
        who = ask(f"{gunicorn.url}/who", address=CLIENT, **HTTPS)
        assert who.client == REAL
        assert who.url.startswith("https://")

    def test_two_proxies_may_name_the_scheme_which_gunicorn_alone_misreads(self, trusting):
        gunicorn, _ = trusting
        two = {"X_Forwarded_For": f"{REAL}, 127.0.0.5", "X_Forwarded_Proto": "https, http"}
        who = ask(f"{gunicorn.url}/who", address=PROXIES, **two)
        assert who.client == REAL
        assert who.url.startswith("https://")

    def test_gunicorn_believes_the_scheme_of_whom_it_trusts_itself(self, strict):
        who = ask(f"{strict.url}/who", address=PROXIES, **HTTPS)
        assert (who.client, who.url[:8]) == (PROXIES, "https://")
        who = ask(f"{strict.url}/who", address=CLIENT, **HTTPS)
        assert (who.client, who.url[:8]) == (CLIENT, "http://1")

    def test_headers_with_underscores_do_not_pass_for_others(self, trusting):
        gunicorn, _ = trusting
        response = raw(f"{gunicorn.url}/who", {"X_Forwarded_For": REAL}, CLIENT, verify=True)
        assert response.json()["client"] == CLIENT

    def test_a_unix_socket_is_a_proxys(self, trusting):
        _, path = trusting
        location = f"""
            proxy_pass http://unix:{path}:/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
        """
        with or_missing(servers.nginx({"/": location})) as nginx:
            who = ask(f"{nginx.url}/who", X_Forwarded_For=REAL)
        assert (who.client, who.url) == (CLIENT, f"{nginx.url}/who")
        assert "HTTP_ORIGINAL_REMOTE_ADDR" in who.originals

    def test_the_access_log_has_the_client(self, trusting):
        gunicorn, _ = trusting
        ask(f"{gunicorn.url}/who", X_Forwarded_For="203.0.113.77")
        log = gunicorn.output()
        assert "203.0.113.77 - - [" in log

    def test_the_predecessors_variables_force_values(self, serve):
        gunicorn = serve(C2CWSGIUTILS_FORCE_PROTO="https", C2CWSGIUTILS_FORCE_HOST="example.com")
        assert ask(f"{gunicorn.url}/who").url == "https://example.com/who"


@contextlib.contextmanager
def waitress(folder, *options) -> Iterator[str]:
    port = servers.free_port()
    argv = [script("waitress-serve"), f"--listen=127.0.0.1:{port}", *options]
    argv.append("proxies_app:application")
    with Process(argv, log=folder / "log", env=environ({})) as process:
        process.wait_url(f"http://127.0.0.1:{port}/who")
        yield f"http://127.0.0.1:{port}"


class TestWaitress:
    def test_it_takes_the_headers_away_unless_it_is_told_not_to(self, tmp_path):
        with waitress(tmp_path) as url:
            assert ask(f"{url}/who", **HTTPS).client == CLIENT
        with waitress(tmp_path, "--no-clear-untrusted-proxy-headers") as url:
            who = ask(f"{url}/who", **HTTPS)
            assert who.client == REAL
            assert who.url.startswith("https://")

    def test_what_it_has_understood_itself_stays(self, tmp_path):
        options = (f"--trusted-proxy={CLIENT}", "--trusted-proxy-headers=x-forwarded-for")
        with waitress(tmp_path, *options) as url:
            assert ask(f"{url}/who", X_Forwarded_For=f"10.0.0.1, {REAL}").client == REAL
