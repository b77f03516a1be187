"""Plans of PostgreSQL: read from JSON, without the values of the statement, and as a text.

What executes is printed by the database with its constants in it: ``Filter: (name = 'x'::text)``.
Everything in a plan but names and kinds of things is masked like a statement.

Source: https://www.postgresql.org/docs/current/sql-explain.html.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias

from c2cotel_instrumentation import sql

Source: TypeAlias = Literal["auto_explain", "explain", "explain_analyze"]

LONGEST: Final = 32_768
"""Characters of a plan's JSON: of a longer one, only its shape is kept."""

_LONGEST_MESSAGE: Final = 4 * 1024 * 1024
_MESSAGE: Final = re.compile(r"duration: (?P<ms>[0-9.]+) ms  plan:\s*(?P<plan>[\[{].*)", re.DOTALL)
# The application's statement and its parameters: the span has the one, and nobody the other.
_QUERY: Final = frozenset(("Query Text", "Query Parameters", "Query Identifier"))
_HARMLESS: Final = frozenset(
    (
        "Alias",
        "CTE Name",
        "Cache Mode",
        "Command",
        "Conflict Arbiter Indexes",
        "Conflict Resolution",
        "Constraint Name",
        "Custom Plan Provider",
        "Function Name",
        "Index Name",
        "Join Type",
        "Node Type",
        "Operation",
        "Parent Relationship",
        "Partial Mode",
        "Relation",
        "Relation Name",
        "Scan Direction",
        "Schema",
        "Sort Method",
        "Sort Method Used",
        "Sort Methods Used",
        "Sort Space Type",
        "Strategy",
        "Subplan Name",
        "Trigger Name",
        "Tuplestore Name",
    )
)
_SHAPE: Final = _HARMLESS | {
    "Plan",
    "Plans",
    "Plan Rows",
    "Total Cost",
    "Actual Rows",
    "Actual Loops",
    "Actual Total Time",
}
_BUFFERS: Final = ("Shared", "Local", "Temp")
# Said on the node's own line, or of no use to a reader.
_UNSAID: Final = frozenset(
    (
        *("Node Type", "Parent Relationship", "Parallel Aware", "Async Capable", "Partial Mode"),
        *("Operation", "Strategy", "Join Type", "Scan Direction", "Relation Name", "Schema"),
        *("Alias", "Index Name", "CTE Name", "Function Name", "Subplan Name", "Plans"),
        *("Startup Cost", "Total Cost", "Plan Rows", "Plan Width", "Disabled", "Inner Unique"),
        *("Actual Startup Time", "Actual Total Time", "Actual Rows", "Actual Loops"),
    )
)


@dataclass(frozen=True)
class Plan:
    """How a statement was executed, or would be.

    Attributes:
        tree: What ``EXPLAIN (FORMAT JSON)`` gives, of one statement.
        source: Where it comes from: the real execution only if from ``auto_explain``.
        duration: Seconds that the database took, if it said so.
    """

    tree: dict[str, Any]
    source: Source
    duration: float | None = None

    def json(self) -> str:
        """The tree in at most :data:`LONGEST` characters."""
        for tree in (self.tree, _shape(self.tree), _shape(self.tree, deep=False)):
            text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
            if len(text) <= LONGEST:
                return text
        return "{}"

    def text(self) -> str:
        """The tree as ``EXPLAIN`` writes it for people; one of a server only alike, as JSON."""
        try:
            lines = list(_node(self.tree["Plan"], ""))
        except (AttributeError, TypeError, ValueError):
            return self.json()
        times = (name for name in ("Planning Time", "Execution Time") if name in self.tree)
        lines += (f"{name}: {self.tree[name]} ms" for name in times)
        return "\n".join(lines)


def is_plan(message: str) -> bool:
    """Whether *message* is what auto_explain says of a statement."""
    return _MESSAGE.search(message[:100]) is not None


def of_message(message: str, *, values: bool = False) -> Plan | None:
    """The plan in a *message* of auto_explain; *values* keeps those of the statement."""
    if len(message) > _LONGEST_MESSAGE or (found := _MESSAGE.search(message)) is None:
        return None
    return _plan(found["plan"], "auto_explain", values, _seconds(found))


def duration_of(message: str) -> float:
    """Seconds that the statement of a *message* of auto_explain took."""
    found = _MESSAGE.search(message[:100])
    return _seconds(found) if found else 0.0


def _seconds(found: re.Match[str]) -> float:
    return round(float(found["ms"]) / 1000, 9)


def of_explain(answer: Any, source: Source, *, values: bool = False) -> Plan | None:
    """The plan in the *answer* of ``EXPLAIN (FORMAT JSON)``, as whatever reads JSON gave it."""
    return _plan(answer, source, values, None)


def _plan(found: Any, source: Source, values: bool, duration: float | None) -> Plan | None:  # noqa: FBT001 - private
    if isinstance(found, str | bytes):
        try:
            found = json.loads(found)
        except ValueError:  # not the format that was asked for
            return None
    tree = found[0] if isinstance(found, list) and found else found
    if not isinstance(tree, dict) or not isinstance(tree.get("Plan"), dict):
        return None
    tree = {key: value for key, value in tree.items() if key not in _QUERY}
    return Plan(tree if values else _masked(tree), source, duration)


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _masked(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, key) for each in value]
    if isinstance(value, str) and key not in _HARMLESS:
        return sql.uncached_without_values(value, "postgresql")
    return value


