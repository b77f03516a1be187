"""What the features show on the console, the page at the base path (:mod:`c2cotel.index`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pyramid.registry import Registry

from c2cotel.pyramid.access import Access


@dataclass(frozen=True)
class Field:
    """One input of a form.

    Attributes:
        name: The parameter.
        label: What stands before it.
        kind: ``select`` offers *choices*, the others are types of HTML's ``input``.
        value: What stands in it at first.
        help: One sentence below it.
    """

    name: str
    label: str
    kind: Literal["text", "number", "search", "checkbox", "select"] = "text"
    value: str = ""
    choices: Sequence[str] = ()
    required: bool = False
    help: str = ""


@dataclass(frozen=True)
class Form:
    """Inputs for the parameters of a view; ``post`` for one that changes something."""

    fields: Sequence[Field]
    button: str = "Show"
    method: Literal["get", "post"] = "get"


@dataclass(frozen=True)
class Entry:
    """One view on the console: a link, or a form."""

    title: str
    route: str
    access: Access
    section: str = ""
    description: str = ""
    form: Form | None = None


@dataclass
class Console:
    """The entries of one application, in the order in which its features were included.

    Attributes:
        entries: As said.
        notices: Each tells in one sentence what everybody has to know now, or None.
    """

    entries: list[Entry] = field(default_factory=list)
    notices: list[Callable[[], str | None]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)

    def told(self) -> list[str]:
        """What there is to know now."""
        return [text for notice in self.notices if (text := notice()) is not None]


def console_of(registry: Registry) -> Console:
    """The console of the application with this *registry*."""
    console: Console | None = getattr(registry, "c2c_console", None)
    if console is None:
        console = registry.c2c_console = Console()
    return console
