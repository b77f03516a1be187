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


@pytest.fixture(scope="module")
def told(serve) -> servers.Gunicorn:
    """One whose proxies write the address only."""
    return serve(C2C_PROXY_HEADERS="x-forwarded-for")


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

    @pytest.mark.parametrize(
        "secure",
        [
            {"X_Forwarded_Proto": "https"},
            {"X_Forwarded_Ssl": "on"},
            {"X_Forwarded_Protocol": "ssl"},
        ],
    )
    def test_a_scheme_that_no_proxy_writes_does_not_count_because_gunicorn_believes_it(
        self, told, secure
    ):
        assert ask(f"{told.url}/who", address=PROXIES, **secure).url.startswith("http://")
        who = ask(f"{told.url}/who", address=PROXIES, X_Forwarded_For=REAL, **secure)
        assert (who.client, who.url[:7]) == (REAL, "http://")

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
def waitress(folder, *options, **env: str) -> Iterator[str]:
    port = servers.free_port()
    argv = [script("waitress-serve"), f"--listen=127.0.0.1:{port}", *options]
    argv.append("proxies_app:application")
    with Process(argv, log=folder / "log", env=environ(env)) as process:
        process.wait_url(f"http://127.0.0.1:{port}/who")
        yield f"http://127.0.0.1:{port}"


# What is said, once.
TAKEN = (
    f"waitress takes X-Forwarded-For, X-Forwarded-Proto of {PROXIES} away, so that proxy is taken "
    "for the client. In the section of the server write clear_untrusted_proxy_headers = false"
)


class TestWaitress:
    def test_it_takes_the_headers_of_a_proxy_away_which_is_said_once(self, tmp_path):
        with waitress(tmp_path, C2C_TRUSTED_PROXIES=PROXIES) as url:
            ask(f"{url}/who", address=PROXIES)
            # Whoever is not trusted may send what it likes.
            assert ask(f"{url}/who", **HTTPS).client == CLIENT
            assert "waitress takes" not in (tmp_path / "log").read_text()
            for _ in range(2):
                assert ask(f"{url}/who", address=PROXIES, **HTTPS).client == PROXIES
        assert (tmp_path / "log").read_text().count(TAKEN) == 1

    def test_it_leaves_them_when_it_is_told_to(self, tmp_path):
        with waitress(tmp_path, "--no-clear-untrusted-proxy-headers") as url:
            who = ask(f"{url}/who", **HTTPS)
            assert who.client == REAL
            assert who.url.startswith("https://")
        assert "waitress takes" not in (tmp_path / "log").read_text()

    def test_what_it_has_understood_itself_stays(self, tmp_path):
        options = (f"--trusted-proxy={CLIENT}", "--trusted-proxy-headers=x-forwarded-for")
        with waitress(tmp_path, *options) as url:
            assert ask(f"{url}/who", X_Forwarded_For=f"10.0.0.1, {REAL}").client == REAL
        assert "waitress takes" not in (tmp_path / "log").read_text()
