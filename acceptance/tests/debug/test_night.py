"""Three in the morning: an operator with a browser finds out what is wrong, from the console alone.

What the pages look like is kept in ``.cache/screenshots``.
"""

import contextlib
import re
import threading
from collections.abc import Iterator

import psycopg
import pytest
import requests

from c2cotel_acceptance.utils import retry_timeout

from .conftest import SECRET, Operator

BUSY = "/busy/{number}"
SECONDS = 4


@pytest.fixture
def operator(operate, otlp):
    trace_url = "https://traces.example/{trace_id}"
    # Two requests never end: nobody waits for them at the end of the test.
    return operate("--graceful-timeout", "1", otlp=otlp, env={"C2C_TRACE_URL": trace_url})


@pytest.fixture
def console(chromium, operator):
    """The console in a browser, logged in."""
    with chromium.visit() as visit:
        visit.page.goto(f"{operator.url}/c2c")
        visit.page.get_by_label("Secret").fill(SECRET)
        visit.page.get_by_role("button", name="Log in").click()
        visit.page.get_by_role("button", name="Log out").wait_for()
        yield visit
        assert visit.errors == []


@contextlib.contextmanager
def repeated(operator: Operator, path: str, clients: int, pause: float = 0) -> Iterator[None]:
    """Somebody asks for *path* all the time, on a new connection each, with a *pause* between."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(pause):
            operator.ask("GET", path)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def hang(operator: Operator, path: str) -> None:
    """Somebody asks for *path*, and gets no answer for as long as the service lives."""

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            operator.ask("GET", path, timeout=60)

    threading.Thread(target=ask, daemon=True).start()


def entry(page, title):
    """The page of this name, by its link on the console."""
    page.get_by_role("link", name="Console").first.click()
    page.get_by_role("link", name=title, exact=True).first.click()
    page.get_by_role("heading", name=title, level=1).wait_for()


@pytest.fixture(autouse=True)
def awake(postgres):
    """What sleeps in the database does not go on to the next test: nobody would end it."""
    yield
    with psycopg.connect(postgres.url.replace("+psycopg", "")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def trouble(operator):
    """Everything goes wrong at once, while the service answers others."""
    hang(operator, "/deadlock")
    hang(operator, "/stuck")
    with (
        repeated(operator, "/busy/4000", 2),
        repeated(operator, "/idle", 1, pause=0.05),
        repeated(operator, "/leak", 1, pause=0.1),
    ):
        yield operator


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("trouble")
def test_an_operator_finds_four_faults_at_once(console, otlp):
    find_the_threads_that_hang(console)
    find_the_hot_function(console, otlp)
    find_the_leak(console)


def find_the_threads_that_hang(console):
    page = console.page

    def found():
        entry(page, "Threads")
        return (
            page.get_by_text("pg_sleep").count() and page.get_by_text("wait for each other").count()
        )

    retry_timeout(found, 20, interval=0.5)
    console.screenshot("night-threads")
    told = page.get_by_role("alert").inner_text()
    assert "GET /deadlock" in told
    assert "nightly-transfer" in told
    assert "transfer, " in told
    stuck = page.get_by_role("row").filter(has_text="GET /stuck")
    assert "SELECT pg_sleep(" in stuck.inner_text()
    assert re.search("[0-9a-f]{32}", stuck.inner_text())
    assert stuck.locator("a[href^='https://traces.example/']").count() == 1
    assert console.violations() == []


def find_the_hot_function(console, otlp):
    page = console.page
    entry(page, "Profiles")
    page.get_by_label("Seconds").fill(str(SECONDS))
    page.get_by_label("Time", exact=True).select_option("cpu")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name=re.compile("^Profile ")).wait_for()
    page.get_by_role("heading", name="Hottest functions").wait_for(timeout=30_000)
    profile = page.url.rpartition("/")[2].partition("?")[0]
    console.screenshot("night-profile")
    page.get_by_role("region", name="Routes").get_by_role("link", name=BUSY).click()
    first = page.get_by_role("row").filter(has_text="find_primes").first
    share = float(re.search(r"([\d.]+) %", first.inner_text())[1])
    assert share >= 80
    assert "debug_app.py" in first.inner_text()
    # The traces that it names are those of requests that ran, and their spans name the profile.
    named = set(re.findall("[0-9a-f]{32}", page.get_by_role("region", name="Traces").inner_text()))
    assert named

    def marked():
        spans = [span for span in otlp.spans if span.attributes.get("c2c.profile.id") == profile]
        return {span.trace_id for span in spans if span.attributes.get("http.route") == BUSY}

    retry_timeout(lambda: named & marked(), 20, interval=0.5)
    assert console.violations() == []


def find_the_leak(console):
    page = console.page
    entry(page, "Memory traces")
    page.get_by_label("Seconds").fill(str(SECONDS))
    # Busy processes refuse to be slowed down ten times, unless one insists.
    page.get_by_label("Whatever it costs").check()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name=re.compile("^Memory trace ")).wait_for(timeout=30_000)

    def lines():
        page.reload()
        return page.get_by_role("heading", name="Lines that grew").count()

    retry_timeout(lines, 60, interval=0.5)
    console.screenshot("night-memory")
    leaking = page.get_by_role("row").filter(has_text="bytearray(10_000)")
    assert "debug_app.py" in leaking.first.inner_text()
    assert re.search(r"\+[\d.]+ [KM]iB", leaking.first.inner_text())
    assert console.violations() == []
