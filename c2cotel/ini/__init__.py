"""The ini file of the application, with the environment in it.

``%(NAME)s`` stands for the environment variable ``NAME``, as it is written there. A key of the
file's ``[DEFAULT]`` wins over the variable of that name. What the application's manual gives a
default for (``LOG_LEVEL``, ``SQLALCHEMY_POOL_SIZE``…) need not be set, see
:data:`c2cotel.ini.environment.DOCUMENTED`.

``[loggers]``, ``[handlers]`` and ``[formatters]`` are read as :mod:`logging` reads them, with
these differences: keywords instead of ``args``, and a wrong value says where it stands. So they are
under gunicorn, waitress, ``pserve``, ``proutes`` and in scripts alike::

    [handler_json]
    class = c2cotel.pyramid_logging.JsonLogHandler
    kwargs = {'stream': sys.stdout}
    level = NOTSET

``kwargs`` is a dictionary of Python's literals, besides which ``sys.stdout`` and ``sys.stderr`` are
known, and ``'ext://any.name'``.
"""

from c2cotel.ini.applications import application_packages
from c2cotel.ini.environment import get_config_defaults, get_paste_config, variables
from c2cotel.ini.logging_config import (
    configure_logging,
    configure_logging_of_gunicorn,
    get_logconfig_dict,
    has_logging,
    unable,
)
from c2cotel.ini.reading import Ini
from c2cotel.settings import SettingsError

__all__ = [
    "Ini",
    "SettingsError",
    "application_packages",
    "configure_logging",
    "configure_logging_of_gunicorn",
    "get_config_defaults",
    "get_logconfig_dict",
    "get_paste_config",
    "has_logging",
    "unable",
    "variables",
]
