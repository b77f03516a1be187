"""The memory of real processes, which answer others meanwhile."""

import sys
import threading
import time

import pytest

from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.memory import core
from c2cotel_acceptance.utils import retry_timeout

from ...broadcast.service import Outside  # noqa: TID252 - the processes of a neighbour

LONG, OBJECTS = 1.5, 300_000


class Inside:
    """One process of a service, with many objects."""

    def __init__(self, directory, objects):
        self.objects = [{"number": number} for number in range(objects)]
        self.broadcaster = Broadcaster()
        if objects:
            self.broadcaster.subscribe(core.CHANNEL, core.Analysis(seconds=LONG).told)
            self.broadcaster.subscribe("quick", lambda: "here")
        self.broadcaster.start(directory, None, "p_")

    def ask(self, channel, timeout, **params):
        began = time.monotonic()
        replies = self.broadcaster.ask(channel, params, timeout, here=False)
        return time.monotonic() - began, [each for each in replies.answers if each is not None]


@pytest.fixture
def process(tmp_path, monkeypatch):
    # Other tests may have imported it; this process does not fork workers.
    monkeypatch.delitem(sys.modules, "gunicorn.arbiter", raising=False)
    made = []

    def make(objects=0):
        made.append(Outside(lambda: Inside(tmp_path, objects)))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def test_a_long_analysis_has_a_deadline_and_keeps_nobody_from_being_answered(process):
    """It is not done by the thread that listens."""
    process(OBJECTS)
    operator, other = process(), process()
    retry_timeout(lambda: other.ask("quick", 1)[1], 10, 0.02)
    found = []
    asking = threading.Thread(
        target=lambda: found.append(
            operator.ask(core.CHANNEL, 30, analyze_type="builtins.dict", limit=3)
        )
    )
    asking.start()
    waits = []
    while asking.is_alive():
        took, answers = other.ask("quick", 10)
        assert answers == ["here"]
        waits.append(took)
    ((took, (told,)),) = found
    assert told["builtins.dict"]["timeout"] is True
    assert LONG / 2 < took < 10 * LONG
    assert len(waits) > 3
    assert min(waits) < took / 10
