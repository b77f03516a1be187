"""The settings: what wins, what is refused with which words, and what is never shown."""

import copy
import json
import logging
import pickle
import re
import subprocess
import sys
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel import schema
from c2cotel.schema import Section, keys
from c2cotel.settings import (
    Loaded,
    Secret,
    Settings,
    SettingsError,
    load,
    rows,
    without_password,
)

# What c2cwsgiutils reads and c2cotel does not know yet: nobody may be told that they are slips.
SEED = [
    "C2C_SECRET",
    "C2C_AUTH_GITHUB_REPOSITORY",
    "C2C_AUTH_GITHUB_ACCESS_TYPE",
    "C2C_AUTH_GITHUB_CLIENT_ID",
    "C2C_AUTH_GITHUB_CLIENT_SECRET",
    "C2C_AUTH_GITHUB_SCOPE",
    "C2C_AUTH_GITHUB_SECRET",
    "C2C_AUTH_COOKIE",
    "C2C_AUTH_GITHUB_PROXY_URL",
    "C2C_USE_SESSION",
    "C2C_ENABLE_EXCEPTION_HANDLING",
    "C2C_JSON_PRETTY_PRINT",
    "C2C_JSON_SORT_KEYS",
    "C2C_REQUESTS_DEFAULT_TIMEOUT",
    "C2C_SQL_REQUEST_ID",
    "C2C_LOG_VIEW_ENABLED",
    "C2C_DB_MAINTENANCE_VIEW_ENABLED",
    "C2C_SQL_PROFILER_ENABLED",
    "C2C_DEBUG_VIEW_ENABLED",
    "C2C_TRACK_REDIS",
    "C2C_REDIS_URL",
    "C2C_REDIS_SENTINELS",
    "C2C_REDIS_SERVICENAME",
    "C2C_REDIS_DB",
    "C2C_REDIS_OPTIONS",
    "C2C_REDIS_TIMEOUT",
    "C2C_BROADCAST_PREFIX",
    "C2C_PROMETHEUS_PACKAGES",
    "C2C_PROMETHEUS_APPLICATION_PACKAGE",
    "C2C_TRUSTED_PROXIES",
]


class Limits(Section, frozen=True, kw_only=True):
    text: Annotated[str, msgspec.Meta(description="A text.")] = "text"
    token: Annotated[Secret | None, msgspec.Meta(description="A secret.")] = None
    ratio: Annotated[float, msgspec.Meta(description="A share.", ge=0, lt=1)] = 0.5
    hosts: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="Hosts.", extra={"env": ("HOSTS", "OLD_HOSTS"), "ini": "c2c.h"}),
    ] = ("localhost",)


class Example(Section, frozen=True, kw_only=True):
    limits: Limits = Limits()


def the_problem(loaded: Loaded) -> str:
    (problem,) = loaded.problems
    return str(problem)


