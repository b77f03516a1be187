"""What comes of samples: merged, and as the files of other tools."""

import io
import json
import marshal
import pstats as standard

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.debug.profile import merge as merging
from c2cotel.debug.profile.collapsed import collapsed
from c2cotel.debug.profile.flame import flame
from c2cotel.debug.profile.formats import FORMATS
from c2cotel.debug.profile.merge import (
    Profile,
    UnreadableError,
    hottest,
    merge,
    read,
    written,
)
from c2cotel.debug.profile.places import package, place
from c2cotel.debug.profile.pstats import pstats
from c2cotel.debug.profile.report import report
from c2cotel.debug.profile.speedscope import speedscope
from c2cotel_instrumentation.samples import Frame, Order, Request, Samples, Stack

RUN = Frame("Thread.run", "/usr/lib/python3.11/threading.py", 971)
VIEW = Frame("report", "/app/shop/views.py", 12)
HOT = Frame("hot", "/app/shop/sums.py", 3)
ORDER = Order(seconds=10)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def samples(frames, stacks, requests=(), **more):
    return Samples(
        "f3a1",
        ORDER,
        1_800_000_000.0,
        seconds=10.0,
        ticks=1000,
        cost=0.12,
        frames=list(frames),
        stacks=[Stack(*each) for each in stacks],
        requests=[Request(*each) for each in requests],
        **more,
    )


def two_processes():
    one = samples(
        [RUN, VIEW, HOT],
        [("/report/{id}", "worker-*", (0, 1, 2), 800, 8.0), (None, "MainThread", (0,), 200, 2.0)],
        [("GET", "/report/{id}", TRACE, "r1", 800, 8.0)],
    )
    # The same functions in another order, and one that calls itself.
    two = samples(
        [HOT, RUN],
        [("/report/{id}", "worker-*", (1, 0, 0), 100, 1.0)],
        [("GET", "/report/{id}", TRACE, "r1", 100, 1.0), ("GET", None, None, "r2", 1, 0.01)],
        late=3,
        other_requests=5,
    )
    return merge("shop", {"web/1": one, "web/2": two})


def test_processes_are_put_together_by_what_their_functions_are():
    profile = two_processes()
    assert profile.frames == [RUN, VIEW, HOT]
    assert [tuple(stack) for stack in profile.stacks] == [
        (0, "/report/{id}", "worker-*", (0, 1, 2), 800, 8.0),
        (0, None, "MainThread", (0,), 200, 2.0),
        (1, "/report/{id}", "worker-*", (0, 2, 2), 100, 1.0),
    ]
    assert (profile.seconds, profile.ticks, profile.late) == (11.0, 2000, 3)
    assert profile.cost == pytest.approx(0.012)
    assert profile.routes() == {"/report/{id}": 9.0, None: 2.0}


def test_the_hottest_function_counts_once_where_it_calls_itself():
    profile = two_processes()
    assert hottest(profile, profile.stacks) == [
        (HOT, 9.0, 9.0),
        (RUN, 2.0, 11.0),
        (VIEW, 0.0, 8.0),
    ]


def test_a_report_is_of_all_of_requests_or_of_one_route():
    profile = two_processes()
    everything = report(profile)
    assert (everything.seconds, everything.share(5.5)) == (11.0, 50.0)
    requests = report(profile, requests=True, limit=1)
    assert requests.seconds == 9.0
    assert [each["function"] for each in requests.functions] == ["hot"]
    assert requests.other_functions == 2
    assert report(profile, route="/elsewhere").functions == []
    assert report(profile, route="/elsewhere").share(0) == 0


def test_traces_are_told_with_their_share_and_requests_of_one_trace_together():
    first, second = report(two_processes()).traces
    assert first[:6] == (TRACE, "GET", "/report/{id}", "r1", 2, 9.0)
    assert first.share == pytest.approx(9.0 / 9.01)
    assert second[:6] == ("", "GET", None, "r2", 1, 0.01)
    assert report(two_processes()).other_requests == 5
    assert report(two_processes(), limit=1).other_requests == 6


