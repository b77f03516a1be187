"""How gunicorn reads the ini file of ``--paste``: with the environment in it, as everybody does."""

from collections.abc import Mapping
from typing import Any

from c2cotel.otel.complaint import complain
from c2cotel.settings import SettingsError


def load_paste(uri: str, name: str | None, names: Mapping[str, str] | None) -> Any:
    """The application of the ini file *uri* (perhaps ``file#name``), by the loader of ``c2c://``.

    *names* are those for ``%(NAME)s`` that gunicorn's configuration gives besides.
    """
    import os

    from paste.deploy import loadapp  # type: ignore[import-untyped] # it has no type information
    from plaster import PlasterURL, get_loader

    path, _, fragment = uri.removeprefix("config:").partition("#")
    if ":" in path:
        return loadapp(uri, name=name, relative_to=os.getcwd(), global_conf=names)  # noqa: PTH109 - what PasteDeploy takes
    # By its name: the loader is above this layer, and there may be others of "c2c".
    found = PlasterURL("c2cotel+c2c", path, fragment=fragment or None)
    try:
        return get_loader(found, protocols=["wsgi"]).get_wsgi_app(name, names)
    except SettingsError as error:
        raise _unusable(error) from error


def _unusable(error: SettingsError) -> Exception:
    """What makes gunicorn write the sentence of *error* on stderr, without a traceback, and stop.

    A worker does so at the first of its bases, the master, which may load the application for all
    of them, at the second.
    """
    from gunicorn.errors import AppImportError

    kind = type("UnusableIniError", (AppImportError, RuntimeError), {})
    made: Exception = kind(str(error))
    return made


def has_logging(filename: str) -> bool:
    """Whether the ini file *filename* configures logging; one that does by half is complained of.

    Raises:
        SettingsError: it cannot be read; the text says why.
    """
    from c2cotel.ini import Ini, has_logging

    ini = Ini(filename)
    try:
        return has_logging(ini)
    except SettingsError as error:
        complain(str(error))
        return False


def configure_logging(filename: str, names: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """As :func:`c2cotel.ini.configure_logging_of_gunicorn`."""
    from c2cotel.ini import configure_logging_of_gunicorn

    return configure_logging_of_gunicorn(filename, names, complain)
