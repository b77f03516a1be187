"""From the logging sections of an ini file to what :func:`logging.config.dictConfig` takes."""

import difflib
import importlib
import logging
import logging.config
import pprint
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from c2cotel.ini.environment import get_config_defaults
from c2cotel.ini.keywords import as_kwargs, keywords
from c2cotel.ini.reading import Ini
from c2cotel.schema import MASK
from c2cotel.settings import SettingsError, load, without_password
from c2cotel.values import level as read_level

LOGGER = logging.getLogger(__name__)

_SECTIONS: Final = ("loggers", "handlers", "formatters")
_PARTS: Final = ("logger_", "handler_", "formatter_")
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "logger_": ("level", "handlers", "qualname", "propagate"),
    "handler_": ("class", "level", "formatter", "kwargs"),
    "formatter_": ("class", "format", "datefmt", "style", "validate"),
}
_KEYS_OF_FILE_CONFIG: Final = frozenset(
    ("args", "keys", "target", "defaults", *(key for keys in _KNOWN.values() for key in keys))
)
_SECRET: Final = re.compile("passw|secret|token|api_?key|dsn", re.IGNORECASE)
# What fileConfig takes for a format is not interpolated there; a doubled sign says that it is here.
_DOUBLED: Final = re.compile("%%")
_UNABLE: Final = re.compile(r"Unable to configure (handler|formatter|logger) '(.*)'")


def has_logging(ini: Ini) -> bool:
    """Whether *ini* configures logging.

    Raises:
        SettingsError: it does by half: there are loggers or handlers, but no ``[loggers]``.
    """
    if "loggers" in ini:
        return True
    for section in ini.sections:
        if section in _SECTIONS or section.startswith(_PARTS):
            ini.missing(section, "is not looked at without [loggers]. Write it.")
    return False


