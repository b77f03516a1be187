import json
import os
import subprocess
import sys

import plaster
import pytest
from pyramid.paster import bootstrap, get_app, get_appsettings

from c2cotel.ini import variables
from c2cotel.settings import SettingsError

APPLICATION = """
import logging
from pyramid.config import Configurator
from pyramid.response import Response

def main(global_config, **settings):
    config = Configurator(settings=settings)
    config.registry.given = global_config
    config.add_route("hello", "/hello/{name}")
    config.add_view(lambda request: Response("ok"), route_name="hello")
    return config.make_wsgi_app()

def filtering(global_config, **options):
    def make(application):
        application.filter_options = options
        return application
    return make

def serve(global_config, **options):
    return lambda application: (options, application.registry.given["POD"])
"""
INI = """
[DEFAULT]
root = %(here)s
PINNED = file

[app:main]
paste.app_factory = ini_app:main
url = postgresql://me:%(DB_PASSWORD)s@host/db
both = %(http_proxy)s %(HTTP_PROXY)s
folder = %(root)s/x
pinned = %(PINNED)s
PORT = 8080
get pod = POD

[pipeline:piped]
pipeline = outer main

[filter:outer]
paste.filter_factory = ini_app:filtering
password = %(DB_PASSWORD)s

[server:main]
paste.server_factory = ini_app:serve
listen = 127.0.0.1:%(EXTRA)s
"""
ENVIRONMENT = {
    "DB_PASSWORD": "100%(x)s%%/#;é",
    "http_proxy": "low",
    "HTTP_PROXY": "high",
    "POD": "a%b",
    "PORT": "1",
    "PINNED": "environment",
    "EXTRA": "",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "ini_app.py").write_text(APPLICATION)
    (tmp_path / "production.ini").write_text(INI)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    sys.modules.pop("ini_app", None)


def test_the_application_has_the_environment_in_its_settings(folder):
    application = get_app("c2c://production.ini")
    settings = application.registry.settings
    names = ("url", "both", "folder", "pinned", "PORT", "pod")
    assert {name: settings[name] for name in names} == {
        "url": "postgresql://me:100%(x)s%%/#;é@host/db",
        "both": "low high",
        "folder": f"{folder}/x",
        # The file's own names win.
        "pinned": "file",
        "PORT": "8080",
        "pod": "a%b",
    }
    assert application.registry.given["POD"] == "a%b"
    assert application.registry.given["DB_PASSWORD"] == ENVIRONMENT["DB_PASSWORD"]


@pytest.mark.parametrize("uri", ["c2c://{}", "c2c+ini://{}", "c2c:{}", "c2cotel+c2c://{}"])
def test_an_absolute_path_is_found_by_each_scheme(folder, uri):
    settings = get_appsettings(uri.format(folder / "production.ini"))
    assert (settings["both"], settings["pod"]) == ("low high", "a%b")
    assert settings.global_conf["POD"] == "a%b"


@pytest.mark.usefixtures("folder")
def test_a_pipeline_and_its_filters_have_it_too():
    application = get_app("c2c://production.ini#piped")
    assert application.filter_options == {"password": ENVIRONMENT["DB_PASSWORD"]}


@pytest.mark.usefixtures("folder")
def test_a_server_has_it_and_an_empty_variable_is_empty():
    loader = plaster.get_loader("c2c://production.ini", protocols=["wsgi"])
    server = loader.get_wsgi_server()
    assert server(loader.get_wsgi_app()) == ({"listen": "127.0.0.1:"}, "a%b")


@pytest.mark.usefixtures("folder")
def test_options_and_variables_given_by_hand_win_over_the_environment():
    loader = plaster.get_loader("c2c://production.ini?POD=option", protocols=["wsgi"])
    assert loader.get_wsgi_app_settings()["pod"] == "option"
    assert loader.get_wsgi_app_settings(defaults={"POD": "given"})["pod"] == "given"
    assert loader.get_settings("app:main", {"http_proxy": "given"})["both"] == "given high"


