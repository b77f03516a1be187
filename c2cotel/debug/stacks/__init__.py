"""What every thread of the service is doing, and for which request.

``{base_path}/debug/threads`` is the page; ``{base_path}/debug/stacks`` is what c2cwsgiutils had::

    [{"frames": [{"file": …, "line": …, "function": …, "code": …}, …],
      "threads": ["host/pid/name(ident)", …]}, …]

Each stack is told once, the outermost frame first, with all threads of all processes that stand
there. ``?details=1`` is what the page shows:

===============  ================================================================================
``threads``      each with ``host``, ``pid``, ``name``, ``ident`` and ``native_id`` (the number that
                 ``top -H`` shows); of the request that it answers ``method``, ``route``,
                 ``trace_id``, ``request_id`` and ``seconds`` so far; ``moved``: whether it has gone
                 on within a tenth of a second, and ``cpu``, the part of that which it has computed;
                 ``waiting``; and its ``stack``, as an index of
``stacks``       as above
``deadlocks``    lists of threads of which each waits for the next one, and the last for the first
``perhaps``      those that seem to: Python says who has an ``RLock``, but not who has a ``Lock``
``silent``       processes that have not answered in time
``failed``       those that have answered something else, and what
``left_out``     how many threads of a process are not told: 200 are
===============  ================================================================================

``waiting`` is null, or what the thread waits for: ``for`` is ``SQL``, ``HTTP``, ``Redis``, ``lock``
and so on, see :mod:`c2cotel.debug.stacks.waiting`; ``detail`` says more; ``lock`` is its address;
``held_by`` the thread that has to give it back, as Python says of an ``RLock``, or because it is in
the ``with`` of the lock; ``may_be_held_by`` those that have called ``acquire`` of it, maybe in
vain, and will call ``release``. The page marks requests of five seconds or more, or of ``?stuck=``,
that wait for a lock and have not moved.

All of it is read from outside: no thread stops for it. Nothing of the application's is executed, no
value is shown but the names of engines, hosts, commands and programs; statements have ``?`` for
their literals. Lines of the source are shown as they are, but for ``password = "…"`` and the like:
a secret that is written there otherwise is seen. A stack has 200 frames, of a process with more
than 100 threads fewer; of a longer one, the middle is left out. The requests are those of the
instrumentor ``pyramid``: while that is off, there are none.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.debug.stacks import core, views
from c2cotel.debug.stacks.capture import Capture
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.running import Answering

__all__ = ["includeme", "listen"]


def _running() -> dict[int, Answering]:
    """What is running now: by another object when the instrumentor has been off in between."""
    found: dict[int, Answering] = PyramidInstrumentor().running.all()
    return found


def listen(package: str = "") -> None:
    """Answer whoever asks for the threads of all processes; *package* is the application's."""
    capture = Capture(package, _running)
    # Other answers take long, and may do so just because of what one wants to see here.
    broadcast.subscribe(core.CHANNEL, core.Answers(capture), prompt=True)


def includeme(config: Configurator) -> None:
    """Answer for this process, and serve both views."""
    listen(config.registry.package_name)
    config.add_c2c_view("debug/stacks", views.stacks)
    config.add_c2c_view(
        "debug/threads",
        views.page,
        title="Threads",
        section="Debug",
        description="What every thread is doing, for which request, and what it waits for.",
    )
