"""Printing, with a server that behaves as MapFish Print does, or does not."""

import json

import pytest

from c2cotel_acceptance.connection import CheckError
from c2cotel_acceptance.print import PrintConnection, PrintError

CACHED = {"Cache_Control": "max-age=3600"}
REF = "5a6bbdb5-4ab5"
REQUEST = {"layout": "A4", "attributes": {"scale": 25000}}


@pytest.fixture
def mapfish(server):
    """Needs three looks at the status until it has printed."""
    statuses = iter([{"done": False, "status": "waiting"}, {"done": False, "status": "running"}])
    server.finished = {"done": True, "status": "finished", "downloadURL": f"/print/report/{REF}"}

    def status(handler):
        told = json.dumps(next(statuses, server.finished)).encode()
        server.answer("/print/told", body=told)
        server._answers["/print/told"](handler)

    server.answer("/print/apps.json", body=b'["default", "other"]', **CACHED)
    server.answer("/print/default/capabilities.json", body=b'{"app": "default"}', **CACHED)
    examples = {"requestData": json.dumps(REQUEST)}
    server.answer(
        "/print/default/exampleRequest.json", body=json.dumps(examples).encode(), **CACHED
    )
    server.answer("/print/default/report.pdf", body=json.dumps({"ref": REF}).encode())
    server.act(f"/print/status/{REF}.json", status)
    server.answer(f"/print/report/{REF}", body=b"%PDF-1.5", Content_Type="application/pdf")
    return server


@pytest.fixture
def connection(mapfish, monkeypatch):
    monkeypatch.setattr("c2cotel_acceptance.print._BETWEEN", 0.01)
    with PrintConnection(f"{mapfish.url}/print", "https://maps.example/", timeout=10) as made:
        yield made


def test_what_is_configured_is_told(connection, mapfish):
    connection.wait_ready(timeout=5)
    assert connection.get_apps() == ["default", "other"]
    assert connection.get_capabilities("default") == {"app": "default"}
    assert connection.get_example_requests("default") == {"requestData": REQUEST}
    assert {asked[2]["Referer"] for asked in mapfish.asked} == {"https://maps.example/"}


def test_a_report_is_waited_for(connection, mapfish):
    report = connection.get_pdf("default", REQUEST)
    assert report.content == b"%PDF-1.5"
    assert json.loads(mapfish.asked[0][3]) == REQUEST
    assert [path for _, path, _, _ in mapfish.asked].count(f"/print/status/{REF}.json") == 3


def test_a_report_that_failed_is_told_at_once(connection, mapfish):
    mapfish.finished = {"done": True, "status": "error", "error": "No such layer: roads"}
    with pytest.raises(PrintError, match=rf"status/{REF}\.json: error: No such layer: roads"):
        connection.get_pdf("default", REQUEST)


def test_a_report_that_takes_too_long_is_told(connection, mapfish):
    mapfish.finished = {"done": False, "status": "running", "elapsedTime": 12}
    with pytest.raises(PrintError, match=r"not done after 0\.05 s: .*'elapsedTime': 12"):
        connection.get_pdf("default", REQUEST, timeout=0.05)


def test_a_report_that_is_no_pdf_is_told(connection, mapfish):
    mapfish.answer(f"/print/report/{REF}", body=b"<html>Oops", Content_Type="text/html")
    with pytest.raises(CheckError, match="is 'text/html', expected 'application/pdf'") as caught:
        connection.get_pdf("default", REQUEST)
    assert "<html>Oops" in str(caught.value)


def test_a_report_that_cannot_be_found_again_is_told(connection, mapfish):
    mapfish.answer("/print/default/report.pdf", body=b"{}")
    with pytest.raises(PrintError, match=r"default/report\.pdf: \{\} has no 'ref'"):
        connection.get_pdf("default", REQUEST)


def test_a_broken_example_is_named(connection, mapfish):
    examples = json.dumps({"good": "{}", "bad": "{"}).encode()
    mapfish.answer("/print/default/exampleRequest.json", body=examples, **CACHED)
    with pytest.raises(PrintError, match="the example 'bad' is broken JSON: Expecting property"):
        connection.get_example_requests("default")


@pytest.mark.parametrize(
    ("examples", "told"),
    [(b"[]", r"exampleRequest\.json: \[\] is not an object"), (b'{"a": {}}', "'a' is no text: {}")],
)
def test_examples_of_another_shape_are_told(connection, mapfish, examples, told):
    mapfish.answer("/print/default/exampleRequest.json", body=examples, **CACHED)
    with pytest.raises(PrintError, match=told):
        connection.get_example_requests("default")


def test_a_status_of_another_shape_is_told(connection, mapfish):
    mapfish.finished = []
    with pytest.raises(PrintError, match=rf"status/{REF}\.json: \[\] is not an object"):
        connection.get_pdf("default", REQUEST)


def test_a_server_that_does_not_start_is_told(connection, mapfish):
    mapfish.answer("/print/default/capabilities.json", 503, body=b"starting")
    with pytest.raises(TimeoutError, match="answered 503 Service Unavailable"):
        connection.wait_ready(timeout=0.05)
