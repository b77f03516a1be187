"""What ``init`` returns, as the health checks use it."""

import pytest

from c2cotel.db import init
from c2cotel.health_check.checks.database import EngineType, answers, bindings, check

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


@pytest.fixture
def factory(make, ini):
    return make(lambda config: init(config, PRIMARY, REPLICA), {}, ini).made


@pytest.mark.parametrize(
    ("engine_type", "names"),
    [
        (EngineType.READ_AND_WRITE, [REPLICA, PRIMARY]),
        (EngineType.READ_ONLY, [REPLICA]),
        (EngineType.WRITE_ONLY, [PRIMARY]),
    ],
)
def test_each_engine_is_checked_by_its_own_session(factory, engine_type, names):
    found = bindings(factory, engine_type)
    assert [binding.name for binding in found] == names
    for binding in found:
        check(binding, answers, 1.0)(None)
        with binding.session(1.0) as session:
            assert session.get_bind().c2c_name == binding.name


def test_one_engine_is_checked_once(make):
    made = make(lambda config: init(config, PRIMARY), {}, {"sqlalchemy.url": "sqlite://"}).made
    assert [binding.name for binding in bindings(made)] == [PRIMARY]


def test_a_replica_that_is_down_fails_its_check_though_requests_go_on(make, ini):
    settings = {
        **ini,
        "sqlalchemy_slave.url": "sqlite:////nowhere/at/all.db",
        "c2c.db_replica_down": "primary",
    }
    browser = make(
        lambda config: init(config, PRIMARY, REPLICA),
        {"engine": lambda request: request.dbsession.connection().engine.c2c_name},
        settings,
    )
    replica, primary = bindings(browser.made)
    with pytest.raises(Exception, match="unable to open"):
        check(replica, answers, 1.0)(None)
    check(primary, answers, 1.0)(None)
    assert browser.engine("GET /engine") == PRIMARY
