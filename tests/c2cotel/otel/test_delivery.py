"""A dead collector is said once, and once that it is back."""

import logging

from c2cotel.otel.exporters import DeferredExporter


class Result:
    def __init__(self, name):
        self.name = name


class Fickle:
    """Logs as OTLP exporters do, and fails while it is told to."""

    def __init__(self, failing):
        self.failing = failing

    def export(self, batch):
        if self.failing:
            logging.getLogger("opentelemetry.exporter.fickle").error("refused (%d)", len(batch))
            return Result("FAILURE")
        return Result("SUCCESS")


Fickle.__module__ = "opentelemetry.exporter.fickle"


def test_a_failure_is_said_once_with_its_reason_until_it_works_again(caplog):
    fickle = Fickle(failing=True)
    exporter = DeferredExporter("spans", lambda: fickle)
    for _ in range(3):
        exporter.export([1, 2])
    fickle.failing = False
    exporter.export([1])
    exporter.export([1])
    first, second = caplog.messages
    assert first.startswith("The spans of this process are not delivered: refused (2)")
    assert second == "The spans of this process are delivered again."
    assert exporter.lost == 6


def test_what_others_log_with_the_same_exporter_is_theirs(caplog):
    exporter = DeferredExporter("spans", lambda: Fickle(failing=True))
    exporter.export([1])
    Fickle(failing=True).export([1])
    assert caplog.messages[1:] == ["refused (1)"]


def test_at_the_end_the_exit_says_it(caplog):
    exporter = DeferredExporter("spans", lambda: Fickle(failing=True))
    exporter.delivery.ending = True
    exporter.export([1])
    assert caplog.messages == []
    assert exporter.delivery.why == "refused (1)"
