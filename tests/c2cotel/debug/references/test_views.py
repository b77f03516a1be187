"""Graphs of references in a real application, drawn by the real graphviz."""

import gc
import os
import re
import shutil
import subprocess
import threading
import time
from collections import deque
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2cotel import broadcast
from c2cotel.debug.references import core, drawing
from c2cotel.pyramid.console import console_of

DOT, SVG = "/c2c/debug/show_refs.dot", "/c2c/debug/show_refs.svg"
PAGE = "/c2c/debug/references/graph"


class Owner:
    def __init__(self, thing):
        self.thing = thing


class Slotted:
    __slots__ = ("inside",)

    def __init__(self, inside):
        self.inside = inside


class Account:
    def __init__(self):
        self.login = "alice"
        self.password = "hunter2 in a text"
        self.api_keys = ["hunter2 in a list"]
        self.tokens = {"a": Owner("hunter2 in an object")}


@pytest.fixture(autouse=True)
def graphviz():
    if shutil.which("dot") is None:
        pytest.skip("needs graphviz: apt-get install graphviz")


def drawn(text):
    """Nodes and edges as graphviz reads them."""
    made = subprocess.run(
        ["dot", "-Tplain"], input=text.encode(), capture_output=True, check=True, timeout=30
    )
    assert made.stderr == b""
    lines = made.stdout.decode().replace("\\\n", "").splitlines()
    return (
        [line.split()[1] for line in lines if line.startswith("node ")],
        [tuple(line.split()[1:3]) for line in lines if line.startswith("edge ")],
    )


def graph(app, address=DOT, **query):
    response = app.ask(address, **query)
    assert response.status_int == 200, response.text
    return response.text


def name(thing):
    return f"o{id(thing)}"


# --- forwards and backwards -----------------------------------------------------------------------


def test_it_is_a_graph_of_what_an_object_has(app):
    inner = Owner(1.5)
    outer = Owner([inner])
    text = graph(app, analyze_id=str(id(outer)))
    nodes, edges = drawn(text)
    assert app.ask(DOT, analyze_id=str(id(outer))).headers["Content-Type"] == (
        "text/vnd.graphviz; charset=UTF-8"
    )
    assert set(nodes) == {name(each) for each in (outer, outer.thing, inner, inner.thing)}
    assert set(edges) == {
        (name(outer), name(outer.thing)),
        (name(outer.thing), name(inner)),
        (name(inner), name(inner.thing)),
    }
    for label in ('".thing"', '"[0]"', f"{__name__}.Owner [1]", f"id {id(inner)}", "0.023 kB"):
        assert label in text


def test_it_is_a_graph_of_what_has_an_object_without_ourselves(app):
    thing = Slotted(None)
    holder = {"kept": thing}
    owner = Slotted(holder)
    text = graph(app, analyze_id=str(id(thing)), backrefs="")
    nodes, edges = drawn(text)
    # The functions that run, of the test and of the view, are nobody of interest.
    assert set(nodes) == {name(each) for each in (thing, holder, owner)}
    assert set(edges) == {(name(holder), name(thing)), (name(owner), name(holder))}
    assert '"[kept]"' in text
    assert '".inside"' in text


def test_it_begins_with_all_objects_of_a_type(app):
    kept = [Slotted(number) for number in range(25)]
    text = graph(app, analyze_type=f"{__name__}.Slotted", max_depth="0")
    assert len(drawn(text)[0]) == 20
    assert "20 of 25 objects of this type" in text
    del kept
    gc.collect()
    text = graph(app, analyze_type=f"{__name__}.Slotted")
    assert drawn(text)[0] == []


def test_what_is_too_much_is_counted(app):
    many = Owner([[number] for number in range(1000)])
    text = graph(app, analyze_id=str(id(many)), too_many="3", max_depth="2")
    nodes, _ = drawn(text)
    assert len(nodes) == 6
    assert '"997 more"' in text
    text = graph(app, analyze_id=str(id(many)), too_many="1000", max_depth="2", max_nodes="50")
    assert len([each for each in drawn(text)[0] if each.startswith("o")]) == 50
    assert "cut at 50 objects, see max_nodes" in text