def test_speedscope_has_all_together_then_each_process_with_the_route_outermost():
    told = speedscope(two_processes(), "c2cotel@1")
    assert told["shared"]["frames"] == [
        {"name": "Thread.run", "file": RUN.file, "line": 971},
        {"name": "report", "file": VIEW.file, "line": 12},
        {"name": "hot", "file": HOT.file, "line": 3},
        {"name": "/report/{id}"},
        {"name": "(no request)"},
    ]
    assert [each["name"] for each in told["profiles"]] == ["shop", "web/1", "web/2"]
    assert told["profiles"][0] == {
        "type": "sampled",
        "name": "shop",
        "unit": "seconds",
        "startValue": 0,
        "endValue": 11.0,
        "samples": [[3, 0, 1, 2], [4, 0], [3, 0, 2, 2]],
        "weights": [8.0, 2.0, 1.0],
    }
    assert told["profiles"][2]["samples"] == [[3, 0, 2, 2]]


def test_collapsed_stacks_are_in_microseconds_with_the_route_outermost():
    assert collapsed(two_processes()) == (
        "/report/{id};Thread.run (threading.py:971);report (shop/views.py:12);"
        "hot (shop/sums.py:3) 8000000\n"
        "(no request);Thread.run (threading.py:971) 2000000\n"
        "/report/{id};Thread.run (threading.py:971);hot (shop/sums.py:3);hot (shop/sums.py:3) "
        "1000000\n"
    ).replace("(threading.py", "(lib/python3.11/threading.py").replace("(shop/", "(app/shop/")


def test_what_separates_in_a_collapsed_file_is_replaced_in_names():
    odd = Frame("a;b\nc\u2028d  e", "<string>", 1)
    profile = merge("p", {"web/1": samples([odd], [("/x;y", "t", (0,), 1, 0.5)])})
    assert collapsed(profile) == "/x:y;a:b c d e (<string>:1) 500000\n"


def test_stacks_that_took_no_time_are_not_in_a_collapsed_file():
    profile = merge("p", {"web/1": samples([HOT], [(None, "t", (0,), 1, 0.0000001)])})
    assert collapsed(profile) == ""


def loaded(profile, tmp_path):
    path = tmp_path / "profile.pstats"
    path.write_bytes(pstats(profile))
    out = io.StringIO()
    return standard.Stats(str(path), stream=out), out


def test_pstats_reads_its_own_and_what_calls_what(tmp_path):
    stats, out = loaded(two_processes(), tmp_path)
    hot, view, run = ((each.file, each.line, each.function) for each in (HOT, VIEW, RUN))
    assert stats.stats[hot] == (
        900,
        900,
        9.0,
        9.0,
        {view: (800, 800, 8.0, 8.0), hot: (100, 100, 1.0, 1.0), run: (100, 100, 0.0, 1.0)},
    )
    assert stats.stats[run] == (1100, 1100, 2.0, 11.0, {})
    assert stats.total_tt == 11.0
    stats.sort_stats("tottime").print_stats()
    stats.print_callers()
    stats.print_callees()
    stats.strip_dirs().print_stats()
    text = out.getvalue()
    assert "2800 function calls in 11.000 seconds" in text
    assert text.index("sums.py:3(hot)") < text.index("threading.py:971(Thread.run)")


def test_a_flame_graph_puts_the_rarest_stacks_together():
    told = flame(two_processes(), most=1)
    assert told["processes"] == ["web/1", "web/2"]
    assert told["frames"][2] == ["hot", "app/shop/sums.py", 3, "shop"]
    assert told["frames"][3] == ["(other)", "", 0, "python"]
    assert told["stacks"] == [
        [0, "/report/{id}", "worker-*", 8.0, (0, 1, 2)],
        [0, None, "MainThread", 2.0, [3]],
        [1, "/report/{id}", "worker-*", 1.0, [3]],
    ]
    assert len(flame(two_processes())["stacks"]) == 3


def test_an_empty_profile_has_all_formats():
    for profile in (Profile("none"), merge("p", {"web/1": samples([], [])})):
        for made in FORMATS.values():
            made.make(profile, "c2cotel@1")
        assert report(profile).functions == []


def test_samples_are_read_as_they_were_written():
    found = samples([RUN, HOT], [("/a", "t", (0, 1), 1, 0.5)], [("GET", "/a", None, "r", 1, 0.5)])
    assert read(written(found)) == found


