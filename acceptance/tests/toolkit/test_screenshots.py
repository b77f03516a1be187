"""Pages that look as expected, that do not, and that never come: right verdict and files."""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from c2cotel_acceptance.image import check_screenshot
from c2cotel_acceptance.image_reading import read

DISC = "<svg width=190 height=80><circle cx={} cy=40 r=20 fill=navy></svg>"
DARK = "<style>@media (prefers-color-scheme: dark) {body {background: black}}</style>"
PAGES = {
    "/": "<h1>Hello</h1>",
    "/pixel": "<h1>Hello</h1><i style='position:fixed;left:150px;top:90px;width:1px;height:1px;"
    "background:black'></i>",
    "/disc": DISC.format(40),
    "/shifted": DISC.format(40.4),
    "/elsewhere": DISC.format(44),
    "/dark": DARK,
    "/print": "<style>@media (color-gamut: p3) {body {background: red}}</style>",
    "/moving": "<style>@keyframes go {to {margin-left: 100px}} input {animation: go 1s infinite}"
    "</style><input autofocus>",
    "/slow-picture": "<h1>Hello</h1><img src='/never?secret=hush'>",
    "/busy": "<h1>Hello</h1><script>setTimeout(() => {while (true);}, 50)</script>",
    "/broken": "<h1>Sorry</h1><img src='/none.png'><script>no_such()</script>",
    "/later": "<script>setTimeout(() => document.body.style.background = 'red', 300)</script>",
}


