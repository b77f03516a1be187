"""The views in a real application."""

import re

import pytest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from webob import Request

from c2cotel.draining import draining
from c2cotel.health_check import HealthCheck, JsonCheckException
from c2cotel.pyramid.console import console_of


def unhappy(_):
    raise ValueError("I'm not happy")


@pytest.fixture
def config(configurator):
    return configurator()


@pytest.fixture
def browser(config, browse):
    """At an application with a check that passes and, of level 2, one that fails."""
    health = HealthCheck(config)
    health.add_custom_check("good", lambda _: "happy")
    health.add_custom_check("bad", unhappy, 2)
    return browse(config)


# --- what c2cwsgiutils answered -------------------------------------------------------------------


def test_level_1_is_asked_for_by_default(browser):
    response = browser.get()
    assert (response.status_int, response.content_type) == (200, "application/json")
    timing = response.json["successes"]["good"]["timing"]
    assert isinstance(timing, float)
    assert re.sub(r'"timing":[0-9.e-]+', '"timing":0.1', response.text) == (
        '{"status":200,"successes":{"good":{"timing":0.1,"level":1,"result":"happy"}},"failures":{}}'
    )
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/c2c/health_check", "/c2c/health/ready", "/c2c/health/startup"])
def test_a_group_that_is_not_there_is_no_probe(browser, path):
    response = browser.get(path, group="none")
    assert (response.status_int, response.json["message"]) == (
        400,
        "group='none': expected one of none",
    )
    assert list(browser.get(path, group="").json["successes"]) == ["good"]


def test_a_failure_is_500_with_its_message(browser):
    response = browser.get(max_level=2)
    body = response.json
    assert (response.status_int, body["status"]) == (500, 500)
    assert body["failures"]["bad"].pop("timing") >= 0
    assert body["failures"] == {"bad": {"message": "I'm not happy", "level": 2}}
    assert list(body["successes"]) == ["good"]


@pytest.mark.parametrize(
    "query",
    [{"max_level": 0}, {"checks": "nobody"}, {"checks": ""}, {"checks": "bad"}],
)
def test_no_check_is_a_ping(browser, query):
    response = browser.get(**query)
    assert (response.status_int, response.text) == (
        200,
        '{"status":200,"successes":{},"failures":{}}',
    )


def test_checks_and_level_select_together(browser):
    body = browser.get(checks="bad,nobody", max_level=5).json
    assert (body["successes"], list(body["failures"])) == ({}, ["bad"])


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "٣", "1e3", " "])
def test_a_level_that_is_none_is_refused(browser, text):
    response = browser.get(max_level=text)
    assert response.status_int == 400
    assert response.json["message"].startswith("max_level: expected a whole number")


def test_any_number_of_digits_is_a_level(browser):
    assert browser.get(max_level="9" * 5000).status_int == 500


def test_head_tells_the_status_only(browser):
    request = Request.blank("/c2c/health_check?max_level=2", method="HEAD")
    response = request.get_response(browser.application)
    assert (response.status_int, response.body) == (500, b"")


# --- who sees what --------------------------------------------------------------------------------


def connect(_):
    raise ValueError(
        "no way to db.example.internal:5432 (10.1.2.3) with postgresql://me:secret@db/app, "
        "password=hunter2\n[SQL: SELECT * FROM users WHERE id = 3]"
    )


def test_everybody_sees_no_hosts_no_sql_and_no_stack(config, browse):
    HealthCheck(config).add_custom_check("db", connect)
    entry = browse(config).get().json["failures"]["db"]
    assert set(entry) == {"message", "timing", "level"}
    assert entry["message"] == "no way to [host] ([host]) with [url] password=REDACTED [statement]"


def test_the_authorised_see_where_but_no_secret(config, browse):
    HealthCheck(config).add_custom_check("db", connect)
    response = browse(config).get(authorised=True)
    entry = response.json["failures"]["db"]
    assert "db.example.internal:5432 (10.1.2.3)" in entry["message"]
    assert "in connect" in entry["stacktrace"]
    assert "secret@" not in response.text
    assert "hunter2" not in response.text


def test_so_does_everybody_in_development(configurator, browse, monkeypatch):
    monkeypatch.setenv("DEVELOPMENT", "1")
    config = configurator()
    HealthCheck(config).add_custom_check("db", connect)
    assert "in connect" in browse(config).get().json["failures"]["db"]["stacktrace"]


def test_a_wrong_secret_sees_what_everybody_sees(config, browse):
    HealthCheck(config).add_custom_check("bad", unhappy)
    body = browse(config).get(headers={"X-API-Key": "wrong"}).json
    assert "stacktrace" not in body["failures"]["bad"]


