"""The scoped sessions of the predecessor."""

import pytest
import transaction
from pyramid.config import Configurator

from c2cotel.db import create_session, readonly_of, setup_session
from c2cotel.health_check.checks.database import bindings

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


@pytest.fixture
def app(make, ini):
    """An application with a module's session, as models.py had it."""
    sessions = []

    def begin(config):
        with pytest.warns(DeprecationWarning, match="setup_session is deprecated: use c2cotel.db"):
            made = setup_session(config, PRIMARY, REPLICA, ["GET /forced"], ["POST /forced"])
        sessions.append(made[0])
        return made

    def engine(_):
        return sessions[0]().get_bind().c2c_name

    return make(begin, {"engine": engine, "forced": engine}, ini)


def test_the_session_of_the_thread_is_on_the_engine_of_the_request(app):
    asked = ["GET /engine", "POST /engine", "GET /forced", "POST /forced"]
    assert [app.engine(line) for line in asked] == [REPLICA, PRIMARY, PRIMARY, REPLICA]
    session, primary, _ = app.made
    assert session.get_bind() is primary


def test_read_only_is_for_them_too(app):
    readonly_of(app.registry).forced = True
    assert app.engine("POST /engine") == REPLICA


def test_the_transaction_of_the_thread_commits_them(app, hello):
    session = app.made[0]
    with transaction.manager:
        session.add(hello(text="x"))
    assert session.query(hello).count() == 1
    transaction.abort()


def test_health_checks_see_both_engines(app):
    assert [binding.name for binding in bindings(app.made[0])] == [REPLICA, PRIMARY]


def test_a_failing_request_puts_the_session_back(make, ini):
    def begin(config):
        with pytest.warns(DeprecationWarning, match="setup_session"):
            return setup_session(config, PRIMARY, REPLICA)

    browser = make(begin, {"fail": lambda _: 1 / 0}, ini)
    with pytest.raises(ZeroDivisionError):
        browser("GET /fail")
    session, primary, _ = browser.made
    assert session.get_bind() is primary


def test_sessions_of_urls(ini):
    config = Configurator(settings={})
    with pytest.warns(DeprecationWarning, match="create_session is deprecated"):
        session, primary, replica = create_session(
            config, "mine", ini["sqlalchemy.url"], ini["sqlalchemy_slave.url"], pool_size=2
        )
    assert (primary.c2c_name, replica.c2c_name) == ("mine", "mine_slave")
    assert (primary.pool.size(), replica.pool.size()) == (2, 2)
    assert session.get_bind() is primary
    config.make_wsgi_app()


def test_one_url_is_one_engine_without_a_tween():
    with pytest.warns(DeprecationWarning, match="create_session"):
        session, primary, replica = create_session(None, "mine", "sqlite://", "sqlite://")
    assert session.get_bind() is primary is replica