def test_small_ones_are_left_out(app):
    big, small = bytearray(100_000), bytearray(100)
    owner = Owner([big, small])
    for parameter in ("min_size_kb", "filter"):
        text = graph(app, analyze_id=str(id(owner)), **{parameter: "50"})
        nodes, _ = drawn(text)
        assert name(big) in nodes
        assert name(small) not in nodes


def test_extra_information_can_be_left_out(app):
    owner = Owner(1.5)
    text = graph(app, analyze_id=str(id(owner)), no_extra_info="")
    assert "kB" not in text
    assert "id " not in text


def test_values_are_short_and_characters_escaped(app):
    owner = Owner(['say "hi" \\ \n \x1b <b> \ud800', "x" * 100_000, "{}|<>"])
    owner.__dict__['a "key" \\'] = [1]
    text = graph(app, analyze_id=str(id(owner)))
    assert len(drawn(text)[0]) == 7
    assert len(text) < 5000


def test_it_is_bounded_by_default(app):
    many = Owner({f"key {number}" * 5: Owner("x" * 1000) for number in range(10_000)})
    text = graph(app, analyze_id=str(id(many)), too_many="1000", max_depth="10")
    assert len(text) < 200_000
    assert "cut at 300 objects" in text
    text = graph(app, analyze_id=str(id(many)), too_many="1000", max_depth="10", max_nodes="2000")
    assert len(text) < drawing.MOST_CHARACTERS + 1000


def test_it_is_bounded_by_default_in_a_large_heap(app):
    """Of the types that there are most of, and of what the application has most of."""
    heap = [Owner({f"key {n}": ["x" * 500, Owner(n)], "all": {}}) for n in range(10_000)]
    for each in heap:
        each.thing["all"][0] = heap
    for query in (
        {"analyze_type": "builtins.dict"},
        {"analyze_type": f"{__name__}.Owner", "backrefs": "1"},
        {"analyze_id": str(id(heap))},
    ):
        text = graph(app, **query)
        assert len(text) < 200_000
        nodes, edges = drawn(text)
        assert len([each for each in nodes if each.startswith("o")]) <= 300
        assert len(edges) < 6000


def test_text_beyond_the_bound_is_cut_where_a_line_ends(monkeypatch, app):
    monkeypatch.setattr(drawing, "MOST_CHARACTERS", 2000)
    many = Owner([[number] for number in range(100)])
    text = graph(app, analyze_id=str(id(many)), too_many="100")
    assert len(text) < 2500
    assert "cut at 2000 characters" in text
    drawn(text)


def test_when_its_time_is_over_what_there_is_is_drawn(app):
    app.registry.c2c_references = core.References(lambda: None, seconds=0.0)
    text = graph(app, analyze_type="builtins.dict")
    assert "seconds were over" in text
    drawn(text)


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backrefs", ["0", "1"])
def test_secrets_are_hidden(app, backrefs):
    account = Account()
    secrets = [account, account.api_keys, account.tokens, account.tokens["a"]]
    for thing in secrets:
        for address in (DOT, PAGE):
            text = graph(app, address, analyze_id=str(id(thing)), backrefs=backrefs, max_depth="5")
            assert "hunter2" not in text
    assert "alice" in graph(app, analyze_id=str(id(account)))


@pytest.mark.parametrize(
    "name", ["SMTP_PASS", "PGPASS", "db_pass", "FERNET_KEY", "PHPSESSID", "OTP", "SALT"]
)
def test_what_the_environment_calls_a_secret_is_hidden(app, name):
    environment = Owner({name: "hunter2 in a text", "LANG": "de_CH", "more": []})
    for address in (DOT, PAGE):
        text = graph(app, address, analyze_id=str(id(environment)))
        assert "hunter2" not in text
        assert "de_CH" in text
        inside = graph(app, address, analyze_id=str(id(environment.thing)), max_depth="1")
        assert "hunter2" not in inside


# --- pictures -------------------------------------------------------------------------------------


def test_it_is_drawn(app):
    owner = Owner(Owner("<script>alert(1)</script>"))
    response = app.ask(SVG, analyze_id=str(id(owner)))
    assert (response.status_int, response.content_type) == (200, "image/svg+xml")
    assert f"{__name__}.Owner" in unescape(response.text)
    assert "<script" not in response.text


