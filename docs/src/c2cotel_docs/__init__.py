"""What makes the documentation: generated pages, the site, and the blocks that are run as tests."""

from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2]
ROOT: Final = DOCS.parent


def pages() -> list[Path]:
    """The pages of the documentation."""
    made_of = DOCS / "src"
    return sorted(path for path in DOCS.rglob("*.md") if made_of not in path.parents)
