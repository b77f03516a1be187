"""Levels of real loggers, of a tree of the test's own."""

import logging
import logging.config
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c2cotel.broadcast.switch import State, checked_ttl
from c2cotel.logging_level.core import (
    Levels,
    Row,
    check,
    checked_name,
    labels,
    level_names,
    level_number,
    levels,
)

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
KNOWN = "CRITICAL, FATAL, ERROR, WARN, WARNING, INFO, DEBUG, NOTSET"


@pytest.fixture
def manager():
    root = logging.RootLogger(WARNING)
    return logging.Manager(root)


@pytest.fixture
def tree(manager):
    return Levels(manager)


@pytest.fixture
def named(request):
    """A level that the test has named, forgotten afterwards."""
    number, name = request.param
    logging.addLevelName(number, name)
    yield name
    logging._levelToName.pop(number)
    logging._nameToLevel.pop(name)


def state(value):
    return State("", value, "alice", "192.0.2.1", 0.0, "host", None)


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["DEBUG", "debug", "DeBuG"])
def test_a_level_is_known_in_any_case_and_kept_as_it_was_written(text):
    assert level_number(text) == DEBUG
    assert check("a.b", text) == text


@pytest.mark.parametrize("named", [(5, "Trace"), (7, "7")], indirect=True)
def test_a_level_that_the_application_has_named_is_known(named):
    assert level_number(named) == level_number(named.lower()) == int({"Trace": 5}.get(named, 7))
    assert named in level_names()


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("NOPE", "'NOPE'"),
        ("10", "'10'"),
        ("", "''"),
        (" debug", "' debug'"),
        ("\u0131nfo", "'\u0131nfo'"),  # upper() makes INFO of it
        ("a\nb", r"'a\nb'"),
        ("x" * 1000, f"'{'x' * 80}'…"),
        (10, "'int'"),
        (None, "'NoneType'"),
        ({"a": 1}, "'dict'"),
    ],
)
def test_another_level_is_refused_with_those_that_there_are(level, shown):
    message = re.escape(f"level={shown}: expected one of {KNOWN}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        check("a", level)


@pytest.mark.parametrize("name", ["", "a", "a.b", "a..b", "é", "gunicorn.error", "a b", "a" * 200])
def test_a_name_is_kept_as_it_is(name):
    assert checked_name(name) == name
    assert check(name, "INFO") == "INFO"


def test_root_is_the_root():
    assert checked_name("root") == ""
    with pytest.raises(ValueError, match="the root's name is empty"):
        check("root", "INFO")


@pytest.mark.parametrize("name", ["a" * 201, "a\nb", "\x00", "a\x1b[31m", "\u2028", "\udcff"])
def test_a_name_that_a_log_cannot_have_is_refused(name):
    with pytest.raises(ValueError, match="expected the name of a logger, at most 200 printable"):
        check(name, "INFO")


@pytest.mark.parametrize(
    ("text", "seconds"), [("3600", 3600), ("0.5", 0.5), ("31536000", 31_536_000), ("never", None)]
)
def test_a_ttl_is_a_number_of_seconds_or_never(text, seconds):
    assert checked_ttl(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "-0", "1h", "nan", "inf", "-inf", "1e99", "31536001"]
)
def test_another_ttl_is_refused(text):
    message = re.escape(f"ttl={text!r}: expected a number of seconds above 0 and up to 31536000")
    with pytest.raises(ValueError, match=f"^{message}"):
        checked_ttl(text)


def complaint(check, text):
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


@given(st.sampled_from([checked_name, checked_ttl, level_number]), st.text())
def test_whatever_is_refused_the_message_is_one_line(check, text):
    assert complaint(check, text).isprintable()


# --- overrides ------------------------------------------------------------------------------------


def test_what_was_configured_comes_back_after_several_overrides(tree, manager):
    logger = manager.getLogger("a")
    logger.setLevel(ERROR)
    for level in ("DEBUG", "info", "DEBUG"):
        tree.apply("a", level)
    assert logger.level == DEBUG
    tree.apply("a", None)
    assert logger.level == ERROR


def test_a_logger_without_a_level_follows_its_parent_again(tree, manager):
    tree.apply("a.b", "DEBUG")
    assert manager.getLogger("a.b").isEnabledFor(DEBUG)
    tree.apply("a.b", None)
    assert not manager.getLogger("a.b").isEnabledFor(DEBUG)
    assert manager.getLogger("a.b").level == logging.NOTSET


def test_the_root_has_the_empty_name(tree, manager):
    tree.apply("", "DEBUG")
    assert manager.root.level == DEBUG
    tree.apply("", None)
    assert manager.root.level == WARNING
    assert list(manager.loggerDict) == []


def test_a_level_configured_meanwhile_is_not_undone(tree, manager):
    logger = manager.getLogger("a")
    tree.apply("a", "DEBUG")
    logger.setLevel(ERROR)
    tree.apply("a", None)
    assert logger.level == ERROR


def test_it_is_what_the_next_override_goes_back_to(tree, manager):
    logger = manager.getLogger("a")
    tree.apply("a", "DEBUG")
    logger.setLevel(ERROR)
    tree.apply("a", "INFO")
    tree.apply("a", None)
    assert logger.level == ERROR