def test_without_graphviz_it_says_how_to_get_it(app, monkeypatch, tmp_path):
    owner = Owner(1)
    monkeypatch.setenv("PATH", str(tmp_path))
    response = app.ask(SVG, analyze_id=str(id(owner)))
    assert response.status_int == 501
    assert "apt-get install graphviz" in response.json["message"]
    assert app.ask(DOT, analyze_id=str(id(owner))).status_int == 200


def test_a_picture_that_takes_too_long_is_given_up(app, monkeypatch, tmp_path):
    slow = tmp_path / "dot"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(drawing, "_SECONDS", 0.2)
    response = app.ask(SVG, analyze_type=f"{__name__}.Owner")
    assert response.status_int == 503
    assert "ask for less with max_depth" in response.json["message"]


# --- what is asked for ----------------------------------------------------------------------------


def test_a_freed_object_is_404(app):
    thing = Owner(1)
    key = id(thing)
    text = graph(app, analyze_id=str(key))
    assert "Owner" in text
    del thing
    gc.collect()
    response = app.ask(DOT, analyze_id=str(key))
    if response.status_int == 200:  # something else has taken its place
        assert "Owner" not in response.text.partition("\n")[0]
    for number in (0, 1, 8, 2**64 - 1, id(None) + 1):
        response = app.ask(DOT, analyze_id=str(number))
        assert response.status_int == 404
        assert "no object has this id, or it has been freed" in response.json["message"]


REFUSED = [
    ({}, "analyze_type or analyze_id: expected one of them"),
    (
        {"analyze_type": "a", "analyze_id": "1"},
        "analyze_type and analyze_id: expected one of them, not both",
    ),
    ({"analyze_type": "no.such"}, "analyze_type=no.such: process PID has no such type"),
    (
        {"analyze_type": "\1no.such"},
        r"analyze_type=\x01no.such: process PID has no such type, others may.",
    ),
    ({"analyze_id": "0x1"}, "analyze_id=0x1: expected a whole number from 0 to"),
    ({"analyze_id": "-1"}, "analyze_id=-1: expected a whole number from 0 to"),
    ({"analyze_id": str(2**64)}, "analyze_id=18446744073709551616: expected a whole number"),
    ({"analyze_type": "a", "max_depth": "11"}, "max_depth=11: expected a whole number from 0 to"),
    ({"analyze_type": "a", "too_many": "0"}, "too_many=0: expected a whole number from 1 to 1000"),
    ({"analyze_type": "a", "max_nodes": "1e9"}, "max_nodes=1e9: expected a whole number from 1"),
    ({"analyze_type": "a", "min_size_kb": "nan"}, "min_size_kb=nan: expected a number from 0"),
    ({"analyze_type": "a", "filter": "big"}, "filter=big: expected a number from 0"),
    ({"analyze_type": "a", "backrefs": "maybe"}, "backrefs=maybe: expected 1 or 0"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_be_is_400(app, query, message):
    response = app.ask(DOT, **query)
    assert response.status_int == 400
    assert response.json["message"].startswith(message.replace("PID", str(os.getpid())))


def test_a_type_that_is_somewhere_else_is_guessed(app):
    for name, known in (("Slotted", "Slotted"), (f"{__name__}.Sloted", "Slotted")):
        response = app.ask(DOT, analyze_type=name)
        assert response.status_int == 400
        assert f"Did you mean {__name__}.{known}" in response.json["message"]


def test_one_graph_at_a_time(app):
    with app.registry.c2c_references._lock:
        response = app.ask(DOT, analyze_type="builtins.dict")
    assert response.status_int == 409
    assert "Another graph is being made" in response.json["message"]


def test_a_process_is_chosen_by_its_number(app):
    me = broadcast.broadcaster().process
    owner = Owner(1)
    for process in (str(me), str(os.getpid())):
        assert "Owner" in graph(app, analyze_id=str(id(owner)), process=process)
    response = app.ask(DOT, analyze_id=str(id(owner)), process="elsewhere/1")
    assert response.status_int == 404
    assert f"there is no such process, only {me}" in response.json["message"]
    response = app.ask(DOT, analyze_id="1", process=str(me))
    assert response.status_int == 404


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_the_graph_as_a_table(app):
    assert "What has it, instead of what it has" in app.ask(PAGE).text
    owner = Owner(Owner("a value"))
    page = app.ask(PAGE, analyze_id=str(id(owner))).text
    assert f"{__name__}.Owner" in page
    assert "&#39;a value&#39;" in page
    assert f"analyze_id={id(owner.thing)}" in page
    assert re.search(rf'href="{SVG}\?analyze_id={id(owner)}"', page)


def test_the_page_says_what_is_wrong(app):
    response = app.ask(PAGE, analyze_type="no.such", headers={"Accept": "text/html"})
    assert response.status_int == 400
    assert "has no such type" in response.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"analyze_type": "no.such", "process": ""}, 400),
        ({"analyze_id": "no number", "max_depth": "7"}, 400),
        ({"analyze_id": "1", "too_many": "77"}, 404),
        ({"analyze_id": "1", "process": "elsewhere/1"}, 404),
        ({"analyze_type": "builtins.dict", "max_depth": "<99"}, 400),
    ],
)
def test_the_page_keeps_what_was_filled_in_when_that_is_wrong(app, query, status):
    """Whether the client prefers HTML or not."""
    page = app.ask(PAGE, **query)
    assert (page.status_int, page.content_type) == (status, "text/html")
    assert 'role="alert"' in page.text
    for name, value in query.items():
        if value:
            shown = re.search(rf'name="{name}"[^>]* value="([^"]*)"', page.text)
            assert unescape(shown[1]) == value