class Site(ThreadingHTTPServer):
    """Serves ``PAGES``; ``/never…`` is never answered, and what came is in ``asked``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Pages)
        self.pages = dict(PAGES)
        self.asked = []
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append((self.path, self.headers))
        if path == "/redirect":
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path == "/never":
            self.server.ended.wait(60)
            return
        text = self.server.pages.get(path, "")
        body = f"<!doctype html><title>It</title><link rel=icon href='data:,'>{text}".encode()
        self.send_response(200 if text and path != "/broken" else 500 if text else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Set-Cookie", "seen=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield site
        finally:
            site.ended.set()
            site.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site():
    with serving() as running:
        yield running


@pytest.fixture
def check(site, chromium, tmp_path):
    """``check("/")`` compares with ``it.expected.png``; ``check.first("/")`` makes that."""

    def run(path, **how):
        how = {"width": 200, "height": 100, "sleep": 0, "chromium": chromium, **how}
        expected = tmp_path / "it.expected.png"
        check_screenshot(site.url + path, tmp_path / "results", expected, **how)

    run.first = lambda path, **how: run(path, generate_expected_image=True, **how)
    return run


def results(folder):
    return {path.name.removeprefix("it.") for path in folder.glob("results/*")}


def test_a_page_that_looks_the_same_passes(check, tmp_path):
    check.first("/")
    assert read(tmp_path / "it.expected.png").size == (200, 100)
    check("/")
    assert results(tmp_path) == {"actual.png"}


def test_a_page_that_nobody_has_seen_is_kept_and_fails_once(check, tmp_path, site):
    with pytest.raises(AssertionError, match=f"nobody has said .*\n.*\n.*\n  {site.url}/ answered"):
        check("/")
    assert results(tmp_path) == {"actual.png", "actual-masked.png"}
    assert (tmp_path / "it.expected.png").exists()
    check("/")


def test_one_pixel_off_is_found(check, tmp_path):
    check.first("/")
    with pytest.raises(AssertionError, match=r" 1 of 20000 .* x 150 to 150, y 90 to 90\."):
        check("/pixel")
    assert results(tmp_path) == {"actual.png", "actual-masked.png", "diff.png"}
    assert read(tmp_path / "results/it.diff.png").getpixel((150, 90)) == (255, 0, 0)
    check("/pixel", level=0.9999)


def test_edges_may_be_smoothed_otherwise_and_things_may_not_move(check, tmp_path):
    check.first("/disc")
    check("/shifted")
    shifted = read(tmp_path / "results/it.actual.png")
    assert shifted.tobytes() != read(tmp_path / "it.expected.png").tobytes()
    with pytest.raises(AssertionError, match="pixels differ"):
        check("/elsewhere")


def test_a_window_of_another_size_is_told_by_its_size(check):
    check.first("/")
    with pytest.raises(AssertionError, match=r"It has 200x120 pixels instead of 200x100\. 4000 of"):
        check("/", height=120)


def test_what_the_mask_hides_may_differ(check, tmp_path):
    check.first("/")
    mask = Image.new("1", (200, 100), 1)
    mask.putpixel((150, 90), 0)
    mask.save(tmp_path / "it.mask.png")
    check("/pixel")
    with pytest.raises(AssertionError, match=" 1 of 20000 "):
        check("/pixel", use_mask=False)


def test_a_dark_page_is_asked_for_by_its_feature(check, tmp_path):
    check.first("/dark")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    with pytest.raises(AssertionError, match=r"20000 of 20000 pixels differ \(100 %\)"):
        check("/dark", media=dark)
    assert read(tmp_path / "results/it.actual.png").getcolors() == [(20000, (0, 0, 0))]
    check.first("/print", media=[*dark, {"name": "color-gamut", "value": "p3"}])
    assert read(tmp_path / "it.expected.png").getcolors() == [(20000, (255, 0, 0))]


@pytest.mark.parametrize(
    "feature",
    [{"name": "prefers-color-scheme", "value": "drak"}, {"name": "no-such", "value": "dark"}],
)
def test_a_feature_that_the_browser_does_not_know_is_told(check, feature):
    with pytest.raises(ValueError, match=rf"this Chromium knows no \({feature['name']}: "):
        check("/dark", media=[feature])


def test_nothing_moves_nor_blinks_on_a_picture(check):
    check.first("/moving")
    check("/moving", sleep=370)


def test_the_picture_is_taken_after_the_given_milliseconds(check, tmp_path):
    check.first("/later", sleep=1000)
    assert read(tmp_path / "it.expected.png").getcolors() == [(20000, (255, 0, 0))]


def test_options_of_the_browser_are_passed_on(check, tmp_path):
    check.first("/", device_scale_factor=2)
    assert read(tmp_path / "it.expected.png").size == (400, 200)


def test_headers_go_to_the_server_of_the_page_and_to_no_other(chromium, tmp_path):
    with serving() as other, serving() as own:
        # One after the other, so that what arrives has an order.
        own.pages["/both"] = (
            f"<script>(async () => {{await fetch('/x'); await fetch('{other.url}/y');"
            f"await fetch('/redirect?{other.url}/z'); document.body.style.background = 'red'}})()"
            "</script>"
        )
        check_screenshot(
            f"{own.url}/both",
            tmp_path,
            tmp_path / "it.expected.png",
            headers={"X-API-Key": "hush"},
            sleep=1000,
            generate_expected_image=True,
            chromium=chromium,
        )
        assert [(it, headers["X-API-Key"], headers["Cookie"]) for it, headers in own.asked] == [
            ("/both", "hush", None),
            ("/x", "hush", "seen=1"),
            (f"/redirect?{other.url}/z", "hush", "seen=1"),
        ]
        assert [(path, headers["X-API-Key"]) for path, headers in other.asked] == [
            ("/y", None),
            ("/z", None),
        ]


def test_headers_do_not_follow_the_page_to_another_server(chromium, tmp_path):
    with serving() as other, serving() as own:
        check_screenshot(
            f"{own.url}/redirect?{other.url}/",
            tmp_path,
            tmp_path / "it.expected.png",
            headers={"X-API-Key": "hush"},
            generate_expected_image=True,
            chromium=chromium,
        )
        assert [headers["X-API-Key"] for _, headers in own.asked] == ["hush"]
        assert [headers["X-API-Key"] for _, headers in other.asked] == [None]


def test_a_header_may_replace_what_the_browser_says(chromium, tmp_path):
    with serving() as own:
        check_screenshot(
            f"{own.url}/",
            tmp_path,
            tmp_path / "it.expected.png",
            headers={"Accept": "text/plain"},
            generate_expected_image=True,
            chromium=chromium,
        )
        assert [headers.get_all("Accept") for _, headers in own.asked] == [["text/plain"]]


def test_what_went_wrong_on_the_page_is_told_with_the_difference(check, site):
    check.first("/")
    with pytest.raises(AssertionError) as caught:
        check("/broken")
    lines = str(caught.value).splitlines()
    assert lines[4:7] == [
        f"  {site.url}/broken answered 500",
        f"  did not come: {site.url}/none.png (404)",
        "  error on the page: no_such is not defined",
    ]


def test_a_server_that_never_answers_fails_at_the_deadline(check, tmp_path, site):
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        check("/never?token=hush", timeout=0.5)
    assert time.monotonic() - began < 10
    assert str(caught.value) == (
        f"{site.url}/never?token=… is not there after 0.5 s."
        f"\n  still awaited: {site.url}/never?token=…"
    )
    assert results(tmp_path) == set()


def test_a_page_of_which_a_part_never_comes_fails_and_shows_the_rest(check, tmp_path, site):
    check.first("/")
    with pytest.raises(TimeoutError) as caught:
        check("/slow-picture", timeout=2)
    assert str(caught.value) == (
        f"{site.url}/slow-picture is not there after 2 s."
        f"\n  what was there: {tmp_path}/results/it.actual.png"
        f"\n  {site.url}/slow-picture answered 200"
        f"\n  still awaited: {site.url}/never?secret=…"
    )
    there = read(tmp_path / "results/it.actual.png")
    assert there.tobytes() == read(tmp_path / "it.expected.png").tobytes()


def test_a_page_that_is_busy_for_ever_fails_at_the_deadline(check, tmp_path):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="/busy is not there after 1 s"):
        check("/busy", sleep=300, timeout=1)
    assert time.monotonic() - began < 15
    assert results(tmp_path) == set()


def test_a_picture_of_an_earlier_run_is_not_taken_for_this_one(check, tmp_path):
    check.first("/")
    with pytest.raises(TimeoutError):
        check("/never", timeout=0.3)
    assert not (tmp_path / "results/it.actual.png").exists()


def test_an_address_where_nobody_is_fails_at_once(chromium, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://me:hush@127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(ConnectionError) as caught:
        check_screenshot(url, tmp_path, tmp_path / "it.expected.png", chromium=chromium)
    assert str(caught.value).startswith(f"{url.replace('me:hush@', '')} cannot be shown: ")
    assert "ERR_CONNECTION_REFUSED" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_browser_of_its_own_does_not_mind_one_that_runs_nor_an_event_loop(check, site):
    check.first("/")
    # playwright, which runs in this thread, has a loop in it: a second one would refuse to start.
    check("/", chromium=None)
    assert [path for path, _ in site.asked][-2:] == ["/", "/"]
