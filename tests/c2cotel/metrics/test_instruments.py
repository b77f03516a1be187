"""What instruments count, refuse and never raise."""

import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import Observation

from c2cotel.metrics.merge import Merge
from c2cotel.metrics.provider import InstrumentError, MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.store import Store

OVERFLOW = (("otel.metric.overflow", True),)


@pytest.fixture
def provider():
    made = MeterProvider(Store(None, max_series=2000))
    yield made
    if made.store.slab is not None:
        made.store.slab.close()


@pytest.fixture
def meter(provider):
    return provider.get_meter("tests")


@pytest.fixture
def values(provider):
    """The numbers of one instrument by attributes, as a scrape would find them."""

    def read(name):
        provider.observe()
        for family, rows in Merge(None, own=provider.store.private_image).read():
            if family.description.name == name:
                return {row.key: row.values for row in rows}
        return {}

    return read


# --- what is refused when an instrument is made ---------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "with space", "9lives", "_a", "é", "a" * 256, "a\n", None, 5, "a{b}", "a=b"]
)
def test_a_bad_name_is_an_error_that_says_it(meter, name):
    with pytest.raises(InstrumentError, match="is no name for an instrument: a letter, then") as no:
        meter.create_counter(name)
    assert repr(name) in str(no.value)


@pytest.mark.parametrize("unit", ["é", "s" * 64, 5])
def test_a_bad_unit_is_an_error_that_says_it(meter, unit):
    with pytest.raises(InstrumentError, match="at most 63 ASCII characters") as no:
        meter.create_histogram("times", unit)
    assert "times" in str(no.value)


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        ([2.0, 1.0], "do not ascend"),
        ([1.0, 1.0], "do not ascend"),
        ([1.0, math.nan, 2.0], "not all finite"),
        ([-math.inf, 1.0], "not all finite"),
        ([1.0, math.inf, math.inf], "not all finite"),
        (["a"], "are not numbers"),
        (5, "are not numbers"),
        ([10**400], "are not numbers"),
        (list(range(121)), "at most 120"),
    ],
)
def test_bad_buckets_are_an_error_that_says_it(meter, bounds, why):
    with pytest.raises(InstrumentError, match=f"times: .*{why}"):
        meter.create_histogram("times", explicit_bucket_boundaries_advisory=bounds)


def test_an_infinite_last_bucket_is_the_one_that_is_there_anyway(meter, values):
    histogram = meter.create_histogram(
        "times", explicit_bucket_boundaries_advisory=[1, 2, math.inf]
    )
    histogram.record(5)
    assert values("times") == {(): [0, 0, 1, 5]}


def test_no_bounds_is_one_bucket_and_most_bounds_fit_also_when_lost(meter, values):
    meter.create_histogram("one", explicit_bucket_boundaries_advisory=[]).record(3)
    meter.create_histogram("most", explicit_bucket_boundaries_advisory=range(120)).record(500)
    assert values("one") == {(): [1, 3]}
    assert values("most") == {(): [*([0] * 120), 1, 500]}


@pytest.mark.parametrize("other", ["create_histogram", "create_gauge", "create_observable_counter"])
def test_another_kind_of_the_same_name_is_an_error_that_says_it(meter, other):
    meter.create_counter("Hits", "s")
    with pytest.raises(InstrumentError, match="has made it as counter in 's', so it cannot be"):
        getattr(meter, other)("hits", unit="s")
    with pytest.raises(InstrumentError, match="Give one of them another name"):
        meter.create_counter("hits", "By")


def test_a_bad_merge_rule_is_an_error_that_lists_the_good_ones(meter):
    with pytest.raises(InstrumentError, match="expected one of pid, sum, min, max, last"):
        meter.create_gauge("level", merge="mean")
    with pytest.raises(InstrumentError, match="expected one of pid, sum, min, max, last"):
        MeterProvider(Store(None), {"level": "mean"}).get_meter("x").create_gauge("level")


def test_the_same_twice_is_the_same_object(meter, provider, caplog):
    assert meter.create_counter("hits") is provider.get_meter("tests").create_counter("HITS")
    assert meter.create_counter("hits") is not provider.get_meter("other").create_counter("hits")
    assert caplog.messages == []
    one = meter.create_histogram("times", explicit_bucket_boundaries_advisory=[1])
    assert meter.create_histogram("times", explicit_bucket_boundaries_advisory=[2]) is one
    assert caplog.messages == ["times: made before with other buckets or merge; kept."]