def test_an_empty_environment_gives_the_defaults():
    loaded = load({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.problems, loaded.warnings) == ((), ())


def test_without_arguments_the_process_environment_is_read(monkeypatch):
    monkeypatch.setenv("C2C_BASE_PATH", "/tools")
    assert load().settings.base_path == "/tools"


@pytest.mark.parametrize(
    ("environ", "ini", "value", "origin"),
    [
        ({"C2C_BASE_PATH": "/env"}, {"c2c.base_path": "/ini"}, "/env", "environment C2C_BASE_PATH"),
        ({"C2C_BASE_PATH": ""}, {"c2c.base_path": "/ini"}, "/ini", "ini c2c.base_path"),
        ({"C2C_BASE_PATH": " \n"}, {"c2c.base_path": "/ini"}, "/ini", "ini c2c.base_path"),
        ({"C2C_BASE_PATH": " /env "}, {}, "/env", "environment C2C_BASE_PATH"),
        ({}, {"c2c.base_path": ""}, "", "ini c2c.base_path"),
        ({}, {"c2c.base_path": None}, "/c2c", "default"),
        ({}, {"c2c.base.path": "/dotted"}, "/dotted", "ini c2c.base.path"),
        ({}, {"c2c.base_path": "/a//slash/"}, "/a/slash", "ini c2c.base_path"),
    ],
)
def test_a_non_empty_environment_wins_over_the_ini_and_that_over_the_default(
    environ, ini, value, origin
):
    loaded = load(environ, ini)
    assert (loaded.settings.base_path, loaded.origins["base_path"]) == (value, origin)
    assert (loaded.problems, loaded.warnings) == ((), ())


def test_a_wrong_environment_variable_is_not_covered_up_by_a_right_ini_key():
    loaded = load({"C2C_REQUEST_ID_RESPONSE": "nope"}, {"c2c.request_id_response": "no"})
    assert loaded.settings.request_id.response is True
    assert the_problem(loaded).startswith("C2C_REQUEST_ID_RESPONSE = 'nope': ")


@pytest.mark.parametrize(
    "text", ["1", "true", "t", "yes", "y", "on", "TRUE", "On", " yes ", True, 1]
)
def test_what_is_true(text):
    loaded = load({}, {"c2c.prometheus.view_enabled": text})
    assert loaded.settings.prometheus.view_enabled is True
    assert loaded.problems == ()


@pytest.mark.parametrize("text", ["0", "false", "f", "no", "n", "off", "FALSE", "Off", False, 0])
def test_what_is_false(text):
    loaded = load({}, {"c2c.request_id_response": text})
    assert loaded.settings.request_id.response is False
    assert loaded.problems == ()


def test_a_boolean_that_is_neither_is_said_with_key_value_and_remedy():
    assert the_problem(load({"C2C_PROMETHEUS_VIEW_ENABLED": "enabled"})) == (
        "C2C_PROMETHEUS_VIEW_ENABLED = 'enabled': neither true nor false. "
        "Write true or false (or 1, true, t, yes, y, on; 0, false, f, no, n, off)."
    )


@pytest.mark.parametrize(
    ("text", "port"), [("0", 0), ("9090", 9090), (" 65535 ", 65535), ("+80", 80)]
)
def test_a_port_is_a_number_up_to_65535(text, port):
    assert load({"C2C_PROMETHEUS_PORT": text}).settings.prometheus.port == port


@pytest.mark.parametrize(
    "text", ["-1", "65536", "9090.0", "0x50", "1_000", "٣", "9" * 5000, "http"]
)
def test_what_is_no_port_is_a_problem_of_the_telemetry_only(text):
    loaded = load({"C2C_PROMETHEUS_PORT": text})
    assert loaded.settings.prometheus.port is None
    assert loaded.origins["prometheus.port"] == "default"
    assert the_problem(loaded).endswith(
        ": not a whole number from 0 to 65535. "
        "Write a whole number from 0 to 65535, for example 9090, or leave it empty."
    )
    assert len(the_problem(loaded)) < 300
    loaded.raise_for_application()


@pytest.mark.parametrize("value", ["2.5", "25e-1", 2.5])
def test_a_duration_is_a_number_of_seconds(value):
    assert load({}, {"c2c.exit_timeout": value}).settings.exit.timeout == 2.5


@pytest.mark.parametrize(
    "value", ["0", "-1", "3601", "nan", "inf", "1e999", "5s", float("nan"), True, [5]]
)
def test_a_duration_is_greater_than_zero_and_finite(value):
    loaded = load({}, {"c2c.exit_timeout": value})
    assert loaded.settings.exit.timeout == 5.0
    assert ": not a number greater than 0 and at most 3600. Write" in the_problem(loaded)


@pytest.mark.parametrize("value", ["-0.1", "1"])
def test_all_bounds_are_said(value):
    assert the_problem(schema.read(Example, {"C2C_LIMITS_RATIO": value}, {})) == (
        f"C2C_LIMITS_RATIO = '{value}': not a number at least 0 and less than 1. "
        "Write a number at least 0 and less than 1."
    )


def test_a_huge_integer_in_the_settings_is_refused_without_being_written_out():
    loaded = load({}, {"c2c.exit_timeout": 10**5000})
    assert the_problem(loaded).startswith("c2c.exit_timeout = (int): not a number")


def test_an_empty_ini_value_is_unset_where_nothing_else_makes_sense():
    ini = {
        "c2c.request_id_header": "",
        "c2c.request_id_response": "",
        "c2c.exit_timeout": "",
        "c2c.metrics.gauge_merge": "",
    }
    loaded = load({}, ini)
    assert loaded.settings == Settings()
    assert loaded.problems == ()


@pytest.mark.parametrize(("text", "level"), [("debug", "DEBUG"), ("Warning", "WARNING")])
def test_one_of_a_few_words_may_be_written_in_any_case(text, level):
    assert load({"LOG_LEVEL": text}).settings.logging.level == level


@pytest.mark.parametrize(
    "variable",
    [
        *("LOG_LEVEL", "OTHER_LOG_LEVEL", "SQL_LOG_LEVEL", "C2COTEL_LOG_LEVEL"),
        *("GUNICORN_LOG_LEVEL", "SENTRY_LEVEL"),
    ],
)
def test_a_level_is_any_that_logging_knows(variable, monkeypatch):
    monkeypatch.setitem(logging._nameToLevel, "Trace", 5)
    (name,) = (row.name for row in rows(load({})) if variable in row.environment)
    for text, level in (("warn", "WARN"), ("15", 15), ("TRACE", "Trace"), (" fatal ", "FATAL")):
        loaded = load({variable: text})
        assert loaded.problems == ()
        assert next(row.value for row in rows(loaded) if row.name == name) == level
    assert the_problem(load({variable: "loud"})).startswith(
        f"{variable} = 'loud': no level. "
        "There are CRITICAL, ERROR, WARNING, INFO, DEBUG, NOTSET and numbers. Write for example "
    )


def test_another_word_is_answered_with_those_that_do():
    assert the_problem(load({"LOG_TYPE": "xml"})) == (
        "LOG_TYPE = 'xml': not one of those known. Write one of console, json."
    )


def test_a_list_is_separated_by_commas():
    settings = load({"OTEL_TRACES_EXPORTER": " otlp, console,, "}).settings
    assert settings.otel.traces_exporter == ("otlp", "console")


def test_the_first_of_several_variables_that_is_not_empty_counts():
    both = {"OTEL_PYTHON_PYRAMID_EXCLUDED_URLS": "a,b.*", "OTEL_PYTHON_EXCLUDED_URLS": "c"}
    second = {"OTEL_PYTHON_PYRAMID_EXCLUDED_URLS": "", "OTEL_PYTHON_EXCLUDED_URLS": "c"}
    assert load(both).settings.instrumentation.excluded_urls == ("a", "b.*")
    assert load(second).settings.instrumentation.excluded_urls == ("c",)
    assert load(second).origins["instrumentation.excluded_urls"] == (
        "environment OTEL_PYTHON_EXCLUDED_URLS"
    )


@pytest.mark.parametrize("regex", ["(", "a{99999999999999999999}", "(" * 5000])
def test_a_list_of_regular_expressions_is_tried(regex):
    loaded = load({"OTEL_PYTHON_EXCLUDED_URLS": f"ok,{regex}"})
    assert loaded.settings.instrumentation.excluded_urls is None
    assert "not a list of regular expressions (" in the_problem(loaded)
    assert the_problem(loaded).endswith(
        "Write for example healthcheck,static/.*, or leave it empty."
    )


def test_gauges_are_merged_by_named_rules():
    settings = load({"C2C_METRICS_GAUGE_MERGE": "queue.size=sum, age = MAX"}).settings
    assert settings.metrics.gauge_merge == {"queue.size": "sum", "age": "max"}
    assert load({}, {"c2c.metrics.gauge_merge": {"age": "min"}}).settings.metrics.gauge_merge == {
        "age": "min"
    }


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("queue", "not name=value pairs separated by commas"),
        ("=sum", "not name=value pairs separated by commas"),
        ("queue=add", "'add' is not one of pid, sum, min, max, last"),
    ],
)
def test_a_rule_that_does_not_exist_is_said(text, wrong):
    assert the_problem(load({"C2C_METRICS_GAUGE_MERGE": text})) == (
        f"C2C_METRICS_GAUGE_MERGE = {text!r}: {wrong}. "
        "Write for example myapp.queue.size=sum,myapp.age=max."
    )


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "not an http or https URL. Write for example http://collector:4318, or leave it empty.",
        ),
        (
            "C2C_REQUEST_ID_HEADER",
            "My Id",
            "not the name of a header. Write for example X-My-Request-ID, or leave it empty.",
        ),
        ("C2C_BASE_PATH", "/a b", "not a path. Write for example /c2c."),
        (
            "C2C_PROMETHEUS_PREFIX",
            "2my app",
            "not the beginning of a metric's name. Write for example myapp.",
        ),
    ],
)
def test_texts_that_cannot_work_are_refused(variable, text, sentence):
    assert the_problem(load({variable: text})) == f"{variable} = {text!r}: {sentence}"


