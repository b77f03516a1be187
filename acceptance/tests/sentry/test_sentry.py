"""A served application and its Sentry: one that is there, one that is dead, one that hangs."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from c2cotel_acceptance.sentry import SentryReceiver
from c2cotel_acceptance.servers import free_port
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver

from .conftest import SECRET


def text_of(event):
    if raised := event.get("exception", {}).get("values"):
        return raised[-1]["value"]
    return event["logentry"]["formatted"]


def ask(gunicorn, path, **how):
    return requests.get(f"{gunicorn.url}{path}", timeout=30, **how)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["forked", "preloaded"])
def test_each_failure_is_one_event_with_the_ids_that_everybody_has(serve, preload):
    with SentryReceiver() as sentry, OtlpReceiver() as collector:
        gunicorn = serve(
            *preload,
            SENTRY_URL=sentry.url,
            SENTRY_TRACES_SAMPLE_RATE="1",
            SENTRY_TAG_SERVICE="tiles",
            GIT_HASH="abc123",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="200",
            # The master has a record to send while it forks.
            OTEL_BLRP_SCHEDULE_DELAY="5",
        )

        def fail(number):
            how = {"headers": {"X-API-Key": "hush"}, "params": {"secret": "hush", "n": number}}
            return number, ask(gunicorn, f"/boom/{number}", **how)

        with ThreadPoolExecutor(4) as pool:
            answers = dict(pool.map(fail, range(20)))
        assert {answer.status_code for answer in answers.values()} == {500}
        booms = sentry.wait(
            lambda it: (found := [e for e in it.events if "boom" in text_of(e)])[19:] and found
        )
        sentry.wait(lambda it: len([t for t in it.transactions if "boom" in t["transaction"]]) > 19)
        spans = {
            span.attributes["url.path"]: span
            for span in collector.wait(lambda it: it.server_spans()[20:] and it.server_spans())
        }
        gunicorn.stop()
        assert len([event for event in sentry.events if "boom" in text_of(event)]) == 20
        made = [event for event in sentry.events if "made in" in text_of(event)]
        assert len(made) == (1 if preload else 2)
        assert sentry.errors == []
    for event in booms:
        number = re.search(r"boom (\d+)", text_of(event))[1]
        span, answer = spans[f"/boom/{number}"], answers[int(number)]
        assert event["transaction"] == "GET /boom/{id}"
        assert event["contexts"]["trace"]["trace_id"] == span.trace_id
        assert event["tags"] == {
            "request_id": answer.headers["X-Request-ID"],
            "service": "tiles",
        }
        assert event["release"] == "abc123"
        assert event["request"]["query_string"] == f"secret=REDACTED&n={number}"
        assert [it["message"] for it in event["breadcrumbs"]["values"]][-1] == "about to fail"
    assert {t["contexts"]["trace"]["trace_id"] for t in sentry.transactions} >= {
        spans[f"/boom/{number}"].trace_id for number in range(20)
    }
    told = repr(sentry.items)
    assert "hush" not in told
    assert SECRET not in told


def test_what_fails_while_it_is_streamed_is_told_once(serve):
    with SentryReceiver() as sentry:
        gunicorn = serve(workers=1, SENTRY_URL=sentry.url)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask(gunicorn, "/streamed/1")
        sentry.wait(lambda it: [event for event in it.events if "body" in text_of(event)])
        gunicorn.stop()
        (event,) = (event for event in sentry.events if "body" in text_of(event))
    assert event["transaction"] == "GET /streamed/{id}"


def _spent(gunicorn, count=100):
    began = time.monotonic()
    with requests.Session() as session:
        for number in range(count):
            assert session.get(f"{gunicorn.url}/boom/{number}", timeout=30).status_code == 500
    return time.monotonic() - began


@pytest.mark.alone
def test_a_sentry_that_is_dead_costs_no_request_and_is_said_once_a_process(serve):
    gunicorn = serve(workers=1, SENTRY_URL=f"http://key@127.0.0.1:{free_port()}/1")
    # Each event is made all the same: some milliseconds.
    assert _spent(gunicorn) < 10
    assert gunicorn.stop() < 6
    assert gunicorn.output().count("An event for Sentry is lost: Sentry cannot be reached") == 1
    assert "Retrying" not in gunicorn.output()


@pytest.mark.alone
def test_a_sentry_that_hangs_costs_no_request_and_the_end_stays_in_its_time(serve):
    with HangingCollector() as hanging:
        url = hanging.endpoint.replace("://", "://key@") + "/1"
        gunicorn = serve(workers=2, SENTRY_URL=url, C2C_EXIT_TIMEOUT="3")
        assert _spent(gunicorn, 150) < 15
        assert gunicorn.stop() < 4.5
    assert "events for Sentry undelivered" in gunicorn.output()


def test_a_malformed_url_stops_the_start_and_is_named(serve):
    gunicorn = serve(wait=False, SENTRY_URL="sentry.example.com/secret")
    assert gunicorn.wait(30) != 0
    assert "SENTRY_URL = ***: not a DSN of Sentry" in gunicorn.output()
    assert "sentry.example.com/secret" not in gunicorn.output()


def test_a_worker_that_is_recycled_sends_what_it_has(serve):
    with SentryReceiver() as sentry:
        gunicorn = serve("--max-requests", "5", SENTRY_URL=sentry.url)
        for number in range(30):
            assert ask(gunicorn, f"/told/{number}").status_code == 200
        gunicorn.stop()
        found = sorted(
            int(text_of(event).split()[1]) for event in sentry.events if "told" in text_of(event)
        )
    assert found == list(range(30))
