"""Write the dashboards: ``python -m c2cotel_boards.build [--check]``.

``--check`` writes nothing, and fails if something else would be written.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER: Final = Path(__file__).parents[2]

NAMES: Final = (
    "overview",
    "requests",
    "database",
    "outgoing",
    "processes",
    "operations",
    "database-statistics",
)
"""Files are called by them; modules have underscores."""


def text_of(name: str) -> str:
    """The JSON of a dashboard, as it is committed."""
    module = import_module(f"c2cotel_boards.{name.replace('-', '_')}")
    return JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False).encode(module.board()) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser("python -m c2cotel_boards.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is old")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these dashboards")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such dashboard: {', '.join(sorted(unknown))}; one of {', '.join(NAMES)}")
    old = []
    for name in options.names or NAMES:
        path = FOLDER / f"{name}.json"
        text = text_of(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old.append(path.name)
        if not options.check:
            path.write_text(text, encoding="utf-8")
    return _tell(old, check=options.check)


def _tell(old: Sequence[str], *, check: bool) -> int:
    if not old:
        print("All dashboards are what their modules make.")
        return 0
    if not check:
        print(f"Written: {', '.join(old)}")
        return 0
    remedy = "make dashboards"
    print(f"Not what their modules make, run `{remedy}`: {', '.join(old)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
