"""What processes tell, and what of it is believed."""

import math
from types import SimpleNamespace

import pytest

from c2cotel.broadcast import Process, Replies
from c2cotel.index import core
from c2cotel.index.core import Worker
from c2cotel.settings import load

HERE = Process("b", 2, "t")


def test_a_process_knows_its_age_and_its_memory():
    status = core.status()
    assert 0 < status["age"] < 24 * 3600
    assert status["memory"] > 1_000_000


def test_processes_are_sorted_and_the_silent_ones_are_among_them():
    replies = Replies(
        answers=[{"age": 1.5, "requests": 3, "memory": 4}, {"age": 2}],
        silent=(Process("b", 1, "s"),),
        answered=(HERE, Process("a", 9, "u")),
    )
    assert core.workers(replies, HERE) == [
        Worker("a", 9, age=2),
        Worker("b", 1, silent=True),
        Worker("b", 2, age=1.5, requests=3, memory=4, here=True),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        *(None, 7, "x", [], {}, {"status": 500, "message": "broken"}),
        {"age": "1", "requests": True, "memory": None},
        {"age": -1, "requests": math.nan, "memory": math.inf},
    ],
)
def test_an_answer_that_tells_nothing_is_a_process_of_which_nothing_is_known(answer):
    replies = Replies(answers=[answer], answered=(HERE,))
    assert core.workers(replies, HERE) == [Worker("b", 2, here=True)]


@pytest.mark.parametrize(
    ("reachable", "said"),
    [
        (None, "Redis not configured"),
        (True, "Redis connected"),
        (False, "Redis unreachable"),
    ],
)
def test_the_state_of_redis_is_said_in_one_line(reachable, said):
    assert core.redis_state(reachable=reachable) == said


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (None, None),
        ("", None),
        (["a", "b"], "a, b"),
        ({"a": "1", "b": None}, "a=1, b="),
        ({"level": {"a": 1}}, "level=a=1"),
    ],
)
def test_values_are_shown_as_people_write_them(value, shown):
    change = SimpleNamespace(
        at=0.0,
        switch="s",
        key="",
        action="set",
        value=value,
        previous=None,
        ttl=None,
        actor="",
        address="",
        host="",
    )
    (row,) = core.change_rows([change])
    assert row.after == shown
    assert row.at.isoformat() == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize("at", [1e18, -1e18, math.nan, math.inf])
def test_a_moment_that_cannot_be_is_none(at):
    change = SimpleNamespace(
        at=at,
        switch="s",
        key="",
        action="set",
        value=1,
        previous=None,
        ttl=None,
        actor="",
        address="",
        host="",
    )
    assert core.change_rows([change])[0].at is None


def test_a_service_without_a_name_has_that_of_its_package():
    service = core.service(load({}, {}).settings, "myapp")
    assert service.name == "myapp"
