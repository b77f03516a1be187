"""Dashboards to a server that behaves as Grafana does, and to some that do not."""

import itertools
import json
import socket
import threading
from importlib.metadata import version

import pytest
from werkzeug import Response

from c2cotel.boards import exchange
from c2cotel.boards import push as pushing
from c2cotel.boards.core import Board
from c2cotel.boards.exchange import PushError
from c2cotel.boards.push import Folder, Grafana, Outcome, push

TOKEN = "glsa_secret"


def board(name):
    content = {"uid": f"c2cotel-{name}", "title": name.title(), "panels": []}
    return Board(name, json.dumps(content))


ONE, TWO = board("one"), board("two")


def answer(status, content, **headers):
    return Response(json.dumps(content), status, headers, content_type="application/json")


@pytest.fixture
def slept():
    return []


@pytest.fixture
def grafana(server, httpserver, slept):  # noqa: ARG001 - it answers at that address
    with Grafana(httpserver.url_for("/"), TOKEN, sleep=slept.append) as made:
        yield made


def test_a_new_dashboard_is_at_the_top(grafana, server, httpserver):
    (outcome,) = push(grafana, [ONE])
    assert outcome == Outcome("one", f"new  {httpserver.url_for('/d/c2cotel-one/slug')}")
    assert server.dashboards["c2cotel-one"] == {
        "dashboard": {**ONE.content, "id": None},
        "folderUid": "",
        "overwrite": True,
        "message": f"c2cotel {version('c2cotel')}",
    }


def test_the_folder_is_made_once(grafana, server):
    assert [one.failed for one in push(grafana, [ONE, TWO], "Ours & ours")] == [False, False]
    assert next(push(grafana, [ONE], "Ours & ours")).text.startswith("replaced  ")
    assert server.folders == {"f0": "Ours & ours"}
    assert {sent["folderUid"] for sent in server.dashboards.values()} == {"f0"}


def test_a_folder_is_found_on_any_page(grafana, server, monkeypatch):
    monkeypatch.setattr(pushing, "_PAGE", 2)
    server.folders = {f"f{number}": f"Folder {number}" for number in range(5)}
    assert grafana.folder("Folder 4") == Folder("f4", "Folder 4")
    assert grafana.folder("Folder 5") is None


def test_of_two_folders_of_one_title_none_is_taken(grafana, server):
    server.folders = {"f0": "Ours", "f1": "Ours"}
    with pytest.raises(PushError, match="There are 2 folders 'Ours': give one another title"):
        list(push(grafana, [ONE], "Ours"))
    assert server.dashboards == {}


def test_a_folder_that_someone_else_has_just_made_is_used(grafana, server):
    def made_meanwhile(_):
        server.folders["f7"] = "Ours"
        return answer(412, {"message": "the folder has been changed by someone else"})

    server.instead.append(("POST /api/folders", made_meanwhile))
    list(push(grafana, [ONE], "Ours"))
    assert server.dashboards["c2cotel-one"]["folderUid"] == "f7"


def test_without_a_folder_each_stays_where_it_is(grafana, server):
    server.folders = {"f0": "Theirs"}
    list(push(grafana, [ONE], "Theirs"))
    list(push(grafana, [ONE, TWO]))
    where = {uid: sent["folderUid"] for uid, sent in server.dashboards.items()}
    assert where == {"c2cotel-one": "f0", "c2cotel-two": ""}


def test_a_dry_run_asks_and_changes_nothing(grafana, server):
    list(push(grafana, [ONE], "Ours"))
    server.asked.clear()
    before = json.dumps([server.folders, server.dashboards])
    assert [one.text for one in push(grafana, [ONE, TWO], dry_run=True)] == [
        "would be replaced, in the folder 'Ours'",
        "would be new, at the top",
    ]
    assert [one.text for one in push(grafana, [TWO], "New", dry_run=True)] == [
        "would be new, in the folder 'New', which would be made"
    ]
    assert json.dumps([server.folders, server.dashboards]) == before
    assert {line.split()[0] for line in server.asked} == {"GET"}


def test_grafana_may_be_below_a_path(server, httpserver):
    server.base = "/grafana"
    with Grafana(httpserver.url_for("/grafana/"), TOKEN) as grafana:
        (outcome,) = push(grafana, [ONE], "Ours")
    assert outcome.text == f"new  {httpserver.url_for('/grafana/d/c2cotel-one/slug')}"


