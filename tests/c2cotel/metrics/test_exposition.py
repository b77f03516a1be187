"""What Prometheus gets, compared with what the stock exporter gives for the same measurements."""

import re

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.store import Store

RESOURCE = {"service.name": "shop", "host.id": 'a"b\\c\nd', "process.pid": 7, "os.tags": ["a", "b"]}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
AWKWARD = ['quo"te', "back\\slash", "new\nline", "{brace}", "=,", " ", "ünïcödé", "\N{SNOWMAN}", ""]


class Ours(MeterProvider):
    """Gauges of several processes have a ``pid``; those of one have nothing to be told apart by."""

    def __init__(self):
        super().__init__(Store(None), {f"gauge.{n}": "last" for n in range(5)})


@pytest.fixture
def compare():
    """The same measurements in both, and what each gives: text without our self-metrics."""
    made = []

    def exposed(feed, prefix="", accept=""):
        registry = CollectorRegistry()
        reader = PrometheusMetricReader(prefix=prefix, registry=registry)
        sdk = SdkMeterProvider([reader], resource=Resource(RESOURCE), shutdown_on_exit=False)
        ours = Ours()
        made.extend((sdk, ours))
        for provider in (sdk, ours):
            feed(provider)
        text, content_type = Scraper(ours, RESOURCE, prefix).expose(accept)
        generate = generate_openmetrics if accept else generate_latest
        theirs = generate(registry).decode()
        assert ("openmetrics" in content_type) is bool(accept)
        return without_self_metrics(text.decode()), theirs

    yield exposed
    for provider in made:
        provider.shutdown()
        if isinstance(provider, Ours) and provider.store.slab is not None:
            provider.store.slab.close()


def without_self_metrics(text):
    lines = text.splitlines()
    return "\n".join(line for line in lines if not re.match(r"(# \w+ )?\w*c2c_metrics_", line))


def counters(provider):
    meter = provider.get_meter("shop", "1.2", "https://example.com/schema", {"team": "carts"})
    for name in ("plain", "with.dots", "with-dash/slash", "already_total", "in_seconds"):
        meter.create_counter(name, "s", f"About {name}.").add(3, {"a": "x"})
    meter.create_counter("no.unit").add(1)
    counter = meter.create_counter("awkward", "{thing}", 'A "text"\nof \\two lines.')
    for number, value in enumerate(AWKWARD):
        counter.add(number, {"value": value, "http.route": "/{a}"})
    some = meter.create_counter("missing", "1")
    some.add(1, {"a": "x"})
    some.add(2, {"b": "y", "9lives": "cat"})
    some.add(3)
    big = meter.create_counter("big", "By")
    for number in (999_999, 1_000_000, 1_000_001, 123_456_789.5, 1e21, 0.1, 1e-7, 0):
        big.add(number, {"which": str(number)})
    typed = meter.create_counter("typed")
    for value in (True, 2, 2.5, ["a", "b"], [1, 2], (1.5,)):
        typed.add(1, {"value": value})


def up_downs(provider):
    meter = provider.get_meter("shop")
    for name, amount in (("up", 3), ("down", -3), ("far.down", -5_000_000), ("nothing", 0)):
        meter.create_up_down_counter(name, "{request}").add(amount, {"a": "x"})


def histograms(provider):
    meter = provider.get_meter("shop")
    usual = meter.create_histogram("usual", "ms", "The default buckets.")
    bounds = [0.005, 0.01, 0.5, 1.0, 2.5, 1000.0]
    seconds = meter.create_histogram("duration", "s", explicit_bucket_boundaries_advisory=bounds)
    for amount in (0, 0.005, 0.0050001, 0.7, 1000, 1001):
        usual.record(amount * 3, {"a": "x"})
        seconds.record(amount, {"a": "x", "b": "y"})
    seconds.record(0.25, {"a": "x"})
    big = meter.create_histogram("big", "By", explicit_bucket_boundaries_advisory=[1.0])
    big.record(3_000_000.5, {"a": "x"})


def gauges(provider):
    meter = provider.get_meter("shop")
    for number, value in enumerate((1, -2.5, 0, 1e9, 1e-9)):
        meter.create_gauge(f"gauge.{number}", "1").set(value, {"a": "x"})


