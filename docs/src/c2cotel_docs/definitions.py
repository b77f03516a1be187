"""What the source says of each metric: its description, and the buckets of a histogram.

It is read, not run: some instruments are made only where something goes wrong.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from c2cotel_docs import ROOT

SOURCES: Final = ("c2cotel", "instrumentation/c2cotel_instrumentation")
# Where names are put together from this and what stands in the source.
_PREFIXES: Final[Mapping[str, str]] = {
    "itself.py": "c2c.metrics.",
    "sql_pools.py": "db.client.connection.",
    "numbers.py": "c2c.database.",
}
_BOUNDS: Final = frozenset({"_BOUNDS", "_BUCKETS"})


@cache
def _trees() -> tuple[tuple[Path, ast.Module], ...]:
    paths = (path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py")))
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def descriptions(names: Iterable[str]) -> dict[str, str]:
    """The description of each of the metrics *names*, where the source has one beside the name."""
    wanted, found = set(names), {}
    for path, tree in _trees():
        prefix = _PREFIXES.get(path.name, "")
        for texts in _beside_each_other(tree):
            name = next((each for each in (texts[0], prefix + texts[0]) if each in wanted), None)
            sentences = [text for text in texts[1:] if " " in text or text.endswith(".")]
            if name and sentences:
                found[name] = sentences[-1]
    return found


def _beside_each_other(tree: ast.Module) -> Iterator[list[str]]:
    """The texts of each call, tuple and item of a dictionary, in their order, if there are some."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts = [[*node.args, *(keyword.value for keyword in node.keywords)]]
        elif isinstance(node, ast.Tuple):
            parts = [node.elts]
        elif isinstance(node, ast.Dict):
            parts = [
                [key, *(value.elts if isinstance(value, ast.Tuple) else [value])]
                for key, value in zip(node.keys, node.values, strict=True)
                if key is not None
            ]
        else:
            continue
        constants = [
            [each.value for each in part if isinstance(each, ast.Constant)] for part in parts
        ]
        found = [[text for text in part if isinstance(text, str)] for part in constants]
        yield from filter(None, found)


def buckets(names: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """The upper bounds of the buckets of the histograms *names*, without the infinite one."""
    wanted = set(names)
    found: dict[str, tuple[float, ...]] = {}
    for path, tree in _trees():
        bounds = _bounds(tree)
        if bounds is None:
            continue
        prefix = _PREFIXES.get(path.name, "")
        for texts in _beside_each_other(tree):
            for name in {texts[0], prefix + texts[0]} & wanted:
                found[name] = bounds
    return found


def _bounds(tree: ast.Module) -> tuple[float, ...] | None:
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if _BOUNDS & {getattr(target, "id", "") for target in targets}:
            value = getattr(node, "value", None)
            return tuple(map(float, ast.literal_eval(value))) if value else None
    return None
