"""The servers of these tests do what is asked of them."""

import socket

import pytest

from c2cotel_acceptance.servers.valkeys import ask


def test_a_paused_valkey_keeps_silent_and_goes_on(valkey):
    assert ask(valkey.port, "SET kept 1")[0] == "+OK"
    valkey.pause()
    with socket.create_connection(("127.0.0.1", valkey.port), 0.2) as connection:
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(10)
    valkey.resume()
    assert ask(valkey.port, "GET kept")[1] == "1"


def test_a_killed_valkey_refuses_and_comes_back_empty_on_its_port(valkey):
    ask(valkey.port, "SET kept 1")
    valkey.kill()
    with pytest.raises(ConnectionRefusedError):
        ask(valkey.port, "PING")
    valkey.restart()
    assert ask(valkey.port, "GET kept")[0] == "$-1"


def test_the_replica_takes_the_place_of_a_killed_primary(sentinels):
    first = sentinels.kill_primary()
    second = sentinels.wait_failover(first)
    assert second is not first
    assert sentinels.primary() is second
    assert ask(second.port, "SET writable 1")[0] == "+OK"


def test_the_browser_tells_errors_and_faults_of_a_page(chromium):
    page = "<!doctype html><html lang='en'><title>A page</title><main><h1>Hi</h1>{}</main></html>"
    with chromium.visit() as visit:
        visit.page.set_content(page.format("<p>All is well.</p>"))
        assert (visit.violations(), visit.errors) == ([], [])
        visit.page.set_content(page.format("<img src='data:,'><script>no_such()</script>"))
        (fault,) = visit.violations()
        assert fault.startswith("critical image-alt")
        assert visit.errors == ["no_such is not defined"]
        visit.page.evaluate("console.error('wrong'); console.warn('strange')")
        assert visit.errors[1:] == ["wrong"]
        assert visit.screenshot("toolkit").stat().st_size > 1000
