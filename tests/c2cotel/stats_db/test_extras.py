"""The options for gauges of your own, and what a run has told twice."""

import pytest

from c2cotel.stats_db.extras import ExtraError, extras
from c2cotel.stats_db.numbers import OWN, SIZE, NumberError, Numbers
from c2cotel_boards import catalogue


def test_the_gauges_are_those_of_the_catalogue():
    assert {(gauge.full_name, gauge.unit, gauge.exposed) for gauge in OWN} == {
        (metric.name, metric.unit, metric.family) for metric in catalogue.STATISTICS
    }


@pytest.mark.parametrize(
    "name",
    [
        *("size", "size_bytes", "table.rows", "table_rows", "table/rows", "extra"),
        *("statistics_time", "index_size_bytes"),
    ],
)
def test_a_name_of_our_own_is_refused(name):
    with pytest.raises(ExtraError, match=r"taken by c2c\.database\."):
        extras([], [("SELECT 'a', 1", name, "")])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "a\n", "x" * 202])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ExtraError, match="not a name for a gauge"):
        extras([], [("SELECT 'a', 1", name, "")])


def test_two_names_that_prometheus_cannot_tell_apart_are_refused():
    with pytest.raises(ExtraError, match=r"taken by c2c\.database\.a\.b, which is c2c_"):
        extras([], [("SELECT 'a', 1", "a.b", ""), ("SELECT 'a', 1", "a_b", "")])


@pytest.mark.parametrize("arguments", [([" "], []), ([], [("", "jobs", "Jobs")])])
def test_an_empty_query_is_refused(arguments):
    with pytest.raises(ExtraError, match="the query is empty"):
        extras(*arguments)


def test_a_long_query_is_told_by_its_beginning():
    (one,) = extras([f"SELECT\n   {'x' * 100}"], [])
    assert str(one) == f"--extra 'SELECT {'x' * 52}…'"


def test_a_series_has_one_number():
    numbers = Numbers("app")
    numbers.put(SIZE, 1.0)
    with pytest.raises(NumberError):
        numbers.put(SIZE, 2.0)
    assert len(numbers) == 1
