import configparser
import logging
import logging.config
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import c2cotel
from c2cotel import ini
from c2cotel.settings import SettingsError

SEED = """
[app:main]
paste.app_factory = app:main
[loggers]
keys = root, sqlalchemy, app
[handlers]
keys = console, json
[formatters]
keys = generic
[logger_root]
level = %(OTHER_LOG_LEVEL)s
handlers = %(LOG_TYPE)s
[logger_sqlalchemy]
level = %(SQL_LOG_LEVEL)s
handlers =
qualname = sqlalchemy.engine
[logger_app]
level = %(LOG_LEVEL)s
handlers =
qualname = app
propagate = 0
[handler_console]
class = logging.StreamHandler
kwargs = {'stream': 'ext://sys.stdout'}
level = NOTSET
formatter = generic
[handler_json]
class = c2cotel.pyramid_logging.JsonLogHandler
kwargs = {'stream': 'ext://sys.stdout'}
level = NOTSET
[formatter_generic]
format = %(asctime)s %(levelname)-5.5s [%(name)s] %(message)s
datefmt = %Y-%m-%d %H:%M:%S
"""
PARTS = {
    "loggers": "keys = root",
    "handlers": "keys = console",
    "formatters": "keys = generic",
    "logger_root": "level = INFO\nhandlers = console",
    "handler_console": "class = StreamHandler\nformatter = generic",
    "formatter_generic": "format = %(message)s",
}


@pytest.fixture
def write(tmp_path):
    def write(text="", /, **parts):
        path = tmp_path / "production.ini"
        if parts:
            text = "".join(
                f"[{name}]\n{body}\n" for name, body in {**PARTS, **parts}.items() if body
            )
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ini.environment.DOCUMENTED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)


def test_the_logging_of_the_predecessors_ini_is_that_of_dict_config(write, monkeypatch):
    monkeypatch.setenv("LOG_TYPE", "json")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    assert c2cotel.get_logconfig_dict(write(SEED)) == {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "generic": {
                "format": "%(asctime)s %(levelname)-5.5s [%(name)s] %(message)s",
                "datefmt": "%Y-%m-%d %H:%M:%S",
            }
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "level": "NOTSET",
                "formatter": "generic",
            },
            "json": {
                "class": "c2cotel.pyramid_logging.JsonLogHandler",
                "stream": "ext://sys.stdout",
                "level": "NOTSET",
            },
        },
        "loggers": {
            "sqlalchemy.engine": {"level": "WARNING", "handlers": [], "propagate": True},
            "app": {"level": "DEBUG", "handlers": [], "propagate": False},
        },
        "root": {"level": "WARNING", "handlers": ["json"]},
    }


@pytest.mark.parametrize("doubled", [True, False])
def test_percent_signs_of_a_format_may_be_doubled(write, doubled):
    sign = "%%" if doubled else "%"
    format_ = f"format = {sign}(asctime)s {sign}(message)s\ndatefmt = {sign}Y"
    made = c2cotel.get_logconfig_dict(write(formatter_generic=format_))["formatters"]["generic"]
    assert made == {"format": "%(asctime)s %(message)s", "datefmt": "%Y"}


def test_a_format_of_doubled_signs_may_have_the_environment_in_it(write, monkeypatch):
    monkeypatch.setenv("POD", "a%b")
    path = write(formatter_generic="format = %(POD)s %%(message)s")
    assert c2cotel.get_logconfig_dict(path)["formatters"]["generic"]["format"] == "a%b %(message)s"


def test_kwargs_know_the_streams_by_name(write):
    kwargs = "class = StreamHandler\nkwargs = {'stream': sys.stdout, 'x': [1, (2, None)], 'y': {}}"
    handler = c2cotel.get_logconfig_dict(write(handler_console=kwargs))["handlers"]["console"]
    assert handler == {
        "class": "logging.StreamHandler",
        "stream": "ext://sys.stdout",
        "x": [1, (2, None)],
        "y": {},
    }


def test_keys_of_default_are_not_options_of_each_section(write):
    text = "[DEFAULT]\nlevel = BANANA\nargs = (1,)\nNAME = WARNING\n"
    body = "".join(f"[{name}]\n{body}\n" for name, body in PARTS.items())
    path = write(text + body.replace("level = INFO", "level = %(NAME)s"))
    made = c2cotel.get_logconfig_dict(path)
    assert made["root"]["level"] == "WARNING"
    assert "level" not in made["handlers"]["console"]


