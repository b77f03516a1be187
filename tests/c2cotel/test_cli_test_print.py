"""``c2cotel test-print``: against a server that behaves as MapFish Print does, or does not."""

import json
import re
import sys
import threading
import time

import pytest
from werkzeug import Request, Response

from c2cotel.cli import main, test_print
from c2cotel_acceptance import servers

PDF = b"%PDF-1.5 of " + b"a map" * 100
RIGHT = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=3600"}
FRESH = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}


class MapFish:
    """Prints what *apps* says: by the application, what each example asks for.

    *broken* has the examples that fail, with what the server says of them.
    """

    def __init__(self, httpserver):
        self.url = httpserver.url_for("/print")
        self.apps = {"default": {"spare": {}}, "cadastre": {"A4 portrait": {"layout": "A4"}}}
        self.broken = {}
        self.asked = []
        self.printed = []
        httpserver.expect_request(re.compile("/print/.*")).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:  # noqa: PLR0911 - one for each path
        self.asked.append(request)
        first, _, what = request.path.removeprefix("/print/").partition("/")
        if first == "apps.json":
            return self._told(list(self.apps))
        if what == "capabilities.json" and first in self.apps:
            return self._told({"app": first, "layouts": []})
        if what == "exampleRequest.json":
            return self._told({name: json.dumps(it) for name, it in self.apps[first].items()})
        if what == "report.pdf":
            self.printed.append((first, request.get_json()))
            return self._told({"ref": str(len(self.printed))}, FRESH)
        if first == "status":
            error = self._problem(int(what.removesuffix(".json")))
            status = {"status": "error", "error": error} if error else {"status": "finished"}
            return self._told({"done": True, **status}, FRESH)
        if first == "report":
            return Response(PDF, headers=FRESH, content_type="application/pdf")
        return Response("no such thing", status=404, headers=FRESH)

    def _problem(self, number: int) -> str | None:
        return self.broken.get(self.printed[number - 1][0])

    @staticmethod
    def _told(value, headers=RIGHT) -> Response:
        return Response(json.dumps(value), headers=headers, content_type="application/json")


@pytest.fixture
def mapfish(httpserver):
    return MapFish(httpserver)


@pytest.fixture
def run(mapfish, capsys):
    """``run("--json")``: the status, stdout and stderr."""

    def start(*arguments, url=None):
        status = main(["test-print", "--url", url or mapfish.url, *map(str, arguments)])
        return status, *capsys.readouterr()

    return start


def test_each_example_is_printed_as_a_page_does(run, mapfish):
    status, out, err = run("--referrer", "https://maps.example/")
    assert (status, err) == (0, "")
    assert out.startswith(f"ok    cadastre A4 portrait: {len(PDF)} bytes in ")
    assert out.count("\n") == 1
    assert mapfish.printed == [("cadastre", {"layout": "A4"})]
    assert {it.headers["Referer"] for it in mapfish.asked} == {"https://maps.example/"}


def test_the_spare_application_is_printed_where_there_is_no_other(run, mapfish):
    del mapfish.apps["cadastre"]
    assert run()[1].startswith("ok    default spare: ")


def test_one_application_may_be_asked_for(run, mapfish):
    assert run("--app", "default")[1].startswith("ok    default spare: ")
    assert [app for app, _ in mapfish.printed] == ["default"]


def test_what_fails_does_not_keep_the_others_from_being_tried(run, mapfish):
    mapfish.apps["roads"] = {"A3": {}}
    mapfish.broken["cadastre"] = "No such layer: parcels"
    status, out, err = run()
    failed, fine = out.splitlines()
    assert (status, err) == (1, "")
    assert failed.startswith("FAIL  cadastre A4 portrait: http://")
    assert failed.endswith("error: No such layer: parcels")
    assert fine.startswith("ok    roads A3: ")


def test_programs_get_json(run, mapfish):
    mapfish.apps["roads"] = {"A3": {}}
    mapfish.broken["roads"] = "No such layer"
    status, out, err = run("--json")
    told = json.loads(out)
    assert (status, err, told["ok"]) == (1, "", False)
    good, bad = told["prints"]
    assert 0 <= good.pop("seconds") < 60
    assert good == {
        "app": "cadastre",
        "example": "A4 portrait",
        "ok": True,
        "bytes": len(PDF),
        "error": None,
    }
    assert (bad["app"], bad["ok"], bad["bytes"]) == ("roads", False, 0)
    assert "No such layer" in bad["error"]


