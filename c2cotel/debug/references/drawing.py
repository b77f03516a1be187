"""A graph of objects as text for graphviz, and as a picture.

Source: https://graphviz.org/doc/info/lang.html.
"""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

from c2cotel.debug.texts import printable

MOST_CHARACTERS: Final = 500_000
"""Of a text for graphviz."""

_SECONDS: Final = 15.0
_LONGEST_PICTURE: Final = 8 * 1024 * 1024
_HEADER: Final = """digraph ObjectGraph {
  node [shape=box, style=filled, fillcolor=white, fontname="monospace", fontsize=10];
  edge [fontname="monospace", fontsize=9];
"""


class DrawingError(RuntimeError):
    """There is no picture of it; the text says why, and what to do."""


class MissingError(DrawingError):
    """Nothing is there to draw it with."""


def dot(graph: dict[str, Any], title: str) -> str:
    """*graph* in the language of graphviz, up to so many characters."""
    parts, size = [_HEADER], len(_HEADER)
    notes = list(graph["notes"])
    for line in _lines(graph):
        size += len(line)
        if size > MOST_CHARACTERS:
            notes.append(f"cut at {MOST_CHARACTERS} characters")
            break
        parts.append(line)
    label = "; ".join([title, *notes])
    parts.append(f'  label="{_quoted(label)}"; labelloc=t;\n}}\n')
    return "".join(parts)


def _lines(graph: dict[str, Any]) -> Iterator[str]:
    deepest = max((node["depth"] for node in graph["nodes"]), default=0)
    for node in graph["nodes"]:
        yield _node(node, deepest)
        if node["more"]:
            yield _more(node, backwards=graph.get("backrefs", False))
    for owner, target, text in graph["edges"]:
        label = f' [label="{_quoted(text)}"]' if text else ""
        yield f"  o{owner} -> o{target}{label};\n"


def _node(node: dict[str, Any], deepest: int) -> str:
    label = "\\n".join(_quoted(line) for line in label_of(node))
    share = node["depth"] / deepest if deepest else 0.0
    # From white to grey; modules, where it ends, are green.
    color = "0.3,0.3,0.9" if node["module"] else f"0,0,{1 - 0.35 * share:.2f}"
    root = ", color=red, penwidth=2" if node["depth"] == 0 else ""
    return f'  o{node["id"]} [label="{label}", fillcolor="{color}"{root}];\n'


def label_of(node: dict[str, Any]) -> list[str]:
    """What a node says, line by line."""
    lines = [node["type"], node["text"]]
    if "references" in node:
        lines[0] += f" [{node['references']}]"
        size = node["size_kb"]
        if size is not None:
            lines.append(f"{'' if node['whole'] else '≥ '}{size:.3f} kB")
        lines.append(f"id {node['id']}")
    return lines


def _more(node: dict[str, Any], *, backwards: bool) -> str:
    name, other = f"o{node['id']}", f"more{node['id']}"
    edge = f"{other} -> {name}" if backwards else f"{name} -> {other}"
    return (
        f'  {other} [label="{node["more"]} more", shape=plaintext, style="", fontcolor=red];\n'
        f"  {edge} [color=red, style=dotted];\n"
    )


def _quoted(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


def svg(text: str) -> bytes:
    """The picture of what *text* says to graphviz.

    Raises:
        MissingError: graphviz is not installed.
        DrawingError: it fails, or takes too long.
    """
    program = shutil.which("dot")
    if program is None:
        raise MissingError(
            "A picture needs graphviz: install it beside the service (apt-get install graphviz), "
            "or draw show_refs.dot elsewhere: dot -Tsvg show_refs.dot > show_refs.svg"
        )
    try:
        made = subprocess.run(  # noqa: S603 - graphviz, and nothing of the client's but its input
            [program, "-Tsvg"],
            input=text.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise DrawingError(
            f"graphviz takes more than {_SECONDS:g} s for it: ask for less with max_depth, "
            "too_many or max_nodes"
        ) from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise DrawingError(f"graphviz fails: {type(error).__name__}") from error
    if len(made.stdout) > _LONGEST_PICTURE:
        raise DrawingError("The picture is too large: ask for less with max_depth or max_nodes")
    return made.stdout