def _shape(tree: dict[str, Any], *, deep: bool = True) -> dict[str, Any]:
    """*tree* without its details; the first node only, if not *deep*."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in _SHAPE:
            continue
        if isinstance(value, dict):
            kept[key] = _shape(value, deep=deep)
        elif isinstance(value, list):
            if deep:
                kept[key] = [_shape(each) if isinstance(each, dict) else each for each in value]
        else:
            kept[key] = value[:1000] if isinstance(value, str) else value
    return kept | {"Truncated": True} if "Plan" in kept else kept


def _node(node: dict[str, Any], indent: str) -> Iterator[str]:
    if name := node.get("Subplan Name"):
        yield f"{indent}{name}"
        indent += "  "
    arrow = "->  " if indent else ""
    yield f"{indent}{arrow}{_label(node)}{_costs(node)}"
    below = indent + "      " if indent else "  "
    for line in _details(node):
        yield f"{below}{line}"
    for child in node.get("Plans", ()):
        yield from _node(child, below)


def _label(node: dict[str, Any]) -> str:
    kind = str(node.get("Node Type", "?"))
    label = _KINDS[kind](node) if kind in _KINDS else kind
    join = node.get("Join Type", "Inner")
    if join != "Inner":
        label = label.replace(" Join", "") + f" {join} Join"
    if node.get("Parallel Aware"):
        label = f"Parallel {label}"
    if node.get("Partial Mode") not in (None, "Simple"):
        label = f"{node['Partial Mode']} {label}"
    if node.get("Scan Direction") == "Backward":
        label += " Backward"
    if index := node.get("Index Name"):
        label += f" on {index}" if kind.startswith("Bitmap") else f" using {index}"
    thing = next((node[key] for key in _THINGS if key in node), None)
    if thing is not None:
        schema = f"{_quoted(node['Schema'])}." if "Schema" in node else ""
        alias = node.get("Alias", thing)
        label += f" on {schema}{_quoted(thing)}" + (f" {_quoted(alias)}" if alias != thing else "")
    return label


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) else f'"{name}"'


_THINGS: Final = ("Relation Name", "CTE Name", "Function Name", "Alias")
_KINDS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "ModifyTable": lambda node: str(node.get("Operation", "ModifyTable")),
    "Aggregate": lambda node: {
        "Sorted": "GroupAggregate",
        "Hashed": "HashAggregate",
        "Mixed": "MixedAggregate",
    }.get(str(node.get("Strategy")), "Aggregate"),
    "SetOp": lambda node: "HashSetOp" if node.get("Strategy") == "Hashed" else "SetOp",
}


def _costs(node: dict[str, Any]) -> str:
    text = ""
    if "Total Cost" in node:
        text = (
            f"  (cost={node.get('Startup Cost', 0):.2f}..{node['Total Cost']:.2f} "
            f"rows={node.get('Plan Rows')} width={node.get('Plan Width')})"
        )
    if node.get("Actual Loops") == 0:
        return f"{text} (never executed)"
    if "Actual Rows" in node:
        time = ""
        if "Actual Total Time" in node:
            first = node.get("Actual Startup Time", 0)
            time = f"time={first:.3f}..{node['Actual Total Time']:.3f} "
        text += f" (actual {time}rows={node['Actual Rows']:g} loops={node.get('Actual Loops')})"
    return text


def _details(node: dict[str, Any]) -> Iterator[str]:
    for key, value in node.items():
        if key in _UNSAID or isinstance(value, dict) or key.endswith((" Blocks", " I/O Time")):
            continue
        if isinstance(value, list):
            if value and not isinstance(value[0], dict):
                yield f"{key}: {', '.join(str(each) for each in value)}"
        elif value not in (0, "", None) or isinstance(value, bool):
            yield f"{key}: {value}"
    buffers = []
    for kind in _BUFFERS:
        counts = {
            verb: node.get(f"{kind} {verb} Blocks", 0)
            for verb in ("Hit", "Read", "Dirtied", "Written")
        }
        if any(counts.values()):
            shown = (f"{verb.lower()}={count}" for verb, count in counts.items() if count)
            buffers.append(f"{kind.lower()} {' '.join(shown)}")
    if buffers:
        yield f"Buffers: {', '.join(buffers)}"


_VALUE: Final = r"(?:\?|%s|%\(\w[^)%]*\)s|[:$@]\w+)(?:::[\w ]+(?:\([\d?]*\))?(?:\[\])?)?"
_VALUES: Final = rf"\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\)"
# How many there are differs from one execution to the next.
_LISTS: Final = re.compile(rf"\b(IN|VALUES)\s*{_VALUES}(?:\s*,\s*{_VALUES})*", re.IGNORECASE)
_CACHED: Final = 512


@dataclass(frozen=True)
class Fingerprint:
    """What statements have in common that differ in values only.

    Attributes:
        text: The statement on one line, with ``?`` for literals and ``(…)`` for lists.
        digest: 16 hexadecimal digits made of *text*.
    """

    text: str
    digest: str


def fingerprint(statement: str, system: str) -> Fingerprint:
    """That of *statement*; of a very long one, that of its beginning."""
    return _fingerprint(sql.without_values(statement, system))


@lru_cache(_CACHED)
def _fingerprint(text: str) -> Fingerprint:
    text = _LISTS.sub(r"\1 (…)", " ".join(text.split()))
    return Fingerprint(text, blake2b(text.encode(errors="replace"), digest_size=8).hexdigest())
