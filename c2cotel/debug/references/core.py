"""Which objects have which, around some of them.

Who has an object is found by looking at what all others have: a level takes about a second where
there are a million objects, in slices (:mod:`c2cotel.debug.heap`). All objects are listed before
anything here has one of them, so that nothing of ours is ever shown to have it.
"""

import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from c2cotel.debug import heap
from c2cotel.debug.heap import OutOfTimeError, Pace
from c2cotel.debug.links import link_of, links
from c2cotel.debug.secret_names import can_be_secret, hides, secret_ones
from c2cotel.debug.sizes import INTERNALS, reachable
from c2cotel.debug.texts import printable, shown, type_name
from c2cotel_instrumentation.redaction import REDACTED

CHANNEL: Final = "c2c_debug_references"
SECONDS: Final = 20.0
"""How long a process looks, at most."""

MOST_ROOTS: Final = 20
"""Objects of a type that the graph begins with, at most."""

_LONGEST_TEXT: Final = 80
# Of more things, how large they are together is not told exactly.
_MOST_REACHED: Final = 10_000
_MOST_EDGES: Final = 5000


class UnknownError(LookupError):
    """There is no such type, or no such object any more; the text says so."""


@dataclass(frozen=True)
class Order:
    """What is wanted.

    Attributes:
        type: Objects of this type to begin with, or the one with this *id*.
        max_depth: Steps from there.
        too_many: Of one object's, so many are shown.
        max_nodes: Objects in all.
        min_size_kb: Smaller ones are left out.
        extra_info: Whether sizes and ids are told.
        backrefs: What has it, instead of what it has.
    """

    type: str | None = None
    id: int | None = None
    max_depth: int = 3
    too_many: int = 10
    max_nodes: int = 300
    min_size_kb: float = 0.0
    extra_info: bool = True
    backrefs: bool = False


@dataclass
class Node:
    """One object of the graph; *more* are those beside it that are not shown."""

    thing: Any
    depth: int
    masked: bool = False
    more: int = 0
    size: int | None = None
    whole: bool = True


@dataclass
class _Search:
    """The search for one graph."""

    order: Order
    pace: Pace
    nodes: dict[int, Node] = field(default_factory=dict)
    edges: dict[tuple[int, int], str] = field(default_factory=dict)
    full: bool = False

    def add(self, thing: Any, depth: int) -> Node | None:
        """The node of *thing*; None if there is no room for another one, or it is too small."""
        if (known := self.nodes.get(id(thing))) is not None:
            return known
        if len(self.nodes) >= self.order.max_nodes:
            self.full = True
            return None
        self.nodes[id(thing)] = node = Node(thing, depth)
        return node

    def link(self, owner: Any, thing: Any, text: str, name: Any) -> None:
        """Draw that *owner* has *thing*, under that name."""
        self.nodes[id(thing)].masked |= hides(name, thing)
        if len(self.edges) < _MOST_EDGES:
            self.edges.setdefault((id(owner), id(thing)), text)
        else:
            self.full = True

    def is_wanted(self, thing: Any) -> bool:
        least = self.order.min_size_kb * 1024
        return not least or reachable(thing, most=_MOST_REACHED, pace=self.pace)[0] >= least

    def forwards(self) -> None:
        """Add what the roots have, what these have, and so on."""
        level = list(self.nodes.values())
        for depth in range(self.order.max_depth):
            following: list[Node] = []
            for node in level:
                following += self._expand(node, depth + 1)
            level = following

    def _expand(self, node: Node, depth: int) -> Iterator[Node]:
        # In what is hidden, everything is.
        if node.masked or (depth > 1 and issubclass(type(node.thing), INTERNALS)):
            return
        shown_ones = 0
        for text, name, value in links(node.thing):
            self.pace.step()
            if not self.is_wanted(value):
                continue
            known = id(value) in self.nodes
            other = self.add(value, depth) if shown_ones < self.order.too_many else None
            if other is None:
                node.more += 1
                continue
            shown_ones += 1
            self.link(node.thing, value, text, name)
            if not known:
                yield other

    def backwards(self, objects: list[Any]) -> None:
        """Add what has the roots, what has these, and so on."""
        level = set(self.nodes)
        for depth in range(self.order.max_depth):
            shown_ones: Counter[int] = Counter()
            following: set[int] = set()
            for owner, targets in heap.owners(objects, level, self.pace):
                if not self.is_wanted(owner):
                    continue
                known = id(owner) in self.nodes
                for target in targets:
                    room = known or shown_ones[target] < self.order.too_many
                    if not room or self.add(owner, depth + 1) is None:
                        self.nodes[target].more += 1
                        continue
                    shown_ones[target] += 1
                    thing = self.nodes[target].thing
                    self.link(owner, thing, *link_of(owner, thing))
                # What a module has, half of the process has.
                if not known and id(owner) in self.nodes and type(owner) is not ModuleType:
                    following.add(id(owner))
            level = following

    def hide(self) -> None:
        """What something hidden has is hidden, too."""
        todo = [key for key, node in self.nodes.items() if node.masked]
        while todo:
            key = todo.pop()
            for owner, target in self.edges:
                node = self.nodes[target]
                if owner == key and not node.masked and can_be_secret(node.thing):
                    node.masked = True
                    todo.append(target)

    def measure(self) -> None:
        for node in self.nodes.values():
            node.size, node.whole = reachable(node.thing, most=_MOST_REACHED, pace=self.pace)


