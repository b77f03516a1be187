"""The code blocks of a page, as they stand in its Markdown.

``title="name"`` is a file, ``<!-- not run: why -->`` on the line before says that a block cannot be
run here. ``needs: [postgresql]`` in the front matter is what the page is run with.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

NEEDS: Final = ("postgresql", "redis", "prometheus")

_FENCE = re.compile(r"(?P<indent>\s*)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w.+-]*)(?P<more>.*)")
_TITLE = re.compile(r'title="(?P<title>[^"]*)"')
_NOT_RUN = re.compile(r"\s*<!--\s*not run(?::\s*(?P<why>.*?))?\s*-->")
_FRONT_MATTER = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)


class BlockError(Exception):
    """A block is not what it says, or does not do what the page shows; the text has file:line."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: The number of its first line of text.
        not_run: Why it is not run; empty if no reason is given, None if it is run.
    """

    page: str
    line: int
    language: str
    title: str | None
    text: str
    not_run: str | None

    def error(self, message: str, line: int = 0) -> BlockError:
        """What is wrong in the *line* of it, counted from 0."""
        return BlockError(f"{self.page}:{self.line + line}: {message}")


@dataclass(frozen=True)
class Page:
    """A page's name in messages, what it needs, and its blocks in their order."""

    name: str
    needs: tuple[str, ...]
    blocks: tuple[Block, ...]


def read(path: Path, root: Path) -> Page:
    """The page in *path*; messages name it as seen from *root*.

    Raises:
        BlockError: A block is not closed, or the page needs what is not known.
    """
    name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
    return Page(name, _needs(name, text), tuple(_blocks(name, text)))


def _needs(page: str, text: str) -> tuple[str, ...]:
    matter = _FRONT_MATTER.match(text)
    found = (yaml.safe_load(matter[1]) or {}).get("needs", []) if matter else []
    unknown = set(found) - set(NEEDS)
    if unknown:
        raise BlockError(f"{page}:1: needs {sorted(unknown)}: of {list(NEEDS)} is known")
    return tuple(found)


def _blocks(page: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    before = ""
    numbers = iter(range(len(lines)))
    for number in numbers:
        opened = _FENCE.fullmatch(lines[number])
        if opened is None:
            before = lines[number] if lines[number].strip() else before
            continue
        body = list(_until_closed(lines, numbers, opened))
        if body and body[-1] is None:
            raise BlockError(f"{page}:{number + 1}: this block is not closed")
        titled, reason = _TITLE.search(opened["more"]), _NOT_RUN.fullmatch(before)
        yield Block(
            page=page,
            line=number + 2,
            language=opened["language"],
            title=titled["title"] if titled else None,
            text=textwrap.dedent("".join(f"{line}\n" for line in body)),
            not_run=(reason["why"] or "") if reason else None,
        )
        before = ""


def _until_closed(
    lines: list[str], numbers: Iterator[int], opened: re.Match[str]
) -> Iterator[str | None]:
    """The lines up to the fence that closes; None after them if there is none."""
    for number in numbers:
        line = lines[number]
        fence = line.strip()
        if fence.startswith(opened["fence"]) and not fence.strip(opened["fence"][0]):
            return
        yield line
    yield None


@dataclass(frozen=True)
class Command:
    """One ``$ command`` of a console block; *line* counts from 0 within the block."""

    line: int
    text: str
    output: tuple[str, ...]

    @property
    def in_background(self) -> bool:
        """Whether it goes on while the next ones run."""
        return self.text.rstrip().endswith("&") and not self.text.rstrip().endswith("&&")


def commands(block: Block) -> list[Command]:
    r"""The commands of a console *block*, with what they print.

    A line that ends in ``\`` goes on in the next one, and so does what ``> `` begins, as a shell
    shows it.

    Raises:
        BlockError: It does not begin with a command.
    """
    found: list[Command] = []
    continued = False
    for number, line in enumerate(block.text.splitlines()):
        if continued or (found and not found[-1].output and line.startswith("> ")):
            last = found.pop()
            found.append(Command(last.line, f"{last.text}\n{line.removeprefix('> ')}", ()))
        elif line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ "), ()))
        elif found:
            last = found.pop()
            found.append(Command(last.line, last.text, (*last.output, line)))
        elif line.strip():
            raise block.error(f"{line!r} comes before any `$ command`", number)
        continued = bool(found) and not found[-1].output and found[-1].text.endswith("\\")
    return found


ELLIPSES: Final = ("...", "…")
_ELLIPSIS = re.compile(r"\.\.\.|…")


def agrees(shown: tuple[str, ...], printed: str) -> bool:
    """Whether *printed* is what is *shown*; ``...`` stands for anything, nothing too.

    On a line of its own it stands for any number of lines, and so does nothing at all.
    """
    if not any(line.strip() for line in shown):
        return True
    pattern = "".join(
        r"(?:.*\n)*"
        if line.strip() in ELLIPSES
        else ".*".join(map(re.escape, _ELLIPSIS.split(line.rstrip()))) + r"[ \t]*\n"
        for line in "\n".join(shown).rstrip().splitlines()
    )
    return re.fullmatch(pattern, printed.rstrip() + "\n") is not None
