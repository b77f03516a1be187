"""Sentry's client in its process: the start, forks, a Sentry that is not there, the end."""

import logging
import sys
import time

import pytest
from pyramid.config import Configurator
from webob import Request

from c2cotel import sentry
from c2cotel.settings import SettingsError
from c2cotel_acceptance.sentry import SentryReceiver
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver

from .conftest import text_of

SCRIPT = """
import logging, time
from c2cotel import sentry
from c2cotel.settings import load
sentry.start(load().settings)
logging.error("kept till the end")
print(time.time(), flush=True)
"""

FORK = """
import logging, os, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
from c2cotel import sentry
from c2cotel.settings import load
sentry.start(load().settings)
for number in range(20):
    logging.error("parent %d", number)
for child in range(2):
    if os.fork() == 0:
        logging.error("child %d", child)
        sys.exit()
for _ in range(2):
    os.wait()
"""


def raising(environ, _start_response):
    raise ValueError(environ["PATH_INFO"])


def hello(_environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


def call(application, path="/x"):
    return Request.blank(path).get_response(application)


def formatted(events):
    return [text_of(event) for event in events]


def test_without_a_url_nothing_is_imported_nor_wrapped(in_child):
    def told():
        config = Configurator()
        config.include("c2cotel.sentry")
        application = config.make_wsgi_app()
        assert sentry.filter_wsgi_app(hello) is hello
        assert sentry.filter_factory({})(hello) is hello
        with sentry.capture_exceptions():
            pass
        return "invoke_request" in vars(application)

    assert in_child(told) is False


def test_the_import_of_the_feature_does_not_import_the_sdk(instrumented):
    done = instrumented("import sys, c2cotel.sentry; print('sentry_sdk' in sys.modules)")
    assert done.output.split() == ["False"]


@pytest.mark.parametrize(
    ("settings", "environ", "said"),
    [
        (
            {"c2c.sentry.url": "sentry.example"},
            {},
            (
                "c2c.sentry.url = ***: not a DSN of Sentry, like "
                "https://KEY@sentry.example.com/PROJECT-NUMBER. "
                "Write for example https://KEY@sentry.example.com/42, or leave it empty."
            ),
        ),
        ({"c2c.sentry_level": "LOUD"}, {}, "c2c.sentry_level = 'LOUD': no level. There are "),
        ({}, {"SENTRY_TRACES_SAMPLE_RATE": "2"}, "SENTRY_TRACES_SAMPLE_RATE = '2': not a number"),
        (
            {"c2c.sentry.url": "http://k@127.0.0.1:9/1"},
            {"SENTRY_CLIENT_SAMPLE_RATE": "often"},
            "SENTRY_CLIENT_SAMPLE_RATE = 'often': not a number of at least 0.",
        ),
    ],
)
def test_a_malformed_value_stops_the_start_and_is_named(in_child, settings, environ, said):
    def told():
        with pytest.raises(SettingsError) as raised:
            Configurator(settings=settings).include("c2cotel.sentry")
        return str(raised.value)

    assert said in in_child(told, **environ)


def test_where_the_sdk_is_missing_it_says_what_to_install(in_child):
    def told():
        sys.modules["sentry_sdk"] = None
        with pytest.raises(ModuleNotFoundError) as raised:
            Configurator(settings={"c2c.sentry.url": "http://k@127.0.0.1:9/1"}).include(
                "c2cotel.sentry"
            )
        return str(raised.value)

    assert in_child(told) == "SENTRY_URL needs sentry-sdk: pip install 'c2cotel[sentry]'"


def test_what_the_application_has_set_up_itself_is_kept(in_child):
    def told():
        import sentry_sdk

        sentry_sdk.init("http://mine@127.0.0.1:9/1", auto_enabling_integrations=False)
        mine = sentry_sdk.get_client()
        Configurator(settings={"c2c.sentry.url": "http://k@127.0.0.1:9/2"}).include(
            "c2cotel.sentry"
        )
        return sentry_sdk.get_client() is mine

    assert in_child(told)


def test_two_applications_of_a_process_have_one_client_unless_they_differ(in_child):
    def told():
        import sentry_sdk

        clients = []
        for level in ("ERROR", "ERROR", "WARNING"):
            settings = {"c2c.sentry.url": "http://k@127.0.0.1:9/1", "c2c.sentry.level": level}
            Configurator(settings=settings).include("c2cotel.sentry")
            clients.append(sentry_sdk.get_client())
        return clients[0] is clients[1], clients[1] is clients[2]

    assert in_child(told) == (True, False)


def test_the_former_name_of_including_it_warns():
    with pytest.warns(DeprecationWarning, match="config.include"):
        sentry.init(Configurator())


def test_the_filter_tells_of_any_application(in_child):
    def told():
        with SentryReceiver() as receiver:
            options = {"c2c.sentry.url": receiver.url}
            application = sentry.filter_factory({"here": "/"}, **options)(raising)
            with pytest.raises(ValueError, match="/x"):
                call(application)
            assert call(sentry.filter_factory({}, **options)(hello)).text == "hello"
            (event,) = receiver.wait(lambda it: it.events)
            return event["exception"]["values"][0]["value"], event["request"]["url"]

    assert in_child(told) == ("/x", "http://localhost:80/x")


def test_an_unknown_option_of_the_filter_is_an_error():
    with pytest.raises(SettingsError) as raised:
        sentry.filter_factory({}, dsn="http://k@127.0.0.1:9/1")
    assert str(raised.value) == (
        "Filter sentry: dsn is no option of it. Write for example c2c.sentry.url."
    )


def test_around_an_application_with_sentry_the_filter_sends_nothing_twice(on_a_site):
    def routes(config):
        config.add_route("x", "/x")
        config.add_view(lambda _: 1 / 0, route_name="x")

    def visit(site):
        site.application = sentry.filter_wsgi_app(site.application)
        site.get("/x")
        return [event["exception"]["values"][-1]["type"] for event in site.told()]

    assert on_a_site(routes, visit) == ["ZeroDivisionError"]


def test_what_waits_is_sent_at_the_end_of_the_process(instrumented):
    with SentryReceiver() as receiver:
        done = instrumented(SCRIPT, SENTRY_URL=receiver.url, PYTHONWARNINGS="ignore")
        assert (done.status, done.errors) == (0, ["ERROR:root:kept till the end"])
        assert formatted(receiver.events) == ["kept till the end"]


def test_a_forked_process_sends_its_own_and_nothing_of_its_parent(instrumented):
    with SentryReceiver(delay=0.05) as receiver:
        done = instrumented(FORK, SENTRY_URL=receiver.url)
        assert done.status == 0
        assert sorted(formatted(receiver.events)) == sorted(
            [f"parent {number}" for number in range(20)] + ["child 0", "child 1"]
        )
        assert receiver.errors == []


@pytest.mark.alone
def test_a_sentry_that_hangs_takes_no_more_than_the_end_may_and_it_is_said(instrumented):
    with HangingCollector() as hanging:
        url = hanging.endpoint.replace("://", "://key@") + "/1"
        done = instrumented(SCRIPT, SENTRY_URL=url, C2C_EXIT_TIMEOUT="1.5", PYTHONWARNINGS="ignore")
        took = time.time() - float(done.output)
    assert took < 4
    assert done.status == 0
    assert done.errors[0] == "ERROR:root:kept till the end"
    assert [line.partition(" ends ")[2] for line in done.errors[1:]] == [
        "with events for Sentry undelivered: it did not take them within 1.4 s."
    ]


@pytest.mark.alone
def test_it_takes_nothing_from_the_spans_whose_collector_hangs_too(instrumented):
    with HangingCollector() as hanging, OtlpReceiver() as collector:
        url = hanging.endpoint.replace("://", "://key@") + "/1"
        done = instrumented(
            SCRIPT + "from opentelemetry import trace\ntrace.get_tracer('t').start_span('s').end()",
            SENTRY_URL=url,
            C2C_EXIT_TIMEOUT="2",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
        took = time.time() - float(done.output)
        assert [span.name for span in collector.spans] == ["s"]
    assert took < 4.5


def test_a_sentry_that_is_dead_is_said_once_and_counted(in_child, closed_port):
    def told():
        import sentry_sdk

        lines = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        logging.getLogger().handlers = [handler]
        settings = {"c2c.sentry.url": f"http://k@127.0.0.1:{closed_port}/1"}
        Configurator(settings=settings).include("c2cotel.sentry")
        for number in range(5):
            logging.getLogger("app").error("%d", number)
        sentry_sdk.flush(10)
        return lines, [line for line in _scraped() if line.startswith("c2c_sentry_lost_total")]

    lines, counted = in_child(told)
    # It comes from another thread, in between.
    assert sorted(lines) == [
        *"01234",
        (
            "An event for Sentry is lost: Sentry cannot be reached. "
            "Further ones are counted, not logged."
        ),
    ]
    (series,) = counted
    assert 'c2c_sentry_reason="network"' in series
    # With what the SDK reports on the events that it has lost.
    assert float(series.split()[-1]) in (5.0, 6.0)


def _scraped():
    from c2cotel.otel import set_up

    return set_up().scraper.expose()[0].decode().splitlines()


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "Sentry does not know the key of SENTRY_URL"), (500, "it was refused (status_500)")],
)
def test_a_sentry_that_refuses_is_said_with_the_reason(in_child, status, said):
    def told():
        import sentry_sdk

        lines = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        logging.getLogger().handlers = [handler]
        with SentryReceiver(status=status) as receiver:
            Configurator(settings={"c2c.sentry.url": receiver.url}).include("c2cotel.sentry")
            logging.getLogger("app").error("x")
            sentry_sdk.flush(10)
        return lines

    assert in_child(told)[-1] == (
        f"An event for Sentry is lost: {said}. Further ones are counted, not logged."
    )


@pytest.mark.alone
def test_a_request_waits_for_no_sentry(on_a_site):
    def routes(config):
        config.add_route("x", "/x")
        config.add_view(lambda _: 1 / 0, route_name="x")

    def visit(site):
        site.receiver.delay = 60
        began = time.monotonic()
        # More than the queue has.
        for _ in range(150):
            site.get("/x")
        return time.monotonic() - began

    assert on_a_site(routes, visit) < 10


def test_doctor_is_told(in_child):
    def told():
        from c2cotel import otel

        Configurator(settings={"c2c.sentry.url": "http://key@127.0.0.1:9/1"}).include(
            "c2cotel.sentry"
        )
        return [(part.state, part.why) for part in otel.set_up().parts if part.name == "sentry"]

    assert in_child(told) == [("on", "events to 127.0.0.1:9")]
