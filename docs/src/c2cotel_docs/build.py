"""Write the pages that are made of the code: ``make docs-generated``.

What people have written in them stays; what is made stands between two comments.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Final

from c2cotel import cli
from c2cotel_docs import DOCS, configuration, metrics, spans

BEGIN: Final = "<!-- made by `make docs-generated`: begin -->"
END: Final = "<!-- made by `make docs-generated`: end -->"

_MADE: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration.tables,
    "metrics.md": lambda: f"{metrics.tables()}\n\n{spans.tables()}",
}
NAMES: Final = (*_MADE, "commands.md")


def text_of(name: str) -> str:
    """What the page *name* is to be.

    Raises:
        ValueError: It has no place for what is made.
    """
    if name == "commands.md":
        return f"{cli.reference_markdown().rstrip()}\n"
    before, begin, rest = (DOCS / name).read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/{name} has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{_MADE[name]()}\n\n{END}{after}"


def main() -> int:
    """Write all of them."""
    for name in NAMES:
        (DOCS / name).write_text(text_of(name), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
