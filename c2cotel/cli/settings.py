"""``c2cotel settings``: what is set, to what, and where that was said."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from c2cotel.cli import CommandError
from c2cotel.cli._output import print_json

if TYPE_CHECKING:
    from c2cotel.settings import Row

HELP = "list all settings, their values and where these come from"
ABOUT = """\
They come from the environment and, where one is given, from an ini file. What
is secret is masked. With --json it is a list of objects with name, value,
origin, environment, ini, default and description."""
EXAMPLES = """\
c2cotel settings
c2cotel settings c2c:///app/production.ini
c2cotel settings --json | jq '.[] | select(.origin != "default")'
"""
FAILS = "a setting cannot be what it is set to"


def add_arguments(parser: ArgumentParser) -> None:
    """One optional ini file; whether for programs."""
    parser.add_argument(
        "config_uri",
        nargs="?",
        help="ini file whose c2c.* keys count too, for example production.ini or a plaster URI",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")


def run(args: Namespace) -> int:
    """Print the settings; 1 if one of them has a problem, which is then said on stderr."""
    from c2cotel.settings import load, rows

    loaded = load(os.environ, _ini(args.config_uri) if args.config_uri else {})
    if args.json:
        print_json(rows(loaded))
    else:
        _print_table(rows(loaded))
    for problem in loaded.problems:
        print(f"{'warning' if problem.part else 'error'}: {problem}", file=sys.stderr)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 1 if any(not problem.part for problem in loaded.problems) else 0


def _ini(config_uri: str) -> Mapping[str, Any]:
    import configparser

    import plaster

    # Templates interpolate the environment, as in `c2c.base_path = %(BASE_PATH)s`.
    defaults = {name: value.replace("%", "%%") for name, value in os.environ.items()}
    try:
        loader = plaster.get_loader(config_uri)
        section = f"app:{loader.uri.fragment or 'main'}"
        settings: Mapping[str, Any] = loader.get_settings(section, defaults)
    except (plaster.PlasterError, configparser.Error, OSError, LookupError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CommandError(f"{config_uri} cannot be read as an ini file: {text}") from error
    return settings


def _print_table(table: "Sequence[Row]") -> None:
    cells = [(row.environment[0], _shown(row.value), row.origin) for row in table]
    widths = [max(len(line[column]) for line in cells) for column in (0, 1)]
    for name, value, origin in cells:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _shown(value: Any) -> str:
    """*value* on one line, without what a terminal would obey."""
    if value in (None, [], {}):
        return "-"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = ",".join(value)
    if isinstance(value, dict):
        value = ",".join(f"{name}={rule}" for name, rule in value.items())
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]
