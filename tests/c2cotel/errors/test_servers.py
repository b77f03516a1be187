"""Errors in real servers: their clients' disconnects and broken requests."""

import os
import socket

import pytest
import requests

from c2cotel.errors.core import UNEXPECTED
from c2cotel_acceptance.processes import Process, script
from c2cotel_acceptance.servers.places import LOCALHOST, free_port
from c2cotel_acceptance.utils import retry_timeout

APPLICATION = """
import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
from pyramid.config import Configurator

def body(request):
    return {"length": len(request.body)}

def application():
    config = Configurator(settings={"c2c.enable_exception_handling": "1"})
    for feature in ("renderers", ):
        config.include(f"c2cotel.pyramid.{feature}")
    config.include("c2cotel.request_tracking")
    config.include("c2cotel.errors")
    config.add_route("body", "/body")
    config.add_view(body, route_name="body", renderer="fast_json")
    config.add_route("boom", "/boom")
    config.add_view(lambda _: 1 / 0, route_name="boom")
    return config.make_wsgi_app()
"""


@pytest.fixture(scope="module", params=["gunicorn", "waitress"])
def server(request, tmp_path_factory):
    """One of the servers, its name and its port."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    (folder / "errors_app.py").write_text(APPLICATION)
    address = f"{LOCALHOST}:{port}"
    argv = {
        "gunicorn": [
            *(script("gunicorn"), "-b", address, "--no-control-socket", "--threads", "2"),
            "errors_app:application()",
        ],
        "waitress": [
            script("waitress-serve"),
            *(f"--listen={address}", "--call", "errors_app:application"),
        ],
    }[request.param]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("C2C_", "OTEL_"))}
    environ |= {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore", "DEVELOPMENT": ""}
    process = Process(argv, log=folder / "log", env=environ, cwd=folder)
    with process:
        process.wait_url(f"http://{address}/body")
        yield request.param, port, process


def send(port, data):
    with socket.create_connection((LOCALHOST, port), timeout=10) as connection:
        connection.sendall(data)


def answer_to(port, data):
    with socket.create_connection((LOCALHOST, port), timeout=10) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def lines(process):
    return [line for line in process.output().splitlines() if "c2cotel.errors" in line]


def test_an_exception_is_answered_and_logged(server):
    _, port, process = server
    response = requests.get(f"http://{LOCALHOST}:{port}/boom", timeout=10)
    assert response.json() == {"message": UNEXPECTED, "status": 500}
    (line,) = lines(process)
    assert line == (
        f"ERROR c2cotel.errors.views GET http://{LOCALHOST}:{port}/boom answered with 500: "
        "ZeroDivisionError: division by zero"
    )


def test_a_client_that_goes_away_is_a_line_without_a_traceback(server):
    name, port, process = server
    traces = process.output().count("Traceback")
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789"
    send(port, head)
    if name == "gunicorn":  # waitress reads all of it before anybody is asked
        gone = "INFO c2cotel.errors.views POST http://x/body answered with 500: "
        retry_timeout(lambda: [line for line in lines(process) if line.startswith(gone)], 10)
    response = requests.post(f"http://{LOCALHOST}:{port}/body", b"abc", timeout=10)
    assert response.json() == {"length": 3}
    assert process.output().count("Traceback") == traces


def test_a_body_in_broken_chunks_is_the_clients_fault(server):
    _, port, process = server
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"
    answer = answer_to(port, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Invalid" not in "".join(line for line in lines(process) if line.startswith("ERROR"))


def test_a_path_that_is_no_text_is_400(server):
    _, port, _ = server
    answer = answer_to(port, b"GET /%ff%fe HTTP/1.0\r\nHost: x\r\n\r\n")
    assert answer.split(b" ")[1] == b"400"
    assert b'"message": "The path is not encoded as UTF-8"' in answer