@pytest.mark.usefixtures("folder")
def test_the_settings_of_any_section_can_be_had():
    loader = plaster.get_loader("c2c://production.ini", protocols=["wsgi"])
    assert "filter:outer" in loader.get_sections()
    assert dict(loader.get_settings("filter:outer"))["password"] == ENVIRONMENT["DB_PASSWORD"]
    settings = loader.get_settings("app:main")
    assert (settings["pinned"], settings["PORT"], settings["pod"]) == ("file", "8080", "a%b")


def test_an_ini_that_uses_another_one_gives_it_the_environment(folder):
    (folder / "development.ini").write_text(
        "[app:main]\nuse = config:production.ini\nurl = mine://%(DB_PASSWORD)s\n"
    )
    settings = get_app("c2c://development.ini").registry.settings
    assert settings["url"] == f"mine://{ENVIRONMENT['DB_PASSWORD']}"
    assert settings["both"] == "low high"


@pytest.mark.parametrize("method", ["get_wsgi_app", "get_wsgi_app_settings", "get_settings"])
def test_a_variable_that_there_is_not_is_told_with_file_section_and_key(
    folder, method, monkeypatch
):
    monkeypatch.delenv("DB_PASSWORD")
    loader = plaster.get_loader("c2c://production.ini", protocols=["wsgi"])
    with pytest.raises(SettingsError) as error:
        getattr(loader, method)(*(["app:main"] if method == "get_settings" else []))
    assert str(error.value) == (
        f"{folder}/production.ini [app:main] url: there is no environment variable DB_PASSWORD, "
        "nor such a key in [DEFAULT]. Set the one or write the other."
    )
    assert error.value.__context__ is None


def test_a_lone_percent_sign_is_told_without_the_password_around_it(folder):
    text = INI.replace("%(DB_PASSWORD)s", "hunter2%40")
    (folder / "production.ini").write_text(text)
    (folder / "development.ini").write_text("[app:main]\nuse = config:production.ini\n")
    for uri in ("c2c://production.ini", "c2c://development.ini"):
        with pytest.raises(SettingsError, match=r"production.ini \[app:main\] url: a percent") as e:
            get_app(uri)
        assert "hunter2" not in str(e.value)
        assert e.value.__context__ is None


@pytest.mark.usefixtures("folder")
def test_the_environment_given_once_more_changes_nothing():
    loader = plaster.get_loader("c2c://production.ini", protocols=["wsgi"])
    once, twice = (loader.get_wsgi_app_settings(defaults=d) for d in (None, variables()))
    assert dict(once) == dict(twice)
    assert once["PORT"] == "8080"


def test_an_error_of_the_application_stays_what_it_is(folder):
    (folder / "ini_app.py").write_text("def main(*_, **__):\n    raise KeyError('mine')\n")
    with pytest.raises(KeyError, match="mine"):
        get_app("c2c://production.ini")


@pytest.mark.usefixtures("folder")
def test_a_script_bootstraps_with_it():
    with bootstrap("c2c://production.ini") as env:
        assert env["registry"].settings["pinned"] == "file"


def test_the_applications_of_a_distribution_are_loaded_with_it():
    loader = plaster.get_loader("c2c+egg://waitress#main", protocols=["wsgi"])
    assert loader.get_sections() == []
    assert loader.get_wsgi_server() is not None


def python(*argv, cwd, **environ):
    env = {**os.environ, **ENVIRONMENT, "PYTHONWARNINGS": "ignore::UserWarning", **environ}
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_proutes_shows_the_routes_of_an_application_with_the_environment(folder):
    done = python("-m", "pyramid.scripts.proutes", "c2c://production.ini", cwd=folder)
    assert "/hello/{name}" in done.stdout, done.stderr


