"""What the environment, and gunicorn's command line, say to an ini file."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from c2cotel.settings import load

# What the environment need not say, as the manual of the predecessor documents it.
DOCUMENTED: Final[Mapping[str, str]] = {
    "DEVELOPMENT": "0",
    "SQLALCHEMY_POOL_RECYCLE": "30",
    "SQLALCHEMY_POOL_SIZE": "5",
    "SQLALCHEMY_MAX_OVERFLOW": "25",
    "SQLALCHEMY_SLAVE_POOL_RECYCLE": "30",
    "SQLALCHEMY_SLAVE_POOL_SIZE": "5",
    "SQLALCHEMY_SLAVE_MAX_OVERFLOW": "25",
    "GUNICORN_WORKERS": "2",
    "GUNICORN_THREADS": "10",
    "GUNICORN_LOG_LEVEL": "WARNING",
    "GUNICORN_ERROR_LOG_LEVEL": "WARNING",
    "LOG_TYPE": "console",
    "LOG_LEVEL": "INFO",
    "SQL_LOG_LEVEL": "WARNING",
    "OTHER_LOG_LEVEL": "WARNING",
    "C2COTEL_LOG_LEVEL": "WARNING",
    "C2CWSGIUTILS_LOG_LEVEL": "WARNING",
}
_SAME: Final = (
    ("C2COTEL_LOG_LEVEL", "C2CWSGIUTILS_LOG_LEVEL"),
    ("GUNICORN_LOG_LEVEL", "GUNICORN_ERROR_LOG_LEVEL"),
)
# What the file knows better.
_OF_THE_FILE: Final = frozenset(("here", "__file__"))
_PASTE: Final = ("--paste", "--paster")


def variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every variable of *environ* (default: this process'), for a parser that knows upper case.

    Percent signs are doubled, as :class:`configparser.ConfigParser` wants them. An empty variable
    that has a documented default has that.
    """
    environ = os.environ if environ is None else environ
    values = {name: value for name, value in environ.items() if name not in _OF_THE_FILE}
    for one, other in _SAME:
        for name, instead in ((one, other), (other, one)):
            if not values.get(name) and environ.get(instead):
                values[name] = environ[instead]
    for name, value in DOCUMENTED.items():
        if not values.get(name):
            values[name] = value
    return {name: value.replace("%", "%%") for name, value in values.items()}


def get_config_defaults(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of *environ*, for any parser: of names that differ by case, there is one.

    It is the one with the most capitals. Percent signs are doubled. In a ``gunicorn.conf.py``::

        raw_paste_global_conf = ["=".join(item) for item in get_config_defaults().items()]
    """
    found = variables(environ)
    # configparser folds case by default, and refuses two that are then the same.
    chosen: dict[str, str] = {}
    for name in sorted(found, reverse=True):
        chosen[name.lower()] = name
    kept = set(chosen.values())
    return {name: value for name, value in found.items() if name in kept}


def get_paste_config(
    argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> str:
    """The ini file that gunicorn is to serve, as it is written there (perhaps with ``#name``).

    The first of: ``--paste`` of the command line, that of ``GUNICORN_CMD_ARGS``, and the setting
    ``gunicorn.config`` (``C2COTEL_CONFIG``; ``production.ini``).
    """
    environ = os.environ if environ is None else environ
    argv = sys.argv[1:] if argv is None else argv
    for arguments in (argv, shlex.split(environ.get("GUNICORN_CMD_ARGS", ""))):
        for found in _paste(arguments):
            return found
    return load(environ).settings.gunicorn.config


def _paste(arguments: Sequence[str]) -> Iterator[str]:
    # The last one counts.
    for place in range(len(arguments) - 1, -1, -1):
        name, equals, value = arguments[place].partition("=")
        if name in _PASTE:
            if equals:
                yield value
            elif place + 1 < len(arguments):
                yield arguments[place + 1]
