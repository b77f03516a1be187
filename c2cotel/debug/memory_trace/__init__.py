"""Where the memory of all processes grows: the lines of source that allocate what stays.

``{base_path}/debug/memory_traces`` is the page. For programs::

    curl -X POST -H 'X-API-Key: …' -d seconds=30 {base_path}/debug/memory_trace

==============  =================================================================================
``seconds``     1 to 60, by default 10
``frames``      how many callers are kept of each allocation: 1 to 25, by default 3; each costs
``process``     ``all``, the number of a process, or ``host/number`` where hosts share numbers
``limit``       lines that each process tells, 50 by default and 1000 at most
``force=1``     whatever it costs, see below
==============  =================================================================================

It is answered at once, with the ``id`` and where the result will be. A process makes one trace at a
time: while one that is asked for is busy, the answer is 409. ``POST …?stop=<id>`` ends one early.
Who may start and stop one needs the right to change things.

``GET debug/memory_trace`` lists those that run, and those of the last minutes;
``GET debug/memory_trace/<id>`` is one: for each line how many bytes and objects there are more at
its end, and by whom the line was called. What was allocated before its beginning is not seen, and
neither is what a library in C allocates by itself.

**What it costs** is much. Python's :mod:`tracemalloc` makes all that allocates slower, in the whole
process and for as long as the trace goes on: requests of a small application took 9 times as long
with 1 frame, 17 times with 5 and 60 times with 25. So each process first measures, for a fifth of a
second, how busy it is, and how many times as long a loop takes that allocates. If the product is
more than 90 % of a core, which is all that Python's threads have together, nothing begins, and the
answer, a 409, says the numbers. ``force=1`` begins nevertheless. Records of what is allocated take
memory as well: at 64 MB of them (512 MB with ``force``) a trace ends early, and says so. At its end
all records are copied in one go, about half a second for 64 MB.

tracemalloc is switched off at the end in any case, unless it was on before
(``PYTHONTRACEMALLOC``): then it stays as it is. A worker that ends meanwhile leaves what it has; of
one that is killed the trace says so, and has the others.
"""

from pyramid.config import Configurator

from c2cotel.broadcast import broadcaster
from c2cotel.broadcast.agreement import agreement
from c2cotel.debug.memory_trace import core, views

__all__ = ["includeme", "listen"]


def listen() -> core.Traces:
    """Take part in traces."""
    traces = core.Traces(broadcaster=broadcaster(), agreement=agreement())
    traces.jobs.listen()
    return traces


def includeme(config: Configurator) -> None:
    """Take part in traces, and serve the views."""
    config.registry.c2c_memory_traces = listen()
    config.add_c2c_view(
        "debug/memory_trace", views.traces, name="c2c_debug_memory_trace", changes=views.changes
    )
    config.add_c2c_view("debug/memory_trace/{id}", views.trace, name="c2c_debug_memory_trace_one")
    config.add_c2c_view(
        "debug/memory_traces",
        views.traces_page,
        name="c2c_debug_memory_traces",
        title="Memory traces",
        section="Debug",
        description="Which lines of source allocate what stays, in all processes.",
    )
    config.add_c2c_view(
        "debug/memory_traces/{id}", views.trace_page, name="c2c_debug_memory_traces_one"
    )