LOGGING = """
[loggers]
keys = root, mine
[handlers]
keys = json
[formatters]
keys =
[logger_root]
level = %(OTHER_LOG_LEVEL)s
handlers = json
[logger_mine]
level = %(LOG_LEVEL)s
handlers =
qualname = mine
[handler_json]
class = c2cotel.pyramid_logging.JsonLogHandler
kwargs = {'stream': sys.stdout}
"""
LOGS = """
import logging, plaster, sys
plaster.setup_logging(sys.argv[1])
for name in ("mine", "other"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "%s %s", name, logging.getLevelName(level))
"""


def logged(folder, uri="c2c://production.ini", **environ):
    done = python("-c", LOGS, uri, cwd=folder, **environ)
    assert done.stderr == ""
    return [json.loads(line)["msg"] for line in done.stdout.splitlines()]


def test_logging_is_that_of_the_ini_with_the_environment_in_it(folder):
    with (folder / "production.ini").open("a") as file:
        file.write(LOGGING)
    assert logged(folder) == ["mine INFO", "mine WARNING", "other WARNING"]
    assert logged(folder, LOG_LEVEL="debug", OTHER_LOG_LEVEL="error") == [
        "mine DEBUG",
        "mine INFO",
        "mine WARNING",
    ]


def test_without_loggers_logging_is_that_of_the_settings(folder):
    assert logged(folder, LOG_TYPE="json", LOG_LEVEL="WARNING") == ["mine WARNING", "other WARNING"]


def test_a_wrong_level_stops_the_script(folder):
    with (folder / "production.ini").open("a") as file:
        file.write(LOGGING)
    done = python("-c", LOGS, "c2c://production.ini", cwd=folder, LOG_LEVEL="loud")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "production.ini [logger_mine] level: 'loud' is no level. "
        "There are CRITICAL, ERROR, WARNING, INFO, DEBUG, NOTSET and numbers."
    )


def test_what_the_ini_has_a_handler_or_a_level_for_is_not_wrong(folder):
    with (folder / "production.ini").open("a") as file:
        file.write(LOGGING.replace("handlers = json", "handlers = %(LOG_TYPE)s", 1))
    text = (folder / "production.ini").read_text()
    (folder / "production.ini").write_text(
        text.replace("keys = json", "keys = cee").replace("[handler_json]", "[handler_cee]")
    )
    environ = {"LOG_TYPE": "cee", "LOG_LEVEL": "15", "OTHER_LOG_LEVEL": "warn"}
    assert logged(folder, **environ) == ["mine INFO", "mine WARNING", "other WARNING"]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LOG_TYPE": "cee"}, "LOG_TYPE = 'cee': not one of those known. Write one of console, "),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL = 'loud': no level. There are CRITICAL, ERROR, "),
    ],
)
def test_without_loggers_wrong_settings_of_logging_stop_the_script(folder, environ, said):
    done = python("-c", LOGS, "c2c://production.ini", cwd=folder, **environ)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


WRONG_SETTING = """
from pyramid.config import Configurator
from c2cotel.pyramid.settings import settings_of

def main(global_config, **settings):
    settings_of(Configurator(settings=settings))
"""


WRONG_INI = """
[app:main]
paste.app_factory = wrongly_set:main
c2c.enable_exception_handling = maybe
[pipeline:piped]
pipeline = third
[app:third]
paste.app_factory = wrongly_set:main
c2c.enable_exception_handling = maybe
"""


@pytest.mark.parametrize(
    ("name", "where"),
    [("main", "[app:main]"), ("third", "[app:third]"), ("piped", "[app:main] or [app:third]")],
)
def test_a_wrong_setting_says_in_which_file_and_section_it_is(folder, monkeypatch, name, where):
    (folder / "wrongly_set.py").write_text(WRONG_SETTING)
    monkeypatch.syspath_prepend(folder)
    path = folder / "wrong.ini"
    path.write_text(WRONG_INI)
    loader = plaster.get_loader(f"c2c://{path}", protocols=["wsgi"])
    with pytest.raises(SettingsError) as error:
        loader.get_wsgi_app(name)
    assert str(error.value).startswith(
        f"{path} {where} c2c.enable_exception_handling = 'maybe': neither true nor false. "
    )
