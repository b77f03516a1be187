"""The language of Graphviz: https://graphviz.org/doc/info/shapes.html#html."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

from sqlalchemy.types import NullType

_CLASS: Final = "#dce8f5"


def box(
    name: str, table: str, rows: list[str], *, dashed: bool = False, color: str = _CLASS
) -> str:
    style = ' STYLE="DASHED"' if dashed else ""
    background = "" if dashed else f' BGCOLOR="{color}"'
    below = f'<BR/><FONT POINT-SIZE="8">{_text(table)}</FONT>' if table else ""
    return (
        f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2"{style}>'
        f'<TR><TD COLSPAN="3"{background}><B>{_text(name)}</B>{below}</TD></TR>'
        f"{''.join(rows)}</TABLE>"
    )


def rows_of(columns: Iterable[Any]) -> Iterator[str]:
    for column in columns:
        if isinstance(column, tuple):
            name, kind, keys = (*column, "")
        else:
            name, kind, keys = str(column.name), type_of(column), _keys(column)
        cells = (f'<TD ALIGN="LEFT">{_text(cell) or " "}</TD>' for cell in (name, kind, keys))
        yield f"<TR>{''.join(cells)}</TR>"


def type_of(column: Any) -> str:
    try:
        text = str(column.type)
    except Exception:  # noqa: BLE001 - a type of the application's own: it may need a dialect
        text = type(column.type).__name__
    # That of a foreign key to what nobody has defined.
    text = "" if isinstance(column.type, NullType) else text
    optional = getattr(column, "nullable", False) and not getattr(column, "primary_key", False)
    return f"{text}?" if optional else text


def _keys(column: Any) -> str:
    names = ["PK"] if getattr(column, "primary_key", False) else []
    targets = (key.target_fullname for key in getattr(column, "foreign_keys", ()))
    return ", ".join([*names, *(f"FK {target}" for target in sorted(targets))])


def string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _text(text: str) -> str:
    # Signs that no XML may have, not even escaped.
    return escape("".join(sign if sign.isprintable() else " " for sign in text))
