"""An ini file, read so that whatever is wrong says where."""

import configparser
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from c2cotel.ini.environment import variables
from c2cotel.settings import SettingsError

_LONGEST: Final = 100
_REFERENCE: Final = re.compile(r"%\(([^)]+)\)s")


class _Parser(configparser.ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        # Names of variables are what they are.
        return optionstr


class Ini:
    """The ini file *filename*, the environment in it.

    Whatever is after a ``#`` is not part of its name, neither is ``config:`` or ``c2c://`` before.
    *more* are names for ``%(NAME)s`` that win over those of the environment.

    Raises:
        SettingsError: it cannot be read; the text says why, and at which line.
    """

    def __init__(
        self,
        filename: str | Path,
        more: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(_path(str(filename)))
        there = self.path.absolute()
        names = {"here": str(there.parent), "__file__": str(there)}
        names = {name: value.replace("%", "%%") for name, value in names.items()}
        self._names = {**variables(environ), **names, **(more or {})}
        self._parser = _Parser(self._names)
        # Its [DEFAULT] is a section like others here: this one knows what stands in the file.
        self._written = configparser.RawConfigParser(default_section="")
        self._written.optionxform = str  # type: ignore[assignment,method-assign] # as documented
        self._read()

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read: {error.strerror or error}. "
                "Write where the ini file of the application is."
            ) from None
        except UnicodeDecodeError as error:
            raise SettingsError(
                f"{self.path}: not UTF-8, from byte {error.start} on. Save it as UTF-8."
            ) from None
        try:
            self._written.read_string(text, str(self.path))
            self._parser.read_string(text, str(self.path))
        except configparser.Error as error:
            raise SettingsError(_syntax(self.path, error)) from None

    def __contains__(self, section: str) -> bool:
        return self._written.has_section(section)

    @property
    def sections(self) -> list[str]:
        return self._parser.sections()

    def keys(self, section: str) -> list[str]:
        """The keys that are written in *section*, those of ``[DEFAULT]`` left out."""
        return self._written.options(section)

    def sections_with(self, key: str) -> list[str]:
        """The sections that *key* is written in."""
        return [it for it in self.sections if key in self.keys(it)]

    def unreferenced_keys(self) -> set[str]:
        """The keys of all sections, without those that some value refers to as ``%(KEY)s``."""
        sections = [section for section in self._written.sections() if section != "DEFAULT"]
        keys = {key for section in sections for key in self.keys(section)}
        values = [value for section in sections for _, value in self._written.items(section)]
        return keys - {name for value in values for name in _REFERENCE.findall(value)}

    def raw(self, section: str, key: str) -> str | None:
        """The value of *key* as it is written in *section*; None where it is not."""
        return self._written.get(section, key, fallback=None)

    def get(self, section: str, key: str) -> str | None:
        """The value of *key* with the environment in it; None where *section* has none.

        Raises:
            SettingsError: it refers to what there is not.
        """
        if not self._written.has_option(section, key):
            return None
        try:
            return self._parser.get(section, key)
        except configparser.InterpolationError as error:
            why = self._explained(error)
        # Not within "except": a traceback would show the value after all.
        raise self._error(section, key, why)

    def _explained(self, error: configparser.InterpolationError) -> str:
        if isinstance(error, configparser.InterpolationMissingOptionError):
            return self._missing(str(error.reference))
        if isinstance(error, configparser.InterpolationDepthError):
            return "refers to itself, or too deep. Write the value"
        return "a percent sign that stands for itself is written twice, %%; a name as %(NAME)s"

    def _missing(self, name: str) -> str:
        near = difflib.get_close_matches(name[:_LONGEST], self._names, n=1, cutoff=0.8)
        hint = f" Is {near[0]} meant?" if near else ""
        return (
            f"there is no environment variable {name[:_LONGEST]}, nor such a key in [DEFAULT]. "
            f"Set the one or write the other.{hint}"
        )

    def fail(self, section: str, key: str, text: str) -> NoReturn:
        """Raise that the value of *key* is wrong, as *text* says."""
        raise self._error(section, key, text)

    def _error(self, section: str, key: str, text: str) -> SettingsError:
        end = "" if text.endswith(("?", ".")) else "."
        return SettingsError(f"{self.where(section, key)}: {text}{end}")

    def missing(self, section: str, text: str) -> NoReturn:
        """Raise that *section* is wrong as a whole, as *text* says."""
        raise SettingsError(f"{self.where(section)}: {text}")

    def where(self, section: str, key: str = "") -> str:
        return f"{self.path} [{section}]{key and ' '}{key}"


def _path(name: str) -> str:
    if Path(name).exists():
        return name
    for scheme in ("c2c://", "c2c:", "config:", "file:"):
        name = name.removeprefix(scheme)
    return name.partition("#")[0]


def _syntax(path: Path, error: configparser.Error) -> str:
    """What is wrong with the file as such; never a value of it."""
    if isinstance(error, configparser.DuplicateSectionError):
        return f"{path}, line {error.lineno}: [{error.section}] is there already. Write it once."
    if isinstance(error, configparser.DuplicateOptionError):
        return (
            f"{path}, line {error.lineno}: [{error.section}] {error.option} is there already. "
            "Write it once."
        )
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"{path}, line {error.lineno}: no section yet. Write a line like [app:main] before."
    if isinstance(error, configparser.ParsingError) and error.errors:
        return (
            f"{path}, line {error.errors[0][0]}: neither key = value nor the go-on of a value. "
            "Indent what belongs to the line before."
        )
    return f"{path}: {type(error).__name__}"
