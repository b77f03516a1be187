"""Engines, made of settings by their prefix.

All that :func:`sqlalchemy.create_engine` takes may stand in the ini, ``sqlalchemy.url`` being the
one that must. These have defaults, and are read from the environment where the ini says nothing or
nothing after the equals sign:

========================  =========================  =======
ini                       environment                default
========================  =========================  =======
sqlalchemy.url            SQLALCHEMY_URL
sqlalchemy.pool_recycle   SQLALCHEMY_POOL_RECYCLE    30
sqlalchemy.pool_size      SQLALCHEMY_POOL_SIZE       5
sqlalchemy.max_overflow   SQLALCHEMY_MAX_OVERFLOW    25
========================  =========================  =======

Another prefix has other variables: ``SQLALCHEMY_SLAVE_URL`` is that of ``sqlalchemy_slave``.

A PostgreSQL whose host has vanished is given up in time (``C2C_DB_CONNECT_TIMEOUT``,
``C2C_DB_NETWORK_TIMEOUT``), and an engine may be used before its process forks: the child does not
use its parent's connections.
"""

import difflib
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from c2cotel.db.deadlines import deadlines
from c2cotel.schema import without_password
from c2cotel.settings import SettingsError, load

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from c2cotel.settings import Db

_DEFAULTS: Final = {"url": "", "pool_recycle": "30", "pool_size": "5", "max_overflow": "25"}
# The least that a pool takes, which means: no limit.
_LEAST: Final = {"pool_size": 0, "max_overflow": -1}
# What these need, and no ini has; with what to do instead.
_URL_HAS_THEM: Final = "Write them into the URL, for example ?application_name=hello."
_OBJECTS: Final = {
    "connect_args": ("dictionary", _URL_HAS_THEM),
    "execution_options": ("dictionary", "Take it out."),
    "poolclass": ("class", "Take it out."),
    "creator": ("function", "Take it out."),
    "json_serializer": ("function", "Take it out."),
    "json_deserializer": ("function", "Take it out."),
}
_EXAMPLES: Final = {"pool_timeout": "30", "pool_reset_on_return": "rollback"}
_BOOLEANS: Final = ("pool_pre_ping", "pool_use_lifo", "hide_parameters")
# To find what somebody has misspelt; SQLAlchemy takes more.
_USUAL: Final = (
    *_DEFAULTS,
    *_BOOLEANS,
    "connect_args",
    "echo",
    "echo_pool",
    "isolation_level",
    "pool_reset_on_return",
    "pool_timeout",
    "poolclass",
)


def get_engine(
    settings: Mapping[str, Any], prefix: str = "sqlalchemy.", **options: Any
) -> "Engine":
    """An engine of the *settings* that begin with *prefix*; its ``c2c_name`` is that.

    *options* are defaults of :func:`sqlalchemy.create_engine`: the settings win over them.

    Raises:
        SettingsError: It cannot be made; the text names the setting, and has no password.
    """
    given = read(settings, prefix)
    if given.url is None:
        raise given.missing(settings)
    return make(given, db_settings(settings), **options)


def db_settings(settings: Mapping[str, Any]) -> "Db":
    """Those of c2cotel about databases; with *settings*, the ini's.

    Raises:
        SettingsError: One that is not telemetry's is wrong.
    """
    loaded = load(ini=settings)
    loaded.raise_for_application()
    return loaded.settings.db


@dataclass(frozen=True)
class Given:
    """What is set for one engine."""

    name: str
    url: "URL | None"
    options: dict[str, Any]

    def key(self, option: str) -> str:
        """How the setting of *option* is called, for an error message."""
        name = f"{self.name}.{option}"
        return f"{name} ({_variable(self.name, option)})" if option in _DEFAULTS else name

    def missing(self, settings: Mapping[str, Any]) -> SettingsError:
        """The error that there is no URL."""
        known = prefixes(settings)
        others = f" There is one for {', '.join(known)}." if known else ""
        return SettingsError(
            f"{self.name}.url: missing, and there is no {_variable(self.name, 'url')} in the "
            f"environment.{others} Write for example postgresql+psycopg://user:password@host:5432/database."
        )


def prefixes(settings: Mapping[str, Any]) -> list[str]:
    """Those with a URL in the ini."""
    return sorted(
        key.removesuffix(".url")
        for key, value in settings.items()
        if key.endswith(".url") and value and "sqlalchemy" in key
    )


def _variable(name: str, option: str) -> str:
    return f"{name}_{option}".upper().replace(".", "_")


def read(settings: Mapping[str, Any], prefix: str) -> Given:
    """What is set for the engine of *prefix*, in the ini or else in the environment."""
    name = prefix.rstrip(".")
    options = {
        key.removeprefix(f"{name}."): value
        for key, value in settings.items()
        if key.startswith(f"{name}.") and value not in ("", None)
    }
    for option in _DEFAULTS:
        if option not in options and (text := os.environ.get(_variable(name, option), "").strip()):
            options[option] = text
    return given_by(name, options)


def given_by(name: str, options: dict[str, Any]) -> Given:
    """*options*, the URL among them if there is one, as those of the engine *name*."""
    url = options.pop("url", None)
    given = Given(name, None, options)
    return given if url is None else Given(name, _url(given, url), options)