def test_neither_netrc_nor_a_cookie_takes_the_place_of_the_token(
    grafana, httpserver, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {httpserver.host} login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert [one.failed for one in push(grafana, [ONE])] == [False]


# What passes


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(grafana, server, slept, status):
    server.will("POST /api/dashboards/db", *(Response("<html>", status) for _ in range(3)))
    assert [one.failed for one in push(grafana, [ONE])] == [False]
    assert slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("wished", "waited"), [("7", 7.0), ("3600", 30.0), ("0", 0.0), ("Wed, 21 Oct 2026", 0.5)]
)
def test_grafana_says_how_long_to_wait_within_reason(grafana, server, slept, wished, waited):
    refused = answer(429, {"message": "slow down"}, **{"Retry-After": wished})
    server.will("GET /api/dashboards", refused)
    assert [one.failed for one in push(grafana, [ONE])] == [False]
    assert slept == [waited]


def test_what_does_not_pass_ends_it(grafana, server, slept):
    server.will("POST", *(answer(500, {"message": "database is locked"}) for _ in range(4)))
    with pytest.raises(PushError, match=r"^one: http://\S+ answers 500: database is locked$"):
        list(push(grafana, [ONE, TWO]))
    assert len(slept) == 3
    assert server.dashboards == {}


# What does not


def test_a_wrong_token_ends_it_at_once(server, httpserver, slept):
    with (
        Grafana(httpserver.url_for("/"), "glsa_wrong", slept.append) as grafana,
        pytest.raises(PushError) as error,
    ):
        list(push(grafana, [ONE, TWO]))
    assert str(error.value) == (
        f"one: {grafana.url} answers 401: Invalid API key. "
        "Is the token one of this Grafana, and still valid?"
    )
    assert (len(server.asked), slept) == (1, [])


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (
            403,
            "More permissions",
            "More permissions. The token's service account needs the role Editor.",
        ),
        (412, "A dashboard has been changed by someone else", None),
        (400, "Cannot save provisioned dashboard", None),
    ],
)
def test_one_that_fails_keeps_no_other_from_being_pushed(grafana, server, status, message, told):
    server.will("POST /api/dashboards/db", answer(status, {"message": message}))
    assert [(one.name, one.failed) for one in push(grafana, [ONE, TWO])] == [
        ("one", True),
        ("two", False),
    ]
    server.will("POST /api/dashboards/db", answer(status, {"message": message}))
    (failed,) = push(grafana, [ONE])
    assert failed.text == f"{grafana.url} answers {status}: {told or message}"


def test_a_folder_that_must_not_be_made_ends_it(grafana, server):
    server.will("POST /api/folders", answer(403, {"message": "no"}))
    with pytest.raises(PushError, match=r"answers 403: no\. The token's"):
        list(push(grafana, [ONE], "Ours"))
    assert server.dashboards == {}


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (Response("<html>", content_type="text/html"), "answers 200 with text/html where"),
        (Response("{", content_type="application/json"), "answers 200 with application/json"),
        (
            Response("[]", content_type="application/json"),
            "answers 200 with application/json",
        ),
        (Response("<html>", 405, content_type="text/html"), "answers 405: METHOD NOT ALLOWED"),
        (answer(418, {"message": ""}), "answers 418: I'M A TEAPOT"),
        (answer(418, ["no"]), "answers 418: I'M A TEAPOT"),
    ],
)
def test_another_answer_than_grafanas_is_told(grafana, server, response, told):
    server.will("POST /api/folders", response)
    with pytest.raises(PushError) as error:
        list(push(grafana, [ONE], "Ours"))
    assert f"{grafana.url} {told}" in str(error.value)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/login?token=glsa_secret", "leads to a login page, {url}/login: something in front"),
        ("https://u:glsa_secret@sso.example/Login/x?a=b", "page, https://sso.example/Login/x: "),
        ("https://g.example/api/folders?limit=1", "another place: give --url https://g.example"),
        ("https://g.example/grafana/api/folders", "give --url https://g.example/grafana"),
    ],
)
def test_a_redirection_is_told_and_not_followed(grafana, server, location, told):
    server.will("GET", Response(status=302, headers={"Location": location}))
    with pytest.raises(PushError) as error:
        list(push(grafana, [ONE], "Ours"))
    assert told.format(url=grafana.url) in str(error.value)
    assert "secret" not in str(error.value)
    assert len(server.asked) == 1


