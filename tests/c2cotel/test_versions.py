"""versions.json as a view and as ``c2c.build_info``."""

import json
import logging
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider
from pyramid.config import Configurator
from pyramid.request import Request

from c2cotel import settings
from c2cotel.metrics.joining import join
from c2cotel.metrics.merge import Merge
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.store import Store
from c2cotel.otel.disabled import DisabledMeterProvider
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view
from c2cotel.versions import core
from c2cotel.versions_file import Versions, VersionsError, read

CONTENT = {
    "main": {"git_hash": "abc", "git_tag": "1.0.0", "built": 5},
    "packages": {"pyramid": "2.1"},
    "more": [1.5, None, {"ü": "ü"}],
}


@pytest.fixture
def file(tmp_path):
    """``file(content)``: the path of such a file."""

    def write(content):
        path = tmp_path / "versions.json"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)
        return path

    return write


# --- the file -------------------------------------------------------------------------------------


def test_the_file_is_kept_as_it_is(file):
    assert read(file(CONTENT)) == Versions(CONTENT, "abc", "1.0.0")


def test_hash_or_tag_is_enough(file):
    assert read(file({"main": {"git_hash": "abc"}})).git_tag is None
    assert read(file({"main": {"git_tag": "1", "git_hash": None}})).git_hash is None


@pytest.mark.parametrize("path", ["/nowhere/versions.json", "/dev/null/versions.json"])
def test_no_file_is_no_error(path):
    assert read(Path(path)) is None


MALFORMED = {
    b"": " is not JSON: ",
    b"{": " is not JSON: ",
    b"abc": " is not JSON: ",
    b"\xff\xfe": " is not JSON: ",
    b'{"main":{"git_hash":"\xff"}}': " is not JSON: ",
    b'{"main":{"git_hash":"a"},"x":NaN}': " is not JSON: ",
    b'{"main":{"git_hash":"\\ud800"}}': " is not JSON: ",
    b'{"x":' + b"[" * 100_000: " is not JSON: ",
    b"[]": " is not what genversion writes: ",
    b"null": " is not what genversion writes: ",
    b"{}": " is not what genversion writes: ",
    b'{"main":3}': " is not what genversion writes: ",
    b'{"main":{}}': " is not what genversion writes: main has no git_hash",
    b'{"main":{"git_hash":""}}': " is not what genversion writes: main has no git_hash",
    b'{"main":{"git_hash":5}}': " is not what genversion writes: ",
    b'{"main":{"git_hash":"a"},"packages":[]}': " is not what genversion writes: ",
    b'{"main":{"git_hash":"a"},"packages":{"a":1}}': " is not what genversion writes: ",
}


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: repr(content[:40]))
def test_a_malformed_file_is_said(file, content):
    path = file(content)
    with pytest.raises(VersionsError, match=re.escape(f"{path}{MALFORMED[content]}")):
        read(path)


def test_a_folder_in_its_place_is_said(tmp_path):
    with pytest.raises(VersionsError, match="is not a file"):
        read(tmp_path)


@given(st.binary())
def test_whatever_stands_in_the_file_there_is_one_error(content):
    with TemporaryDirectory() as folder:
        path = Path(folder, "versions.json")
        path.write_bytes(content)
        with pytest.raises(VersionsError):
            read(path)


# --- c2c.build_info -------------------------------------------------------------------------------


def loaded(**environ):
    found = settings.load(environ, {})
    assert found.problems == ()
    return found.settings


def test_the_attributes_are_the_build_and_the_chosen_packages():
    environ = {
        "C2C_PROMETHEUS_PACKAGES": "pyramid,SQLAlchemy,zope.interface,no-such",
        "C2C_PROMETHEUS_APPLICATION_PACKAGE": "c2cotel",
    }
    assert core.build_info(loaded(**environ), Versions({}, "abc", "1.0.0")) == {
        "pyramid": version("pyramid"),
        "SQLAlchemy": version("SQLAlchemy"),
        "zope_interface": version("zope.interface"),
        "no_such": "<missing>",
        "application": version("c2cotel"),
        "git_hash": "abc",
        "git_tag": "1.0.0",
    }


@pytest.mark.parametrize(
    ("git_hash", "versions", "expected"),
    [
        (None, None, {"git_hash": "<missing>"}),
        ("abc", None, {"git_hash": "abc"}),
        (None, Versions({}, None, "1.0"), {"git_hash": "<missing>", "git_tag": "1.0"}),
        (None, Versions({}, "abc", None), {"git_hash": "abc"}),
        ("abc", Versions({}, "abc", "1.0"), {"git_hash": "abc", "git_tag": "1.0"}),
        ("def", Versions({}, "abc", "1.0"), {"git_hash": "def"}),
    ],
)
def test_the_setting_wins_over_the_file(git_hash, versions, expected):
    environ = {"GIT_HASH": git_hash} if git_hash else {}
    found = core.build_info(loaded(**environ), versions)
    assert {key: found[key] for key in ("git_hash", "git_tag") if key in found} == expected
    assert set(found) - set(expected) == {"c2cotel", "pyramid", "gunicorn", "SQLAlchemy"}


