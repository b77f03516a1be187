"""The flame graph in a real browser, and our files in the tools that they are for.

What it looks like is kept in ``.cache/screenshots``.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import jsonschema
import pytest
from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.broadcast.agreement import agreement
from c2cotel.debug.job_records import Job, Participant
from c2cotel.debug.profile import core
from c2cotel.debug.profile.merge import written
from c2cotel.pyramid.views import add_c2c_view
from c2cotel_acceptance.processes import MissingError
from c2cotel_instrumentation.samples import Frame, Order, Request, Samples, Stack

SECRET = "correct-horse-battery-staple"
SMALL, LARGE, DEEP = "0000000000000001", "0000000000000002", "0000000000000003"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CACHE = Path(__file__).parents[3] / ".cache"
# MIT licence. It is the tool itself, and has the schema of its file format.
SPEEDSCOPE = "speedscope@1.25.0"


def small() -> Samples:
    frames = [
        Frame("Thread.run", "/usr/lib/python3.11/threading.py", 971),
        Frame("Router.__call__", "/venv/lib/python3.11/site-packages/pyramid/router.py", 261),
        Frame("report", "/app/shop/views.py", 12),
        Frame("Prices.total", "/app/shop/prices.py", 3),
        Frame("dumps", "/usr/lib/python3.11/json/__init__.py", 183),
        Frame("idle", "/usr/lib/python3.11/queue.py", 154),
    ]
    stacks = [
        Stack("/report/{id}", "worker-*", (0, 1, 2, 3), 600, 6.0),
        Stack("/report/{id}", "worker-*", (0, 1, 2, 4), 200, 2.0),
        Stack("/search", "worker-*", (0, 1), 100, 1.0),
        Stack(None, "MainThread", (0, 5), 1000, 10.0),
    ]
    requests = [Request("GET", "/report/{id}", TRACE, "request-1", 800, 8.0)]
    return _samples(frames, stacks, requests)


def large(nodes: int = 10_000) -> Samples:
    """A tree of so many functions, each calling up to three others."""
    frames = [Frame(f"function_{n}", f"/app/shop/m{n % 40}.py", n) for n in range(nodes)]
    stacks = []
    for leaf in range(nodes // 3, nodes):
        path = [leaf]
        while path[-1]:
            path.append((path[-1] - 1) // 3)
        stacks.append(Stack("/large", "worker-*", tuple(reversed(path)), 1, 0.01 + leaf % 7 / 100))
    return _samples(frames, stacks, [])


def deep(calls: int = 800) -> Samples:
    """A function that calls itself so many times."""
    frames = [Frame(f"level_{n}", "/app/shop/tree.py", n) for n in range(calls)]
    return _samples(frames, [Stack("/deep", "worker-*", tuple(range(calls)), 100, 1.0)], [])


def _samples(frames: list[Frame], stacks: list[Stack], requests: list[Request]) -> Samples:
    return Samples(
        "p",
        Order(seconds=10),
        time.time(),
        seconds=10.0,
        ticks=1000,
        cost=0.12,
        frames=frames,
        stacks=stacks,
        requests=requests,
    )


def leave(id_: str, samples: Samples) -> None:
    """As if this process had made the profile."""
    profiles = core.profiles(broadcast.broadcaster(), agreement())
    process = profiles.jobs._broadcaster.process
    mine = Participant(process.host, process.pid, process.token)
    killed = Participant("web-2", 17, "ab" * 8)
    job = Job(
        kind=core.KIND,
        id=id_,
        order={"seconds": 10.0, "hz": 100.0, "mode": "wall", "route": None},
        seconds=10.0,
        at=time.time() - 20,
        actor="alice",
        address="192.0.2.7",
        processes=(mine, killed) if id_ == SMALL else (mine,),
    )
    parts = profiles.jobs._parts
    parts.note(job)
    parts._jobs[id_] = job, time.time() - 20
    summary = core._summary(samples)
    parts.end(job, mine, "done", began=job.at, body=written(samples), summary=summary)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of an application that has some profiles."""
    config = Configurator(
        settings={"c2c.secret": SECRET, "c2c.trace_url": "https://traces.example/{trace_id}"}
    )
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("pyramid.pages", "auth", "index", "debug.profile"):
        config.include(f"c2cotel.{feature}")
    leave(SMALL, small())
    leave(LARGE, large())
    leave(DEEP, deep())
    with make_server("127.0.0.1", 0, config.make_wsgi_app(), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/c2c"
        server.shutdown()
        thread.join()
    broadcast.cleanup()


@pytest.fixture
def look(chromium, site):
    """Opens a profile in a browser whose user is logged in."""
    with_visits = []

    def open_(id_, **options):
        visiting = chromium.visit(**options)
        visit = visiting.__enter__()
        with_visits.append(visiting)
        page = visit.page
        page.goto(site)
        page.get_by_label("Secret").fill(SECRET)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Log out").wait_for()
        page.goto(f"{site}/debug/profiles/{id_}")
        if options.get("java_script_enabled", True):
            page.get_by_role("treeitem").first.wait_for()
        return visit

    yield open_
    for visiting in with_visits:
        visiting.__exit__(None, None, None)


def frame(page, name):
    return page.get_by_role("treeitem", name=name)


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_well_and_everybody_can_use_it(look, scheme):
    visit = look(SMALL, color_scheme=scheme)
    visit.screenshot(f"flame-{scheme}")
    assert visit.violations() == []
    frame(visit.page, "report").click()
    visit.page.get_by_label("Search").fill("total")
    assert visit.violations() == []
    assert visit.errors == []


def test_it_begins_with_requests_and_shows_all_threads_or_one_route(look):
    visit = look(SMALL)
    page = visit.page
    first = page.get_by_role("treeitem").first
    assert first.get_attribute("aria-label") == "all requests, 100.0 %, 9.00 s"
    assert frame(page, "idle").count() == 0
    page.get_by_label("Show").select_option("all")
    assert frame(page, "idle").get_attribute("aria-label").startswith("idle, 52.6 %, 10.0")
    page.get_by_label("Show").select_option("/search")
    assert frame(page, "report").count() == 0
    page.get_by_label("Show").select_option("all")
    page.get_by_label("Group by").select_option("route")
    assert frame(page, "(no request), 52.6 %").count() == 1
    page.get_by_label("Group by").select_option("kind of thread")
    assert frame(page, "worker-*, 47.4 %").count() == 1
    assert visit.errors == []


def test_a_click_zooms_in_and_a_button_shows_all_again(look):
    page = look(SMALL).page
    frame(page, "report").click()
    assert page.get_by_text("88.9 % · 8.00 s · 100.0 % of what is zoomed in").count() == 1
    whole = page.get_by_role("tree").bounding_box()["width"]
    assert frame(page, "report").bounding_box()["width"] == pytest.approx(whole, abs=2)
    assert frame(page, "Prices").bounding_box()["width"] == pytest.approx(0.75 * whole, abs=3)
    page.get_by_role("button", name="Whole graph").click()
    assert frame(page, "report").bounding_box()["width"] == pytest.approx(8 / 9 * whole, abs=3)


def test_all_of_it_can_be_done_with_the_keyboard(look):
    page = look(SMALL).page
    page.get_by_label("Search").focus()
    page.keyboard.press("Tab")
    assert focused(page) == "all requests, 100.0 %, 9.00 s"
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    first = focused(page)
    page.keyboard.press("ArrowRight")
    assert {first.partition(",")[0], focused(page).partition(",")[0]} == {"Prices.total", "dumps"}
    page.keyboard.press("ArrowUp")
    assert focused(page).startswith("report, 88.9 %")
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Whole graph").is_enabled()
    assert focused(page).startswith("report")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert frame(page, "dumps").bounding_box()["width"] < 400
    # There is nothing to go back from.
    assert page.get_by_role("button", name="Whole graph").count() == 0
    # It does not keep the keyboard.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") != "treeitem"


def test_the_share_of_what_is_searched_is_told(look):
    page = look(SMALL).page
    page.get_by_label("Search").fill("shop")
    assert page.get_by_text("2 functions, 88.9 %").count() == 1
    page.get_by_label("Search").fill("prices total")
    assert page.get_by_text("1 function, 66.7 %").count() == 1
    assert page.locator(".flame-hit").count() == 1
    page.get_by_label("Search").fill("no such thing")
    assert page.get_by_text("0 functions, 0.0 %").count() == 1


def test_what_is_pointed_at_is_told_with_its_place(look):
    page = look(SMALL).page
    frame(page, "Prices").hover()
    details = page.locator(".flame-details").inner_text()
    assert "Prices.total 66.7 % · 6.00 s · itself 66.7 %" in details
    assert "shop/prices.py:3 (shop)" in details


@pytest.mark.alone
def test_ten_thousand_functions_are_drawn_at_once(look):
    began = time.monotonic()
    visit = look(LARGE)
    page = visit.page
    drawn = page.get_by_role("treeitem").count()
    assert 500 < drawn <= 6001
    assert page.get_by_text("too thin to be drawn").count() == 1
    frame(page, "function_1,").click()
    zoomed = page.evaluate(
        """() => {
            const item = [...document.querySelectorAll("[role=treeitem]")][3];
            const began = performance.now();
            item.click();
            document.body.offsetHeight;
            return performance.now() - began;
        }"""
    )
    assert zoomed < 1000
    # With logging in.
    assert time.monotonic() - began < 15
    page.get_by_label("Search").fill("function_9999")
    assert page.get_by_text("1 function").count() == 1
    assert visit.errors == []


def test_hundreds_of_calls_in_each_other_scroll_within_the_graph(look):
    visit = look(DEEP)
    page = visit.page
    box = page.locator(".flame-box")
    assert box.bounding_box()["height"] <= 0.76 * page.viewport_size["height"]
    assert page.evaluate("document.documentElement.scrollHeight") < 5000
    last = frame(page, "level_799,")
    last.scroll_into_view_if_needed()
    assert box.evaluate("box => box.scrollTop") > 10_000
    visit.screenshot("flame-deep")
    last.click()
    # What is zoomed in is seen at once, and can be left again.
    assert box.evaluate("box => box.scrollTop") == 0
    assert frame(page, "level_799,").is_visible()
    assert visit.violations() == []
    page.get_by_role("button", name="Whole graph").click()
    assert frame(page, "level_0,").is_visible()
    assert visit.errors == []


def test_without_a_script_the_tables_have_it_all(look):
    visit = look(SMALL, java_script_enabled=False)
    page = visit.page
    assert page.get_by_text("the tables below have the same").count() == 1
    row = page.get_by_role("row", name="Prices.total")
    assert "6.00 s" in row.inner_text()
    assert "66.7 %" in row.inner_text()
    assert page.get_by_text("web-2/17 did not finish: it was killed").count() == 1
    page.get_by_role("link", name="/report/{id}").click()
    assert page.get_by_text("Of the route /report/{id} only").count() == 1


def test_on_a_phone_nothing_is_cut_off(look):
    visit = look(SMALL, viewport={"width": 375, "height": 667}, is_mobile=True, has_touch=True)
    visit.screenshot("flame-phone")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375


def _with_certificates() -> dict[str, str]:
    """Node.js has certificates of its own; let it believe those of the system, too."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    return {"NODE_EXTRA_CA_CERTS": str(bundle)} if bundle.exists() else {}


@pytest.fixture(scope="module")
def speedscope() -> Path:
    """The folder of speedscope, the tool, as npm has it."""
    folder = CACHE / "npm"
    release = folder / "node_modules" / "speedscope" / "dist" / "release"
    if not release.exists():
        if (npm := shutil.which("npm")) is None:
            if os.environ.get("CI"):
                raise MissingError("This needs npm: apt-get install -y npm")
            pytest.skip("There is no npm here.")
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--omit=dev"]
        command = [npm, "install", "--prefix", str(folder), *options, SPEEDSCOPE]
        subprocess.run(command, check=True, env={**_with_certificates(), **os.environ})
    return release


@pytest.fixture
def files(look, tmp_path):
    """What somebody downloads who clicks on the buttons."""

    def download(label):
        page = look(SMALL).page
        with page.expect_download() as downloading:
            page.get_by_role("link", name=label, exact=True).click()
        path = tmp_path / downloading.value.suggested_filename
        downloading.value.save_as(path)
        return path

    return download


def test_what_is_downloaded_for_speedscope_is_of_its_published_schema(files, speedscope):
    path = files("speedscope")
    assert path.name == f"profile-{SMALL}.speedscope.json"
    schema = json.loads((speedscope / "file-format-schema.json").read_text())
    told = json.loads(path.read_text())
    jsonschema.validate(told, schema)
    assert told["profiles"][0]["endValue"] == 19.0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "shared": {}}, schema)


@pytest.mark.parametrize("label", ["speedscope", "Collapsed stacks"])
def test_speedscope_itself_opens_what_is_downloaded(chromium, files, speedscope, label):
    path = files(label)
    with chromium.visit() as visit:
        visit.page.goto((speedscope / "index.html").as_uri())
        visit.page.locator("#file").set_input_files(path)
        visit.page.wait_for_function("document.title.endsWith(' - speedscope')")
        visit.screenshot(f"speedscope-{label.split()[0].lower()}")