@pytest.mark.parametrize(
    ("parts", "stopping"),
    [((), []), (("logging",), ["LOG_TYPE"]), (("gunicorn",), ["GUNICORN_LOG_LEVEL"])],
)
def test_all_problems_of_the_application_and_of_what_it_uses_stop_its_start(parts, stopping):
    wrong = ("C2C_PROMETHEUS_PORT", "C2C_REQUEST_ID_RESPONSE", "DEVELOPMENT", "DEBUG_LOGCONFIG")
    loaded = load(dict.fromkeys((*wrong, "LOG_TYPE", "GUNICORN_LOG_LEVEL"), "x"))
    assert [problem.key for problem in loaded.problems if problem.telemetry] == [wrong[0]]
    with pytest.raises(SettingsError) as error:
        loaded.raise_for_application(*parts)
    said = {line.split(" ")[0] for line in str(error.value).splitlines()}
    assert said == {*wrong[1:], *stopping}


@pytest.mark.parametrize(
    ("ini_key", "warning"),
    [
        ("c2c.base_pth", "c2c.base_pth is not a setting of c2cotel. Is c2c.base_path meant?"),
        ("c2c.wholly.other", "c2c.wholly.other is not a setting of c2cotel."),
        ("c2c.new\nline", "c2c.new\\nline is not a setting of c2cotel."),
        (
            "c2c.prometheus.port",
            (
                "c2c.prometheus.port is ignored: this setting is read from the environment only, "
                "as C2C_PROMETHEUS_PORT."
            ),
        ),
    ],
)
def test_an_ini_key_that_nobody_reads_is_a_warning(ini_key, warning):
    assert load({}, {ini_key: "x", "pyramid.includes": "c2cotel"}).warnings == (warning,)