def get_logconfig_dict(
    filename: str | Path, more: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The logging that *filename* configures, for :func:`logging.config.dictConfig`.

    *more* are names for ``%(NAME)s``. Existing loggers stay. With ``DEBUG_LOGCONFIG=1`` the result
    is printed on stderr, without its passwords.

    Raises:
        SettingsError: something is missing or wrong; the text names file, section and key.
    """
    ini = Ini(filename, more)
    names = {section: _names(ini, section) for section in _SECTIONS}
    formatters = {name: _formatter(ini, name) for name in names["formatters"]}
    handlers = {name: _handler(ini, name, formatters) for name in names["handlers"]}
    loggers: dict[str, Any] = {}
    result: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": handlers,
        "loggers": loggers,
    }
    for name in names["loggers"]:
        configured = _logger(ini, name, handlers)
        if name == "root":
            result["root"] = configured
        else:
            loggers[ini.get(f"logger_{name}", "qualname") or name] = configured
    if "root" not in result:
        ini.fail("loggers", "keys", "names no root, which gets what no other logger keeps. Add it")
    if load().settings.logging.debug_config:
        text = pprint.pformat(_shown(result), sort_dicts=False)
        sys.stderr.write(f"Logging of {ini.path}:\n{text}\n")
    return result


def configure_logging(filename: str | Path, more: Mapping[str, str] | None = None) -> None:
    """Set up logging as *filename* says.

    Raises:
        SettingsError: as :func:`get_logconfig_dict`, or one of its handlers cannot be made.
    """
    config = get_logconfig_dict(filename, more)
    try:
        logging.config.dictConfig(config)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise SettingsError(unable(filename, error)) from error


def configure_logging_of_gunicorn(
    filename: str, defaults: Mapping[str, Any], warn: Callable[[str], None]
) -> dict[str, Any] | None:
    """Set up logging as *filename* says, if it does so without ``args``, and return None.

    Else return what :func:`logging.config.fileConfig`, which knows ``args``, is to know:
    *defaults*, and the environment as far as it does not get into its way. *warn* is told of each.

    Raises:
        SettingsError: as :func:`configure_logging`.
    """
    ini = Ini(filename)
    handlers = [section for section in ini.sections if section.startswith("handler_")]
    old = [section for section in handlers if "args" in ini.keys(section)]
    if not old:
        configure_logging(filename)
        return None
    for section in old:
        warn(
            f"{ini.where(section, 'args')}: c2c:// and gunicorn -c python:c2cotel.gunicorn refuse "
            f"it. {_instead_of_args(ini, section)}."
        )
    # fileConfig folds case, and takes for a key of each section what has the name of one.
    taken = {name.lower() for name in defaults} | _KEYS_OF_FILE_CONFIG
    names = get_config_defaults()
    return {**{n: v for n, v in names.items() if n.lower() not in taken}, **defaults}


def unable(filename: str | Path, error: BaseException) -> str:
    """What to say of an *error* of :func:`logging.config.dictConfig`."""
    found = _UNABLE.search(str(error))
    cause = error.__cause__ or error.__context__ or error
    shown = without_password(f"{type(cause).__name__}: {cause}")
    if not found:
        return f"{filename}: logging cannot be set up ({shown})."
    return f"{filename} [{found[1]}_{found[2]}]: cannot be set up ({shown})."


def _names(ini: Ini, section: str) -> list[str]:
    if section not in ini:
        ini.missing(section, f"is missing. Write it, with keys = … of the {section}.")
    listed = ini.get(section, "keys")
    if listed is None:
        ini.fail(section, "keys", f"is missing. Write the names of the {section}")
    names = _split(listed)
    for name in names:
        if (wanted := f"{section.removesuffix('s')}_{name}") not in ini:
            ini.fail(section, "keys", f"{name!r} has no section [{wanted}]{_near(ini, wanted)}")
    return names


def _near(ini: Ini, wanted: str) -> str:
    near = difflib.get_close_matches(wanted, ini.sections, n=1, cutoff=0.8)
    return f". Is [{near[0]}] meant?" if near else ". Write it"


def _split(listed: str | None) -> list[str]:
    return [name for part in (listed or "").split(",") if (name := part.strip())]


def _formatter(ini: Ini, name: str) -> dict[str, Any]:
    section = f"formatter_{name}"
    _warn_of_unknown(ini, section, "formatter_")
    made: dict[str, Any] = {}
    for key in ("format", "datefmt", "style"):
        if (value := _format(ini, section, key)) is not None:
            made[key] = value
    if (style := made.get("style")) and style not in ("%", "{", "$"):
        ini.fail(section, "style", f"{style!r} is none. Write one of %, {{ and $")
    if (validate := ini.get(section, "validate")) is not None:
        made["validate"] = _boolean(ini, section, "validate", validate)
    if written := ini.get(section, "class"):
        made["class"] = _class(ini, section, written)
    return made


def _format(ini: Ini, section: str, key: str) -> str | None:
    raw = ini.raw(section, key)
    return ini.get(section, key) if raw and _DOUBLED.search(raw) else raw


def _handler(ini: Ini, name: str, formatters: Mapping[str, Any]) -> dict[str, Any]:
    section = f"handler_{name}"
    if ini.raw(section, "args") is not None:
        ini.fail(section, "args", f"is not read. {_instead_of_args(ini, section)}")
    _warn_of_unknown(ini, section, "handler_")
    written = ini.get(section, "class")
    if not written:
        ini.fail(section, "class", "is missing. Write for example StreamHandler")
    made: dict[str, Any] = {"class": _class(ini, section, written)}
    if level := ini.get(section, "level"):
        made["level"] = _level(ini, section, level)
    if formatter := ini.get(section, "formatter"):
        _one_of(ini, section, "formatter", formatter, formatters)
        made["formatter"] = formatter
    return {**made, **keywords(ini, section, _KNOWN["handler_"])}


def _instead_of_args(ini: Ini, section: str) -> str:
    return f"Write kwargs = {as_kwargs(ini.raw(section, 'args') or '')}, with their names"


def _logger(ini: Ini, name: str, handlers: Mapping[str, Any]) -> dict[str, Any]:
    section = f"logger_{name}"
    _warn_of_unknown(ini, section, "logger_")
    made: dict[str, Any] = {"handlers": _split(ini.get(section, "handlers"))}
    for handler in made["handlers"]:
        _one_of(ini, section, "handlers", handler, handlers)
    if level := ini.get(section, "level"):
        made["level"] = _level(ini, section, level)
    if name != "root":
        propagate = ini.get(section, "propagate")
        made["propagate"] = propagate is None or _boolean(ini, section, "propagate", propagate)
    return made


def _one_of(ini: Ini, section: str, key: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        what = key.removesuffix("s")
        ini.fail(
            section,
            key,
            f"{_value(name)} is no {what}. Write some of {', '.join(known) or 'none'}, "
            f"which [{what}s] lists",
        )


def _level(ini: Ini, section: str, text: str) -> str | int:
    try:
        return read_level(text)
    except ValueError as error:
        ini.fail(section, "level", f"{_value(text.strip())} is {error}")


def _boolean(ini: Ini, section: str, key: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in known:
        ini.fail(section, key, f"{_value(text)} is neither true nor false. Write 1 or 0")
    return known[text.strip().lower()]


def _class(ini: Ini, section: str, written: str) -> str:
    """The full name of a class, which there is."""
    name = written.strip()
    if "." not in name or name.startswith("handlers."):
        name = f"logging.{name}"
    module, _, attribute = name.rpartition(".")
    try:
        here: Any = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - any module of the application: it may fail in any way
        ini.fail(section, "class", f"{_value(written)} cannot be imported ({error!r})")
    if not hasattr(here, attribute):
        near = difflib.get_close_matches(attribute, dir(here), n=1)
        hint = f" Is {near[0]} meant?" if near else ""
        ini.fail(section, "class", f"there is no {attribute} in {module}.{hint}")
    return name


def _warn_of_unknown(ini: Ini, section: str, kind: str) -> None:
    for key in ini.keys(section):
        # "propagate" of a handler means nothing, and stands in many of them.
        if key not in _KNOWN[kind] and key != "propagate":
            LOGGER.warning("%s is ignored: %s are read.", ini.where(section, key), _KNOWN[kind])


def _value(text: str) -> str:
    return repr(without_password(text))


def _shown(value: Any, name: Any = "") -> Any:
    """*value* as it may be printed."""
    if isinstance(value, str):
        return MASK if isinstance(name, str) and _SECRET.search(name) else without_password(value)
    if isinstance(value, Mapping):
        return {key: _shown(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_shown(item, name) for item in value)
    return value