def observables(provider):
    meter = provider.get_meter("shop")

    def several(_):
        yield Observation(4, {"a": "x"})
        yield Observation(5.5, {"a": "y"})

    def generator():
        yield []
        while True:
            yield [Observation(7)]

    meter.create_observable_counter("seen", [several], "s")
    meter.create_observable_up_down_counter("depth", [several, lambda _: [Observation(1)]])
    meter.create_observable_gauge("gauge.0", [several, generator()], "Cel")


def units(provider):
    meter = provider.get_meter("shop")
    for number, unit in enumerate(
        ("s", "ms", "By", "KiBy", "1", "%", "{request}", "{request}/s", "m/s", "By/min", "", "Cel")
    ):
        meter.create_counter(f"count.{number}", unit).add(1)
        meter.create_up_down_counter(f"level.{number}", unit).add(1)
    meter.create_counter("in.bytes", "By").add(1)


def two_scopes(provider):
    for scope in ("shop", "bank"):
        meter = provider.get_meter(scope, "1")
        meter.create_counter("shared", "s", "The same.").add(1, {"a": scope})
        meter.create_histogram("also.shared", "s", "The same.").record(1, {"a": scope})
        meter.create_counter(f"of.{scope}").add(1)


FEEDS = [counters, up_downs, histograms, gauges, observables, units, two_scopes]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("prefix", ["", "shop", "9lives"])
def test_the_text_is_that_of_the_stock_exporter(compare, feed, prefix):
    ours, theirs = compare(feed, prefix)
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    assert ours.splitlines()[0] == theirs.splitlines()[0]


@pytest.mark.parametrize("feed", FEEDS)
def test_the_text_parses_to_the_same(compare, feed):
    ours, theirs = compare(feed)
    assert samples(parse_text(ours + "\n")) == samples(parse_text(theirs))


@pytest.mark.parametrize("feed", FEEDS)
def test_openmetrics_parses_to_the_same(compare, feed):
    ours, theirs = compare(feed, accept=OPENMETRICS)
    assert samples(parse_openmetrics(ours + "\n")) == samples(parse_openmetrics(theirs))


def samples(families):
    return sorted(
        (f.name, f.type, f.documentation, f.unit, s.name, sorted(s.labels.items()), s.value)
        for f in families
        for s in f.samples
    )


def test_the_target_comes_first_and_is_escaped(compare):
    ours, _ = compare(up_downs)
    labels = r'host_id="a\"b\\c\nd",os_tags="[\"a\", \"b\"]",process_pid="7",service_name="shop"'
    assert ours.splitlines()[:3] == [
        "# HELP target_info Target metadata",
        "# TYPE target_info gauge",
        f"target_info{{{labels}}} 1.0",
    ]


@pytest.fixture
def provider():
    made = Ours()
    yield made
    if made.store.slab is not None:
        made.store.slab.close()


def lines(provider, accept=""):
    return without_self_metrics(Scraper(provider, {}).expose(accept)[0].decode()).splitlines()


def test_our_own_metrics_parse_too(provider):
    for accept, parse in (("", parse_text), (OPENMETRICS, parse_openmetrics)):
        text = Scraper(provider, {}).expose(accept)[0].decode()
        values = {s.name: s.value for f in parse(text) for s in f.samples}
        assert values["c2c_metrics_lost_total"] == 0.0
        assert values["c2c_metrics_overflowed_total"] == 0.0
        assert values["c2c_metrics_series"] == 0.0
        assert values["c2c_metrics_read_duration_seconds"] > 0


def test_undecodable_text_is_exposed_readably(provider):
    """WSGI gives bytes that are no UTF-8 as lone surrogates, which nothing can encode."""
    meter = provider.get_meter("shop")
    meter.create_counter("hits", description="\udce4").add(1, {"a\udcff": "\udce4ü"})
    head, _, series = lines(provider)
    assert head == r"# HELP hits_total \\udce4".replace("\\\\", "\\")
    assert r'="\\udce4ü"' in series
    assert list(parse_text("\n".join(lines(provider)) + "\n"))


def test_a_scrape_knows_series_that_came_after_the_last(provider):
    counter, scraper = provider.get_meter("shop").create_counter("hits"), Scraper(provider, {})
    for number in range(3):
        counter.add(1, {f"a{number}": "x"})
        text = without_self_metrics(scraper.expose()[0].decode())
        series = [line for line in text.splitlines() if line.startswith("hits")]
        assert len(series) == number + 1
        assert all(f'a{number}="' in line for line in series)