# --- what is never raised in a request ------------------------------------------------------------


class Nasty:
    """Raises at whatever is done to it."""

    def fail(self, *_):
        raise ZeroDivisionError("nasty")

    __eq__ = __hash__ = __lt__ = __le__ = __gt__ = __ge__ = __float__ = __str__ = __repr__ = fail
    __iter__ = __len__ = __bool__ = __getitem__ = __radd__ = __index__ = fail


class NastyMapping(dict):
    def items(self):
        raise ZeroDivisionError("nasty")


class NastyText(str):
    __slots__ = ()

    def __hash__(self):
        raise ZeroDivisionError("nasty")


CYCLE: list = []
CYCLE.append(CYCLE)
DEEP: list = []
for _ in range(20_000):
    DEEP = [DEEP]


@dataclass(frozen=True)
class Nth:
    number: int


def resolved(value):
    if isinstance(value, Nth):
        return NASTY[value.number]
    if isinstance(value, dict):
        return {name: resolved(inner) for name, inner in value.items()}
    return value


NASTY = [
    *(Nasty(), NastyMapping(a=1), NastyText("a"), CYCLE, DEEP, object(), object, len),
    *(10**400, -(10**400), 10**5000, 2**64, True, b"\xff", bytearray(b"a"), "\udce4"),
    *(Decimal("1.5"), Decimal("NaN"), Fraction(1, 3), 1j, math.nan, math.inf, -math.inf),
    *({1, 2}, [[1], [2]], [None], ["a", 1, None], range(3), iter(()), "", "a\0b"),
]
GARBAGE = (
    # By number: Hypothesis wants to hash and print what it gives.
    st.integers(0, len(NASTY) - 1).map(Nth)
    | st.none()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
)
ATTRIBUTES = st.dictionaries(
    st.text(max_size=2) | st.none() | st.integers() | st.binary(max_size=2), GARBAGE, max_size=3
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(amount=GARBAGE, attributes=ATTRIBUTES | GARBAGE, again=st.booleans())
def test_measuring_never_raises_and_leaves_all_readable(provider, meter, amount, attributes, again):
    """With whatever amount and attributes; a scrape and the other series go on, too."""
    amount, attributes = resolved(amount), resolved(attributes)
    good = meter.create_counter("good")
    good.add(1)
    instruments = [
        meter.create_counter("counter").add,
        meter.create_up_down_counter("up_down").add,
        meter.create_histogram("histogram").record,
        meter.create_gauge("gauge").set,
    ]
    meter.create_observable_counter(
        "observable", [lambda _: [Observation(amount, attributes), Observation(1, {"a": "b"})]]
    )
    for measure in instruments * (1 + again):
        measure(amount, attributes)
        measure(amount)
        measure(1, attributes)
    merge = Merge(None, own=provider.store.private_image)
    for family, rows in merge.read():
        for row in rows:
            if family.description.kind == "histogram":
                assert sum(row.values[:-1]) >= 0
            assert not any(map(math.isnan, row.values))
    assert merge.unreadable == set()
    scraper = Scraper(provider, {})
    for accept in ("", "application/openmetrics-text"):
        assert b"\ngood_total" in scraper.expose(accept)[0]


@pytest.mark.parametrize(
    "amount",
    ["1", None, b"1", [1], 1j, 10**400, math.nan, math.inf, -1, Decimal("NaN"), Nasty()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_amount_is_dropped_and_said_once(meter, values, caplog, amount):
    counter, histogram = meter.create_counter("hits"), meter.create_histogram("times")
    for _ in range(3):
        counter.add(amount)
        histogram.record(amount)
    counter.add(1)
    histogram.record(1)
    assert values("hits") == {(): [1]}
    assert sum(values("times")[()][:-1]) == values("times")[()][-1] == 1
    assert len(caplog.messages) == 2
    assert all("not a number it can count" in message for message in caplog.messages)


def test_a_decimal_is_no_half_counted_histogram(meter, values):
    meter.create_histogram("times", explicit_bucket_boundaries_advisory=[5]).record(Decimal("1.5"))
    assert values("times") in ({(): [0, 0, 0]}, {(): [1, 0, 1.5]})


@pytest.mark.parametrize("amount", [math.inf, -math.inf, math.nan, -(10**400)])
def test_an_up_down_counter_stays_finite(meter, values, amount):
    counter = meter.create_up_down_counter("depth")
    counter.add(2)
    counter.add(amount)
    counter.add(-3)
    assert values("depth") == {(): [-1]}


@pytest.mark.parametrize("value", [math.inf, math.nan, "high", None])
def test_a_gauge_keeps_its_value_when_given_none(meter, values, value):
    gauge = meter.create_gauge("level", merge="last")
    gauge.set(2)
    gauge.set(value)
    assert values("level")[()][0] == 2


def test_all_that_is_wrong_with_an_instrument_is_said(host_in, tmp_path, caplog):
    with host_in(tmp_path / "run", max_series=2) as host:
        counter = host.meter.create_counter("hits")
        for _ in range(2):
            counter.add(-1)
            counter.add(1, 5)
            for number in range(4):
                counter.add(1, {"a": number})
    said = [message.split(": ")[0] for message in caplog.messages]
    assert said == [
        "hits was given -1",
        "hits was given attributes it cannot use",
        "hits has more than 2 sets of attributes",
    ]


# --- attributes -----------------------------------------------------------------------------------


def test_order_and_type_of_sequences_do_not_make_another_series(meter, values):
    counter = meter.create_counter("hits")
    for attributes in ({"a": 1, "b": [1, 2]}, {"b": (1, 2), "a": 1}, {"a": 1, "b": range(1, 3)}):
        counter.add(1, attributes)
    assert values("hits") == {(("a", 1), ("b", (1, 2))): [3]}


def test_nothing_and_an_empty_dictionary_are_the_same(meter, values):
    counter = meter.create_counter("hits")
    counter.add(1)
    counter.add(1, None)
    counter.add(1, {})
    assert values("hits") == {(): [3]}


def test_not_a_number_is_one_series(meter, values):
    counter = meter.create_counter("hits")
    for _ in range(3):
        counter.add(1, {"a": float("nan")})
    assert values("hits") == {(("a", "nan"),): [3]}


def test_changing_the_dictionary_afterwards_changes_nothing(meter, values):
    counter, attributes = meter.create_counter("hits"), {"a": ["x"]}
    counter.add(1, attributes)
    attributes["a"].append("y")
    attributes["b"] = 1
    counter.add(1, attributes)
    assert values("hits") == {
        (("a", ("x",)),): [1],
        (("a", ("x", "y")), ("b", 1)): [1],
    }


def test_beyond_the_limit_one_series_takes_the_rest(meter, values, caplog):
    counter = meter.create_counter("hits")
    for number in range(2500):
        counter.add(2, {"a": number})
    merged = values("hits")
    assert len(merged) == 2001 == len([v for v in merged.values() if v == [2]]) + 1
    assert merged[OVERFLOW] == [1000]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("hits has more than 2000 sets of attributes")
    assert values("c2c.metrics.overflowed")[()][0] == 500


def test_the_orders_of_attributes_that_are_remembered_are_limited(small_host):
    counter = small_host.meter.create_counter("hits")
    names = "abcdefgh"
    for start in range(200):
        order = [names[(start * k + k) % 8] for k in range(8)]
        counter.add(1, dict.fromkeys(order, "x"))
    assert sum(small_host.merged()["hits"].values()) == 200
    assert len(counter._indices) <= 40


def test_observables_beyond_the_limit_are_added_up(small_host):
    """An observation replaces the last one, but not that of another series in the overflow."""

    def twenty(_):
        return [Observation(2, {"a": number}) for number in range(20)]

    meter = small_host.meter
    meter.create_observable_counter("seen", [twenty])
    meter.create_observable_up_down_counter("depth", [twenty])
    for _ in range(2):
        small_host.provider.observe()
        for name in ("seen", "depth"):
            merged = small_host.merged()[name]
            assert (len(merged), merged[OVERFLOW], sum(merged.values())) == (11, 20, 40)


# --- gauges and up-down counters over processes ---------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "living", "after"),
    [("sum", 12, 5), ("min", 3, 5), ("max", 5, 5), ("last", 4, 4)],
)
def test_gauges_merge_by_their_rule(host, rule, living, after):
    gauge = host.meter.create_gauge("level", merge=rule)
    gauge.set(5)
    held = []
    for value in (3, 4):
        time.sleep(0.001)
        child = host.fork(lambda channel, value=value: (gauge.set(value), channel.say(0), hang()))
        child.hear()
        held.append(child)
    assert host.merged()["level"] == {(): living}
    for child in held:
        child.kill()
    for folded in (False, True):
        assert host.merged()["level"] == {(): after}, folded
        host.fold()


def hang():
    threading.Event().wait(60)


def test_by_default_a_gauge_is_one_series_a_process(host):
    gauge = host.meter.create_gauge("level")
    gauge.set(5, {"a": "x"})
    child = host.fork(lambda channel: (gauge.set(7, {"a": "x"}), channel.say(0), hang()))
    child.hear()
    mine, theirs = (("a", "x"), ("pid", os.getpid())), (("a", "x"), ("pid", child.pid))
    assert host.merged()["level"] == {mine: 5, theirs: 7}
    child.kill()
    assert host.merged()["level"] == {mine: 5}
    host.fold()
    assert host.merged()["level"] == {mine: 5}


def test_the_settings_choose_the_rule_for_gauges_that_do_not(host):
    provider = MeterProvider(host.store, {"level": "max"})
    for value in (5, 3):
        host.ended(lambda value=value: provider.get_meter("x").create_gauge("level").set(value))
    child = host.fork(
        lambda channel: (
            provider.get_meter("x").create_gauge("level").set(2),
            channel.say(0),
            hang(),
        )
    )
    child.hear()
    assert host.merged()["level"] == {(): 2}


def test_up_down_counters_are_of_the_living(host):
    requests = host.meter.create_up_down_counter("active")
    requests.add(1)
    child = host.fork(lambda channel: (requests.add(4), channel.say(0), hang()))
    child.hear()
    assert host.merged()["active"] == {(): 5}
    child.kill()
    assert host.merged()["active"] == {(): 1}
    host.fold()
    assert host.merged()["active"] == {(): 1}


def test_a_value_one_process_has_no_more_does_not_hide_the_others(host):
    """An absent observation is written as NaN, and a number plus NaN is none."""
    now = [Observation(4)]
    host.meter.create_observable_up_down_counter("depth", [lambda _: now])
    host.provider.observe()

    def vanish(channel):
        host.provider.observe()
        now.clear()
        host.provider.observe()
        channel.say(0)
        hang()

    child = host.fork(vanish)
    child.hear()
    assert host.merged()["depth"] == {(): 4}
    now.clear()
    host.provider.observe()
    assert host.merged().get("depth", {}) == {}


# --- observables ----------------------------------------------------------------------------------


def test_a_callback_that_fails_is_said_once_and_spares_the_others(meter, values, caplog):
    def some_then_fail(_):
        yield Observation(1, {"a": "x"})
        raise ZeroDivisionError("callback")

    nothing = [lambda _: None, lambda _: 5, lambda _: ["text"], lambda _: 1 / 0]
    meter.create_observable_gauge("level", [some_then_fail, *nothing], merge="last")
    meter.create_observable_counter("seen", [lambda _: [Observation(3)]])
    for _ in range(2):
        assert [v[0] for v in values("level").values()] == [1]
        assert values("seen") == {(): [3]}
    assert len([r for r in caplog.records if r.exc_info]) == 5


def test_generators_are_asked_with_send(meter, values):
    timeouts = []

    def generator():
        options = yield []
        for number in range(3):
            timeouts.append(options.timeout_millis)
            options = yield [Observation(number)]

    meter.create_observable_gauge("level", [generator()], merge="last")
    assert [values("level")[()][0] for _ in range(3)] == [0, 1, 2]
    assert timeouts == [10_000.0] * 3
    assert values("level") == {}


def test_what_is_observed_no_more_is_gone_but_counters_stay(meter, values):
    now = [Observation(1, {"a": "x"}), Observation(2, {"a": "y"})]
    for kind in ("gauge", "counter", "up_down_counter"):
        getattr(meter, f"create_observable_{kind}")(kind, [lambda _: now])
    assert [len(values(kind)) for kind in ("gauge", "counter", "up_down_counter")] == [2, 2, 2]
    del now[0]
    assert [len(values(kind)) for kind in ("gauge", "counter", "up_down_counter")] == [1, 2, 1]


def test_made_twice_all_callbacks_are_asked(meter, values):
    for name in "xy":
        meter.create_observable_gauge(
            "pool", [lambda _, name=name: [Observation(1, {"pool": name})]], merge="last"
        )
    assert sorted(key[0][1] for key in values("pool")) == ["x", "y"]


# --- threads and forks ----------------------------------------------------------------------------


@pytest.fixture
def _switching_all_the_time():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_all_the_time")
def test_eight_threads_lose_nothing(host):
    counter = host.meter.create_counter("hits")
    histogram = host.meter.create_histogram("times", explicit_bucket_boundaries_advisory=[1])
    depth = host.meter.create_up_down_counter("depth")
    start = threading.Barrier(8)

    def work(thread):
        start.wait()
        for number in range(20_000):
            counter.add(1, {"a": number % 7})
            if number % 8 == thread:
                histogram.record(number % 3)
                depth.add(1 if number % 2 else -1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merged = host.merged()
    assert sum(merged["hits"].values()) == 160_000
    assert sum(merged["times"][()][:2]) == 20_000
    assert merged["depth"] == {(): 0}


# coverage has a lock of its own, that a child inherits as it is and waits for, for ever.
@pytest.mark.no_cover
@pytest.mark.usefixtures("_switching_all_the_time")
def test_forking_while_threads_measure_loses_and_doubles_nothing(host):
    """With hooks only: without them a child may wait for ever for CPython's own lock."""
    counter = host.meter.create_counter("hits")
    histogram = host.meter.create_histogram("times", explicit_bucket_boundaries_advisory=[1])
    stop, done = threading.Event(), []

    def work():
        count = 0
        while not stop.is_set():
            counter.add(1, {"who": "parent", "a": count % 50})
            histogram.record(1)
            count += 1
        done.append(count)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()

    def in_child(channel):
        for number in range(100):
            counter.add(1, {"who": "child", "a": number % 50})
            histogram.record(1)
        channel.say("counted")

    try:
        for _ in range(10):
            child = host.fork(in_child)
            assert child.hear() == "counted"
            child.join()
            host.fold()
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    merged = host.merged()
    by_who = {"parent": 0.0, "child": 0.0}
    for key, value in merged["hits"].items():
        by_who[dict(key)["who"]] += value
    assert by_who == {"parent": sum(done), "child": 1000}
    assert sum(merged["times"][()][:2]) == sum(done) + 1000


@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without hooks"])
def test_a_child_does_not_wait_for_locks_that_were_held_at_the_fork(host, hooks):
    counter = host.meter.create_counter("hits")
    counter.add(1)
    locked, release = threading.Event(), threading.Event()
    meter = host.meter

    def hold():
        with counter._lock, counter._locating, host.provider._lock, meter._lock:
            if not hooks:  # else the fork waits for this one
                host.store._lock.acquire()
            locked.set()
            release.wait(20)
            if not hooks:
                host.store._lock.release()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert locked.wait(20)

    def measure(channel):
        host.meter.create_counter("more").add(5)
        counter.add(10, {"a": "x"})
        counter.add(10, {"a": "x"})
        channel.say("measured")

    try:
        assert host.fork(measure, hooks=hooks).hear() == "measured"
    finally:
        release.set()
        thread.join()
    assert host.merged()["hits"] == {(): 1, (("a", "x"),): 20}
    assert host.merged()["more"] == {(): 5}


def test_a_child_of_a_child_without_hooks_counts_for_itself(host):
    counter = host.meter.create_counter("hits")
    counter.add(1)

    def child(channel):
        counter.add(10)
        host.fork(lambda inner: (counter.add(100), inner.say(0)), hooks=False).hear()
        channel.say(0)

    host.fork(child, hooks=False).hear()
    assert host.merged()["hits"] == {(): 111}


def test_a_child_without_hooks_scrapes_although_the_parent_was_scraping(host):
    """The parent's lock stays locked in the child, where nobody will ever release it."""
    host.meter.create_counter("hits").add(3)
    scraper = Scraper(host.provider, {})
    with scraper._alone():
        child = host.fork(lambda channel: channel.say(scraper.expose()[0]), hooks=False)
        assert b'hits_total{otel_scope_name="tests"' in child.hear()


def test_a_child_measures_although_the_run_directory_is_gone(host, caplog):
    counter = host.meter.create_counter("hits")
    counter.add(1)
    host.path.rename(host.path.with_name("gone"))

    def child(channel):
        counter.add(5)
        channel.say(host.store.slab.name)

    assert host.fork(child).hear() is None
    assert host.fork(child, hooks=False).hear() is None
    host.path.with_name("gone").rename(host.path)
    assert host.merged()["hits"] == {(): 1}
    del caplog