def found(order: Order, pace: Pace) -> dict[str, Any]:
    """The graph, as JSON; see :class:`c2cotel.debug.references.drawing.Graph`.

    Raises:
        UnknownError: there is nothing to begin with.
    """
    gc.collect()
    # Before anything else has one of them.
    objects = gc.get_objects()
    search = _Search(order, pace)
    notes: list[str] = []
    try:
        number = _begin(search, objects)
        if number > len(search.nodes):
            notes.append(f"{len(search.nodes)} of {number} objects of this type")
        # What the graph begins with may itself stand under the name of a secret.
        hidden = secret_ones([node.thing for node in search.nodes.values()], pace, objects)
        for key in hidden:
            search.nodes[key].masked = True
        if order.backrefs:
            search.backwards(objects)
        else:
            search.forwards()
        if order.extra_info:
            search.measure()
    except OutOfTimeError:
        notes.append(f"not all, its {SECONDS:g} seconds were over")
    finally:
        del objects
    search.hide()
    if search.full:
        notes.append(f"cut at {order.max_nodes} objects, see max_nodes")
    return {
        "nodes": [_told(key, node, order) for key, node in search.nodes.items()],
        "edges": [[owner, target, text] for (owner, target), text in search.edges.items()],
        "notes": notes,
    }


def _begin(search: _Search, objects: list[Any]) -> int:
    """Add what the graph begins with; how many there would be."""
    order = search.order
    if order.id is not None:
        for each in search.pace.over(objects, 10_000):
            if id(each) == order.id:
                search.add(each, 0)
                return 1
        raise UnknownError(f"analyze_id={order.id}: no object has this id, or it has been freed")
    kinds = heap.types_named(order.type or "", search.pace)
    if not kinds:
        raise UnknownTypeError(_unknown(order.type or "", search.pace))
    wanted = frozenset(kinds)
    number = 0
    for chunk in heap.chunks(objects, search.pace, 10_000):
        for each in chunk:
            if type(each) in wanted:
                number += 1
                if number <= MOST_ROOTS:
                    search.add(each, 0)
    return number


def _unknown(name: str, pace: Pace) -> str:
    similar = heap.similar_types(name, pace)
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    return (
        f"analyze_type={printable(name[:80])}: process {os.getpid()} has no such type, others may."
        f"{hint}"
    )


class UnknownTypeError(UnknownError):
    """Nothing is of this type."""


def _told(key: int, node: Node, order: Order) -> dict[str, Any]:
    thing = node.thing
    hidden = node.masked
    told: dict[str, Any] = {
        "id": key,
        "depth": node.depth,
        "type": type_name(type(thing)),
        "text": REDACTED if hidden else shown(thing, _LONGEST_TEXT),
        "module": issubclass(type(thing), ModuleType),
        "more": node.more,
    }
    if order.extra_info:
        # Without those of the node, of this function and of the question.
        told["references"] = max(sys.getrefcount(thing) - 3, 0)
        told["size_kb"] = None if node.size is None else node.size / 1024
        told["whole"] = node.whole
    return told


class References:
    """Those of this process; one graph at a time."""

    def __init__(self, process: Any, seconds: float = SECONDS) -> None:
        self._process = process
        self._seconds = seconds
        self._lock = threading.Lock()

    def told(self, process: str, order: dict[str, Any]) -> dict[str, Any] | None:
        """What this process answers when all are asked for the graph of *process*."""
        me = self._process()
        if process not in (str(me), str(me.pid)):
            return None
        return self.graph(Order(**order))

    def graph(self, order: Order) -> dict[str, Any]:
        """That of this process; with a ``status`` where there is none."""
        if not self._lock.acquire(blocking=False):
            return {"status": 409, "message": "Another graph is being made there: try again later"}
        try:
            return {"graph": found(order, Pace(self._seconds))}
        except UnknownTypeError as error:
            return {"status": 400, "message": str(error.args[0])}
        except UnknownError as error:
            return {"status": 404, "message": str(error.args[0])}
        finally:
            self._lock.release()