def test_two_spellings_of_one_ini_key_are_a_warning():
    loaded = load({}, {"c2c.exit.timeout": "1", "c2c.exit_timeout": "2"})
    assert loaded.settings.exit.timeout == 2
    assert loaded.warnings == (
        "c2c.exit.timeout is ignored: c2c.exit_timeout is the same setting and is there too.",
    )


def test_a_slip_in_a_variable_of_ours_is_a_warning():
    assert load({"C2C_PROMETHUS_PORT": "9090"}).warnings == (
        "C2C_PROMETHUS_PORT is not a setting of c2cotel. Is C2C_PROMETHEUS_PORT meant?",
    )


@pytest.mark.parametrize("variable", SEED)
def test_a_variable_of_the_predecessor_is_not_taken_for_a_slip(variable):
    assert load({variable: "x"}).warnings == ()


def test_names_follow_from_the_place_in_the_tree_unless_the_field_says_otherwise():
    assert [(key.name, key.env, key.ini) for key in keys(Example)] == [
        ("limits.text", ("C2C_LIMITS_TEXT",), "c2c.limits_text"),
        ("limits.token", ("C2C_LIMITS_TOKEN",), "c2c.limits_token"),
        ("limits.ratio", ("C2C_LIMITS_RATIO",), "c2c.limits_ratio"),
        ("limits.hosts", ("HOSTS", "OLD_HOSTS"), "c2c.h"),
    ]


def test_no_two_settings_share_a_name():
    known = [name for key in keys(Settings) for name in (*key.env, key.ini) if name]
    assert sorted(known) == sorted(set(known))


def test_every_setting_has_a_sentence():
    for row in rows(load({}, {})):
        assert re.fullmatch(r"[A-Z].*[A-Za-z`).]\.", row.description), row.name


