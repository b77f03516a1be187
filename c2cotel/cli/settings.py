"""``c2cotel settings``: what is set, to what, and where that was said."""

import sys
from argparse import ArgumentParser, Namespace

from c2cotel.cli._output import print_json
from c2cotel.cli._settings import add_config_uri, loaded_from, print_table

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
    add_config_uri(parser)
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")


def run(args: Namespace) -> int:
    """Print the settings; 1 if one of them has a problem, which is then said on stderr."""
    from c2cotel.settings import rows

    loaded = loaded_from(args.config_uri)
    if args.json:
        print_json(rows(loaded))
    else:
        print_table(rows(loaded))
    for problem in loaded.problems:
        print(f"{'warning' if problem.part else 'error'}: {problem}", file=sys.stderr)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 1 if any(not problem.part for problem in loaded.problems) else 0
