"""What the seed shows, and what c2cwsgiutils answers to strange questions."""

import re

import pytest

from c2cotel_acceptance.utils import retry_timeout

SUCCESSES = {
    "db_engine_sqlalchemy": {"timing": 0.002},
    "db_engine_sqlalchemy_slave": {"timing": 0.003},
    "http://localhost/api/hello": {"timing": 0.01},
    "alembic_app_alembic.ini_alembic": {"timing": 0.005, "result": "4a8c1bb4e775"},
}
FAILURES = {"custom": {"message": "I'm not happy", "timing": 0.001}}
# The seed's text does not show them, but what it shows is in an application of these levels.
LEVELS = {
    "db_engine_sqlalchemy": 1,
    "db_engine_sqlalchemy_slave": 1,
    "http://localhost/api/hello": 1,
    "custom": 2,
    "alembic_app_alembic.ini_alembic": 3,
}


def with_times(shown, told):
    """What the seed has *shown*, with the levels, and with the times of *told*."""
    return {
        name: {**entry, "level": LEVELS[name], "timing": told[name]["timing"]}
        for name, entry in shown.items()
    }


@pytest.mark.usefixtures("in_own_root")
def test_the_example_of_the_seed_is_answered_field_by_field(probe):
    probe.be(happy=False)
    report = probe.anonymous().check(max_level=3, checks=",".join(LEVELS))
    successes, failures = report.body["successes"], report.body["failures"]
    assert set(SUCCESSES) == set(successes)
    assert report.body == {
        "status": 500,
        "successes": with_times(SUCCESSES, successes),
        "failures": with_times(FAILURES, failures),
    }
    assert report.status == 500
    for entry in (*successes.values(), *failures.values()):
        assert 0 < entry["timing"] < 1


def _of_four(report):
    return report if report.body["successes"]["version"]["result"]["count"] == 4 else None


def test_redis_and_the_version_are_looked_at_besides(probe, valkey):
    # Workers that have just started may not listen yet.
    report = retry_timeout(lambda: _of_four(probe.anonymous().check(max_level=2)), 20, 0.2)
    (redis,) = report.passing - set(LEVELS) - {"version"}
    assert redis == valkey.url
    assert set(report.body["successes"][redis]) == {"timing", "level"}
    version = report.body["successes"]["version"]
    assert version["level"] == 2
    assert re.fullmatch("[0-9a-f]{40}", version["result"]["version"])


def test_the_default_is_what_is_vital(probe):
    report = probe.check()
    assert (report.status, report.body["status"], report.failing) == (200, 200, set())
    assert report.passing == {name for name, level in LEVELS.items() if level == 1}


@pytest.mark.parametrize(
    "params", [{"max_level": 0}, {"checks": "no_such"}, {"checks": "custom", "max_level": 1}]
)
def test_nothing_to_check_is_a_success_without_checks(probe, params):
    report = probe.check(**params)
    assert (report.status, report.body) == (200, {"status": 200, "successes": {}, "failures": {}})


@pytest.mark.parametrize("level", ["x", "-1", "1.5", "\u0663"])
def test_a_level_that_is_none_is_refused(probe, level):
    report = probe.anonymous().check(max_level=level)
    assert report.status == 400
    assert "max_level: expected a whole number" in report.body["message"]


def test_everything_is_there_for_an_orchestrator(probe):
    assert {
        path: probe.anonymous().ask(f"/c2c/health/{path}").status_code
        for path in ("live", "ready", "startup")
    } == {"live": 200, "ready": 200, "startup": 200}
