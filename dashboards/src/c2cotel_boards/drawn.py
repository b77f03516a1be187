"""Whether the pictures of the dashboards are of what these are now.

Beside the pictures is what was drawn: a digest of each dashboard, without what a picture does not
show. ``make pictures`` writes it, and a test compares.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from c2cotel_boards.build import FOLDER

PICTURES: Final = FOLDER.parent / "docs/pictures/dashboards"
_FILE: Final = "drawn.json"
# Shown by a click, or while the mouse is over something.
_UNSEEN: Final = frozenset(("description", "links"))


def digest(board: Mapping[str, Any]) -> str:
    """Of what is to be seen of *board*."""
    text = json.dumps(_seen(board), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read(folder: Path = PICTURES) -> dict[str, str]:
    """What was drawn: the digests by name."""
    file = folder / _FILE
    drawn: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return drawn


def note(name: str, board: Mapping[str, Any], folder: Path = PICTURES) -> None:
    """*board* has been drawn, and the picture is good."""
    drawn = {**read(folder), name: digest(board)}
    text = json.dumps(drawn, indent=2, sort_keys=True)
    (folder / _FILE).write_text(f"{text}\n", encoding="utf-8")


def _seen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _seen(one) for key, one in value.items() if key not in _UNSEEN}
    return [_seen(one) for one in value] if isinstance(value, list) else value
