"""The packages of the applications that an ini file serves."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from c2cotel.ini.reading import Ini

_APPLICATIONS: Final = ("app:", "application:", "filter-app:")


def application_packages(ini: Ini) -> tuple[str, ...]:
    """The packages that the applications of *ini* are in, for their loggers."""
    found: dict[str, None] = {}
    for section in ini.sections:
        if section.startswith(_APPLICATIONS) or section in ("app", "application"):
            for key in ("paste.app_factory", "paste.filter_app_factory", "use"):
                for package in _packages(ini.raw(section, key) or ""):
                    found[package] = None
    return tuple(found)


def _packages(value: str) -> Iterator[str]:
    scheme, colon, rest = value.partition(":")
    if scheme == "egg" and colon:
        name, _, entry = rest.partition("#")
        try:
            points = distribution(name.strip()).entry_points
        except (PackageNotFoundError, ValueError):
            return
        for point in points:
            if point.group == "paste.app_factory" and point.name == (entry or "main"):
                yield point.module.partition(".")[0]
    elif scheme == "call":
        yield rest.partition(":")[0].partition(".")[0].strip()
    elif colon and scheme != "config":
        yield scheme.partition(".")[0].strip()
