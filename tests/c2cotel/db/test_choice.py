"""Which engine a request's session is on."""

import re
import sys
import threading
from dataclasses import dataclass, field

import pytest
import sqlalchemy

from c2cotel.db import Readonly, SessionFactory, init
from c2cotel.db.choice import Rules
from c2cotel.settings import SettingsError

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


@dataclass
class Asked:
    """As much of a request as the choice looks at."""

    method: str = "GET"
    path: str = "/api/hello"
    cookies: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def engines():
    made = []
    for name in (PRIMARY, REPLICA):
        engine = sqlalchemy.create_engine("sqlite://")
        engine.c2c_name = name
        made.append(engine)
    yield made
    for engine in made:
        engine.dispose()


@pytest.fixture
def factory(engines):
    """``factory(force_master, force_slave)``."""

    def make(force_master=None, force_slave=None, **more):
        primary, replica = engines
        return SessionFactory(force_master, force_slave, replica, primary, **more)

    return make


def name(session):
    return session.get_bind().c2c_name


@pytest.mark.parametrize(
    ("method", "engine"),
    [
        ("GET", REPLICA),
        ("HEAD", REPLICA),
        ("OPTIONS", REPLICA),
        ("POST", PRIMARY),
        ("PUT", PRIMARY),
        ("PATCH", PRIMARY),
        ("DELETE", PRIMARY),
        ("BREW", PRIMARY),
    ],
)
def test_the_method_chooses(factory, method, engine):
    assert name(factory()(Asked(method))) == engine


@pytest.mark.parametrize(
    ("force_master", "force_slave", "line", "engine"),
    [
        (["GET /api/hello"], [], "GET /api/hello", PRIMARY),
        (["GET /api/hello"], [], "GET /api/other", REPLICA),
        ([], ["POST /api/hello"], "POST /api/hello", REPLICA),
        ([], ["POST /api/hello"], "POST /other/api/hello", PRIMARY),
        ([], ["POST /api/hello"], "POST /api/hello/5", REPLICA),
        ([], ["POST /api/hello$"], "POST /api/hello/5", PRIMARY),
        ([".* /api"], ["POST /api"], "POST /api/hello", PRIMARY),
        ([re.compile("get /API", re.IGNORECASE)], (), "GET /api/hello", PRIMARY),
        (iter(["GET /a", "GET /b"]), None, "GET /b", PRIMARY),
    ],
)
def test_patterns_choose_and_the_primary_wins(factory, force_master, force_slave, line, engine):
    method, path = line.split()
    assert name(factory(force_master, force_slave)(Asked(method, path))) == engine


def test_without_a_request_it_is_the_primary_unless_said(factory):
    made = factory()
    assert name(made()) == name(made(None, readwrite=True)) == PRIMARY
    assert name(made(None, readwrite=False)) == REPLICA
    with made.begin() as session:
        assert name(session) == PRIMARY


def test_what_is_said_wins_over_the_request(factory):
    made = factory(["GET /"], ["POST /"])
    assert name(made(Asked("GET"), readwrite=False)) == REPLICA
    assert name(made(Asked("POST"), readwrite=True)) == PRIMARY


def test_a_bind_of_ones_own_is_left_alone(factory, engines):
    with engines[0].connect() as connection:
        assert factory()(bind=connection).get_bind() is connection


def test_read_only_wins_over_everything_from_the_next_session_on(factory):
    readonly = Readonly()
    made = factory(["POST /"], readonly=readonly)
    readonly.forced = True
    chosen = [made(Asked("POST")), made(None, readwrite=True), made()]
    assert [name(session) for session in chosen] == [REPLICA] * 3
    readonly.forced = False
    assert name(made(Asked("POST"))) == PRIMARY


def test_the_names_of_the_engines(factory):
    assert factory().engine_name(readwrite=True) == PRIMARY
    assert factory().engine_name(readwrite=False) == REPLICA


def test_the_first_of_what_init_returns_is_itself(factory):
    made = factory()
    assert made[0] is made
    (same,) = made
    assert same is made
    with pytest.raises(IndexError, match=r"\[1\]: there is one session factory only"):
        made[1]


def test_options_of_sessions_are_for_both_engines(factory):
    made = factory()
    made.configure(expire_on_commit=False)
    assert not made(Asked("GET")).expire_on_commit
    assert not made(Asked("POST")).expire_on_commit
    assert made(Asked("POST"), expire_on_commit=True).expire_on_commit


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["GET /ok", "GET /("], "force_master: 'GET /(' is not a regular expression"),
        ([None], "force_master: None is not a regular expression"),
        ("GET /", "force_master = 'GET /': not a list. Write ['GET /']"),
    ],
)
def test_bad_patterns_are_named(patterns, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        Rules(patterns)
    with pytest.raises(SettingsError, match=re.escape(said.replace("master", "slave"))):
        Rules((), patterns)


def test_200_000_sessions_of_8_threads_are_all_on_their_engine(factory):
    made = factory(["GET /primary"], ["POST /replica"])
    primary, replica = made.rw_engine, made.ro_engine
    cases = [
        (Asked("GET"), replica),
        (Asked("POST"), primary),
        (Asked("GET", "/primary"), primary),
        (Asked("POST", "/replica"), replica),
    ]
    wrong, counts = [], []
    start = threading.Barrier(8)

    def ask():
        start.wait()
        for index in range(25_000):
            request, engine = cases[index & 3]
            if made(request).bind is not engine:
                wrong.append(request)
        counts.append(25_000)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert (wrong, sum(counts)) == ([], 200_000)


# --- in an application ----------------------------------------------------------------------------


def engine_of(request):
    return request.dbsession.get_bind().c2c_name


def test_requests_of_an_application(make, ini):
    browser = make(
        lambda config: init(config, PRIMARY, REPLICA, ["GET /forced"], ["POST /forced"]),
        {"engine": engine_of, "forced": engine_of},
        ini,
    )
    asked = ["GET /engine", "POST /engine", "GET /forced", "POST /forced", "OPTIONS /engine"]
    assert [browser.engine(line) for line in asked] == [REPLICA, PRIMARY, PRIMARY, REPLICA, REPLICA]


def test_patterns_have_the_prefix_of_the_routes_and_of_the_server(make, ini):
    def begin(config):
        config.route_prefix = "prefix"
        return init(config, PRIMARY, REPLICA, ["GET /script/prefix/engine"])

    browser = make(begin, {"engine": engine_of}, ini)
    assert browser.engine("GET /prefix/engine", SCRIPT_NAME="/script") == PRIMARY
    assert browser.engine("GET /prefix/engine") == REPLICA


def test_read_only_is_of_one_application(make, ini):
    from c2cotel.db import readonly_of

    first, second = (
        make(lambda config: init(config, PRIMARY, REPLICA), {"engine": engine_of}, dict(ini))
        for _ in range(2)
    )
    readonly_of(first.registry).forced = True
    assert first.engine("POST /engine") == REPLICA
    assert second.engine("POST /engine") == PRIMARY
