"""The JSON renderers, whose names views say in ``renderer=``.

======================  ===========================================================================
``json``                Pyramid's own
``fast_json``           compact and several times as fast, by msgspec
``cornice_json``        the same two, for views of cornice: they also write the errors that such
``cornice_fast_json``   views collect; these need cornice (``pip install 'c2cotel[cors]'``)
======================  ===========================================================================

``C2C_JSON_PRETTY_PRINT`` lets all of them indent, ``C2C_JSON_SORT_KEYS`` sort the keys of objects.
All write the types of :mod:`c2cotel.pyramid.json_types`: dates, UUIDs, dataclasses, rows of
SQLAlchemy and more; ``cornice_json`` and ``cornice_fast_json`` take bytes for UTF-8, as cornice
does. For another type, or to write one of these in another way, the class has a method
``__json__(self, request)``, or the application says once::

    config.add_c2c_json_adapter(Point, lambda point, request: [point.x, point.y])

which all four obey; in ``config.registry.c2c_json_renderers`` each is to be found by its name, with
the ``add_adapter`` that Pyramid's has. An object of an ORM class needs one of both.

``NaN`` and infinity are null in the fast ones; in the others they are what Python makes of them,
which no browser reads. A renderer that the application adds under one of the names wins.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.util import find_spec
from typing import Any, TypeAlias

from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.interfaces import IJSONAdapter
from pyramid.renderers import JSON
from pyramid.request import Request
from zope.interface import implementedBy

from c2cotel.pyramid.json_encoding import FastEncoder
from c2cotel.pyramid.json_types import known
from c2cotel.pyramid.settings import settings_of
from c2cotel.settings import Json

__all__ = ["CorniceJSON", "FastJSON", "add_c2c_json_adapter", "includeme"]

Adapter: TypeAlias = Callable[[Any, Request], Any]

_INDENT = 2


class FastJSON(JSON):  # type: ignore[misc] # Pyramid is untyped
    """Pyramid's JSON renderer with msgspec behind it; to be given to ``config.add_renderer``.

    Args:
        adapters: Pairs of a type or an interface and a function of the object and the request.
        indent: Blanks by which each level stands further right; everything on one line if None.
        sort_keys: The keys of objects in their order.
    """

    def __init__(
        self,
        adapters: Iterable[tuple[Any, Adapter]] = (),
        *,
        indent: int | None = None,
        sort_keys: bool = False,
    ) -> None:
        self._encoder = _encoder(self, indent=indent, sort_keys=sort_keys)
        super().__init__(self._encoder.dumps, ((object, known), *adapters))

    def add_adapter(self, type_or_iface: Any, adapter: Adapter) -> None:
        super().add_adapter(type_or_iface, adapter)
        self._encoder.forget()


class CorniceJSON:
    """Cornice's renderer, made when a view first needs it: importing cornice takes its time."""

    def __init__(self, settings: Json, *, fast: bool) -> None:
        self._settings = settings
        self._fast = fast
        self._adapters: list[tuple[Any, Adapter]] = [(object, known)]
        self._encoder: FastEncoder | None = None

    def add_adapter(self, type_or_iface: Any, adapter: Adapter) -> None:
        """As Pyramid's."""
        self._adapters.append((type_or_iface, adapter))
        if "_renderer" in vars(self):
            self._renderer.add_adapter(type_or_iface, adapter)
        if self._encoder is not None:
            self._encoder.forget()

    def __call__(self, info: Any) -> Callable[[Any, dict[str, Any]], str]:
        render: Callable[[Any, dict[str, Any]], str] = self._renderer(info)
        return render

    def render_errors(self, request: Request) -> Any:
        """The answer with the errors that a view of cornice has collected."""
        return self._renderer.render_errors(request)

    @cached_property
    def _renderer(self) -> Any:
        from cornice.renderer import CorniceRenderer

        options = _options(self._settings)
        renderer = CorniceRenderer(**({} if self._fast else options))
        if self._fast:
            self._encoder = _encoder(renderer, **options)
            renderer.serializer = self._encoder.dumps
        for type_or_iface, adapter in self._adapters:
            renderer.add_adapter(type_or_iface, adapter)
        return renderer


def _encoder(renderer: JSON, **options: Any) -> FastEncoder:
    def adapted(kind: type) -> bool:
        adapters = renderer.components.adapters
        return adapters.lookup((implementedBy(kind),), IJSONAdapter, default=known) is not known

    return FastEncoder(adapted, **options)


def _options(settings: Json) -> dict[str, Any]:
    return {
        "indent": _INDENT if settings.pretty_print else None,
        "sort_keys": settings.sort_keys,
    }


def add_c2c_json_adapter(config: Configurator, type_or_iface: Any, adapter: Adapter) -> None:
    """Let *adapter*, a function of an object and the request, say what JSON is written for it.

    It is asked by all of the JSON renderers about the objects of *type_or_iface*, and of classes
    derived from it, but not about JSON's own: texts, numbers, lists, tuples and dictionaries.
    """
    for renderer in config.registry.c2c_json_renderers.values():
        renderer.add_adapter(type_or_iface, adapter)


def _without_cornice(view: Any, info: Any) -> Any:
    """A view deriver: a view whose renderer needs what is not installed stops the start."""
    name = getattr(info.options.get("renderer"), "name", None)
    if name in ("cornice_json", "cornice_fast_json"):
        raise ConfigurationError(
            f"The renderer {name} needs cornice: pip install 'c2cotel[cors]', "
            f"or name {name.removeprefix('cornice_')}"
        )
    return view


def includeme(config: Configurator) -> None:
    """Add the renderers, and the directive ``add_c2c_json_adapter``."""
    settings = settings_of(config).json
    options = _options(settings)
    renderers = {
        "json": JSON(adapters=[(object, known)], **options),
        "fast_json": FastJSON(**options),
    }
    if find_spec("cornice") is not None:
        renderers["cornice_json"] = CorniceJSON(settings, fast=False)
        renderers["cornice_fast_json"] = CorniceJSON(settings, fast=True)
    else:
        config.add_view_deriver(_without_cornice, "c2c_cornice_renderers")
    for name, renderer in renderers.items():
        config.add_renderer(name, renderer)
    config.registry.c2c_json_renderers = renderers
    config.add_directive("add_c2c_json_adapter", add_c2c_json_adapter)