def test_one_name_as_two_types_is_said_and_the_first_exposed(provider, caplog):
    provider.get_meter("shop").create_counter("thing").add(1)
    provider.get_meter("bank").create_histogram("thing").record(1)
    scraper = Scraper(provider, {})
    for _ in range(2):
        text = without_self_metrics(scraper.expose()[0].decode())
    assert [line for line in text.splitlines() if line.startswith("# TYPE")] == [
        "# TYPE thing_total counter"
    ]
    assert ["counted in two ways" in r.getMessage() for r in caplog.records] == [True]


def test_two_instruments_of_one_exposed_name_are_said_and_the_first_exposed(provider, caplog):
    meter = provider.get_meter("shop")
    for amount, name in enumerate(("in.bytes", "in_bytes", "in.bytes.total")):
        meter.create_counter(name, "By").add(amount)
    scraper = Scraper(provider, {})
    for _ in range(2):
        text = without_self_metrics(scraper.expose()[0].decode())
    assert re.findall(r"in_bytes_total{.*} (.*)", text) == ["0.0"]
    assert "in.bytes" in caplog.messages[0]
    assert "in_bytes" in caplog.messages[0]
    assert len(caplog.messages) == 1


def test_other_buckets_in_another_scope_stand_beside(provider):
    for scope, bounds in (("shop", [1.0]), ("bank", [2.0])):
        provider.get_meter(scope).create_histogram(
            "times", explicit_bucket_boundaries_advisory=bounds
        ).record(1.5)
    found = re.findall(
        r'times_bucket{le="(.*?)",otel_scope_name="(.*?)"', "\n".join(lines(provider))
    )
    assert sorted(found) == [("+Inf", "bank"), ("+Inf", "shop"), ("1.0", "shop"), ("2.0", "bank")]


def test_a_release_with_other_buckets_replaces_those_of_the_last(host, caplog):
    """The workers that a reload starts share the run directory with what the old ones counted."""

    def count(bounds, amount):
        meter = MeterProvider(host.store).get_meter("tests")
        meter.create_histogram("times", explicit_bucket_boundaries_advisory=bounds).record(amount)

    host.ended(lambda: count([1.0], 0.5))
    host.fold()
    host.ended(lambda: count([2.0], 1.5))
    scraper = Scraper(host.provider, {})
    for fold in (False, True):
        if fold:
            host.fold()
        text = scraper.expose()[0].decode()
        assert re.findall(r'times_bucket{le="(.*?)"', text) == ["2.0", "+Inf"]
        assert re.findall(r"times_sum{.*} (.*)", text) == ["1.5"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("feed", FEEDS)
def test_the_sdks_data_is_what_the_sdk_collects(feed, provider):
    resource = Resource(RESOURCE)
    reader = InMemoryMetricReader()
    sdk = SdkMeterProvider([reader], resource=resource, shutdown_on_exit=False)
    feed(sdk)
    feed(provider)
    ours = Scraper(provider, {}).metrics_data(resource)
    theirs = reader.get_metrics_data()
    assert points(ours) == points(theirs)
    assert [r.resource for r in ours.resource_metrics] == [resource]
    sdk.shutdown()


def points(data):
    """Everything but times, and the lowest and highest value, which we do not keep."""
    found = []
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            if scope.scope.name == "c2cotel.metrics":
                continue
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    numbers = {
                        name: list(value) if isinstance(value, tuple | list) else value
                        for name in ("value", "count", "sum", "bucket_counts", "explicit_bounds")
                        if (value := getattr(point, name, None)) is not None
                    }
                    found.append(
                        (
                            (scope.scope.name, scope.scope.version or "", scope.scope.schema_url),
                            dict(scope.scope.attributes or {}),
                            (metric.name, metric.unit, metric.description or ""),
                            type(metric.data).__name__,
                            getattr(metric.data, "is_monotonic", None),
                            getattr(metric.data, "aggregation_temporality", None),
                            sorted(
                                (k, tuple(v) if isinstance(v, list | tuple) else v)
                                for k, v in point.attributes.items()
                            ),
                            numbers,
                        )
                    )
    return sorted(found, key=repr_of_numbers)


def repr_of_numbers(point):
    *what, numbers = point
    return repr((what, sorted((k, repr(v)) for k, v in numbers.items() if k != "value")))
