"""What Sentry gets to know of the requests of a Pyramid application."""

import contextlib
import logging
from collections import Counter

import pytest
import sqlalchemy
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id
from pyramid.httpexceptions import HTTPInternalServerError, exception_response
from pyramid.response import Response

from c2cotel.sentry import capture_exceptions

from .conftest import text_of

SECRET = "correct-horse-battery"


def fail(request):
    logging.getLogger("app").warning("about to fail")
    request.json_body  # noqa: B018 - is read, as an application does
    raise ValueError(f"broken: {SECRET}")


def ids():
    span = trace.get_current_span().get_span_context()
    return [format_trace_id(span.trace_id), format_span_id(span.span_id)]


def tell(_request):
    logging.getLogger("app").error("told")
    return Response("\n".join(ids()))


def broken(_request):
    raise HTTPInternalServerError("no")


def gone(_request):
    raise ConnectionResetError("nobody there")


def parts():
    yield b"one"
    logging.getLogger("app").error("within the body")
    raise ValueError("in the body")


def streamed(_request):
    return Response(app_iter=parts(), content_length=100)


def handled(error, request):
    if request.params.get("log"):
        logging.getLogger("app").error("handled", exc_info=error)
    return Response("sorry", status=int(request.params.get("status", "500")))


def routes(config):
    for name, view in {
        "fail": fail,
        "tell": tell,
        "broken": broken,
        "gone": gone,
        "streamed": streamed,
    }.items():
        config.add_route(name, f"/{name}/{{id}}")
        config.add_view(view, route_name=name)


def with_exception_view(config):
    routes(config)
    config.add_exception_view(handled, ValueError)


def messages(events):
    return [text_of(event) for event in events]


def test_an_exception_that_leaves_the_application_is_an_event_of_its_request(on_a_site):
    def visit(site):
        site.get(
            "/fail/7?x=1&secret=hush",
            method="POST",
            body=b'{"password": "hush", "n": 1}',
            content_type="application/json",
            headers={"X-API-Key": "hush", "Cookie": "a=hush", "X-Request-ID": "the-id"},
        )
        return site.told()

    (event,) = on_a_site(
        routes,
        visit,
        C2C_SECRET=SECRET,
        SENTRY_TAG_Service="web",
        GIT_HASH="abc123",
        SENTRY_CLIENT_ENVIRONMENT="prod",
    )
    assert [one["type"] for one in event["exception"]["values"]] == ["ValueError"]
    assert event["exception"]["values"][0]["value"] == "broken: [Filtered]"
    assert event["transaction"] == "POST /fail/{id}"
    assert event["tags"] == {"request_id": "the-id", "service": "web"}
    assert (event["release"], event["environment"]) == ("abc123", "prod")
    assert event["request"] == {
        "method": "POST",
        "url": "http://localhost:80/fail/7",
        "query_string": "x=1&secret=REDACTED",
        "headers": {
            "Host": "localhost:80",
            "Content-Type": "application/json",
            "Content-Length": "28",
            "X-Api-Key": "[Filtered]",
            "X-Request-Id": "the-id",
        },
        "env": {"SERVER_NAME": "localhost", "SERVER_PORT": "80"},
        "data": {"password": "[Filtered]", "n": 1},
    }
    assert "user" not in event
    (crumb,) = (it for it in event["breadcrumbs"]["values"] if it["category"] == "app")
    assert crumb["message"] == "about to fail"
    assert "hush" not in repr(event)
    assert SECRET not in repr(event)


def test_it_has_the_trace_of_opentelemetry_from_wherever_it_comes(on_a_site):
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"

    def visit(site):
        answer = site.get("/tell/1", headers={"traceparent": traceparent})
        site.get("/fail/1", headers={"traceparent": traceparent})
        return answer.text.split(), [event["contexts"]["trace"] for event in site.told()]

    answered, (told, escaped) = on_a_site(routes, visit)
    assert [told["trace_id"], told["span_id"]] == answered
    assert told["trace_id"] == escaped["trace_id"] == "ab" * 16


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/fail/1", ["Expecting value: line 1 column 1 (char 0)"]),
        ("/fail/1?log=1", ["Expecting value: line 1 column 1 (char 0)"]),
        ("/fail/1?status=400", []),
        ("/broken/1", []),
        ("/gone/1", []),
        ("/nowhere", []),
    ],
)
def test_an_exception_is_sent_once_and_only_if_the_server_is_at_fault(on_a_site, path, sent):
    def visit(site):
        site.get(path)
        return messages(site.told())

    assert on_a_site(with_exception_view, visit) == sent


