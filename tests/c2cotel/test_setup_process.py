"""Scripts with the application; those in processes of their own are in the acceptance tests."""

import argparse
import sys

import plaster
import pytest
from opentelemetry import trace

from c2cotel import setup_process
from c2cotel.otel import script, set_up
from c2cotel_instrumentation.context import current_request_id

from .otel.conftest import in_child

__all__ = ["in_child"]


@pytest.mark.parametrize(
    ("use_attribute", "arguments"),
    [
        (False, ["c2c://other.ini", "a=1", "b=2"]),
        (True, ["--config-uri", "c2c://other.ini", "--config-vars", "a=1", "b=2"]),
    ],
)
def test_the_arguments_are_those_of_pyramids_commands(use_attribute, arguments):
    parser = argparse.ArgumentParser()
    setup_process.fill_arguments(parser, use_attribute)
    given = parser.parse_args(arguments)
    assert (given.config_uri, given.config_vars) == ("c2c://other.ini", ["a=1", "b=2"])
    default = parser.parse_args([])
    assert (default.config_uri, default.config_vars) == ("c2c:///app/production.ini", ())


def test_the_former_name_of_setting_up_the_logging_warns():
    with (
        pytest.warns(DeprecationWarning, match="init_logging is deprecated"),
        pytest.raises(plaster.LoaderNotFound),
    ):
        setup_process.init_logging("nothing+there://x.ini")


@pytest.mark.parametrize(
    ("argv", "spec", "expected"),
    [
        (["/usr/bin/import-tiles", "--password", "x"], None, "import-tiles"),
        (["/app/import_tiles.py"], None, "import_tiles"),
        (["/x/tiles/__main__.py"], "tiles.__main__", "tiles"),
        (["/x/tiles/load.py"], "tiles.load", "tiles.load"),
        (["-c"], None, "-c"),
        ([""], None, "python"),
        ([], None, "python"),
    ],
)
def test_the_span_is_named_after_the_script_and_nothing_else(monkeypatch, argv, spec, expected):
    found = argparse.Namespace(name=spec) if spec else None
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setitem(sys.modules, "__main__", argparse.Namespace(__spec__=found))
    assert script.name() == expected


@pytest.mark.parametrize(
    ("status", "expected"), [(None, 0), (0, 0), (3, 3), (256, 0), (-1, 255), (True, 1), ("no", 1)]
)
def test_the_exit_status_is_what_python_makes_of_it(status, expected):
    assert script.status_of(status) == expected


def test_it_begins_once_and_everything_is_as_before_when_it_has_ended(in_child):
    def told():
        hooks = sys.exit, sys.excepthook
        telemetry = set_up()
        script.begin(telemetry)
        span, request_id = trace.get_current_span(), current_request_id()
        script.begin(telemetry)
        assert trace.get_current_span() is span
        assert request_id == span.attributes["c2c.request.id"]
        assert script.run(telemetry, lambda: 3) == 3
        with pytest.raises(SystemExit):
            script.run(telemetry, lambda: sys.exit(5))
        telemetry.exit.run()
        assert (sys.exit, sys.excepthook) == hooks
        return dict(span.attributes), span.status.description

    attributes, description = in_child(told)
    del attributes["c2c.request.id"]
    assert attributes == {"process.exit.code": 5, "error.type": "5"}
    assert description == "exit status 5"


def test_within_a_span_of_somebody_else_there_is_no_other(in_child):
    def told():
        telemetry = set_up()
        with trace.get_tracer("t").start_as_current_span("mine"):
            script.begin(telemetry)
        return telemetry.exit.first

    assert in_child(told) == []


def test_without_telemetry_a_script_runs_as_well(in_child):
    def told():
        telemetry = set_up()
        script.begin(telemetry)
        status = setup_process.run(lambda: 4)
        for first in telemetry.exit.first:
            first()
        return status, current_request_id() is not None

    assert in_child(told, OTEL_SDK_DISABLED="true") == (4, True)