def test_handlers_with_args_are_left_to_gunicorn_with_a_word_about_each(write):
    path = write(handler_console="class = StreamHandler\nargs = (sys.stdout,)")
    said = []
    names = ini.configure_logging_of_gunicorn(path, {"here": "/x"}, said.append)
    assert names["LOG_TYPE"] == "console"
    (line,) = said
    assert line == (
        f"{path} [handler_console] args: c2c:// and gunicorn -c python:c2cotel.gunicorn refuse it. "
        "Write kwargs = {'stream': sys.stdout}, with their names."
    )


def test_what_the_environment_calls_level_is_no_level(write, monkeypatch):
    for name in ("level", "args", "class", "keys", "qualname", "LEVEL"):
        monkeypatch.setenv(name, "banana")
    handler = c2cotel.get_logconfig_dict(write(**PARTS))["handlers"]["console"]
    assert handler == {"class": "logging.StreamHandler", "formatter": "generic"}


def test_levels_are_names_in_any_case_numbers_and_those_of_the_application(write, monkeypatch):
    monkeypatch.setitem(logging._nameToLevel, "TRACE", 15)
    monkeypatch.setitem(logging._levelToName, 15, "TRACE")
    for written, level in (("warn", "WARN"), ("17", 17), ("Trace", "TRACE")):
        path = write(logger_root=f"level = {written}\nhandlers = console")
        assert c2cotel.get_logconfig_dict(path)["root"]["level"] == level


WRONG = {
    "a handler's args": (
        {"handler_console": "class = StreamHandler\nargs = (sys.stdout,)"},
        (
            "[handler_console] args: is not read. "
            "Write kwargs = {'stream': sys.stdout}, with their names."
        ),
    ),
    "no loggers": ({"loggers": None}, "[loggers]: is missing. "),
    "no handlers": ({"handlers": None}, "[handlers]: is missing. "),
    "no formatters": ({"formatters": None}, "[formatters]: is missing. "),
    "no keys": ({"loggers": "x = 1"}, "[loggers] keys: is missing. "),
    "no root": (
        {"loggers": "keys = a", "logger_a": "qualname = a"},
        "[loggers] keys: names no root, which gets what no other logger keeps. Add it.",
    ),
    "a level that there is not": (
        {"logger_root": "level = BANANA\nhandlers = console"},
        (
            "[logger_root] level: 'BANANA' is no level. "
            "There are CRITICAL, ERROR, WARNING, INFO, DEBUG, NOTSET and numbers."
        ),
    ),
    "a handler's level": (
        {"handler_console": "class = StreamHandler\nlevel = loud"},
        "[handler_console] level: 'loud' is no level. ",
    ),
    "a name without a section": (
        {"handlers": "keys = console, jsn", "handler_json": "class = StreamHandler"},
        "[handlers] keys: 'jsn' has no section [handler_jsn]. Is [handler_json] meant?",
    ),
    "a handler that is not listed": (
        {"logger_root": "handlers = consol"},
        (
            "[logger_root] handlers: 'consol' is no handler. "
            "Write some of console, which [handlers] lists."
        ),
    ),
    "a formatter that is not listed": (
        {"handler_console": "class = StreamHandler\nformatter = gen"},
        "[handler_console] formatter: 'gen' is no formatter. ",
    ),
    "a class that there is not": (
        {"handler_console": "class = StremHandler"},
        "[handler_console] class: there is no StremHandler in logging. Is StreamHandler meant?",
    ),
    "a module that there is not": (
        {"handler_console": "class = nowhere.Handler"},
        "[handler_console] class: 'nowhere.Handler' cannot be imported (ModuleNotFoundError(",
    ),
    "no class": ({"handler_console": "level = INFO"}, "[handler_console] class: is missing. "),
    "kwargs that are none": (
        {"handler_console": "class = StreamHandler\nkwargs = {'password': 'hunter2'"},
        (
            "[handler_console] kwargs: not a dictionary of Python's literals. "
            "Write for example {'stream': sys.stdout}."
        ),
    ),
    "kwargs with calls": (
        {"handler_console": "class = StreamHandler\nkwargs = {'a': print('hunter2')}"},
        "[handler_console] kwargs: not a dictionary",
    ),
    "kwargs with a key of the section": (
        {"handler_console": "class = StreamHandler\nkwargs = {'level': 'INFO'}"},
        "[handler_console] kwargs: 'level' is a key of the section. Write it there.",
    ),
    "propagate": (
        {"loggers": "keys = root, a", "logger_a": "qualname = a\nhandlers =\npropagate = maybe"},
        "[logger_a] propagate: 'maybe' is neither true nor false. Write 1 or 0.",
    ),
    "style": (
        {"formatter_generic": "format = x\nstyle = ?"},
        "[formatter_generic] style: '?' is none. Write one of %, { and $.",
    ),
    "a variable that there is not": (
        {"logger_root": "level = %(MY_LOG_LEVL)s"},
        (
            "[logger_root] level: there is no environment variable MY_LOG_LEVL, nor such a key in "
            "[DEFAULT]. Set the one or write the other. Is MY_LOG_LEVEL meant?"
        ),
    ),
    "a lone percent sign": (
        {"handler_console": "class = StreamHandler\nkwargs = {'url': 'x://me:hunter2%40@h'}"},
        (
            "[handler_console] kwargs: a percent sign that stands for itself is written twice, %%; "
            "a name as %(NAME)s."
        ),
    ),
    "a value that refers to itself": (
        {"logger_root": "level = %(level)s"},
        "[logger_root] level: refers to itself, or too deep. Write the value.",
    ),
}


