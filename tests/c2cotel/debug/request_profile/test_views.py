"""What operators are shown of profiles, and what they can order."""

import json

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.response import Response

from c2cotel.debug.request_profile import recording, tree
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view

from .conftest import ID, JSON, PAGE, SECRET, Client, configure

# https://www.speedscope.app/file-format-schema.json, of what is in such a file.
SPEEDSCOPE = {
    "type": "object",
    "required": ["$schema", "profiles", "shared"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "activeProfileIndex": {"type": "number"},
        "exporter": {"type": "string"},
        "name": {"type": "string"},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                            "col": {"type": "number"},
                        },
                    },
                }
            },
        },
        "profiles": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "events"],
                "properties": {
                    "type": {"const": "evented"},
                    "unit": {"const": "seconds"},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "events": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type", "frame", "at"],
                            "properties": {
                                "type": {"enum": ["O", "C"]},
                                "at": {"type": "number"},
                                "frame": {"type": "number"},
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def profile(client):
    """The id of a profile."""
    return client.profiled("/hello/you").headers[ID]


def fetch(client, path, **query):
    response = client.get(path, query=query, X_API_Key=SECRET)
    assert response.status_int == 200, response.text
    return response


def test_it_is_on_the_console(client):
    entries = console_of(client.app.registry).entries
    assert [(each.title, each.section) for each in entries] == [("Profiles of requests", "Debug")]


@pytest.mark.parametrize("path", [JSON, PAGE, f"{JSON}/{'0' * 16}", f"{PAGE}/{'0' * 16}"])
def test_nobody_else_sees_anything(client, path):
    assert client.get(path).status_int == 403


def test_the_text_names_what_took_long(client, profile):
    response = fetch(client, f"{JSON}/{profile}", format="text")
    assert response.content_type == "text/plain"
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="request-{profile}.txt"'
    )
    assert "GET /hello/{name}" in response.text
    assert "hot_function" in response.text
    assert "_recorded" not in response.text


def test_the_json_is_that_of_pyinstrument(client, profile):
    told = fetch(client, f"{JSON}/{profile}", format="json").json
    assert told["target_description"] == "GET /hello/{name}"
    assert told["duration"] >= 0.03
    assert told["root_frame"]["children"]


def test_speedscope_can_read_it(client, profile):
    response = fetch(client, f"{JSON}/{profile}")
    told = json.loads(response.text)
    jsonschema.validate(told, SPEEDSCOPE)
    assert "hot_function" in {frame["name"] for frame in told["shared"]["frames"]}
    events = told["profiles"][0]["events"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert {"O": 0, "C": 0}.keys() == {event["type"] for event in events}


def test_the_page_of_a_profile_shows_its_calls(client, profile):
    page = fetch(client, f"{PAGE}/{profile}").text
    assert "<h1>GET /hello/{name}</h1>" in page
    assert "<details open>" in page
    assert '<code class="own">hot_function</code>' in page
    assert page.count("<details") == page.count("</details>")
    assert "style=" not in page
    assert "_Watch" not in page


def test_the_page_links_to_the_trace():
    client = Client(configure(**{"c2c.trace_url": "https://traces.example/{trace_id}"}))
    profiled = client.profiled("/quick").headers[ID]
    page = fetch(client, f"{PAGE}/{profiled}").text
    # Without telemetry there is no trace.
    assert "https://traces.example/" not in page
    assert '<span class="mono">' in page


def test_what_a_client_sends_is_escaped(client):
    profiled = client.profiled("/nowhere/%3Cscript%3Ealert(1)%3C/script%3E").headers[ID]
    for path in (PAGE, f"{PAGE}/{profiled}"):
        page = fetch(client, path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_a_request_that_was_too_quick_has_a_page_and_files(client):
    profiled = client.profiled("/quick").headers[ID]
    assert fetch(client, f"{PAGE}/{profiled}").status_int == 200
    for kind in ("text", "json", "speedscope"):
        assert fetch(client, f"{JSON}/{profiled}", format=kind).text


@pytest.mark.parametrize(
    "name", ["0" * 16, "x", "ABCDEF0123456789", "..%2f..%2fetc", "%00", "%C3%A9"]
)
def test_an_unknown_profile_is_not_found(client, name):
    for path in (JSON, PAGE):
        status = client.get(f"{path}/{name}", X_API_Key=SECRET).status_int
        assert status == 404


def test_an_unknown_format_is_refused(client, profile):
    refused = client.tell(400, path=f"{JSON}/{profile}", format="html")
    assert refused["message"] == "format=html: expected one of text, json, speedscope"


# --- orders ---------------------------------------------------------------------------------------


def test_the_form_orders_with_cookie_and_token(client):
    cookie, token = client.session()
    fields = {"requests": "2", "route": "/hello/*", "ttl": "60", "back": PAGE}
    refused = client.get(JSON, post=fields, Cookie=cookie)
    assert refused.status_int == 403
    response = client.get(JSON, post={**fields, "csrf_token": token}, Cookie=cookie)
    assert (response.status_int, response.headers["Location"]) == (303, f"http://localhost{PAGE}")
    page = client.get(PAGE, Cookie=cookie).text
    assert "0 of 2 requests have come" in " ".join(page.split())
    assert "No more" in page
    client.get("/hello/a")
    client.get("/hello/b")
    assert "All 2 requests that" in " ".join(client.get(PAGE, Cookie=cookie).text.split())


def test_a_cookie_alone_orders_nothing(client):
    cookie, _ = client.session()
    response = client.get(JSON, query={"requests": "1"}, Cookie=cookie)
    assert response.status_int == 403
    assert client.tell()["ordered"] is None


def test_an_order_is_logged_with_who_gave_it(client, caplog):
    client.tell(requests="2", route="/hello/*", ttl="60")
    (record,) = [each for each in caplog.records if each.name == "c2cotel.broadcast.journal"]
    assert record.levelname == "WARNING"
    assert '"requests": 2' in record.getMessage()
    assert record.getMessage().endswith("for 60 s, by secret from 192.0.2.7")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"requests": "21"}, "requests=21: expected a whole number from 0 to 20"),
        ({"requests": "-1"}, "requests=-1: expected a whole number from 0 to 20"),
        ({"requests": "many"}, "requests=many: expected a whole number from 0 to 20"),
        ({"requests": ""}, "requests is missing: expected a whole number from 0 to 20"),
        ({"requests": "1", "ttl": "1e9"}, "ttl=1e9: expected a number from 1 to 3600"),
        ({"requests": "1", "ttl": "nan"}, "ttl=nan: expected a number from 1 to 3600"),
        ({"ttl": "60"}, "ttl: only together with requests, for example requests=5"),
        ({"route": "/x"}, "route: only together with requests, for example requests=5"),
        (
            {"requests": "1", "route": "/helo/{name}"},
            (
                "route=/helo/{name}: no route of the application is like that; expected for "
                "example /hello/{name}, /fails, /missing, /quick"
            ),
        ),
    ],
)
def test_what_cannot_be_ordered_is_refused_with_what_would_do(client, query, said):
    assert client.tell(400, **query)["message"] == said
    assert client.tell()["ordered"] is None