def test_samples_that_are_too_long_lose_their_rarest_stacks(monkeypatch):
    frames = [Frame(f"function_{number}", "/app/shop/a.py", number) for number in range(500)]
    stacks = [("/a", "t", (number,), 10, 1.0 - number / 1000) for number in range(500)]
    found = samples(frames, stacks)
    whole = sum(stack.seconds for stack in found.stacks)
    monkeypatch.setattr(merging, "LONGEST", 8_000)
    data = written(found)
    assert len(data) <= 8_000
    less = read(data)
    assert less.truncated
    assert sum(stack.seconds for stack in less.stacks) == pytest.approx(whole)
    assert less.stacks[0] == found.stacks[0]
    assert less.frames[less.stacks[-1].frames[0]] == ("(other)", "", 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"profile_id": 1}',
        msgspec.json.encode(samples([], [(None, "t", (0,), 1, 1.0)])),
        msgspec.json.encode(samples([HOT], [(None, "t", (-1,), 1, 1.0)])),
    ],
)
def test_what_are_no_samples_is_refused(data):
    with pytest.raises(UnreadableError):
        read(data)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/venv/lib/python3.11/site-packages/pyramid/router.py", ("pyramid", "pyramid/router.py")),
        ("/venv/lib/python3.11/site-packages/six.py", ("six", "six.py")),
        ("/usr/lib/python3/dist-packages/yaml/x.py", ("yaml", "yaml/x.py")),
        ("/usr/lib/python3.11/json/encoder.py", ("python", "python3.11/json/encoder.py")),
        ("<frozen importlib._bootstrap>", ("python", "<frozen importlib._bootstrap>")),
        ("<string>", ("python", "<string>")),
        ("", ("python", "")),
        ("/app/shop/views.py", ("shop", "app/shop/views.py")),
        ("views.py", ("views", "views.py")),
        ("/views.py", ("views", "/views.py")),
        (".", (".", ".")),
        ("/", ("", "/")),
    ],
)
def test_a_file_is_of_a_package(file, expected):
    assert (package(file), place(file)) == expected


def test_a_file_below_the_path_is_of_the_package_that_is_imported(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    package.cache_clear()
    file = str(tmp_path / "shop" / "orders" / "views.py")
    assert (package(file), place(file)) == ("shop", "shop/orders/views.py")
    package.cache_clear()


texts = st.text(max_size=20)
frames_ = st.builds(Frame, texts, texts, st.integers(0, 10_000))


@st.composite
def any_samples(draw):
    frames = draw(st.lists(frames_, min_size=1, max_size=8, unique=True))
    index = st.integers(0, len(frames) - 1)
    stack = st.tuples(
        st.none() | texts,
        texts,
        st.lists(index, max_size=6).map(tuple),
        st.integers(0, 1000),
        st.floats(0, 60, allow_nan=False),
    )
    return samples(frames, draw(st.lists(stack, max_size=8)))


@given(st.dictionaries(texts, any_samples(), max_size=3))
def test_any_samples_make_files_that_can_be_read(parts):
    profile = merge("any", parts)
    seconds = profile.seconds
    told = json.loads(FORMATS["speedscope"].make(profile, "c2cotel@1"))
    known = len(told["shared"]["frames"])
    for each in told["profiles"]:
        assert len(each["samples"]) == len(each["weights"])
        assert each["endValue"] == pytest.approx(sum(each["weights"]))
        assert all(0 <= frame < known for stack in each["samples"] for frame in stack)
    lines = FORMATS["collapsed"].make(profile, "").decode().splitlines()
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == pytest.approx(
        seconds * 1e6, abs=len(profile.stacks)
    )
    assert all(part for line in lines for part in line.rpartition(" ")[0].split(";"))
    stats = marshal.loads(FORMATS["pstats"].make(profile, ""))  # noqa: S302 - our own
    with_frames = sum(stack.seconds for stack in profile.stacks if stack.frames)
    assert sum(each[2] for each in stats.values()) == pytest.approx(with_frames)
    for name in ("json", "flame"):
        json.loads(FORMATS[name].make(profile, ""))
    said = report(profile)
    assert sum(each["own"] for each in said.functions) == pytest.approx(with_frames)