def test_the_files_are_kept_where_that_is_asked_for(run, mapfish, tmp_path):
    mapfish.apps["../x"] = {"a/b": {}}
    # A server cannot choose where.
    assert run("--app", "cadastre", "--output", tmp_path / "new" / "pdfs")[0] == 0
    (file,) = (tmp_path / "new" / "pdfs").iterdir()
    assert (file.name, file.read_bytes()) == ("cadastre-A4_portrait.pdf", PDF)
    assert test_print._file_name("../x/..") == "_x_"


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_printed(run, mapfish):
    status, out, err = run("--output", "/dev/null/x")
    assert (status, out) == (1, "")
    assert err == "c2cotel test-print: /dev/null/x cannot be made: Not a directory\n"
    assert mapfish.asked == []


def test_what_is_asked_and_answered_is_told_if_one_wants_to_see_it(run, mapfish):
    mapfish.broken["cadastre"] = "two\nlines"
    status, out, err = run("--verbose")
    assert status == 1
    assert 'cadastre can print {\n  "app": "cadastre"' in err
    assert 'cadastre is asked for A4 portrait: {\n  "layout": "A4"\n}' in err
    assert "two\nlines" in out


def test_no_terminal_obeys_what_a_server_calls_its_examples(run, mapfish):
    mapfish.apps = {"roads": {"\x1b[31mred": {}}}
    mapfish.broken["roads"] = "\x1b[2Jgone"
    status, out, _ = run()
    assert status == 1
    assert out.startswith(r"FAIL  roads \x1b[31mred: http://")
    assert "\x1b" not in out


def test_a_server_that_starts_is_waited_for(mapfish, capsys):
    apps, mapfish.apps = mapfish.apps, {}
    ended = []
    command = ["test-print", "--url", mapfish.url, "--app", "cadastre"]
    thread = threading.Thread(target=lambda: ended.append(main(command)))
    thread.start()
    deadline = time.monotonic() + 30
    while not mapfish.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    mapfish.apps = apps
    thread.join(30)
    out, err = capsys.readouterr()
    assert ended == [0]
    assert err.startswith("c2cotel test-print: not ready, for 60 s at most: GET http://")
    assert out.startswith("ok    cadastre ")


@pytest.mark.parametrize("options", [[], ["--app", "nope"]])
def test_a_server_that_is_not_ready_in_time_is_told(run, mapfish, options):
    mapfish.apps = {}
    status, out, err = run("--timeout", "0.1", *options)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("c2cotel test-print: ")


def test_a_server_that_is_away_is_told(run):
    with servers.closed_port() as port:
        url = f"http://me:hunter2@127.0.0.1:{port}/print"
        status, out, err = run("--timeout", "0.1", url=url)
    assert (status, out) == (1, "")
    waiting, told = err.splitlines()
    assert "not ready, for 0.1 s at most: " in waiting
    assert told.startswith("c2cotel test-print: Still not so after 0.1 s: ")
    assert told.endswith("/print/apps.json: Connection refused")
    assert "hunter2" not in err


@pytest.mark.parametrize("body", [b"[1, 2", b"{}", b'"text"', b"7", b"null", b"<html>"])
def test_another_server_is_told(httpserver, body, capsys):
    httpserver.expect_request(re.compile("/other/.*")).respond_with_data(body, headers=RIGHT)
    url = httpserver.url_for("/other")
    assert main(["test-print", "--url", url, "--timeout", "0.05"]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "unexpectedly" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "maps.example.org/me:hunter2"], "--url is not the address of a MapFish Print."),
        (["--url", "https://maps.example.org/?secret=hunter2"], "--url is not the address of a "),
    ],
)
def test_bad_input_is_one_line_and_ends_with_2(arguments, told, capsys):
    assert main(["test-print", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"c2cotel test-print: {told}")
    assert "hunter2" not in err


def test_the_script_of_the_seed_is_the_same(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["c2cotel-test-print", "--help"])
    with pytest.raises(SystemExit) as end:
        test_print.main()
    assert end.value.code == 0
    help_ = capsys.readouterr().out
    for option in ("--url", "--app", "--referrer", "--verbose"):
        assert option in help_