def test_an_application_without_routes_says_that_it_has_none():
    config = Configurator(settings={"c2c.secret": SECRET})
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("pyramid.pages", "auth", "debug.request_profile"):
        config.include(f"c2cotel.{feature}")
    config.add_view(lambda *_: Response("by traversal"))
    client = Client(config.make_wsgi_app())
    assert "it has none" in client.tell(400, requests="1", route="/x")["message"]
    assert ID in client.profiled("/").headers


_TEXT = st.text(max_size=30) | st.sampled_from(
    ["0", "1", "20", "1e9", "-1", "/hello/*", "*", "nan"]
)
_NAMES = ("requests", "route", "ttl", "format", "back", "secret", "x")


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=st.dictionaries(st.sampled_from(_NAMES), _TEXT, max_size=4), data=st.data())
def test_no_parameters_are_an_error_of_the_servers(client, query, data):
    query.pop("secret", None)
    known = client.profiled("/quick").headers[ID]
    path = data.draw(
        st.sampled_from([JSON, PAGE, f"{JSON}/{known}", f"{PAGE}/{known}", f"{JSON}/x"])
    )
    post = data.draw(st.booleans())
    response = client.get(
        path, post=query if post else None, query=None if post else query, X_API_Key=SECRET
    )
    assert response.status_int in {200, 303, 400, 404, 405}
    assert len(response.body) < 500_000


