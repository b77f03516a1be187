import json
import logging
import logging.config
import os
import socket
import sys
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from c2cotel.pyramid_logging import PyramidCeeSysLogHandler
from c2cotel.pyramid_logging.packets import bounded
from c2cotel_acceptance.utils import retry_timeout


class Receiver:
    def __init__(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    @property
    def address(self):
        return self.socket.getsockname()[:2]

    def packet(self):
        return self.socket.recv(70_000).decode()

    def fields(self):
        return json.loads(self.packet().partition("@cee: ")[2])


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.socket.close()


@pytest.fixture
def handle(monkeypatch):
    """``handle(*args)``: a handler that is closed with the test."""
    made = []
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gunicorn"])

    def handle(*args, **kwargs):
        made.append(PyramidCeeSysLogHandler(*args, **kwargs))
        return made[-1]

    yield handle
    for handler in made:
        handler.close()


def record(message="hello %s", *args, level=logging.WARNING, **extra):
    logger = logging.getLogger("app")
    return logger.makeRecord("app", level, "/a.py", 7, message, args, None, "view", extra)


def test_a_record_is_a_packet_with_the_fields_of_the_json_lines(handle, receiver):
    made = record("hello %s", "you", request_id="abc", table="roads")
    handle(receiver.address).handle(made)
    head, _, body = receiver.packet().partition(": @cee: ")
    assert head == f"<12>gunicorn[{os.getpid()}]"
    fields = json.loads(body)
    assert fields.pop("host")
    assert fields == {
        "timestamp": made.created,
        "level_name": "WARNING",
        "level": 4,
        "logger_name": "app",
        "msg": "hello you",
        "file": "/a.py",
        "line": 7,
        "function": "view",
        "pid": made.process,
        "process_name": "MainProcess",
        "thread_name": "MainThread",
        "request_id": "abc",
        "table": "roads",
        "source_facility": "user",
    }


def test_facility_and_level_are_the_number_at_its_beginning(handle, receiver):
    handler = handle(receiver.address, "local0")
    handler.handle(record("m", level=logging.CRITICAL))
    assert receiver.packet().startswith(f"<{16 * 8 + 2}>")
    handler.handle(record("m", level=logging.DEBUG))
    assert receiver.packet().startswith(f"<{16 * 8 + 7}>")


def test_a_logging_configuration_makes_one(receiver):
    kwargs = {"address": list(receiver.address), "facility": "daemon"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(message)s"}},
        "handlers": {
            "cee": {
                "class": "c2cotel.pyramid_logging.PyramidCeeSysLogHandler",
                "formatter": "plain",
                **kwargs,
            }
        },
        "loggers": {"cee": {"handlers": ["cee"]}},
    }
    logging.config.dictConfig(config)
    logger = logging.getLogger("cee")
    logger.warning("hello")
    assert receiver.fields()["source_facility"] == "daemon"
    logger.handlers.pop().close()


def test_names_are_looked_up_and_ipv6_works(handle):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    receiver = Receiver(socket.AF_INET6, ("::1", 0))
    handle(("::1", receiver.address[1])).handle(record("six"))
    assert receiver.fields()["msg"] == "six"
    receiver.socket.close()
    receiver = Receiver()
    handle(("localhost", receiver.address[1])).handle(record("name"))
    if socket.getaddrinfo("localhost", 1, 0, socket.SOCK_DGRAM)[0][0] == socket.AF_INET:
        assert receiver.fields()["msg"] == "name"
    receiver.socket.close()


def test_a_socket_of_this_host_will_do(handle, tmp_path):
    receiver = Receiver(socket.AF_UNIX, str(tmp_path / "log"))
    handle(str(tmp_path / "log")).handle(record("unix"))
    assert receiver.fields()["msg"] == "unix"
    receiver.socket.close()


def test_a_packet_that_is_too_long_is_cut_and_says_where(handle, receiver):
    handler = handle(receiver.address)
    handler.handle(record("é" * 20_000, other="b" * 100_000, list=[1] * 9000, short="kept"))
    packet = receiver.packet()
    assert 7000 < len(packet) <= 8000
    fields = json.loads(packet.partition("@cee: ")[2])
    assert fields["truncated"] == {"msg": 20_000, "other": 100_000, "list": 27_000}
    assert fields["msg"].startswith("ééé")
    assert fields["msg"].endswith("é…")
    assert fields["short"] == "kept"


def test_what_fits_has_no_mark_and_the_bound_can_be_chosen(handle, receiver):
    handler = handle(receiver.address, largest=60_000)
    handler.handle(record("a" * 50_000))
    fields = receiver.fields()
    assert fields["msg"] == "a" * 50_000
    assert "truncated" not in fields


VALUES = st.one_of(
    st.text(st.characters()), st.integers(), st.lists(st.text()), st.text("\U0001f600", min_size=99)
)


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=30), st.integers(480, 3000))
def test_whatever_comes_it_is_json_within_the_bound(fields, largest):
    known = {"timestamp": 1.5, "level": 4, "host": "h", "logger_name": "l" * 99, "msg": "m"}
    line = json.dumps({**known, **fields})
    written = bounded(line, {"source_facility": "user"}, largest)
    assert len(written) <= largest
    made = json.loads(written)
    if len(line) < largest - 40:
        assert made == {**known, **fields, "source_facility": "user"}
    else:
        assert {"timestamp", "level"} <= made.keys()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((("syslog",),), "address = ('syslog',): not a host and its port. Write ('syslog', 514)"),
        ((("syslog", 0),), "not a host and its port"),
        ((("syslog", "x"),), "not a host and its port"),
        ((("127.0.0.1", 5), "nowhere"), "facility = 'nowhere': there is none. Write one of "),
        ((("127.0.0.1", 5), 1, socket.SOCK_STREAM), "socktype: only datagrams are sent."),
    ],
)
def test_what_it_cannot_be_made_of_is_told(args, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its text is looked at
        PyramidCeeSysLogHandler(*args)
    assert said in str(error.value)


def test_a_bound_that_no_packet_has_is_told():
    with pytest.raises(ValueError, match=r"largest = 70000: a packet has 480 to 65507 bytes\."):
        PyramidCeeSysLogHandler(("127.0.0.1", 5), largest=70_000)


def test_a_receiver_that_is_not_there_is_nothing_to_speak_of(handle, receiver, capsys):
    port = receiver.address[1]
    receiver.socket.close()
    handler = handle(("127.0.0.1", port))
    for _ in range(100):
        handler.handle(record("m"))
    assert capsys.readouterr().err == ""
    assert handler._drops.total == 0


@pytest.mark.alone
def test_a_name_that_nobody_knows_costs_nothing_and_is_said_once(handle, monkeypatch, capsys):
    asked = []

    def slow(*args):
        asked.append(args)
        time.sleep(0.2)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    handler = handle(("syslog.invalid", 514))
    made = time.monotonic() - began
    began = time.monotonic()
    for _ in range(1000):
        handler.handle(record("m"))
    took = time.monotonic() - began
    assert made < 1.5
    assert took < 1
    assert handler._drops.total == 1000
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Log lines are lost on their way to syslog at syslog.invalid:514: ")


def test_a_name_that_is_known_later_is_used_then(handle, receiver, monkeypatch):
    known = socket.getaddrinfo
    answers = [OSError(1, "not yet")] * 2

    def look_up(_, *args):
        if answers:
            raise answers.pop()
        return known("127.0.0.1", *args)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    handler = handle(("syslog.invalid", receiver.address[1]))
    handler.handle(record("lost"))
    handler._destination._fresh_until = 0

    def arrives():
        handler.handle(record("m"))
        receiver.socket.settimeout(0.05)
        return receiver.fields()["msg"] == "m"

    retry_timeout(arrives, timeout=10, interval=0.02)


def test_a_record_that_cannot_be_formatted_is_salvaged_as_json_is(handle, receiver):
    handle(receiver.address).handle(record("hello %d", "you"))
    assert receiver.fields()["unformatted_args"] == "('you',)"
