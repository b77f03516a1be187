"""Whether the database has the version that the code is made for.

====================  =====  ====  =============================================================
name                  kind   unit  attributes
====================  =====  ====  =============================================================
c2c.alembic.version   gauge        version (of the database), name, configuration; the value is 1
c2c.alembic.mismatch  gauge        c2c.check.name; 1 if that is not the code's version, 0 else
====================  =====  ====  =============================================================

The process that finds another version than before tells it to the others, so that no process goes
on to show the old one. A check that fails for anything else, a database that is away, finds no
mismatch; of the processes of a host the one that has asked last decides.
"""

import configparser
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from c2cotel import broadcast
from c2cotel.health_check.checks.database import Binding
from c2cotel.health_check.core import CheckFailedError
from c2cotel.metrics.gauges import gauge
from c2cotel.settings import without_password

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CHANNEL: Final = "c2c_alembic_version"
_NONE: Final = "none"


class AlembicError(ValueError):
    """The migrations cannot be read; the message says which, and why."""


class Migrations:
    """The migrations of an ini file, read once; its section *name* says where they are.

    Raises:
        AlembicError: There is no alembic, no such file or section, or they cannot be read.
    """

    def __init__(
        self, ini: str, name: str, version_schema: str | None, version_table: str | None
    ) -> None:
        try:
            from alembic.config import Config
            from alembic.script import ScriptDirectory
        except ImportError:
            raise AlembicError(
                "The check of the migrations needs alembic: pip install 'c2cotel[alembic]'"
            ) from None
        path = Path(ini)
        if not path.is_file():
            raise AlembicError(f"The check of the migrations: there is no file {ini}.")
        config = Config(str(path), ini_section=name)
        try:
            if not config.file_config.has_section(name):
                sections = ", ".join(config.file_config.sections()) or "none"
                raise AlembicError(f"{ini} has no section [{name}]; there are: {sections}.")
            self.options = {
                "version_table": version_table or config.get_main_option("version_table"),
                "version_table_schema": version_schema
                or config.get_main_option("version_table_schema"),
            }
        except configparser.Error as error:
            raise AlembicError(f"{ini} cannot be read: {without_password(str(error))}") from None
        before = list(sys.path)
        try:
            _resolve(config, path.parent)
            self.script: ScriptDirectory = ScriptDirectory.from_config(config)
            self.heads = frozenset(self.script.get_heads())
        # A migration is code of the application's, and may raise anything.
        except Exception as error:
            raise AlembicError(
                f"The migrations of {ini} [{name}] cannot be read: {error}"
            ) from error
        finally:
            sys.path[:] = before  # alembic's prepend_sys_path was for reading them

    def found(self, session: "Session") -> frozenset[str]:
        """The versions that the database is at; empty where there is no table of them."""
        from alembic.migration import MigrationContext

        options = {key: value for key, value in self.options.items() if value}
        context = MigrationContext.configure(session.connection(), opts=options)
        return frozenset(context.get_current_heads())

    def are_applied(self, versions: frozenset[str]) -> bool:
        """Whether a database at *versions* has all migrations."""
        from alembic.util import CommandError

        if versions == self.heads:
            return True
        try:
            # A head that another branch depends on is not in the table.
            implied = self.script.get_all_current(tuple(sorted(versions)))
        except CommandError:  # a version that the code does not know
            return False
        return self.heads <= {each.revision for each in implied}


def _resolve(config: Any, folder: Path) -> None:
    """Let relative places be below the ini's folder, not below where the server was started."""
    location = config.get_main_option("script_location")
    # Of an absolute place, the folder drops out; "package:place" is none that exists.
    if location and (below := folder.resolve() / location).exists():
        config.set_main_option("script_location", str(below).replace("%", "%%"))


def check_name(ini: str, name: str) -> str:
    return f"alembic_{ini.replace('/', '_').strip('_')}_{name}"


def check(
    migrations: Migrations,
    bindings: Sequence[Binding],
    timeout: float,
    found: Callable[[str], None],
    mismatch: Callable[[bool], None],
) -> Callable[[Any], str]:
    """A check of the databases of *bindings*.

    *found* is told the version of the last one; *mismatch*, each time, whether that is the reason
    of a failure.
    """

    def run(_: Any) -> str:
        expected = shown(migrations.heads)
        other = False
        # Told once, in the end: a scrape in between would see an alert's condition end.
        try:
            for binding in bindings:
                with binding.session(timeout) as session:
                    versions = migrations.found(session)
                found(shown(versions))
                if other := not migrations.are_applied(versions):
                    raise CheckFailedError(
                        f"Invalid alembic version (db: {shown(versions)}, code: {expected})"
                    )
        finally:
            mismatch(other)
        return expected

    return run


def tell_mismatch(name: str, other: bool) -> None:  # noqa: FBT001 - the value of a gauge
    """Whether the check *name* found another version."""
    _mismatch().set(int(other), {"c2c.check.name": name})


@functools.cache
def _mismatch() -> Any:
    """Made when the first check has been run, after telemetry is set up."""
    return gauge(
        metrics.get_meter("c2cotel.health_check"),
        "c2c.alembic.mismatch",
        "last",
        "1 if the database was last found at another version than the code's, 0 if not.",
    )


def shown(versions: Iterable[str]) -> str:
    return ", ".join(sorted(versions)) or _NONE


class Versions:
    """The versions that the databases were last found at, by any process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], str] = {}
        self._gauge: Any = None

    def listen(self) -> None:
        broadcast.subscribe(CHANNEL, self.learn)

    def found(self, name: str, configuration: str, version: str) -> None:
        """This process has found it: let the others know, if it was another one."""
        if self._known.get((name, configuration)) == version:
            return
        self.learn(name, configuration, version)
        broadcast.broadcast(
            CHANNEL, {"name": name, "configuration": configuration, "version": version}
        )

    def learn(self, name: str, configuration: str, version: str) -> None:
        """Some process has found it."""
        with self._lock:
            self._known[name, configuration] = version
            if self._gauge is None:
                self._gauge = gauge(
                    metrics.get_meter("c2cotel.health_check"),
                    "c2c.alembic.version",
                    "max",
                    "1, with the version that the database was last found at.",
                    callbacks=[self._observe],
                )

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        known = dict(self._known)
        return [
            Observation(1, {"version": version, "name": name, "configuration": configuration})
            for (name, configuration), version in known.items()
        ]


@functools.cache
def versions() -> Versions:
    """Those of this process."""
    return Versions()
