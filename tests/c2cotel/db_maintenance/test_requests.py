"""What requests get while the database is read-only."""

import gc
import logging

import pytest
import sqlalchemy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.request import Request
from sqlalchemy import text

from c2cotel.db import init, readonly_of, setup_session
from c2cotel.db_maintenance import core
from c2cotel.settings import SettingsError

HANDLED = {"c2c.enable_exception_handling": "1"}
REFUSING = {"c2c.db_readonly_answer": "503"}
IN_MAINTENANCE = {
    "message": "Read-only for maintenance: nothing can be written now, try again later",
    "status": 503,
}


@pytest.fixture(params=["two engines", "one engine"])
def bases(request, urls):
    """The databases of an application, with a replica and without."""
    return urls if request.param == "two engines" else urls[:1]


# --- the database's error -------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["POST /add", "POST /add_late", "PUT /add", "GET /add"])
def test_who_writes_gets_503_and_nothing_is_written(start, bases, line):
    app = start(*bases, **HANDLED)
    app.switch(readonly="true")
    answer = app(line)
    assert (answer.status_int, answer.json) == (503, IN_MAINTENANCE)
    assert answer.headers["Retry-After"] == "60"
    assert "no-store" in answer.headers["Cache-Control"]
    app.switch(readonly="false")
    assert app("GET /forced_to_primary").json == 0


def test_reading_goes_on_by_any_method(start, bases):
    app = start(*bases, **HANDLED)
    app.switch(readonly="true")
    lines = ["GET /count", "POST /count", "GET /forced_to_primary"]
    assert [(app(line).status_int, app(line).json) for line in lines] == [(200, 0)] * 3
    assert "Retry-After" not in app("GET /count").headers


def test_afterwards_all_is_as_before(start, bases):
    app = start(*bases, **HANDLED)
    app.switch(readonly="true")
    assert [app(line).status_int for line in ["POST /add", "GET /count"] * 3] == [503, 200] * 3
    app.switch(readonly="false")
    assert app("POST /add").json == "added"
    assert app("GET /forced_to_primary").json == 1


def test_it_is_no_error_of_the_program(start, bases, caplog):
    app = start(*bases, **HANDLED)
    app.switch(readonly="true")
    caplog.clear()
    app("POST /add")
    (line,) = [each for each in caplog.records if each.name == "c2cotel.errors.views"]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


def test_without_the_handling_of_errors_it_is_the_databases(start, bases):
    app = start(*bases)
    app.switch(readonly="true")
    with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly database") as raised:
        app("POST /add")
    assert raised.value.__notes__ == [
        "The application is read-only for maintenance of its database."
    ]


def test_sessions_without_a_request_cannot_write_either(start, bases):
    app = start(*bases)
    app.switch(readonly="true")
    for session in (app.factory(), app.factory(None, True)):  # noqa: FBT003 - the seed's
        with session, pytest.raises(sqlalchemy.exc.OperationalError, match="readonly database"):
            session.execute(text("INSERT INTO message (text) VALUES ('x')"))
    with app.factory() as session:
        assert session.execute(text("SELECT count(*) FROM message")).scalar() == 0


@pytest.mark.parametrize("seconds", ["0", "5"])
def test_when_to_try_again_is_a_setting(start, bases, seconds):
    app = start(*bases, **HANDLED, **{"c2c.db_readonly_retry_after": seconds})
    app.switch(readonly="true")
    assert app("POST /add").headers.get("Retry-After") == (None if seconds == "0" else seconds)


def test_a_session_that_has_begun_ends_as_it_began(start, bases):
    app = start(*bases)
    with app.factory() as session:
        session.execute(text("INSERT INTO message (text) VALUES ('x')"))
        app.switch(readonly="true")
        session.execute(text("INSERT INTO message (text) VALUES ('y')"))
        (process,) = app.switch(details="1")["processes"]
        assert (process["readonly"], process["in_use"]) == (True, 1)
        session.commit()
    (process,) = app.switch(details="1")["processes"]
    assert process["in_use"] == 0


# --- 503 before anything is done ------------------------------------------------------------------


@pytest.mark.parametrize("handling", [{}, HANDLED])
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_a_request_for_writing_is_refused_as_json(start, bases, handling, accept):
    app = start(*bases, **REFUSING, **handling)
    app.switch(readonly="true")
    answer = app("POST /add", Accept=accept)
    assert (answer.status_int, answer.content_type) == (503, "application/json")
    assert answer.json == IN_MAINTENANCE
    assert answer.headers["Retry-After"] == "60"
    assert "no-store" in answer.headers["Cache-Control"]


def test_who_is_refused_is_who_would_be_on_the_primary(start, bases):
    app = start(*bases, **REFUSING, **HANDLED)
    lines = ["POST /count", "GET /forced_to_primary", "GET /count", "POST /no_database"]
    assert [app(line).status_int for line in lines] == [200] * 4
    app.switch(readonly="true")
    assert [app(line).status_int for line in lines] == [503, 503, 200, 200]
    # Our own views are not the application's.
    app.switch(readonly="false")
    assert [app(line).status_int for line in lines] == [200] * 4


