"""``c2c://production.ini``: an ini file in which environment variables stand, for plaster.

For ``pserve``, ``proutes``, ``pshell``… and :func:`pyramid.paster.bootstrap`; the schemes are
``c2c`` and ``c2c+ini`` for files, ``c2c+egg`` for the applications of a distribution. A path after
two slashes is relative, one after three is absolute.

What the file may say is told in :mod:`c2cotel.ini`; logging that it does not configure is set up
as ``LOG_TYPE`` and ``LOG_LEVEL`` say. Needs plaster_pastedeploy, which comes with Pyramid.
"""

import configparser
import logging.config
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from paste.deploy import loadwsgi  # type: ignore[import-untyped] # it has no type information
from plaster_pastedeploy import (  # type: ignore[import-untyped] # likewise
    ConfigDict,
)
from plaster_pastedeploy import (
    Loader as _PasteDeployLoader,
)

from c2cotel.ini import Ini, configure_logging, has_logging, variables
from c2cotel.settings import SettingsError, load

Names: TypeAlias = Mapping[str, str] | None

_COMPOSITES: Final = ("paste.composite_factory", "paste.composit_factory")
_CHILDREN: Final = ("app_context", "next_context", "filter_context")
_FILE: Final = re.compile("Error in file (.*?): ")


class Loader(_PasteDeployLoader):  # type: ignore[misc] # its base is untyped
    """PasteDeploy's loader, for ini files with the environment in them.

    Raises:
        SettingsError: from all of its methods, where the file is wrong; the text names section
            and key. PasteDeploy's own would quote the value, and a password with it.
    """

    def get_wsgi_app(self, name: str | None = None, defaults: Names = None) -> Any:
        return self._load(loadwsgi.APP, name, defaults)

    def get_wsgi_server(self, name: str | None = None, defaults: Names = None) -> Any:
        return self._load(loadwsgi.SERVER, name, defaults)

    def get_wsgi_filter(self, name: str | None = None, defaults: Names = None) -> Any:
        return self._load(loadwsgi.FILTER, name, defaults)

    def get_wsgi_app_settings(self, name: str | None = None, defaults: Names = None) -> Any:
        config = self._context(loadwsgi.APP, name, defaults).config()
        return ConfigDict(config.local_conf, config.global_conf, self)

    def get_settings(self, section: str | None = None, defaults: Names = None) -> Any:
        try:
            return super().get_settings(section, defaults)
        except configparser.InterpolationError as error:
            wrong = error
        raise self._explained(wrong, defaults)

    def setup_logging(self, defaults: Names = None) -> None:
        """Set up logging as the file says, or else as the settings do."""
        if self.filepath is not None and has_logging(Ini(self.filepath)):
            configure_logging(self.filepath, self._given(defaults))
            return
        from c2cotel.pyramid_logging import dict_config

        loaded = load()
        loaded.raise_for_application("logging")
        logging.config.dictConfig(dict_config(loaded.settings))

    def _load(self, kind: Any, name: str | None, defaults: Names) -> Any:
        context = self._context(kind, name, defaults)
        # The application's own errors are not ours to explain, but for wrong settings.
        try:
            return context.create()
        except SettingsError as error:
            raise SettingsError(self._located(str(error), name)) from error

    def _located(self, said: str, name: str | None) -> str:
        """*said*, where a setting of the file is wrong, with the file and the section of it."""
        if self.filepath is None:
            return said
        ini = Ini(self.filepath)
        wanted = self._maybe_get_default_name(name) or "main"
        lines = said.split("\n")
        for number, line in enumerate(lines):
            key, equals, _ = line.partition(" = ")
            if equals and (sections := ini.sections_with(key)):
                own = [it for it in sections if it in (f"app:{wanted}", f"application:{wanted}")]
                where = " or ".join(f"[{section}]" for section in own or sections)
                lines[number] = f"{ini.path} {where} {line}"
        return "\n".join(lines)

    def _context(self, kind: Any, name: str | None, defaults: Names) -> Any:
        names = self._get_defaults(defaults)
        try:
            context = loadwsgi.loadcontext(
                kind,
                self.pastedeploy_spec,
                name=self._maybe_get_default_name(name),
                relative_to=self.relative_to,
                global_conf=names,
            )
        except configparser.InterpolationError as error:
            wrong = error
        else:
            doubled = {name: value for name, value in names.items() if "%%" in value}
            _undouble(context, doubled)
            return context
        raise self._explained(wrong, defaults)

    def _get_defaults(self, defaults: Names = None) -> dict[str, str]:
        environment, hidden = variables(), self._hidden()
        names = {**environment, **self._of_the_file(), **self._given(defaults)}
        # A gunicorn.conf.py may give the environment once more.
        return {
            name: value
            for name, value in names.items()
            if not (name in hidden and environment.get(name) == value)
        }

    def _get_parser(self, defaults: Names = None) -> configparser.ConfigParser:
        parser: configparser.ConfigParser
        loader = loadwsgi.ConfigLoader(self.filepath)
        # A [DEFAULT] of the file wins over the environment, as it does for the application.
        known = self._get_defaults(defaults)
        loader.update_defaults(known, overwrite=False)
        loader.update_defaults({**self._of_the_file(), **self._given(defaults)})
        parser = loader.parser
        return parser

    def _hidden(self) -> set[str]:
        """Variables to leave out: PasteDeploy drops keys of a section that its defaults have."""
        return set() if self.filepath is None else Ini(self.filepath).unreferenced_keys()

    def _of_the_file(self) -> dict[str, str]:
        names = super()._get_defaults()
        return {
            name: names[name].replace("%", "%%") for name in ("here", "__file__") if names[name]
        }

    def _given(self, defaults: Names) -> dict[str, str]:
        return {**self.uri.options, **(defaults or {})}

    def _explained(self, error: configparser.InterpolationError, defaults: Names) -> SettingsError:
        """What to raise for *error*: names file, section and key, and no value."""
        found = _FILE.match(str(error.args[0]) if error.args else "")
        path = found[1] if found else str(self.filepath)
        try:
            Ini(path, self._given(defaults)).get(error.section, error.option)
        except SettingsError as explained:
            return explained
        return SettingsError(f"{path} [{error.section}] {error.option}: cannot be read")


def _undouble(context: Any, doubled: Mapping[str, str]) -> None:
    """Give what *context* makes the values of *doubled* as they are: percent signs once."""
    for child in _children(context):
        _undouble(child, doubled)
    # A composite loads its applications later, with what it has been given.
    if context.protocol in _COMPOSITES:
        return
    for names in (context.global_conf, context.local_conf):
        for name, value in names.items():
            if isinstance(value, str) and "%%" in value and value in doubled.values():
                names[name] = value.replace("%%", "%")


def _children(context: Any) -> Iterator[Any]:
    for name in _CHILDREN:
        if (child := getattr(context, name, None)) is not None:
            yield child
    yield from getattr(context, "filter_contexts", ())