@pytest.mark.parametrize(("parts", "said"), WRONG.values(), ids=WRONG)
def test_whatever_is_wrong_says_where_and_what_would_do(write, monkeypatch, parts, said):
    monkeypatch.setenv("MY_LOG_LEVEL", "INFO")
    path = write(**parts)
    with pytest.raises(SettingsError) as error:
        c2cotel.get_logconfig_dict(path)
    assert str(error.value).startswith(f"{path} {said}")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1", ", line 1: no section yet. Write a line like [app:main] before."),
        ("[a]\nb = 1\nb = 2", ", line 3: [a] b is there already. Write it once."),
        ("[a]\n[a]", ", line 2: [a] is there already. Write it once."),
        ("[a]\nnonsense", ", line 2: neither key = value nor the go-on of a value. "),
    ],
)
def test_a_file_that_is_no_ini_says_at_which_line(write, text, said):
    path = write(text)
    with pytest.raises(SettingsError) as error:
        ini.Ini(path)
    assert str(error.value).startswith(f"{path}{said}")


def test_a_file_that_cannot_be_read_says_so(tmp_path, write):
    with pytest.raises(SettingsError, match=r"missing.ini cannot be read: No such file"):
        c2cotel.get_logconfig_dict(str(tmp_path / "missing.ini"))
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        ini.Ini(tmp_path)
    path = write("")
    Path(path).write_bytes(b"[a]\nb = caf\xe9\n")
    with pytest.raises(SettingsError, match="not UTF-8, from byte 11 on"):
        ini.Ini(path)


def test_logging_by_half_is_told_and_none_at_all_is_none(write):
    assert not ini.has_logging(ini.Ini(write("[app:main]\nx = 1")))
    with pytest.raises(SettingsError, match=r"\[handlers\]: is not looked at without \[loggers\]"):
        ini.has_logging(ini.Ini(write(loggers=None)))


def test_an_unknown_key_is_said_and_ignored(write, caplog):
    c2cotel.get_logconfig_dict(write(handler_console="class = StreamHandler\nformater = generic"))
    assert "[handler_console] formater is ignored" in caplog.text


def test_a_handler_that_cannot_be_made_says_which(write):
    path = write(handler_console="class = StreamHandler\nkwargs = {'colour': 'red'}")
    with pytest.raises(SettingsError, match=r"ini \[handler_console\]: cannot be set up"):
        ini.configure_logging(path)


def test_the_configuration_can_be_looked_at_without_its_passwords(write, monkeypatch, capsys):
    monkeypatch.setenv("DEBUG_LOGCONFIG", "1")
    monkeypatch.setenv("URL", "postgresql://me:hun%ter2@host/db")
    kwargs = "{'url': '%(URL)s', 'password': 'hunter2', 'x': [{'token': 'hunter2'}]}"
    made = c2cotel.get_logconfig_dict(
        write(handler_console=f"class = StreamHandler\nkwargs = {kwargs}")
    )
    assert made["handlers"]["console"]["url"] == "postgresql://me:hun%ter2@host/db"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "postgresql://me:***@host/db" in printed.err
    assert "ter2" not in printed.err


# The environment.


def test_the_names_suit_a_parser_that_folds_case():
    environ = {"http_proxy": "low", "HTTP_PROXY": "high", "Mixed": "100%", "here": "no"}
    names = ini.get_config_defaults(environ)
    assert {name: names[name] for name in ("HTTP_PROXY", "Mixed")} == {
        "HTTP_PROXY": "high",
        "Mixed": "100%%",
    }
    assert "http_proxy" not in names
    assert "here" not in names
    parser = configparser.ConfigParser(names)
    parser.read_string("[a]\nb = %(HTTP_PROXY)s %(mixed)s")
    assert parser["a"]["b"] == "high 100%"


