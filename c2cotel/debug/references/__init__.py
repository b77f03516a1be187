"""Which objects have which: why something is not freed.

``{base_path}/debug/show_refs.dot`` is a graph for graphviz, ``debug/show_refs.svg`` the same drawn,
where graphviz is installed, and ``debug/references/graph`` the page.

==============================  ==================================================================
``?analyze_type=…``             begins with the objects of this type, 20 at most; or
``?analyze_id=…``               with the one that has this id, see ``debug/memory?details=1``
``&backrefs``                   what has them, instead of what they have
``&max_depth=3``                steps from there, 10 at most
``&too_many=10``                of each object, so many neighbours are shown
``&max_nodes=300``              objects in all, 2000 at most
``&min_size_kb=0``              smaller neighbours are left out; ``filter`` is the same
``&no_extra_info``              without sizes, ids and numbers of references
``&process=host/pid``           in that process; without it, in the one that answers
==============================  ==================================================================

What has been left out is told in the graph, which has 500 000 characters at most. Values are cut,
secrets hidden by the names that they stand under. The class of an object is not among what it has.
An id is looked for among the living objects: one that has been freed is 404, whatever lies at its
address now.

**What it costs**: as :mod:`c2cotel.debug.memory`, a garbage collection and then slices of 5 ms, for
20 seconds at most.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.debug.references import core, views

__all__ = ["includeme", "listen"]


def listen() -> core.References:
    """Answer whoever asks for a graph of this process."""
    references = core.References(lambda: broadcast.broadcaster().process)
    broadcast.subscribe(core.CHANNEL, references.told)
    return references


def includeme(config: Configurator) -> None:
    """Answer for this process, and serve the views."""
    config.registry.c2c_references = listen()
    config.add_c2c_view("debug/show_refs.dot", views.show_refs, name="c2c_debug_show_refs")
    config.add_c2c_view("debug/show_refs.svg", views.picture, name="c2c_debug_show_refs_svg")
    config.add_c2c_view(
        "debug/references/graph",
        views.page,
        title="References",
        section="Debug",
        description="What has an object, and what it has: why it is not freed.",
    )
