"""Tables and names in Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, without a line break at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """*text* for a table: a bar would end the cell in every dialect, even within backticks."""
    return text.replace("|", "\\|")


def code(text: object) -> str:
    """*text* as it is typed."""
    return f"`{text}`"


def listed(texts: Iterable[object]) -> str:
    """Each of *texts* as it is typed, with commas between."""
    return ", ".join(map(code, texts))