def test_an_ini_knows_both_of_two_names_that_differ_by_case(write, monkeypatch):
    monkeypatch.setenv("http_proxy", "low")
    monkeypatch.setenv("HTTP_PROXY", "high")
    assert ini.Ini(write("[a]\nb = %(HTTP_PROXY)s %(http_proxy)s")).get("a", "b") == "high low"


def test_what_the_manual_gives_a_default_for_need_not_be_set():
    names = ini.variables({"LOG_LEVEL": "", "SQLALCHEMY_POOL_SIZE": "7"})
    assert (names["LOG_LEVEL"], names["SQLALCHEMY_POOL_SIZE"]) == ("INFO", "7")
    assert names["SQLALCHEMY_MAX_OVERFLOW"] == "25"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C2COTEL_LOG_LEVEL", "C2CWSGIUTILS_LOG_LEVEL"),
        ("GUNICORN_LOG_LEVEL", "GUNICORN_ERROR_LOG_LEVEL"),
    ],
)
def test_two_names_of_one_setting_stand_for_each_other(one, other):
    assert ini.variables({one: "DEBUG"})[other] == "DEBUG"
    assert ini.variables({other: "DEBUG"})[one] == "DEBUG"
    assert ini.variables({one: "INFO", other: "DEBUG"})[one] == "INFO"


def test_what_the_file_itself_defines_wins(write, monkeypatch):
    monkeypatch.setenv("NAME", "environment")
    path = write("[DEFAULT]\nNAME = file\n[a]\nb = %(NAME)s %(here)s")
    assert ini.Ini(path).get("a", "b").startswith("file /")


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, "production.ini"),
        (["-w", "2", "--paste", "a.ini#x"], {}, "a.ini#x"),
        (["--paster=b.ini", "--bind", ":1"], {}, "b.ini"),
        (["--paste", "a.ini", "--paste=b.ini"], {}, "b.ini"),
        (["--paste"], {"C2COTEL_CONFIG": "c.ini"}, "c.ini"),
        ([], {"C2CWSGIUTILS_CONFIG": "c.ini"}, "c.ini"),
        ([], {"GUNICORN_CMD_ARGS": "--bind=:1 --paste 'd e.ini'"}, "d e.ini"),
        (["--paste", "a.ini"], {"GUNICORN_CMD_ARGS": "--paste d.ini"}, "a.ini"),
    ],
)
def test_the_ini_file_of_gunicorn_is_found(argv, environ, expected):
    assert ini.get_paste_config(argv, environ) == expected


def test_the_packages_of_the_application_are_found(write):
    path = write(
        "[app:main]\npaste.app_factory = mine.web:main\n[app:other]\nuse = egg:waitress\n"
        "[app:third]\nuse = call:third.app:main\n[app:fourth]\nuse = config:other.ini\n"
        "[app:fifth]\nuse = egg:nowhere\n[server:main]\nuse = egg:waitress#main"
    )
    assert ini.application_packages(ini.Ini(path)) == ("mine", "third")


def test_importing_the_package_imports_next_to_nothing():
    code = "import sys, c2cotel; print({'pyramid', 'msgspec', 'configparser'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Whatever stands there.

NAMES = st.sampled_from([*PARTS, "logger_a", "handler_b", "app:main", "DEFAULT"])
KEYS = st.sampled_from(
    [
        "keys",
        "level",
        "handlers",
        "class",
        "args",
        "kwargs",
        "formatter",
        "format",
        "propagate",
        "x",
    ]
)
VALUES = st.one_of(
    st.text(st.sampled_from(string.printable + "é%(){}[]'\"\\\n\x00")),
    st.sampled_from(
        ["root", "root, a", "console", "%(NAME)s", "%(level)s", "INFO", "StreamHandler"]
    ),
)


@hypothesis_settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.dictionaries(NAMES, st.dictionaries(KEYS, VALUES)))
def test_any_file_is_a_configuration_or_an_error_that_names_it(write, sections):
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in body.items())
        for name, body in sections.items()
    )
    path = write(text)
    said = ""
    try:
        c2cotel.get_logconfig_dict(path)
    except SettingsError as error:
        said = str(error)
    assert not said or said.startswith(path)


@given(st.dictionaries(st.text(st.characters(exclude_characters="\x00=")), st.text()))
def test_any_environment_is_one_that_a_parser_takes(environ):
    parser = configparser.ConfigParser(ini.get_config_defaults(environ))
    for name, value in environ.items():
        if name.isidentifier() and name.isascii() and name.isupper() and value:
            parser.read_dict({"a": {"the key": f"%({name})s"}})
            if name not in ini.environment.DOCUMENTED:
                assert parser["a"]["the key"] == value
