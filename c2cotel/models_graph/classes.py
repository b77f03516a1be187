"""Which classes there are, and what each adds to its parents."""

from collections.abc import Iterable, Iterator
from inspect import get_annotations
from types import ModuleType
from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, DeclarativeBaseNoMeta, MappedColumn, Mapper, registry

from c2cotel.models_graph.graphviz import type_of


class ModelsGraphError(ValueError):
    """There is nothing to draw; the message says why."""


def mappers_of(module: ModuleType) -> list[Mapper[Any]]:
    values = list(vars(module).values())
    found = [value for value in values if isinstance(value, registry)]
    # Of what is not mapped, such as a declarative base, only the class may tell.
    kinds = [value for value in values if isinstance(value, type)]
    found += [own for kind in kinds if isinstance(own := getattr(kind, "registry", None), registry)]
    found += [mapper.registry for kind in kinds if (mapper := mapper_of(kind)) is not None]
    return _mappers(dict.fromkeys(found))


def mappers_below(module: ModuleType, base: str) -> list[Mapper[Any]]:
    parent = getattr(module, base, None)
    if not isinstance(parent, type):
        raise ModelsGraphError(f"{module.__name__} has no class {base}.")
    own = getattr(parent, "registry", None)
    known = [own] if isinstance(own, registry) else {m.registry for m in mappers_of(module)}
    return [mapper for mapper in _mappers(known) if issubclass(mapper.class_, parent)]


def _mappers(registries: Iterable[registry]) -> list[Mapper[Any]]:
    found: list[Mapper[Any]] = []
    for each in registries:
        try:
            each.configure(cascade=True)
        except SQLAlchemyError as error:
            raise ModelsGraphError(" ".join(str(error).split())) from error
        found += list(each.mappers)
    return sorted(set(found), key=lambda mapper: full_name(mapper.class_))


def mapper_of(kind: type) -> Mapper[Any] | None:
    found: Any = inspect(kind, raiseerr=False)
    return found if isinstance(found, Mapper) else None


def full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def shares_table(mapper: Mapper[Any]) -> bool:
    return mapper.inherits is not None and mapper.local_table is mapper.inherits.local_table


def own_columns(mapper: Mapper[Any]) -> Iterable[Any]:
    # Several classes may be in one table.
    if shares_table(mapper):
        others = set(mapper.inherits.columns) if mapper.inherits is not None else set()
        return [column for column in mapper.columns if column not in others]
    children = (each for each in mapper.self_and_descendants if shares_table(each))
    others = {column for child in children for column in child.columns} - set(mapper.columns)
    return [column for column in mapper.local_table.columns if column not in others]


def table_name(mapper: Mapper[Any]) -> str:
    if shares_table(mapper):
        return ""
    table = mapper.local_table
    return str(table) if isinstance(table, Table) else "a query"


def base_name(members: list[Mapper[Any]]) -> str:
    """That of the declarative base; where there is none, that of the module."""
    for kind in reversed(members[0].class_.__mro__):
        if mapper_of(kind) is None and kind.__dict__.get("registry") is members[0].registry:
            return kind.__name__
    return str(members[0].class_.__module__)


def parents(kind: type) -> list[type]:
    """The bases of *kind* that are models, mixins or abstract models."""
    return [parent for parent in kind.__bases__ if not _is_framework(parent)]


def _is_framework(kind: type) -> bool:
    """What says nothing of the models: the declarative base, and what Python and libraries have."""
    if kind.__module__.partition(".")[0] in ("builtins", "sqlalchemy", "typing", "abc", "enum"):
        return True
    if DeclarativeBase in kind.__bases__ or DeclarativeBaseNoMeta in kind.__bases__:
        return True
    # As declarative_base() makes it.
    return "registry" in kind.__dict__ and mapper_of(kind) is None


def mixins(kind: type) -> Iterator[type]:
    for parent in parents(kind):
        if mapper_of(parent) is None:
            yield parent
            yield from mixins(parent)


def brought(kind: type) -> list[tuple[str, str]]:
    """What a mixin's own attributes say of columns: names and types."""
    found: list[tuple[str, str]] = []
    for name, value in vars(kind).items():
        if isinstance(value, MappedColumn):
            value = value.column  # noqa: PLW2901 - the same, seen closer
        if isinstance(value, Column):
            found.append((name, type_of(value)))
    known = {name for name, _ in found}
    for name, annotation in get_annotations(kind).items():
        text = annotation if isinstance(annotation, str) else str(annotation)
        if name not in known and "Mapped[" in text:
            inner = text.partition("Mapped[")[2].rpartition("]")[0]
            found.append((name, inner.rpartition(".")[2] if "[" not in inner else inner))
    return found