@given(
    st.dictionaries(
        st.sampled_from([name for key in keys(Settings) for name in key.env]),
        st.text(st.characters(codec=None, exclude_characters="\0"))
        | st.from_regex(r"\A[-+]?[0-9._e]{0,30}\Z")
        | st.from_regex(r"\A[a-z(){}\[\]*?\\,=:/@.]{0,30}\Z"),
    ),
    st.dictionaries(
        st.sampled_from([key.ini for key in keys(Settings) if key.ini]) | st.text(),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.lists(st.text() | st.integers())
        | st.dictionaries(st.text(), st.text()),
    ),
)
def test_whatever_is_set_reading_it_does_not_fail(environ, ini):
    loaded = load(environ, ini)
    for problem in loaded.problems:
        assert problem.key in environ or problem.key in ini
        assert "\n" not in str(problem)
    json.loads(msgspec.json.encode(rows(loaded)))
    # What was accepted is of the declared types and within the declared bounds.
    settings = msgspec.to_builtins(loaded.settings, enc_hook=lambda _: None)
    settings["otel"]["otlp_headers"] = None
    assert msgspec.convert(settings, Settings).base_path == loaded.settings.base_path


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_any_text_is_a_text(text):
    read = schema.read(Example, {"C2C_LIMITS_TEXT": text, "C2C_LIMITS_TOKEN": text}, {})
    assert read.settings.limits.text == text.strip()
    assert read.settings.limits.token is not None
    assert read.settings.limits.token.reveal() == text


def everything_written_of(value: str) -> list[str]:
    secret = Secret(value)
    loaded = load({"OTEL_EXPORTER_OTLP_HEADERS": value}, {})
    return [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>10}",
        "%s %r" % (secret, secret),  # noqa: UP031 - logging formats so
        json.dumps([secret], default=str),
        msgspec.json.encode([secret], enc_hook=str).decode(),
        repr(pickle.dumps(loaded.settings)),
        repr(loaded),
        repr(rows(loaded)),
    ]


@given(st.text().filter(lambda text: text.strip()))
def test_what_is_written_is_the_same_for_all_secrets(value):
    assert everything_written_of(value) == everything_written_of("another")


def test_a_secret_is_written_as_a_mask():
    secret = Secret("hunter2")
    assert (str(secret), repr(secret), f"{secret:>5}") == ("***", "Secret('***')", "  ***")
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_a_secret_does_not_survive_a_pickle_and_its_mask_opens_nothing():
    lost = pickle.loads(pickle.dumps(Secret("hunter2")))
    assert str(lost) == "***"
    assert not lost
    assert lost != Secret("hunter2")
    assert not lost.matches("")
    assert not lost.matches("***")
    with pytest.raises(SettingsError, match="read it again"):
        lost.reveal()


def test_a_secret_is_compared_copied_and_tested_like_the_text_it_is():
    secret = Secret("hunter2")
    assert copy.deepcopy(secret) == copy.copy(secret) == secret == Secret("hunter2")
    assert hash(secret) == hash(Secret("hunter2"))
    assert secret != Secret("other")
    assert secret not in ("hunter2", None)
    assert secret.matches("hunter2")
    assert not secret.matches("hunter2\udcff")
    assert (bool(secret), bool(Secret(""))) == (True, False)


@pytest.mark.parametrize("value", [["hunter2"], {"hunter2": 1}, b"hunter2", True])
def test_a_wrong_secret_is_refused_without_being_shown(value):
    loaded = schema.read(Example, {}, {"c2c.limits_token": value})
    assert "hunter2" not in repr(loaded)
    assert the_problem(loaded) == (
        f"c2c.limits_token = ***: a text is expected, not {type(value).__name__}. "
        "Write a text, or leave it empty."
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://collector:4318", "http://collector:4318"),
        ("http://me:hunter2@h:1/x", "http://me:***@h:1/x"),
        ("http://hunter2@h", "http://***@h"),
        ("postgresql://me:p/w?@d@h/db and more", "postgresql://me:***@h/db and more"),
        ("me@example.com", "me@example.com"),
        ("see me@example.com at http://h", "see me@example.com at http://h"),
    ],
)
def test_urls_lose_their_password(text, shown):
    assert without_password(text) == shown


def test_the_password_of_a_wrong_url_is_not_in_the_problem():
    text = "htp://me:hunter2" + "x" * 200 + "@collector"
    loaded = load({"OTEL_EXPORTER_OTLP_ENDPOINT": text})
    assert the_problem(loaded).startswith("OTEL_EXPORTER_OTLP_ENDPOINT = 'htp://me:***@collector'")


def test_reading_settings_imports_no_telemetry_and_no_framework():
    heavy = "opentelemetry", "pyramid", "sqlalchemy", "plaster", "webob"
    code = (
        "import sys; from c2cotel.settings import load; load({'C2C_BASE_PATH': '/x'});"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "[]\n"