def test_what_grafana_says_is_one_short_line_without_the_token(grafana, server):
    message = f"no\n  \x1b[31m{TOKEN} " + "x" * 1000
    server.will("POST", answer(400, {"message": message}))
    (outcome,) = push(grafana, [ONE])
    assert outcome.text.startswith(f"{grafana.url} answers 400: no ?[31m*** xxx")
    assert len(outcome.text) < 400


def test_nobody_there_is_told():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with Grafana(url, TOKEN) as grafana, pytest.raises(PushError) as error:
            list(push(grafana, [ONE, TWO]))
    assert str(error.value) == f"one: {url} cannot be reached: Connection refused."


def test_one_who_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(exchange, "TIMEOUT", (1.0, 0.05))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Grafana(url, TOKEN) as grafana, pytest.raises(PushError) as error:
            list(push(grafana, [ONE]))
    assert str(error.value) == f"one: {url} does not answer in time."


@pytest.fixture
def dripping():
    """Its address: it sends a byte every few milliseconds, and never comes to an end."""
    over = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n"

    def drip(listening):
        connection, _ = listening.accept()
        with connection:
            for byte in itertools.chain(head, itertools.repeat(ord("x"))):
                if over.wait(0.001):
                    return
                connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()
    for left in threading.enumerate():
        if left.name.startswith("GET "):
            left.join(10)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"WHOLE": 0.3}, "has not sent its whole answer within 0.3 seconds."),
        # Still within its head.
        ({"WHOLE": 0.01}, "has not sent its whole answer within 0.01 seconds."),
        (
            {"OVERALL": 0.3},
            "is too slow: what is left was given up after 0.3 seconds.",
        ),
    ],
)
def test_one_who_never_ends_is_given_up(dripping, monkeypatch, limits, told):
    for name, seconds in limits.items():
        monkeypatch.setattr(exchange, name, seconds)
    with Grafana(dripping, TOKEN) as grafana, pytest.raises(PushError) as error:
        list(push(grafana, [ONE, TWO]))
    assert str(error.value) == f"one: {dripping} {told}"


def test_no_pause_is_longer_than_what_is_left(server, httpserver, slept, monkeypatch):
    monkeypatch.setattr(exchange, "OVERALL", 15.0)
    server.will("GET", answer(503, {"message": "later"}, **{"Retry-After": "20"}))
    with Grafana(httpserver.url_for("/"), TOKEN, sleep=slept.append) as grafana:
        assert [one.failed for one in push(grafana, [ONE])] == [False]
    (waited,) = slept
    assert 0 < waited < 15


def _hang_up(listening):
    listening.accept()[0].close()


def test_one_who_hangs_up_is_told():
    with socket.create_server(("127.0.0.1", 0)) as rude:
        url = f"http://127.0.0.1:{rude.getsockname()[1]}"
        hanging = threading.Thread(target=_hang_up, args=(rude,))
        hanging.start()
        with Grafana(url, TOKEN) as grafana, pytest.raises(PushError) as error:
            list(push(grafana, [ONE]))
        hanging.join()
    assert str(error.value).startswith(f"one: {url} cannot be reached: ")


def test_one_without_tls_is_told(httpserver):
    url = f"https://127.0.0.1:{httpserver.port}"
    with Grafana(url, TOKEN) as grafana, pytest.raises(PushError) as error:
        list(push(grafana, [ONE]))
    assert str(error.value) == f"one: {url} does not speak TLS, or its certificate is not trusted."


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ({}, "meta"),
        ({"meta": {}, "status": "ok"}, "the status success and the dashboard's uid"),
    ],
)
def test_json_of_something_else_is_no_success(grafana, server, content, missing):
    server.will("/api/", answer(200, content), answer(200, content))
    with pytest.raises(PushError, match=f"answers with JSON that has not {missing}"):
        list(push(grafana, [ONE]))


def test_a_folder_without_a_uid_is_none(grafana, server):
    server.will("POST /api/folders", answer(200, {"ok": True}))
    with pytest.raises(PushError, match="answers with JSON that has not uid"):
        list(push(grafana, [ONE], "Ours"))
    assert server.dashboards == {}


@pytest.mark.parametrize(
    ("folders", "missing"), [([None], "folders"), ([{"title": "Ours"}], "uid")]
)
def test_a_list_of_something_else_is_none_of_folders(grafana, server, folders, missing):
    server.will("GET /api/folders", answer(200, folders))
    with pytest.raises(PushError, match=f"answers with JSON that has not {missing}"):
        list(push(grafana, [ONE], "Ours"))
    assert server.dashboards == {}
