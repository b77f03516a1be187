"""How an application says what is to be checked."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyramid.config
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError

from c2cotel import redis
from c2cotel.health_check.checks import alembic_version, database, redis_server, version
from c2cotel.health_check.checks.alembic_version import AlembicError, Migrations
from c2cotel.health_check.checks.alembic_version import versions as known_versions
from c2cotel.health_check.checks.database import EngineType
from c2cotel.health_check.checks.url import Callback, Parameters, Text, UrlCheck, no_more
from c2cotel.health_check.checks.url import name_of as url_name
from c2cotel.health_check.core import Check
from c2cotel.health_check.health import Health
from c2cotel.pyramid.settings import settings_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class HealthCheck:
    """The health checks of the application that *config* configures.

    Where Redis is configured, it is checked (level 2); so is, if ``versions.json`` is there, that
    all processes that share this Redis run the same version. Another object for the same
    application adds to the same checks.
    """

    def __init__(self, config: Configurator) -> None:
        config.include("c2cotel.health_check")
        self._config = config
        self._health = health = health_of(config)
        self._options = health.options
        self._settings = settings_of(config)
        if health.automatic or redis.shared(self._settings.redis) is None:
            return
        health.automatic = True
        self._add_redis(None, 2, automatic=True)
        if version.running(self._settings.service.versions_file) is not None:
            self._add_version("version", 2, automatic=True)

    def add_db_session_check(  # noqa: PLR0913 - the seed's, and three by keyword
        self,
        session: Any,
        query_cb: "Callable[[Session], Any] | None" = None,
        at_least_one_model: Any = None,
        level: int = 1,
        engine_type: EngineType = EngineType.READ_AND_WRITE,
        *,
        timeout: float | None = None,
        group: str | None = None,
    ) -> None:
        """Check that the databases of *session* answer, each as ``db_engine_<name>``.

        *session* makes sessions: a ``sessionmaker``, a ``scoped_session``, or what
        ``c2cotel.db.init`` returns. With *at_least_one_model* there has to be one of it; or
        *query_cb* asks what it wants. The session is rolled back and closed in the end.
        """
        query = query_cb or database.answers
        if at_least_one_model is not None and query_cb is None:
            query = database.at_least_one(at_least_one_model)
        seconds = self._options.timeout if timeout is None else timeout
        for binding in self._bindings(session, engine_type):
            self._add(
                f"db_engine_{binding.name}",
                database.check(binding, query, seconds),
                level=level,
                timeout=seconds,
                group=group,
            )

    def add_alembic_check(  # noqa: PLR0913, PLR0917 - the seed's, and two by keyword
        self,
        session: Any,
        alembic_ini_path: str,
        level: int = 2,
        name: str = "alembic",
        version_schema: str | None = None,
        version_table: str | None = None,
        *,
        timeout: float | None = None,
        group: str | None = None,
    ) -> None:
        """Check that the databases of *session* have all migrations of *alembic_ini_path*.

        *name* is the section of that file; it says too where the table of the version is, if
        neither *version_schema* nor *version_table* does.
        """
        try:
            migrations = Migrations(str(alembic_ini_path), name, version_schema, version_table)
        except AlembicError as error:
            raise ConfigurationError(str(error)) from error
        known = known_versions()
        known.listen()
        seconds = self._options.timeout if timeout is None else timeout

        def found(version: str) -> None:
            known.found(name, str(alembic_ini_path), version)

        check_name = alembic_version.check_name(str(alembic_ini_path), name)
        mismatch = functools.partial(alembic_version.tell_mismatch, check_name)
        bindings = self._bindings(session, EngineType.READ_AND_WRITE)
        self._add(
            check_name,
            alembic_version.check(migrations, bindings, seconds, found, mismatch),
            level=level,
            timeout=seconds,
            group=group,
        )

    def add_url_check(  # noqa: PLR0913, PLR0917 - the seed's, and one by keyword
        self,
        url: Text,
        params: Parameters = None,
        headers: Parameters = None,
        name: str | None = None,
        check_cb: Callback = no_more,
        timeout: float | None = None,
        level: int = 1,
        *,
        group: str | None = None,
    ) -> None:
        """Check that a GET of *url* succeeds within *timeout* seconds (3), with the request's id.

        *url*, *params* and *headers* may be functions of the request. *check_cb* is given the
        request and the response, and returns the result. It is called as the URL if *name* is not
        given.
        """
        seconds = self._options.url_timeout if timeout is None else timeout
        header = self._settings.request_id.header or "X-Request-ID"
        check = UrlCheck(url, params, headers, check_cb, timeout=seconds, id_header=header)
        self._add(
            name or url_name(url),
            check,
            level=level,
            timeout=seconds,
            group=group,
            give_up=check.give_up,
        )

    def add_redis_check(self, name: str | None = None, level: int = 1) -> None:
        """Check that Redis answers, and with Sentinels a replica and one of them.

        It is called as the address if *name* is not given.
        """
        self._add_redis(name, level)

    def add_version_check(self, name: str = "version", level: int = 2) -> None:
        """Check that all processes of the service run the same version."""
        self._add_version(name, level)

    def add_custom_check(
        self,
        name: str,
        check_cb: Callable[[Any], Any],
        level: int = 1,
        *,
        timeout: float | None = None,
        group: str | None = None,
    ) -> None:
        """Check whatever *check_cb* does, which is given the request."""
        self._add(name, check_cb, level=level, timeout=timeout, group=group)

    def _add_redis(self, name: str | None, level: int, *, automatic: bool = False) -> None:
        settings = self._settings.redis
        self._add(
            name or redis_server.name_of(settings),
            redis_server.check(redis.shared(settings)),
            level=level,
            replaceable=automatic,
        )

    def _add_version(self, name: str, level: int, *, automatic: bool = False) -> None:
        running = version.running(self._settings.service.versions_file)
        self._add(
            name,
            version.check(running, self._options.timeout),
            level=level,
            replaceable=automatic,
        )

    def _bindings(self, session: Any, engine_type: EngineType) -> list[database.Binding]:
        try:
            return database.bindings(session, engine_type)
        except TypeError as error:
            raise ConfigurationError(f"{_where()}: {error}") from error

    def _add(
        self, name: str, run: Callable[[Any], Any], *, timeout: float | None = None, **more: Any
    ) -> None:
        _add(self._health, name, run, timeout=timeout, **more)


def add_health_check(  # noqa: PLR0913, PLR0917 - a directive
    config: Configurator,
    name: str,
    check: Callable[[Any], Any],
    level: int = 1,
    timeout: float | None = None,
    group: str | None = None,
) -> None:
    """Have *check*, which is given a request, run as a health check called *name*."""
    _add(health_of(config), name, check, level=level, timeout=timeout, group=group)


def _add(
    health: Health,
    name: str,
    run: Callable[[Any], Any],
    *,
    timeout: float | None = None,
    **more: Any,
) -> None:
    try:
        seconds = health.options.timeout if timeout is None else timeout
        health.checks.add(Check(name, run, timeout=seconds, **more), _where())
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{_where()}: {error}") from error


def _where() -> str:
    """The line of the application that adds a check."""
    ours = tuple(
        str(Path(module.__file__ or "").parent)
        for module in (pyramid.config, sys.modules[__name__])
    )
    frame = sys._getframe(1)  # noqa: SLF001 - documented, CPython's
    while frame.f_code.co_filename.startswith(ours) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def health_of(config: Configurator) -> Health:
    health: Health | None = getattr(config.registry, "c2c_health_check", None)
    if health is None:
        health = config.registry.c2c_health_check = Health.of(settings_of(config))
    return health
