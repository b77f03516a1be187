"""What the memory of the service is used for: by all processes, by one call, by mapped files.

``{base_path}/debug/memory`` asks every process and waits 70 seconds at most; each analyses for a
minute at most. Where that was not enough for a type, its entry has ``"timeout": true``, with
``&details=1`` also the counts of all types. Who asks for what is being analysed for somebody else
gets the same answer; one who asks for something else waits. ``debug/memory/types`` is the page.

=============================  ===================================================================
nothing                        the most common types, and those of objects that nothing has which
                               the garbage collector knows
``?limit=30``                  rows of each list, 1000 at most
``&analyze_type=…``            ``builtins.function``: the modules that have the most functions;
                               ``linecache``: the files whose source is kept for tracebacks;
                               any other type, such as ``builtins.dict``: its biggest objects
``&python_internals_map=1``    modules, classes, functions and the like count in sizes, too
``&details=1``                 with ids, what is reached from an object, and who was silent
=============================  ===================================================================

The size of an object is its own with all that only it has: what would be freed if it went. What
others have as well is nobody's. It is a lower bound where more than 20 000 things have each other.

**What it costs**: first a full garbage collection, in which the process does nothing else (0.1 to
0.2 s for a million objects); with millions of them and an ``analyze_type``, pauses of a second or
two have been seen. The rest is done in slices of 5 ms with as long a rest after each:
the requests of the process go on, at half speed at worst. Objects are held while they are looked
at.

``debug/memory_diff?path=/api/hello`` calls that path in this process, and tells how much more
memory and which more objects there are after it than before; what other requests do meanwhile
counts as well. It is called twice, for the first call fills caches; ``&no_warmup`` leaves out
that one. The call is a GET with the cookies and the ``Authorization`` of who asks, and without the
secret of these views. What came of it is in the header ``C2C-Target-Status`` of the answer, and
with ``&details=1`` in the answer itself. The page is ``debug/memory/growth``.

``debug/memory_maps`` are the mapped files of this process, from Linux; as a page,
``debug/memory/mapped``.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.debug.memory import core, views
from c2cotel.debug.memory.maps import dump_memory_maps

__all__ = ["dump_memory_maps", "includeme", "listen"]

_SECTION = "Debug"


def listen() -> None:
    """Answer whoever asks for the memory of all processes."""
    broadcast.subscribe(core.CHANNEL, core.Analysis().told)


def includeme(config: Configurator) -> None:
    """Answer for this process, and serve the views."""
    listen()
    config.add_c2c_view("debug/memory", views.memory)
    config.add_c2c_view(
        "debug/memory/types",
        views.types_page,
        title="Memory",
        section=_SECTION,
        description="The types that have the most objects in each process, and the biggest ones.",
    )
    config.registry.c2c_memory_growth = views.Measuring()
    config.add_c2c_view("debug/memory_diff", views.memory_diff)
    config.add_c2c_view(
        "debug/memory_diff/*path",
        views.memory_diff_deprecated,
        name="c2c_debug_memory_diff_deprecated",
    )
    config.add_c2c_view(
        "debug/memory/growth",
        views.growth_page,
        title="Memory of a call",
        section=_SECTION,
        description="What a call of one of the addresses of the service leaves in the memory.",
    )
    config.add_c2c_view("debug/memory_maps", views.memory_maps)
    config.add_c2c_view(
        "debug/memory/mapped",
        views.maps_page,
        title="Memory maps",
        section=_SECTION,
        description="The files and regions that one process has in its memory.",
    )
