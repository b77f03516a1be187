"""``c2cotel stats-db``: tables, indexes and numbers of your own of a PostgreSQL, as metrics."""

import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from c2cotel import cli
from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._output import print_json

if TYPE_CHECKING:
    from c2cotel.stats_db.postgresql import Statistics

HELP = "tell sizes and use of a PostgreSQL's tables as metrics"
ABOUT = """\
Without --prometheus-url the numbers are pushed by OTLP, if
OTEL_METRICS_EXPORTER or an endpoint of OTLP says so; else they are served for
one scrape, on C2C_PROMETHEUS_PORT or 9090. Whoever does not answer, be it the
database or the one that takes the numbers, is tried C2COTEL_STATS_DB_TRYNUMBER
times, C2COTEL_STATS_DB_SLEEP seconds apart. Queries that fail do not keep the
other numbers from being told.

With --json they go to standard output instead: an object with database,
numbers (each with name, unit, description, attributes and value) and failures
(each with what and why)."""
EXAMPLES = """\
c2cotel stats-db --db postgresql+psycopg://monitor@db/app --schema main
c2cotel stats-db production.ini --prometheus-url http://pushgateway:9091
c2cotel stats-db --extra "SELECT 'users', count(*) FROM users" \\
    --extra-gauge "SELECT state, count(*) FROM jobs GROUP BY state" \\
    jobs "Jobs by state"
c2cotel stats-db --db postgresql+psycopg://monitor@db/app --json
"""
FAILS = "a query failed, or the database or who takes the numbers is away"

DEFAULT_URI: Final = "c2c:///app/production.ini"
_WIDTH: Final = 30


def add_arguments(parser: ArgumentParser) -> None:
    """The database, what to ask it, and where to tell it."""
    parser.add_argument(
        "config_uri",
        nargs="?",
        help=f"the ini file of the application, for its sqlalchemy.url; {DEFAULT_URI} if there is "
        "one and no --db",
    )
    parser.add_argument(
        "config_vars",
        nargs="*",
        metavar="NAME=VALUE",
        help="variables of the ini file, which win over those of the environment",
    )
    parser.add_argument(
        "--db",
        metavar="URL",
        help="the database, as SQLAlchemy writes it; with a password in it, SQLALCHEMY_URL in the "
        "environment is better: everybody on this machine can see the list of processes",
    )
    parser.add_argument(
        "--schema",
        action="append",
        default=[],
        metavar="NAME",
        help="whose tables are told, besides those of public; may be repeated",
    )
    _add_extras(parser)
    _add_destination(parser)


def _add_extras(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="SQL",
        help="a query for rows of a name and a number, told as c2c.database.extra; may be repeated",
    )
    parser.add_argument(
        "--extra-gauge",
        action="append",
        default=[],
        nargs=3,
        metavar=("SQL", "NAME", "HELP"),
        help="the same, told as c2c.database.NAME; may be repeated",
    )


def _add_destination(parser: ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--prometheus-url", metavar="URL", help="of a Pushgateway, to push the numbers to"
    )
    where.add_argument(
        "--json", action="store_true", help="print the numbers, and send them to nobody"
    )
    parser.add_argument(
        "--prometheus-instance",
        metavar="NAME",
        help="what pushes: the instance of the group in the Pushgateway, none by default; of the "
        "service with OTLP, the database's address by default",
    )


def run(args: Namespace) -> int:
    """Take the numbers and send them; 1 if one of both failed, which is then said on stderr."""
    from c2cotel.stats_db.database import UnreachableError
    from c2cotel.stats_db.sending import SendingError

    try:
        return _run(args)
    except (UnreachableError, SendingError) as error:
        raise FailedError(str(error)) from error


def main() -> int:
    """The script ``c2cotel-stats-db``."""
    return cli.main(["stats-db", *sys.argv[1:]])


def _run(args: Namespace) -> int:
    from c2cotel.settings import load
    from c2cotel.stats_db.database import Database, engine
    from c2cotel.stats_db.destination import Destination
    from c2cotel.stats_db.extras import ExtraError, extras
    from c2cotel.stats_db.postgresql import SchemaError, take

    ini = _ini(args)
    loaded = load(ini=ini)
    loaded.raise_for_application("stats-db", telemetry=not args.json)
    settings = loaded.settings
    made = engine(ini, args.db)
    destination = None
    if not args.json:
        destination = Destination(settings, args.prometheus_url, args.prometheus_instance)
    bar = _Bar()
    database = Database(made, settings.stats_db.tries, settings.stats_db.pause, on_try=bar.trying)
    try:
        asked = extras(args.extra, args.extra_gauge)
        with database, bar:
            statistics = take(database, made.url.database, args.schema, asked, bar)
    except (ExtraError, SchemaError) as error:
        raise CommandError(str(error)) from error
    for failure in statistics.failures:
        _say(f"failed: {failure}")
    if destination is None:
        print_json(_told(statistics))
    else:
        destination.send(statistics.numbers, database.place, _say)
    return 1 if statistics.failures else 0


def _told(statistics: "Statistics") -> dict[str, Any]:
    return {
        "database": statistics.numbers.namespace,
        "numbers": [
            {
                "name": family.description.name,
                "unit": family.description.unit,
                "description": family.description.text,
                "attributes": dict(row.key),
                "value": row.values[0],
            }
            for family, rows in statistics.numbers.collected()
            for row in rows
        ],
        "failures": statistics.failures,
    }


def _ini(args: Namespace) -> Mapping[str, Any]:
    """The settings of the application; none if no file is named and there is none."""
    uri: str | None = args.config_uri
    if uri is None:
        if args.db or not Path(DEFAULT_URI.partition("://")[2]).exists():
            return {}
        uri = DEFAULT_URI
    with warnings.catch_warnings():
        # Pyramid's own, about setuptools: not what is asked for here.
        warnings.simplefilter("ignore")
        from pyramid.scripts.common import get_config_loader, parse_vars

        from c2cotel.setup_process import settings_of

    from c2cotel.settings import SettingsError

    try:
        given = parse_vars(args.config_vars)
    except ValueError as error:
        raise CommandError(f"config_vars: {error}. Write NAME=VALUE.") from error
    try:
        return settings_of(get_config_loader(uri), given or None)
    except SettingsError:
        raise
    except Exception as error:  # the application's, too: PasteDeploy imports it
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"{uri} cannot be read as an ini file: {reason}") from error


# What the person typing sees


class _Bar:
    """How far it is, on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        part = done * _WIDTH // total if total else _WIDTH
        self._show(f"[{'#' * part}{'.' * (_WIDTH - part)}] {done}/{total} tables and indexes")

    def trying(self, number: int) -> None:
        self._show(f"The database does not answer: try {number}")

    def _show(self, text: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> None:
        """Nothing is to be seen before the first answer."""

    def __exit__(self, *_: object) -> None:
        self._show("")


def _say(text: str) -> None:
    print(f"c2cotel stats-db: {text}", file=sys.stderr, flush=True)