# --- what is kept ---------------------------------------------------------------------------------


def session(frames, seconds=0.01):
    from pyinstrument.session import Session

    return Session(
        frame_records=[(stack, seconds) for stack in frames],
        start_time=1.0,
        duration=len(frames) * seconds,
        min_interval=0.001,
        max_interval=0.001,
        sample_count=len(frames),
        start_call_stack=frames[0][:1],
        target_description="",
        cpu_time=0.5,
        sys_path=["/app"],
        sys_prefixes=["/usr"],
    )


def frame(name, file="/app/views.py", line=1):
    return f"{name}\x00{file}\x00{line}"


def test_what_is_kept_becomes_what_it_was():
    stacks = [[frame("a"), frame("b")], [frame("a"), frame("c\ud800")], [frame("a"), frame("b")]]
    kept = recording.read(recording.written(session(stacks), "GET /"))
    assert kept.start_call_stack == [frame("a")]
    shown = [[*stacks[0]], [frame("a"), frame("c?")], [*stacks[2]]]
    assert kept.frame_records == [(stack, 0.01) for stack in shown]
    assert (kept.target_description, kept.duration, kept.cpu_time) == ("GET /", 0.03, 0.5)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff"])
def test_what_is_no_profile_says_so(data):
    with pytest.raises(recording.UnavailableError, match="cannot be read"):
        recording.read(data)


def test_long_requests_have_a_bounded_profile(monkeypatch):
    monkeypatch.setattr(recording, "MOST_SAMPLES", 100)
    monkeypatch.setattr(recording, "INTERVAL", 0.00001)  # so that all is seen
    looking = recording.begin()
    looking.on = True

    def down(depth):
        return down(depth - 1) if depth else [sum(range(10)) for _ in range(2)]

    for _ in range(50):
        down(300)
    found = looking.stop()
    assert 40 <= len(found.frame_records) <= 101
    assert sum(seconds for _, seconds in found.frame_records) == pytest.approx(
        found.duration, rel=0.2
    )
    assert max(len(stack) for stack, _ in found.frame_records) == recording.DEEPEST + 1


def test_deep_calls_have_a_page_and_files(client):
    def down(depth):
        return down(depth - 1) if depth else sum(range(300_000))

    def deep(config):
        config.add_route("deep", "/deep")
        config.add_view(lambda _: Response(str(down(600))), route_name="deep")

    client = Client(configure(deep))
    profiled = client.profiled("/deep").headers[ID]
    assert "GET /deep" in fetch(client, f"{PAGE}/{profiled}").text
    for kind in ("text", "json", "speedscope"):
        assert fetch(client, f"{JSON}/{profiled}", format=kind).text


def test_the_tree_shows_the_widest_and_counts_the_others(monkeypatch):
    monkeypatch.setattr(tree, "MOST", 4)
    stacks = [[frame("root"), frame(f"f{number}")] for number in range(9) for _ in range(number)]
    found = tree.tree(session(stacks))
    assert [call.function for call in found.root.calls] == ["f8", "f7", "f6"]
    assert found.left_out == 5
    assert [(what, call.function) for what, call in found.steps()] == [
        ("open", "The request"),
        ("leaf", "f8"),
        ("leaf", "f7"),
        ("leaf", "f6"),
        ("close", "The request"),
    ]


def test_libraries_that_only_pass_on_are_left_out():
    library = [frame(f"lib{number}", "/usr/lib/x.py", number) for number in range(3)]
    stacks = [[frame("root"), *library, frame("mine")], [frame("root"), frame("other")]]
    found = tree.tree(session(stacks))
    assert [(call.function, call.passed, call.own) for call in found.root.calls] == [
        ("mine", 3, True),
        ("other", 0, True),
    ]
    assert found.root.calls[0].where == "views.py:1"
