"""A process that serves nothing, looked at like the others."""

import sys

import pytest

from c2cotel import broadcast, debug
from c2cotel.settings import SettingsError


@pytest.fixture(autouse=True)
def alone():
    yield
    broadcast.cleanup()


def test_it_answers_what_the_console_asks(monkeypatch):
    monkeypatch.setenv("C2C_DEBUG_VIEW_ENABLED", "1")
    debug.init_daemon()
    (answer,) = broadcast.broadcast("c2c_dump_stacks", {}, expect_answers=True)
    assert answer
    (told,) = broadcast.broadcast("c2c_dump_memory", {"limit": 3}, expect_answers=True, timeout=60)
    assert len(told["most_common_types"]) == 3


def test_it_does_not_where_that_is_not_switched_on(monkeypatch):
    monkeypatch.delenv("C2C_DEBUG_VIEW_ENABLED", raising=False)
    debug.init_daemon()
    assert broadcast.broadcast("c2c_dump_stacks", {}, expect_answers=True) == []


def test_a_wrong_setting_is_said(monkeypatch):
    monkeypatch.setenv("C2C_DEBUG_VIEW_ENABLED", "maybe")
    with pytest.raises(SettingsError, match="C2C_DEBUG_VIEW_ENABLED"):
        debug.init_daemon()


def test_the_names_of_c2cwsgiutils_are_there():
    assert debug.get_size("x" * 1000) >= 1000
    maps = debug.dump_memory_maps()
    assert maps == [] or set(maps[0]) == {"name", "size_kb", "rss_kb", "pss_kb"}
    assert bool(maps) == (sys.platform == "linux")
    with pytest.raises(AttributeError, match="no attribute 'get_sizes'"):
        _ = debug.get_sizes