def test_spans_are_for_the_authorised(browser):
    assert browser.get(trace=1).status_int == 403
    assert browser.get(trace=1, authorised=True).status_int == 200
    assert browser.get(trace="x").status_int == 400


def test_a_json_check_exception_has_a_result(config, browse):
    def check(_):
        raise JsonCheckException("too many", {"count": 12})

    HealthCheck(config).add_custom_check("queue", check)
    entry = browse(config).get().json["failures"]["queue"]
    assert (entry["message"], entry["result"]) == ("too many", {"count": 12})


# --- probes ---------------------------------------------------------------------------------------


def test_live_runs_nothing(browser):
    response = browser.get("/c2c/health/live")
    assert (response.status_int, response.text) == (200, '{"status":200}')


def test_live_is_told_while_everything_hangs(config, browse, gate, running):
    HealthCheck(config).add_custom_check("slow", gate, timeout=20)
    browser = browse(config)
    with running(browser.get), running(browser.get):
        gate.wait()
        assert browser.get("/c2c/health/live").status_int == 200
        gate.opened.set()


def test_ready_is_level_1_only(browser):
    response = browser.get("/c2c/health/ready")
    assert (response.status_int, list(response.json["successes"])) == (200, ["good"])


def test_not_ready_is_503(config, browse):
    HealthCheck(config).add_custom_check("bad", unhappy)
    response = browse(config).get("/c2c/health/ready")
    assert (response.status_int, response.json["status"]) == (503, 503)
    assert list(response.json["failures"]) == ["bad"]


def test_a_group_has_a_readiness_of_its_own(config, browse):
    config.add_health_check("bad", unhappy, group="search")
    config.add_health_check("good", lambda _: None, group="tiles")
    browser = browse(config)
    assert browser.get("/c2c/health/ready", group="tiles").status_int == 200
    assert browser.get("/c2c/health/ready", group="search").status_int == 503
    assert browser.get("/c2c/health/ready").status_int == 503


def test_startup_passes_once_and_for_all(config, browse):
    broken = [True]

    def check(_):
        if broken:
            unhappy(_)

    HealthCheck(config).add_custom_check("check", check)
    browser = browse(config)
    assert browser.get("/c2c/health/startup").status_int == 503
    broken.clear()
    assert browser.get("/c2c/health/startup").status_int == 200
    broken.append(True)
    assert browser.get("/c2c/health/startup").status_int == 200
    assert browser.get("/c2c/health/ready").status_int == 503


def test_a_service_that_ends_is_alive_but_not_ready(browser):
    draining().begin()
    response = browser.get("/c2c/health/ready")
    assert (response.status_int, response.json) == (
        503,
        {
            "status": 503,
            "successes": {},
            "failures": {
                "shutdown": {
                    "message": "The service is shutting down",
                    "timing": 0.0,
                    "level": 1,
                }
            },
        },
    )
    assert browser.get("/c2c/health/live").status_int == 200
    assert browser.get("/c2c/health_check").status_int == 200


def test_who_asks_for_readiness_is_noticed(browser):
    browser.get("/c2c/health/ready")
    assert draining().watched


# --- application/health+json ----------------------------------------------------------------------


def test_the_draft_of_the_ietf(browser):
    response = browser.get(max_level=2, accept="application/health+json")
    assert (response.status_int, response.content_type) == (500, "application/health+json")
    assert response.vary == ("Accept",)
    body = response.json
    assert (body["status"], list(body["checks"])) == (
        "fail",
        ["good:responseTime", "bad:responseTime"],
    )
    (bad,) = body["checks"]["bad:responseTime"]
    assert bad.pop("observedValue") >= 0
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\d\+00:00", bad.pop("time"))
    assert bad == {
        "componentId": "bad",
        "observedUnit": "ms",
        "status": "fail",
        "output": "I'm not happy",
    }


def test_the_draft_when_all_is_well(browser):
    response = browser.get("/c2c/health/live", accept="application/health+json")
    assert (response.status_int, response.json) == (200, {"status": "pass"})


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json", None])
def test_everybody_else_gets_what_c2cwsgiutils_answered(browser, accept):
    assert browser.get(accept=accept).content_type == "application/json"


# --- the page -------------------------------------------------------------------------------------


