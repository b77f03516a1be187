"""The memory's views in a real application."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2cotel import broadcast
from c2cotel.debug.memory import core
from c2cotel.pyramid.console import console_of
from c2cotel_acceptance.utils import retry_timeout

MEMORY, DIFF, MAPS = "/c2c/debug/memory", "/c2c/debug/memory_diff", "/c2c/debug/memory_maps"
PAGES = ["/c2c/debug/memory/types", "/c2c/debug/memory/growth", "/c2c/debug/memory/mapped"]


class Leaf:
    def __init__(self, size):
        self.payload = bytearray(size)
        self.password = "hunter2"


# --- all processes --------------------------------------------------------------------------------


@pytest.mark.usefixtures("whole_heap")
def test_it_has_the_keys_of_the_predecessor_and_no_others(app):
    (process,) = app.json(MEMORY, limit="5")
    assert list(process) == [
        *("nb_collected", "most_common_types", "leaking_objects", "hostname", "pid"),
    ]
    assert process["pid"] == os.getpid()
    assert len(process["nb_collected"]) == 3
    assert len(process["most_common_types"]) == 5
    name, number = process["most_common_types"][0]
    assert re.fullmatch(r"\w+\.\w+", name)
    assert number > 1000


def test_the_biggest_objects_of_a_type_come_first_with_all_that_only_they_have(app):
    kept = [Leaf(1_000_000), Leaf(10), Leaf(3_000_000)]
    (process,) = app.json(MEMORY, analyze_type=f"{__name__}.Leaf", limit="2")
    found = process[f"{__name__}.Leaf"]
    assert list(found) == ["biggest_objects"]
    assert [list(each) for each in found["biggest_objects"]] == [["size_kb", "repr"]] * 2
    sizes = [each["size_kb"] for each in found["biggest_objects"]]
    assert sizes == [pytest.approx(2930, rel=0.01), pytest.approx(977, rel=0.01)]
    assert found["biggest_objects"][0]["repr"].startswith(f"<{__name__}.Leaf payload=bytearray(")
    assert "hunter2" not in str(process)
    del kept


@pytest.mark.usefixtures("whole_heap")
def test_functions_are_told_by_their_modules(app):
    (process,) = app.json(MEMORY, analyze_type="builtins.function", limit="1000")
    modules = process["builtins.function"]["modules"]
    assert list(modules[0]) == ["module", "nb_func"]
    assert __name__ in {each["module"] for each in modules}


def test_sources_that_are_kept_are_told_by_their_files(app):
    import linecache

    linecache.getlines(__file__)
    (process,) = app.json(MEMORY, analyze_type="linecache", limit="1000")
    found = {each["filename"]: each["size_kb"] for each in process["linecache"]["biggest_objects"]}
    assert found[__file__] > os.path.getsize(__file__) / 1024  # noqa: PTH202


def test_objects_that_the_collector_does_not_know_are_found_too(app):
    # A dictionary of texts alone is none that it knows.
    app.kept.things.append({"text": "x" * 5_000_000})
    (process,) = app.json(MEMORY, analyze_type="builtins.str", limit="1")
    (found,) = process["builtins.str"]["biggest_objects"]
    assert found["size_kb"] == pytest.approx(4883, rel=0.01)
    assert found["repr"].startswith("'xxx")


def test_a_value_under_the_name_of_a_secret_is_not_shown(app):
    app.kept.things += [{"private_key": "hunter2" * 1_000_000}, {"tokens": ["hunter2" * 900_000]}]
    (process,) = app.json(MEMORY, analyze_type="builtins.str", limit="2")
    reprs = [each["repr"] for each in process["builtins.str"]["biggest_objects"]]
    assert reprs == ["REDACTED", "REDACTED"]


def test_details_have_ids_and_what_is_reached(app):
    shared = bytearray(500_000)
    kept = Leaf(10)
    kept.shared = shared
    told = app.json(MEMORY, analyze_type=f"{__name__}.Leaf", details="1")
    assert (told["silent"], told["failed"]) == ([], [])
    (process,) = told["processes"]
    found = process[f"{__name__}.Leaf"]
    assert found["objects"] == 1
    (row,) = found["biggest_objects"]
    assert row["id"] == id(kept)
    assert row["size_kb"] < 10
    assert row["reaches_kb"] == pytest.approx(489, rel=0.02)
    assert row["reaches_all"] is True


def test_when_the_time_is_over_what_was_found_is_told(app):
    broadcast.subscribe(core.CHANNEL, core.Analysis(seconds=0.0).told)
    (process,) = app.json(MEMORY, details="1")["processes"]
    assert process["timeout"] is True
    assert process["nb_collected"]
    (process,) = app.json(MEMORY, analyze_type="builtins.dict")
    assert process["builtins.dict"] == {"timeout": True}
    # The predecessor's keys have no place for it.
    (process,) = app.json(MEMORY)
    assert "timeout" not in process


def at_once(*asks):
    """The answers to *asks*, which begin at the same moment."""
    with ThreadPoolExecutor(len(asks)) as pool:
        return [each.result() for each in [pool.submit(ask) for ask in asks]]


def ask_for(app, **query):
    return lambda: app.json(MEMORY, **query)


def test_several_at_once_are_all_answered(app):
    answers = at_once(
        *[ask_for(app, analyze_type="builtins.dict", limit="2") for _ in range(3)],
        ask_for(app, limit="3"),
    )
    for (process,) in answers[:3]:
        assert len(process["builtins.dict"]["biggest_objects"]) == 2
    assert len(answers[3][0]["most_common_types"]) == 3


def test_those_who_ask_for_the_same_share_one_analysis(monkeypatch):
    analysed, begun, go_on = [], threading.Event(), threading.Event()
    real = core._analysed

    def slow(asked, pace):
        analysed.append(asked)
        begun.set()
        assert go_on.wait(10)
        return real(asked, pace)

    monkeypatch.setattr(core, "_analysed", slow)
    analysis = core.Analysis()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(analysis.told, 5, "no.such")
        assert begun.wait(10)
        second = pool.submit(analysis.told, 5, "no.such")
        other = pool.submit(analysis.told, 6)
        retry_timeout(lambda: (analysis._sharing, len(analysis._runs)) == (1, 2), 5, 0.01)
        extra = pool.submit(analysis.told, 5, "no.such")
        retry_timeout(lambda: analysis._sharing == 2, 5, 0.01)
        # The threads that answer broadcasts are few.
        assert analysis.told(7)["status"] == 409
        go_on.set()
        assert first.result(10) == second.result(10) == extra.result(10)
        assert first.result() is not second.result()
        assert other.result(10)["most_common_types"]
    assert [asked.limit for asked in analysed] == [5, 6]
    assert (analysis._sharing, analysis._runs) == (0, {})


def test_an_analysis_that_fails_fails_for_all_who_wait_for_it_and_for_nobody_else(monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def fails(*_):
        begun.set()
        assert go_on.wait(10)
        raise ZeroDivisionError

    analysis = core.Analysis()
    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(core, "_analysed", fails)
        first = pool.submit(analysis.told)
        assert begun.wait(10)
        second = pool.submit(analysis.told)
        retry_timeout(lambda: analysis._sharing == 1, 5, 0.01)
        go_on.set()
        for each in (first, second):
            with pytest.raises(ZeroDivisionError):
                each.result(10)
    assert analysis.told()["nb_collected"]


def test_who_waits_too_long_for_another_is_told_to_come_back(app):
    analysis = core.Analysis(seconds=0.2)
    broadcast.subscribe(core.CHANNEL, analysis.told)
    with analysis._turn:
        message = app.json(MEMORY, 409)["message"]
        page = app.ask(PAGES[0])
        assert page.status_int == 409
        assert "is being analysed already" in page.text
    assert "is being analysed already" in message
    app.json(MEMORY, limit="1")


def test_when_no_process_can_tell_it_says_why(app):
    broadcast.subscribe(core.CHANNEL, lambda **_: {"status": 500, "message": "No memory."})
    message = app.json(MEMORY, 503)["message"]
    assert message.endswith(f"/{os.getpid()}: No memory.")


REFUSED = [
    ({"limit": "0"}, "limit=0: expected a whole number from 1 to 1000"),
    ({"limit": "1e9"}, "limit=1e9: expected a whole number from 1 to 1000"),
    ({"python_internals_map": "maybe"}, "python_internals_map=maybe: expected 1 or 0"),
    ({"details": "maybe"}, "details=maybe: expected 1 or 0"),
    ({"analyze_type": "no.such"}, "analyze_type=no.such: no process has such a type"),
    ({"analyze_type": "Leaf"}, f"{__name__}.Leaf?"),
    ({"analyze_type": "pid"}, "analyze_type=pid: no process has such a type"),
    ({"analyze_type": "x" * 301}, "analyze_type: has 301 characters, expected 300 at most"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_be_is_400(app, query, message):
    body = app.json(MEMORY, 400, **query)
    assert body["status"] == 400
    assert message in body["message"]


# --- one call -------------------------------------------------------------------------------------


def test_a_call_is_told_by_what_it_leaves(app):
    told = app.json(DIFF, path="/leak?number=500")
    assert list(told) == ["memory.growth", "elapsed_time", "objgraph.growth"]
    assert list(told["memory.growth"]) == [
        f"{kind}_kb" for kind in ("rss", "vms", "shared", "text", "lib", "data", "dirty")
    ]
    growth = {name: (total, more) for name, total, more in told["objgraph.growth"]}
    (leaf,) = [each for each in growth if each.endswith("conftest.Leaf")]
    # The first call warms up, and leaks as well.
    assert growth[leaf] == (1000, 500)
    assert told["objgraph.growth"][0][0] == leaf
    assert 0 < told["elapsed_time"] < 5
    assert len(app.kept.seen) == 2


def test_without_warming_up_it_is_called_once(app):
    told = app.json(DIFF, path="/leak", no_warmup="", limit="1")
    assert len(app.kept.seen) == 1
    assert [each[1:] for each in told["objgraph.growth"]] == [[100, 100]]


def test_a_call_that_leaves_nothing_leaves_nothing(app):
    told = app.json(DIFF, path="/leak?number=0")
    # The headers that it noted, and what the interpreter keeps for itself.
    assert sum(more for _, _, more in told["objgraph.growth"]) < 20


def test_the_deprecated_address_has_the_path_in_it(app):
    told = app.json(f"{DIFF}/leak", limit="3")
    assert set(told) == {"memory.growth", "elapsed_time", "objgraph.growth"}
    assert len(app.kept.seen) == 2


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/leak", (200, None)),
        ("/fails", (500, "ZeroDivisionError")),
        ("/teapot", (410, "HTTPGone")),
        ("/unseen", (410, None)),
        ("/nowhere", (404, "HTTPNotFound")),
    ],
)
def test_what_came_of_the_call_is_told_and_no_error_of_ours(app, path, outcome):
    response = app.ask(DIFF, path=path)
    assert response.status_int == 200
    status, error = outcome
    assert response.headers["C2C-Target-Status"].startswith(str(status))
    assert "hunter2" not in response.text
    told = app.json(DIFF, path=path, details="1")["target"]
    assert told["status"] == status
    assert told["error"] == error or path in ("/teapot", "/nowhere")


def test_it_is_called_as_who_asks_but_without_our_secret(app):
    app.ask(DIFF, path="/leak", headers={"Cookie": "a=b", "User-Agent": "me", "X-Other": "1"})
    (_, seen) = app.kept.seen
    assert seen["Cookie"] == "a=b"
    assert seen["User-Agent"] == "me"
    assert not {"X-Api-Key", "X-Other"} & {name.title() for name in seen}


def test_it_does_not_open_what_is_closed(app):
    told = app.json(DIFF, path=MAPS, details="1")
    assert told["target"]["status"] == 403


@pytest.mark.parametrize(
    "path",
    [
        *("http://example.com/", "//example.com/a", "/\\example.com", "leak", "javascript:1"),
        *("/a\nb", "/a b", "/é", "/a#b", "/a\tb", "/%zz\r\nX: y", "/%ff", "///a", "\\\\a"),
    ],
)
def test_another_host_or_no_path_is_refused(app, path):
    message = app.json(DIFF, 400, path=path)["message"]
    assert message.startswith("path")
    assert app.kept.seen == []


@pytest.mark.parametrize(
    "path",
    [
        f"{DIFF}?path=/leak",
        f"{DIFF}/leak",
        "/c2c/debug/memory%5fdiff?path=/leak",
        "/c2c/debug/memory/growth?path=/leak",
    ],
)
def test_it_does_not_call_itself(app, path):
    assert "leads to this view itself" in app.json(DIFF, 400, path=path)["message"]
    assert app.kept.seen == []


def test_without_a_path_it_says_what_is_missing(app):
    message = app.json(DIFF, 400)["message"]
    assert message == "path is missing: write for example path=/api/hello"


def test_one_call_at_a_time(app):
    with app.registry.c2c_memory_growth.alone():
        assert "Another call is being measured" in app.json(DIFF, 409, path="/leak")["message"]


# --- mapped files ---------------------------------------------------------------------------------


def test_mapped_files_are_told_largest_first(app):
    maps = app.json(MAPS)
    assert {tuple(each) for each in maps} == {("name", "size_kb", "rss_kb", "pss_kb")}
    sizes = [each["pss_kb"] for each in maps]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0
    assert {"[heap]"} <= {each["name"] for each in maps}


# --- pages ----------------------------------------------------------------------------------------


def test_the_page_links_each_type_to_its_biggest_objects(app):
    kept = [Leaf(2_000_000)]
    page = app.ask(PAGES[0], analyze_type=f"{__name__}.Leaf").text
    assert "2.0 MB" in page or "1.9 MiB" in page
    assert "analyze_type=builtins.dict" in page
    assert f"/{os.getpid()}" in page
    assert "hunter2" not in page
    assert 'download="memory.json"' in page
    del kept


def test_the_page_of_a_call_tells_what_stays(app):
    assert "What stayed" not in app.ask(PAGES[1]).text
    page = app.ask(PAGES[1], path="/leak").text
    assert "conftest.Leaf" in page
    assert "+100" in page
    assert "The call failed: 500 ZeroDivisionError" in app.ask(PAGES[1], path="/fails").text


@pytest.mark.parametrize(
    ("page", "query", "message", "kept"),
    [
        (
            0,
            {"analyze_type": "no.such"},
            "no process has such a type",
            'value="no.such"',
        ),
        (0, {"limit": "1e9"}, "limit=1e9: expected a whole number", 'value="1e9"'),
        (0, {"python_internals_map": "maybe"}, "expected 1 or 0", 'value="1" checked'),
        (1, {"path": "//example.com"}, "expected a path of this service", 'value="//example.com"'),
        (1, {"path": "/leak", "limit": "0"}, "limit=0", 'value="/leak"'),
    ],
)
def test_what_is_wrong_stands_above_the_form_as_it_was_filled_in(app, page, query, message, kept):
    response = app.ask(PAGES[page], **query)
    assert (response.status_int, response.content_type) == (400, "text/html")
    assert 'role="alert"' in response.text
    assert message in response.text
    assert kept in response.text
    assert "Download as JSON" not in response.text


def test_the_page_of_maps_has_them(app):
    assert "[heap]" in app.ask(PAGES[2]).text


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [MEMORY, f"{DIFF}?path=/leak", f"{DIFF}/leak", MAPS, *PAGES])
def test_nobody_else_sees_anything(app, path):
    assert app.ask(path, secret=None).status_int == 403
    assert app.ask(path, method="POST").status_int == 405
    assert app.kept.seen == []


def test_the_pages_stand_on_the_console(app):
    entries = console_of(app.registry).entries
    assert [(each.title, each.section) for each in entries] == [
        ("Memory", "Debug"),
        ("Memory of a call", "Debug"),
        ("Memory maps", "Debug"),
    ]


# --- whatever is asked ----------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["", "0", "1", "30", "-1", "nan", "1e9", "/leak", "/", "//x", "linecache", "builtins.set"]
    ),
)
NAMES = ["limit", "analyze_type", "python_internals_map", "details", "path", "no_warmup", "back"]


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([MEMORY, DIFF, MAPS, *PAGES]), st.dictionaries(st.sampled_from(NAMES), texts)
)
def test_no_parameters_are_an_error_of_the_server_or_an_endless_answer(app, path, parameters):
    broadcast.subscribe(core.CHANNEL, core.Analysis(seconds=0.2).told)
    response = app.ask(path, **parameters)
    assert response.status_int in {200, 400}, response.text
    assert len(response.body) < 1_000_000