@pytest.mark.parametrize("name", ["", " ", "..", "/etc/passwd", "a" * 5000, "\x00", "ü", "a b"])
def test_a_name_that_no_package_has_is_missing(name):
    assert core.installed(name) == "<missing>"


@pytest.mark.parametrize("provider", [NoOpMeterProvider(), DisabledMeterProvider()])
def test_a_meter_that_merges_nothing_is_no_error(provider):
    core.observe(provider.get_meter("tests"), {"git_hash": "abc"})


@contextmanager
def store(path):
    directory = join({"C2C_RUN_DIR": str(path)})
    made = Store(directory)
    try:
        yield made
    finally:
        if made.slab is not None:
            made.slab.close()
        directory.leave()


def in_child(function):
    """A forked process that has run *function* and stays until its stdin says so."""
    (come, say), (wait, go) = os.pipe(), os.pipe()
    if (pid := os.fork()) == 0:
        try:
            function()
            os.write(say, b"1")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(say)
    os.close(wait)
    assert os.read(come, 1) == b"1"
    os.close(come)
    return pid, go


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_all_processes_are_one_series(tmp_path):
    attributes = {"git_hash": "abc", "pyramid": "2.1"}
    with store(tmp_path / "run") as made:
        provider = MeterProvider(made)
        core.observe(provider.get_meter("tests"), attributes)
        core.observe(provider.get_meter("tests"), attributes)  # a second application
        children = [in_child(provider.observe) for _ in range(2)]
        provider.observe()
        merged = {
            family.description.name: {row.key: row.values[0] for row in rows}
            for family, rows in Merge(
                made.directory.path, made.max_series, made.private_image
            ).read()
        }
        for pid, go in children:
            os.write(go, b"1")
            os.close(go)
            os.waitpid(pid, 0)
    assert merged["c2c.build_info"] == {(("git_hash", "abc"), ("pyramid", "2.1")): 1.0}
    assert merged["c2c.metrics.processes"] == {(): 3.0}


# --- the view -------------------------------------------------------------------------------------

SECRET = "a secret of the tests"


@pytest.fixture
def application(monkeypatch):
    """``application(path)``: an application that finds its versions there."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    def make(path):
        monkeypatch.setenv("C2C_VERSIONS_FILE", str(path))
        config = Configurator(settings={"c2c.secret": SECRET})
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.versions"):
            config.include(feature)
        return config.make_wsgi_app()

    return make


def get(app, **headers):
    request = Request.blank("/c2c/versions.json")
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(app)


def test_the_view_answers_what_stands_in_the_file_as_of_the_start(application, file):
    app = application(path := file(CONTENT))
    path.unlink()
    response = get(app, X_API_Key=SECRET)
    assert response.status_int == 200
    assert response.content_type == "application/json"
    assert response.json == CONTENT
    assert response.text.startswith('{"main":{"git_hash":"abc"')


def test_it_is_not_for_everybody(application, file):
    assert get(application(file(CONTENT))).status_int == 403


def test_it_stands_on_the_console(application, file):
    (entry,) = console_of(application(file(CONTENT)).registry).entries
    assert (entry.title, entry.route, entry.access) == ("Versions", "c2c_versions", Access.READ)


def test_without_a_file_there_is_no_view(application, tmp_path, caplog):
    app = application(tmp_path / "versions.json")
    assert get(app, X_API_Key=SECRET).status_int == 404
    assert console_of(app.registry).entries == []
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"main":{"git_hash":1}}'])
def test_a_malformed_file_is_said_at_start_and_there_is_no_view(application, file, content, caplog):
    app = application(path := file(content))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path} is not ")
    assert record.getMessage().endswith(
        ". There is no view of the versions: write it with `c2cotel genversion`."
    )
    assert get(app, X_API_Key=SECRET).status_int == 404


SCRAPED = """
from pyramid.config import Configurator
from c2cotel import otel

for _ in range(2):
    config = Configurator()
    config.include("c2cotel")
    config.include("c2cotel.versions")
    config.make_wsgi_app()
print(otel.set_up().scraper.expose("")[0].decode())
"""


def test_two_applications_that_include_the_feature_twice_expose_one_series(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("C2C_", "OTEL_", "GIT_"))}
    environ = {
        "C2C_RUN_DIR": f"{tmp_path}/run",
        "C2C_VERSIONS_FILE": f"{tmp_path}/versions.json",
        "C2C_PROMETHEUS_PACKAGES": "pyramid",
        "GIT_HASH": "abc",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRAPED],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    series = [line for line in done.stdout.splitlines() if line.startswith("c2c_build_info")]
    assert [re.sub(r"otel_scope_\w+=\"[^\"]*\",?", "", line) for line in series] == [
        f'c2c_build_info{{git_hash="abc",pyramid="{version("pyramid")}"}} 1.0'
    ]
    assert done.stderr == ""