def _url(given: Given, text: Any) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text.strip() if isinstance(text, str) else text)
    except (ArgumentError, ValueError):
        raise SettingsError(
            f"{given.key('url')}: not the URL of a database. "
            "Write for example postgresql+psycopg://user:password@host:5432/database."
        ) from None
    if "@" in (url.host or ""):
        raise SettingsError(
            f"{given.key('url')}: more than one @. Write %40 for those in the password."
        )
    return url


def make(given: Given, db: "Db", **defaults: Any) -> "Engine":
    """The engine of what is *given*, which has a URL; *db* says how long it waits."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    assert given.url is not None  # noqa: S101 - so that mypy knows
    dialect = _dialect(given, given.url)
    options = _for_pool(given.url, dialect, {**defaults, **_converted(given, dialect)})
    arguments = {
        **deadlines(given.url, dialect.driver, db),
        **options.pop("connect_args", {}),
    }
    try:
        engine = create_engine(given.url, connect_args=arguments, **options)
    except ModuleNotFoundError as error:
        raise _without_driver(given, error) from None
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        raise _refused(given, error) from None
    engine.c2c_name = given.name  # type: ignore[attr-defined] # ours: telemetry names engines by it
    _forget_in_children(engine)
    return engine


def _dialect(given: Given, url: "URL") -> Any:
    from sqlalchemy.exc import NoSuchModuleError

    try:
        return url.get_dialect()
    except NoSuchModuleError:
        hint = "postgresql" if url.drivername.startswith("postgres") else "postgresql+psycopg"
        raise SettingsError(
            f"{given.key('url')}: SQLAlchemy knows no {url.drivername}://. "
            f"Write for example {hint}://user:password@host:5432/database."
        ) from None


def _without_driver(given: Given, error: ModuleNotFoundError) -> SettingsError:
    module = error.name or "its driver"
    package = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]"}.get(module, module)
    drivername = "" if given.url is None else f"{given.url.drivername}:// "
    return SettingsError(
        f"{given.key('url')}: {drivername}needs {module}, which is not installed: "
        f"pip install '{package}', or write the URL of another driver."
    )


def _refused(given: Given, error: Exception) -> SettingsError:
    text = without_password(str(error))
    for option in given.options:
        if f"'{option}'" in text:
            nearest = difflib.get_close_matches(option, _USUAL, n=1)
            meant = f"Is {given.name}.{nearest[0]} meant?" if nearest else "Take it out."
            return SettingsError(
                f"{given.key(option)}: not an option of an engine with this URL. {meant}"
            )
    return SettingsError(f"{given.name}.*: no engine can be made of it: {text}")


def _converted(given: Given, dialect: Any) -> dict[str, Any]:
    """The options, with the types that they need; those of the ini are texts."""
    from sqlalchemy.util import asbool

    types = {
        **dict.fromkeys(_BOOLEANS, asbool),
        **dialect.engine_config_types,
        "pool_reset_on_return": _reset,
    }
    converted = {
        option: value
        for option, value in _DEFAULTS.items()
        if option != "url" and option not in given.options
    } | given.options
    for option, value in converted.items():
        if isinstance(value, str) and option in _OBJECTS:
            kind, instead = _OBJECTS[option]
            # Without the text: there may be a password in it.
            raise SettingsError(
                f"{given.key(option)}: a text, where a {kind} is needed, which no ini can have. "
                f"{instead}"
            )
        if option in types:
            converted[option] = _as(types[option], given, option, value)
        elif option == "isolation_level":
            _check_level(given, dialect, value)
    return converted


def _as(kind: Callable[[Any], Any], given: Given, option: str, text: Any) -> Any:
    number = option in _DEFAULTS or option == "pool_timeout"
    try:
        value = kind(text)
    except ValueError:
        expected = "a whole number" if number else "what SQLAlchemy takes"
        example = _EXAMPLES.get(option) or _DEFAULTS.get(option) or "true"
        raise SettingsError(
            f"{given.key(option)} = {text!r}: not {expected}. Write for example {example}."
        ) from None
    least = _LEAST.get(option)
    if least is not None and value < least:
        raise SettingsError(
            f"{given.key(option)} = {value}: less than {least}. Write {least} for no limit."
        )
    return value


def _reset(text: Any) -> Any:
    if isinstance(text, str) and text not in ("rollback", "commit", "none"):
        raise ValueError(text)
    return text


def _check_level(given: Given, dialect: Any, text: Any) -> None:
    """SQLAlchemy would look at it with the first connection only."""
    try:
        known = dialect().get_isolation_level_values(None)
    except Exception:  # noqa: BLE001 - one that wants a connection or its driver: then it says so
        return
    if str(text).upper().replace("_", " ") not in known:
        raise SettingsError(
            f"{given.key('isolation_level')} = {text!r}: not one of {', '.join(known)}."
        )


def _for_pool(url: "URL", dialect: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Without what the pool has no use for: that of SQLite in memory knows no size."""
    from sqlalchemy.pool import QueuePool

    kind = options.get("poolclass") or dialect.get_pool_class(url)
    if not isinstance(kind, type) or issubclass(kind, QueuePool):
        return options
    return {
        option: value
        for option, value in options.items()
        if option not in ("pool_size", "max_overflow", "pool_timeout", "pool_use_lifo")
    }


def _forget_in_children(engine: "Engine") -> None:
    """Two processes that talk on one connection get each other's answers."""
    from sqlalchemy.pool import QueuePool

    # Of SQLite in memory, the connection is the database.
    if not isinstance(engine.pool, QueuePool):
        return
    reference = weakref.ref(engine)

    def forget() -> None:
        if (alive := reference()) is not None:
            alive.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