def test_the_page_is_for_the_authorised(browser):
    assert browser.get("/c2c/health").status_int == 403
    page = browser.get("/c2c/health", authorised=True)
    assert (page.status_int, page.content_type) == (200, "text/html")
    assert "1 of 2 fail." in page.text
    assert "I&#39;m not happy" in page.text
    assert "&#34;happy&#34;" in page.text
    assert "in unhappy" in page.text


def test_the_page_up_to_a_level(browser):
    page = browser.get("/c2c/health", authorised=True, max_level=1).text
    assert "All 1 pass." in page
    assert "unhappy" not in page


def test_the_page_without_checks(config, browse):
    HealthCheck(config)
    browser = browse(config)
    assert "There are none." in browser.get("/c2c/health", authorised=True).text


def test_the_console_names_the_page(browser):
    entry = next(
        each for each in console_of(browser.registry).entries if each.title == "Health checks"
    )
    assert entry.route == "c2c_health_page"


# --- requests of checks ---------------------------------------------------------------------------


def test_each_check_has_a_request_and_a_transaction_of_its_own(configurator, browse):
    log = []

    class Transaction:
        def begin(self):
            log.append("begin")

        def abort(self):
            log.append("abort")

    config = configurator()
    config.add_request_method(lambda _: Transaction(), "tm", reify=True)
    config.add_request_method(lambda _: object(), "dbsession", reify=True)
    seen = []

    def check(request):
        seen.append((request, request.dbsession))
        request.add_finished_callback(lambda _: log.append("finished"))
        return [request.method, request.path, request.registry is config.registry]

    HealthCheck(config).add_custom_check("a", check)
    HealthCheck(config).add_custom_check("b", check)
    body = browse(config).get().json
    assert body["successes"]["a"]["result"] == ["GET", "/c2c/health_check", True]
    (one, session), (other, other_session) = seen
    assert one is not other
    assert session is not other_session
    assert sorted(log) == ["abort", "abort", "begin", "begin", "finished", "finished"]


def test_a_transaction_that_runs_already_is_not_that_of_a_check(configurator, browse):
    """As pyramid_tm: it leaves its manager in the environ, which copies share."""

    class Transaction:
        began = 0

        def begin(self):
            self.began += 1
            assert self.began == 1

        def abort(self):
            pass

    config = configurator()
    config.add_request_method(
        lambda request: request.environ.get("tm.manager") or Transaction(), "tm", reify=True
    )
    seen = []

    def check(request):
        assert not {"tm.manager", "tm.active", "repoze.tm.active"} & set(request.environ)
        seen.append(request.tm)

    HealthCheck(config).add_custom_check("a", check)
    HealthCheck(config).add_custom_check("b", check)
    application = browse(config).application
    manager = Transaction()
    manager.begin()
    request = Request.blank(
        "/c2c/health_check",
        environ={"tm.manager": manager, "tm.active": True, "repoze.tm.active": True},
    )
    response = request.get_response(application)
    assert (response.status_int, response.json["failures"]) == (200, {})
    assert len({id(each) for each in (manager, *seen)}) == 3
    assert request.environ["tm.manager"] is manager


# --- set-up ---------------------------------------------------------------------------------------


def test_a_second_object_adds_to_the_same_checks(config, browse):
    HealthCheck(config).add_custom_check("a", lambda _: None)
    HealthCheck(config).add_custom_check("b", lambda _: None)
    assert list(browse(config).get().json["successes"]) == ["a", "b"]


def test_two_checks_of_one_name_stop_the_start_and_are_both_named(config):
    HealthCheck(config).add_custom_check("a", lambda _: None)
    with pytest.raises(ConfigurationError) as raised:
        config.add_health_check("a", lambda _: None)
    assert len(re.findall(r"test_views\.py, line \d+", str(raised.value))) == 3
    assert "Two health checks are called 'a'" in str(raised.value)


@pytest.mark.parametrize(
    "arguments", [{"level": 0}, {"timeout": 0}, {"timeout": -1}, {"name": ""}, {"check": None}]
)
def test_a_check_that_cannot_be_stops_the_start(config, arguments):
    with pytest.raises(ConfigurationError, match=r"test_views\.py, line \d+: "):
        config.add_health_check(**{"name": "a", "check": unhappy, **arguments})


def test_it_works_before_the_kernel_is_included(browse):
    config = Configurator(settings={})
    HealthCheck(config).add_custom_check("a", lambda _: None)
    assert list(browse(config).get().json["successes"]) == ["a"]


def test_below_a_prefix(browse):
    config = Configurator(settings={"c2c.base_path": "/ops"})
    config.include(HealthCheck, route_prefix="api")
    assert browse(config).get("/api/ops/health/live").status_int == 200