def test_a_refusal_is_no_error_of_the_program(start, bases, caplog):
    app = start(*bases, **REFUSING, **HANDLED)
    app.switch(readonly="true")
    caplog.clear()
    app("POST /add")
    (line,) = [each for each in caplog.records if each.name == "c2cotel.errors.views"]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


def test_what_is_not_refused_still_cannot_write(start, bases):
    app = start(*bases, **REFUSING, **HANDLED)
    app.switch(readonly="true")
    for line in ("GET /add", "POST /forced_to_replica"):
        answer = app(line)
        assert (answer.status_int, answer.json) == (503, IN_MAINTENANCE)
        assert answer.headers["Retry-After"] == "60"


def test_a_session_that_is_asked_for_by_hand_is_refused_too(start, urls):
    app = start(*urls, **REFUSING)
    app.switch(readonly="true")
    request = Request.blank("/x")
    with pytest.raises(HTTPServiceUnavailable):
        app.factory(request, readwrite=True)
    with app.factory(request, readwrite=False) as session:
        assert session.get_bind().c2c_name == "sqlalchemy_slave"


def test_a_wrong_answer_is_a_start_up_error_that_names_it(start, urls):
    with pytest.raises(SettingsError, match=r"c2c\.db_readonly_answer = '502'.*one of error, 503"):
        start(*urls, **{"c2c.db_readonly_answer": "502"})


# --- without maintenance --------------------------------------------------------------------------


def test_while_it_is_off_nothing_is_different(start, urls):
    app = start(*urls, **REFUSING, **HANDLED)
    with app.factory() as session:
        assert session.get_bind() is app.factory.rw_engine
    assert app("POST /add").json == "added"
    assert app("GET /count").json == 0


def test_the_primarys_pool_is_new_when_it_ends(start, urls):
    app = start(*urls)
    app("POST /add")
    before = app.factory.rw_engine.pool
    assert before.checkedin() == 1
    app.switch(readonly="true")
    assert app.factory.rw_engine.pool is before
    app.switch(readonly="true")
    app.switch(readonly="false")
    assert app.factory.rw_engine.pool is not before
    assert before.checkedin() == 0
    after = app.factory.rw_engine.pool
    app.switch(readonly="false")
    assert app.factory.rw_engine.pool is after


# --- scoped sessions ------------------------------------------------------------------------------


@pytest.mark.parametrize("replica", [True, False])
def test_the_scoped_sessions_of_the_predecessor_cannot_write(urls, replica):
    config = Configurator(
        settings={"sqlalchemy.url": urls[0]} | ({"slave.url": urls[1]} if replica else {})
    )
    with pytest.warns(DeprecationWarning, match="setup_session"):
        session, primary, other = setup_session(config, "sqlalchemy", "slave")

    def write(_):
        try:
            session.execute(text("INSERT INTO message (text) VALUES ('x')"))
            return session.get_bind().c2c_name
        finally:
            session.remove()

    config.add_route("write", "/write")
    config.add_view(write, route_name="write", renderer="json")
    application = config.make_wsgi_app()
    told = []
    readonly = readonly_of(config.registry)
    readonly.meanwhile = lambda request, primary: told.append((request.path, primary))
    ask = Request.blank("/write", method="POST")
    assert ask.get_response(application).json == "sqlalchemy"
    readonly.forced = True
    with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly database"):
        ask.get_response(application)
    assert told == [("/write", False)]
    readonly.forced = False
    assert ask.get_response(application).json == "sqlalchemy"
    primary.dispose()
    other.dispose()


# --- what is measured -----------------------------------------------------------------------------


def test_the_state_and_the_refusals_are_measured():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    here = core.Applications(provider)
    config = Configurator()
    here.follow(config.registry)
    here.follow(config.registry)

    def seen():
        (resource,) = reader.get_metrics_data().resource_metrics
        return {
            metric.name: (metric.unit, metric.data.data_points[0].value)
            for metric in resource.scope_metrics[0].metrics
        }

    here.tell()
    assert seen() == {"c2c.db.maintenance.readonly": ("", 0)}
    here.apply("", True)  # noqa: FBT003 - a value
    here.refusals.add(1)
    assert seen() == {
        "c2c.db.maintenance.readonly": ("", 1),
        "c2c.db.maintenance.refusals": ("{request}", 1),
    }
    here.apply("", None)
    assert seen()["c2c.db.maintenance.readonly"] == ("", 0)
    provider.shutdown()


def test_an_application_that_is_gone_is_forgotten():
    here = core.Applications()
    here.follow(Configurator().registry)
    gc.collect()
    assert here.here() == {"readonly": False, "in_use": None}
    assert here._followers == []


def test_without_the_feature_read_only_has_no_answer_of_its_own(urls):
    config = Configurator(settings={"sqlalchemy.url": urls[0]})
    factory = init(config, "sqlalchemy")
    readonly_of(config.registry).forced = True
    with (
        factory(Request.blank("/", method="POST")) as session,
        pytest.raises(sqlalchemy.exc.OperationalError),
    ):
        session.execute(text("INSERT INTO message (text) VALUES ('x')"))
    factory.dispose()
