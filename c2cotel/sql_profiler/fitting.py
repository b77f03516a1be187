"""Statements and their plans in an answer of limited size: the first ones have more of it."""

import json
from typing import Any, Final

# As much of a text as a row of the page shows; of a plan, less is of no use.
_SHORT: Final = 300


def fitted(statements: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """*statements*, changed so that their JSON has *room* bytes at most.

    All of them keep their numbers and the beginning of their text.
    """
    whole = [(each["text"], each["plan"]) for each in statements]
    for each in statements:
        each["text"], each["plan"] = _beginning(each["text"], _SHORT), ""
    room -= size(statements)
    for each, (text, plan) in zip(statements, whole, strict=True):
        if (more := size(text) - size(each["text"])) <= room:
            each["text"] = text
            room -= more
        if plan and room > _SHORT:
            each["plan"] = _beginning(plan, room)
            room -= size(each["plan"])
        else:
            # That of another process counts.
            each["plan_source"], each["plan_at"] = "", 0.0
    return statements


def size(value: Any) -> int:
    return len(json.dumps(value))


def _beginning(text: str, room: int) -> str:
    """*text*, or as much of it as takes *room* bytes of JSON."""
    if size(text) <= room:
        return text
    kept = text[:room]
    while (taken := size(f"{kept}…")) > room and kept:
        kept = kept[: len(kept) * room // taken]
    return f"{kept}…"