def test_a_reset_of_what_nobody_has_set_does_nothing(tree, manager):
    tree.apply("a", None)
    assert list(manager.loggerDict) == []


def test_an_unknown_level_changes_nothing(tree, manager):
    with pytest.raises(ValueError, match="expected one of"):
        tree.apply("a", "NOPE")
    assert list(manager.loggerDict) == []


def test_the_loggers_of_this_process_are_the_real_ones():
    logger = logging.getLogger("c2cotel.test.real")
    before = logger.level
    assert levels() is levels()
    levels().apply("c2cotel.test.real", "ERROR")
    assert logger.level == ERROR
    logging.config.dictConfig(
        {
            "version": 1,
            "incremental": True,
            "loggers": {"c2cotel.test.real": {"level": "INFO"}},
        }
    )
    levels().apply("c2cotel.test.real", None)
    assert logger.level == INFO
    logger.setLevel(before)


class Overriding(RuleBasedStateMachine):
    """Configuring, overriding and resetting in any order, against a model of one logger."""

    def __init__(self):
        super().__init__()
        self.manager = logging.Manager(logging.RootLogger(WARNING))
        self.levels = Levels(self.manager)
        self.logger = self.manager.getLogger("a")
        self.configured, self.override = logging.NOTSET, None

    @rule(level=st.sampled_from(["DEBUG", "info", "Warning", "CRITICAL"]))
    def set(self, level):
        self.levels.apply("a", level)
        self.override = level_number(level)

    @rule()
    def reset(self):
        self.levels.apply("a", None)
        self.override = None

    @rule(level=st.sampled_from([5, 15, 25, 35]))
    def configure(self, level):
        """Anew, with a level that no override has: equal ones cannot be told apart."""
        self.logger.setLevel(level)
        self.configured, self.override = level, None

    @invariant()
    def the_level_is_the_override_else_what_was_configured(self):
        assert self.logger.level == (self.configured if self.override is None else self.override)
        assert self.levels.row("a").configured == logging.getLevelName(self.configured)


TestOverriding = Overriding.TestCase


# --- the tree -------------------------------------------------------------------------------------


def test_asking_makes_no_logger(tree, manager):
    manager.getLogger("a").setLevel(ERROR)
    assert tree.level("a.b.c").effective == "ERROR"
    assert tree.level("x").effective == "WARNING"
    assert tree.level("").level == "WARNING"
    assert tree.row("a.b") == Row("a.b", "NOTSET", "ERROR")
    assert list(manager.loggerDict) == ["a"]


def test_a_level_without_a_name_is_a_number(tree, manager):
    manager.getLogger("a").setLevel(7)
    assert (tree.level("a").level, tree.level("a").effective) == ("Level 7", "Level 7")


def test_the_tree_has_each_logger_after_its_parent_also_those_nobody_has_asked_for(tree, manager):
    handler = logging.NullHandler()
    for name in ("b", "a.b.c", "a-b", "a.c"):
        manager.getLogger(name)
    manager.getLogger("root.x")
    manager.getLogger("b").addHandler(handler)
    manager.getLogger("b").propagate = False
    manager.getLogger("b").disabled = True
    manager.getLogger("b").addFilter(handler.filters.append)
    tree.apply("a.c", "debug")
    states = {"a.c": state("debug"), "elsewhere": state("INFO")}
    found = tree.tree(states)
    assert found.rows == [
        Row("", "WARNING", "WARNING"),
        Row("a", "NOTSET", "WARNING"),
        Row("a.b", "NOTSET", "WARNING"),
        Row("a.b.c", "NOTSET", "WARNING"),
        Row("a.c", "NOTSET", "DEBUG", states["a.c"]),
        Row("a-b", "NOTSET", "WARNING"),
        Row(
            "b",
            "NOTSET",
            "WARNING",
            handlers=("NullHandler",),
            notes=("disabled", "does not propagate", "has filters"),
        ),
        Row("elsewhere", "NOTSET", "WARNING", states["elsewhere"]),
        Row("root.x", "NOTSET", "WARNING"),
    ]
    assert found.total == 9


@pytest.mark.parametrize(
    ("search", "names"),
    [("B", ["a.b", "a.b.c", "b"]), ("oo", [""]), ("b.", ["a.b.c"]), ("no", []), ("*", [])],
)
def test_a_search_is_for_a_part_of_the_name(tree, manager, search, names):
    for name in ("a.b.c", "b"):
        manager.getLogger(name)
    assert [row.name for row in tree.tree({}, search).rows] == names


def test_of_many_the_first_are_shown_and_all_counted(tree, manager):
    for number in range(500):
        manager.getLogger(f"x{number:03}")
    found = tree.tree({}, "x", limit=300)
    assert [row.name for row in found.rows] == [f"x{number:03}" for number in range(300)]
    assert found.total == 500


def test_a_level_is_counted_under_one_name_however_it_is_written():
    names = labels()
    assert {names[name] for name in ("warn", "warning")} == {"WARNING"}
    assert {names[name] for name in ("fatal", "critical")} == {"CRITICAL"}
    assert names["notset"] == "NOTSET"
