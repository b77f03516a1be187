"""Boxes and lines."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, RelationshipDirection, RelationshipProperty, registry

from c2cotel.models_graph.classes import (
    base_name,
    brought,
    full_name,
    mapper_of,
    mixins,
    own_columns,
    parents,
    shares_table,
    table_name,
)
from c2cotel.models_graph.graphviz import box, rows_of, string

_TABLE: Final = "#eeeeee"

_Side: TypeAlias = tuple[Mapper[Any], str]


class Graph:
    def __init__(self, mappers: list[Mapper[Any]]) -> None:
        self._mappers = mappers
        self._drawn = set(mappers)
        # What a child shares with its parent is the parent's.
        self._by_table = {
            mapper.local_table: mapper for mapper in reversed(mappers) if not shares_table(mapper)
        }
        # Foreign keys by their columns, that another line stands for already.
        self._told: set[Any] = set()

    def lines(self) -> Iterator[str]:
        yield from self._nodes()
        yield from self._inheritance()
        associations: dict[str, Table] = {}
        yield from self._relationships(associations)
        yield from self._associations(associations.values())
        for mapper in self._by_table.values():
            yield from self._foreign_keys(mapper.local_table, _quoted(mapper.class_))

    def _nodes(self) -> Iterator[str]:
        groups: dict[registry, list[Mapper[Any]]] = {}
        for mapper in self._mappers:
            groups.setdefault(mapper.registry, []).append(mapper)
        framed = len(groups) > 1
        for number, members in enumerate(groups.values()):
            if framed:
                yield f"subgraph cluster_{number} {{"
                yield f'label={string(base_name(members))}; color="#aaaaaa";'
            for mapper in members:
                kind = mapper.class_
                rows = list(rows_of(own_columns(mapper)))
                yield f"{_quoted(kind)} [label=<{box(kind.__name__, table_name(mapper), rows)}>];"
            if framed:
                yield "}"
        # Mixins may be of several bases: they are in no frame.
        brought_in = {kind for mapper in self._mappers for kind in mixins(mapper.class_)}
        for kind in sorted(brought_in, key=full_name):
            rows = list(rows_of(brought(kind)))
            yield f"{_quoted(kind)} [label=<{box(kind.__name__, '', rows, dashed=True)}>];"

    def _inheritance(self) -> Iterator[str]:
        seen: set[type] = set()
        waiting = [mapper.class_ for mapper in self._mappers]
        while waiting:
            kind = waiting.pop(0)
            if kind in seen:
                continue
            seen.add(kind)
            for parent in parents(kind):
                mapper = mapper_of(parent)
                if mapper is None or mapper in self._drawn:
                    yield f"{_quoted(kind)} -> {_quoted(parent)} [arrowhead=empty];"
                if mapper is None:
                    waiting.append(parent)
        for mapper in self._mappers:
            if mapper.inherits is not None and isinstance(mapper.local_table, Table):
                self._tell(mapper.local_table, mapper.inherits.local_table)

    def _relationships(self, associations: dict[str, Table]) -> Iterator[str]:
        seen: set[frozenset[_Side]] = set()
        for mapper in self._mappers:
            for own in sorted(mapper.relationships, key=lambda each: each.key):
                # Those of a parent are drawn with the parent.
                if own.parent is not mapper or own.mapper not in self._drawn:
                    continue
                other = _other_side(own)
                sides = frozenset(
                    (side.parent, side.key) for side in (own, other) if side is not None
                )
                if sides in seen:
                    continue
                seen.add(sides)
                if own.secondary is None:
                    self._told |= set(own.local_remote_pairs)
                    self._told |= {(remote, local) for local, remote in own.local_remote_pairs}
                elif isinstance(own.secondary, Table) and own.secondary not in self._by_table:
                    associations[str(own.secondary)] = own.secondary
                yield _line(own, other)

    def _associations(self, tables: Iterable[Table]) -> Iterator[str]:
        for table in tables:
            node = string(f"table {table}")
            rows = list(rows_of(table.columns))
            yield f"{node} [label=<{box(str(table), '', rows, color=_TABLE)}>];"
            yield from self._foreign_keys(table, node)

    def _foreign_keys(self, table: Any, node: str) -> Iterator[str]:
        if not isinstance(table, Table):
            return
        for key in sorted(table.foreign_keys, key=lambda each: str(each.parent.name)):
            try:
                column = key.column
            except SQLAlchemyError:  # of a table that nobody has defined
                continue
            mapper = self._by_table.get(column.table)
            if mapper is None or (key.parent, column) in self._told:
                continue
            label = string(str(key.parent.name))
            yield f"{node} -> {_quoted(mapper.class_)} [style=dotted, label={label}];"

    def _tell(self, table: Table, parent: Any) -> None:
        for key in table.foreign_keys:
            try:
                if key.column.table is parent:
                    self._told.add((key.parent, key.column))
            except SQLAlchemyError:
                continue


def _other_side(own: "RelationshipProperty[Any]") -> "RelationshipProperty[Any] | None":
    """What says the same from the other end, by back_populates or backref of one of both."""
    if own.back_populates:
        return own.mapper.relationships.get(own.back_populates)
    for other in own.mapper.relationships:
        if other.back_populates == own.key and own.parent.common_parent(other.mapper):
            return other
    return None


def _line(own: "RelationshipProperty[Any]", other: "RelationshipProperty[Any] | None") -> str:
    many_to_many = own.direction is RelationshipDirection.MANYTOMANY
    if own.direction is RelationshipDirection.MANYTOONE:
        optional = any(local.nullable for local in own.local_columns)
        head = "teeodot" if optional else "tee"
        tail = "tee" if other is not None and not other.uselist else "crow"
    else:
        head = "crow" if own.uselist else "tee"
        tail = "crow" if many_to_many else "tee"
        if not many_to_many and any(remote.nullable for _, remote in own.local_remote_pairs):
            tail = "teeodot"
    names = own.key if other is None or other is own else f"{own.key} / {other.key}"
    return (
        f"{_quoted(own.parent.class_)} -> {_quoted(own.mapper.class_)} "
        f"[dir=both, arrowhead={head}, arrowtail={tail}, label={string(names)}];"
    )


def _quoted(kind: type) -> str:
    return string(full_name(kind))
