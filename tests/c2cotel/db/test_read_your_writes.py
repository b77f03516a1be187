"""A client that has written reads from the primary for a while."""

import pytest
from pyramid.httpexceptions import HTTPBadRequest
from sqlalchemy import select

from c2cotel.db import init, readonly_of

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


@pytest.fixture
def app(make, ini, hello):
    def engine(request):
        return request.dbsession.get_bind().c2c_name

    def add(request):
        request.dbsession.add(hello(text="x"))
        return "added"

    def refuse(request):
        add(request)
        raise HTTPBadRequest

    def savepoint(request):
        with request.dbsession.begin_nested():
            add(request)
        return "added"

    def refuse_after_savepoint(request):
        savepoint(request)
        raise HTTPBadRequest

    def only_read(request):
        return len(request.dbsession.execute(select(hello)).all())

    views = {"engine": engine, "slow": engine, "add": add, "refuse": refuse}
    views |= {"savepoint": savepoint, "refuse_after_savepoint": refuse_after_savepoint}
    views |= {"only_read": only_read}

    def begin(config):
        return init(config, PRIMARY, REPLICA, force_slave=["GET /slow"])

    def build(seconds):
        return make(begin, views, {**ini, "c2c.db_read_your_writes": seconds})

    return build


def test_after_a_write_its_client_reads_from_the_primary(app):
    browser = app("2.5")
    assert browser.engine("GET /engine") == REPLICA
    assert "Set-Cookie" not in browser.last.headers
    browser("POST /add")
    assert browser.last.headers["Set-Cookie"] == (
        "c2c_db_primary=1; Max-Age=3; Path=/; expires="
        + browser.last.headers["Set-Cookie"].partition("expires=")[2].partition(";")[0]
        + "; HttpOnly; SameSite=Lax"
    )
    assert browser.engine("GET /engine") == PRIMARY
    browser.cookies.clear()
    assert browser.engine("GET /engine") == REPLICA


def test_under_https_the_cookie_is_for_https(app):
    assert (
        "; secure;" in app("5")("POST /add", **{"wsgi.url_scheme": "https"}).headers["Set-Cookie"]
    )


def test_a_savepoint_counts_when_its_transaction_is_committed(app):
    assert "Set-Cookie" in app("5")("POST /savepoint").headers


@pytest.mark.parametrize(
    "line",
    ["POST /refuse", "POST /refuse_after_savepoint", "POST /only_read", "GET /only_read"],
)
def test_who_has_written_nothing_gets_no_cookie(app, line):
    assert "Set-Cookie" not in app("5")(line).headers


def test_what_is_forced_stays_so(app):
    browser = app("5")
    browser("POST /add")
    assert browser.engine("GET /slow") == REPLICA
    readonly_of(browser.registry).forced = True
    assert browser.engine("GET /engine") == REPLICA


def test_it_is_off_by_default(app):
    browser = app("0")
    assert "Set-Cookie" not in browser("POST /add").headers
    browser.cookies["c2c_db_primary"] = "1"
    assert browser.engine("GET /engine") == REPLICA