def test_with_pyramid_retry_the_last_try_counts(on_a_site):
    def configure(config):
        config.add_settings({"retry.attempts": "3"})
        config.include("pyramid_retry")
        routes(config)
        config.add_route("again", "/again")
        config.add_view(again, route_name="again")

    def visit(site):
        answer = site.get("/again")
        ok = answer.text
        site.get("/again?always=1")
        return ok, messages(site.told())

    assert on_a_site(configure, visit) == ("attempt 2", ["try again"])


def again(request):
    from pyramid_retry import RetryableException

    attempt = request.environ["retry.attempt"]
    if attempt < 2 or "always" in request.params:
        raise RetryableException("try again")
    return Response(f"attempt {attempt}")


def test_what_goes_wrong_while_the_body_is_sent_is_of_its_request(on_a_site):
    def visit(site):
        answer = site.get("/streamed/1", headers={"X-Request-ID": "streamed"})
        with contextlib.suppress(ValueError):
            list(answer.app_iter)
        events = site.told()
        return [
            answer.content_length,
            messages(events),
            {event["transaction"] for event in events},
            {event["tags"]["request_id"] for event in events},
            len({event["contexts"]["trace"]["trace_id"] for event in events}),
        ]

    assert on_a_site(routes, visit) == [
        100,
        ["within the body", "in the body"],
        {"GET /streamed/{id}"},
        {"streamed"},
        1,
    ]


def test_breadcrumbs_have_the_statements_of_the_request_and_of_no_other(on_a_site):
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)

    def query(request):
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT :v"), {"v": int(request.matchdict["id"])})
        raise ValueError(request.matchdict["id"])

    def configure(config):
        config.add_route("query", "/query/{id}")
        config.add_view(query, route_name="query")

    def visit(site):
        site.get("/query/1")
        site.get("/query/2")
        engine.dispose()
        return [
            [it["message"] for it in event["breadcrumbs"]["values"] if it["category"] == "query"]
            for event in site.told()
        ]

    assert on_a_site(configure, visit) == [["SELECT ?"], ["SELECT ?"]]


def test_levels_and_excluded_loggers_make_no_event(on_a_site):
    def visit(site):
        logging.getLogger("app").warning("heard")
        logging.getLogger("noisy").warning("excluded")
        logging.getLogger("loud").error("excluded too")
        logging.getLogger("app").info("too low")
        return messages(site.told())

    told = on_a_site(routes, visit, SENTRY_LEVEL="warning", SENTRY_EXCLUDES="noisy:loud")
    assert told == ["heard"]


def test_without_the_integration_of_logging_no_record_is_an_event(on_a_site):
    def visit(site):
        logging.getLogger("app").error("unheard")
        return messages(site.told())

    assert on_a_site(routes, visit, SENTRY_INTEGRATION_LOGGING="false") == []


def test_without_the_integration_of_pyramid_there_is_no_request_on_an_event(on_a_site):
    def visit(site):
        site.get("/tell/1")
        site.get("/fail/1")
        return [(text_of(event), "request" in event) for event in site.told()]

    told = on_a_site(routes, visit, SENTRY_INTEGRATION_PYRAMID="false")
    assert told == [("told", False)]


def test_users_and_addresses_are_told_if_that_is_wanted(on_a_site):
    def visit(site):
        site.get("/tell/1", environ={"REMOTE_ADDR": "192.0.2.1"})
        (event,) = site.told()
        return event["user"], event["request"]["env"]["REMOTE_ADDR"]

    told = on_a_site(routes, visit, SENTRY_CLIENT_SEND_DEFAULT_PII="1")
    assert told == ({"ip_address": "192.0.2.1"}, "192.0.2.1")


def test_ignored_exceptions_are_not_sent(on_a_site):
    def visit(site):
        for error in (KeyError("ignored"), TypeError("sent")):
            with contextlib.suppress(KeyError, TypeError), capture_exceptions():
                raise error
        return messages(site.told())

    assert on_a_site(routes, visit, SENTRY_CLIENT_IGNORE_EXCEPTIONS="KeyError") == ["sent"]


