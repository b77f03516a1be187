"""What is ordered, and who takes which request of it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from c2cotel.debug.request_profile.orders import Claims, Order, check

ID = "0123456789abcdef"


@pytest.fixture
def claims(tmp_path):
    return lambda requests=3, directory=tmp_path: Claims(Order(ID, requests), lambda: directory)


def test_an_order_is_for_routes_like_its_own():
    order = Order(ID, 1, "/api/*")
    assert [order.is_for(route) for route in ("/api/a", "/api/a/{b}", "/apix", None)] == [
        True,
        True,
        False,
        False,
    ]
    assert Order(ID, 1).is_for(None)


def test_the_switch_keeps_it_whole():
    value = {"id": ID, "requests": 2, "route": "/x", "actor": "alice"}
    assert check("", value) == value
    assert check("", {"id": ID, "requests": 2}) == {**value, "route": "", "actor": ""}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"id": ID, "requests": 0},
        {"id": ID, "requests": 21},
        {"id": ID, "requests": True},
        {"id": "../x", "requests": 1},
        {"id": ID, "requests": 1, "route": 7},
        {"id": ID, "requests": 1, "route": "a\nb"},
        {"id": ID, "requests": 1, "actor": None},
        {"id": ID, "requests": 1, "more": 1},
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="expected"):
        check("", value)


def test_those_who_share_a_directory_take_each_request_once(claims):
    several = [claims(20) for _ in range(4)]
    begin = threading.Barrier(8, timeout=20)

    def take(number):
        begin.wait()
        taken = []
        while (found := several[number % 4].take()) is not None:
            taken.append(found)
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [each for found in pool.map(take, range(8)) for each in found]
    assert sorted(taken) == list(range(20))
    assert [each.taken for each in several] == [20] * 4
    assert all(each.exhausted for each in several)


def test_what_is_given_back_is_taken_again(claims):
    mine = claims(1)
    number = mine.take()
    assert mine.take() is None
    mine.give_back(number)
    assert mine.taken == 0
    assert mine.take() == number


def test_what_other_hosts_take_is_none_of_ours(claims):
    mine = claims(3)
    for number in (0, 1, 1):
        mine.heard("another host", number)
    assert mine.taken == 2
    assert mine.take() == 0
    assert mine.take() is None
    assert mine.taken == 3


def test_without_a_directory_a_process_counts_for_itself(claims):
    mine = claims(2, None)
    assert [mine.take() for _ in range(3)] == [0, 1, None]
    assert mine.taken == 2
    mine.give_back(0)
    assert mine.take() == 0


def test_a_directory_that_has_gone_is_none(claims, tmp_path):
    mine = claims(2, tmp_path / "gone")
    assert [mine.take() for _ in range(3)] == [0, 1, None]


def test_nothing_is_left_of_what_is_over(claims, tmp_path):
    mine = claims(3)
    mine.take()
    mine.take()
    assert len(list(tmp_path.iterdir())) == 2
    mine.forget()
    assert list(tmp_path.iterdir()) == []
    assert mine.take() is None