@pytest.mark.parametrize("address", [DOT, SVG, PAGE])
def test_nobody_else_sees_anything(app, address):
    assert app.ask(address, secret=None, analyze_type="builtins.dict").status_int == 403
    assert app.ask(address, method="POST").status_int == 405


def test_the_page_stands_on_the_console(app):
    (entry,) = console_of(app.registry).entries
    assert (entry.title, entry.section) == ("References", "Debug")


# --- while others work ----------------------------------------------------------------------------


def test_objects_may_change_meanwhile(app):
    """What runs beside it changes dictionaries and lists all the time."""
    shared = Owner({})
    shared.row = deque()
    over = threading.Event()

    def change():
        number = 0
        while not over.is_set():
            number += 1
            shared.thing[number % 500] = [number]
            shared.thing.pop(number % 300, None)
            setattr(shared, f"attribute_{number % 50}", [number])
            setattr(Owner, f"attribute_{number % 50}", [number])
            shared.row.append([number])
            if len(shared.row) > 50:
                shared.row.popleft()
            if number % 100 == 0:
                over.wait(0.001)

    thread = threading.Thread(target=change)
    gc.callbacks.append(interrupt := lambda _phase, _info: time.sleep(0))
    thread.start()
    try:
        for backrefs in ("0", "1"):
            for thing in (shared, shared.thing if backrefs == "0" else shared.row):
                text = graph(app, analyze_id=str(id(thing)), backrefs=backrefs, too_many="100")
                drawn(text)
    finally:
        over.set()
        thread.join()
        gc.callbacks.remove(interrupt)
        for number in range(50):
            delattr(Owner, f"attribute_{number}")


texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [*("", "0", "1", "3", "-1", "nan", "builtins.list", "builtins.str", "builtins.type"), PAGE]
    ),
)
NAMES = [
    *("analyze_type", "analyze_id", "max_depth", "too_many", "max_nodes", "min_size_kb"),
    *("filter", "no_extra_info", "backrefs", "process"),
]


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([DOT, SVG, PAGE]),
    st.dictionaries(st.sampled_from(NAMES), texts),
    st.sampled_from(["builtins.list", "builtins.str", "builtins.type", None]),
)
def test_no_parameters_are_an_error_of_the_server_or_an_endless_answer(
    app, address, parameters, kind
):
    if kind is not None:
        parameters = {"analyze_type": kind, **parameters, "analyze_id": ""}
    app.registry.c2c_references = core.References(lambda: None, seconds=0.3)
    response = app.ask(address, **parameters)
    assert response.status_int in {200, 400, 404, 503}, response.text
    assert len(response.body) < 2_000_000
    if response.content_type == "text/vnd.graphviz":
        drawn(response.text)