def test_captured_exceptions_go_on_also_where_sentry_is_off():
    with pytest.raises(ValueError, match="mine"), capture_exceptions():
        raise ValueError("mine")


def test_sessions_are_counted_for_a_release(on_a_site):
    def visit(site):
        site.get("/tell/1")
        site.get("/fail/1")
        site.told()
        sent = [item.payload for item in site.receiver.items if item.kind == "sessions"]
        counted = Counter()
        for aggregate in (each for sessions in sent for each in sessions["aggregates"]):
            counted.update({k: v for k, v in aggregate.items() if k != "started"})
        return counted

    counted = on_a_site(routes, visit, GIT_HASH="abc")
    assert counted in ({"errored": 2}, {"exited": 1, "errored": 1}, {"errored": 1, "crashed": 1})


def secretly(_request):
    log = logging.getLogger("app")
    log.warning("crumb %s with token %s", "one", "hush1")
    log.error("the password %s of %s", "hush2", "me", extra={"password": "hush3"})
    log.error("%s at %s", "failed", "postgresql://me:hush4@db/x")
    return Response("ok")


def test_no_arguments_of_log_records_are_sent_and_no_secret_among_them(on_a_site):
    def configure(config):
        config.add_route("secretly", "/secretly")
        config.add_view(secretly, route_name="secretly")

    def visit(site):
        site.get("/secretly")
        first, second = site.told()
        crumbs = [it["message"] for it in second["breadcrumbs"]["values"]]
        lines = [
            line
            for item in site.receiver.items
            if item.kind == "log"
            for line in item.payload["items"]
        ]
        return (
            first["logentry"],
            second["logentry"],
            crumbs,
            [line["body"] for line in lines],
            "hush" in repr((first, second, lines)),
        )

    first, second, crumbs, lines, leaked = on_a_site(
        configure, visit, SENTRY_CLIENT_ENABLE_LOGS="true"
    )
    secret = "the password [Filtered] of [Filtered]"
    assert first == {"message": "the password %s of %s", "formatted": secret}
    failed = "failed at postgresql://me:REDACTED@db/x"
    assert second == {"message": "%s at %s", "formatted": failed}
    assert ["crumb one with token [Filtered]", secret] == [it for it in crumbs if "[" in it]
    assert lines == ["crumb one with token [Filtered]", secret, failed]
    assert not leaked


@pytest.mark.parametrize(
    ("wrong", "sent"), [("2", []), ("3", ["try again"])], ids=["succeeds", "fails"]
)
def test_a_request_that_is_tried_again_is_sent_only_if_it_fails_in_the_end(on_a_site, wrong, sent):
    def trying(request):
        from pyramid_retry import RetryableException

        if request.environ["retry.attempt"] < int(request.params["wrong"]):
            raise RetryableException("try again")
        return Response("done")

    def configure(config):
        config.add_settings({"c2c.enable_exception_handling": "1"})
        config.include("pyramid_retry")
        config.include("c2cotel.errors")
        config.add_route("trying", "/trying")
        config.add_view(trying, route_name="trying")

    def visit(site):
        return site.get(f"/trying?wrong={wrong}").status_int, messages(site.told())

    assert on_a_site(configure, visit) == (500 if sent else 200, sent)


@pytest.mark.parametrize(("path", "sent"), [("/raised500", 1), ("/raised503", 0)])
def test_with_errors_as_json_what_is_logged_as_an_error_is_sent_once(on_a_site, path, sent):
    def configure(config):
        config.add_settings({"c2c.enable_exception_handling": "1"})
        config.include("c2cotel.errors")
        for status in (500, 503):
            config.add_route(f"raised{status}", f"/raised{status}")
            config.add_view(raising(status), route_name=f"raised{status}")

    def raising(status):
        def view(_):
            raise exception_response(status)

        return view

    def visit(site):
        site.get(path)
        return len(site.told())

    assert on_a_site(configure, visit) == sent


def test_a_body_that_nobody_can_read_does_not_hide_the_request(on_a_site):
    def visit(site):
        site.get(
            "/fail/1",
            method="POST",
            body=b"{}",
            headers={"Content-Type": "application/json; charset=nonsense"},
        )
        return [(text_of(event), event["request"]["method"]) for event in site.told()]

    assert on_a_site(routes, visit) == [("unknown encoding: nonsense", "POST")]
