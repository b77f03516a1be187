"""The command ``c2cotel``: each module of this package is one of its commands.

A command is a module with ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``; its name is
the module's, with dashes. It imports what is heavy within ``run``. Results go to stdout, talk to
stderr; the exit status is 0, or what the command means by another one. What the person typing can
do something about is raised as :class:`CommandError`: one line on stderr, exit status 2.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from c2cotel.settings import SettingsError

_USAGE_ERROR = 2
_INTERRUPTED = 130  # what a shell gives for SIGINT


class CommandError(Exception):
    """Something the person at the keyboard can do something about; the message says what."""


class Command(Protocol):
    """What a module of this package has."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it, and return the exit status."""


def command_names() -> list[str]:
    """All commands, sorted; none of them is imported for that."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (default: the command line) asks for; return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser(arguments).parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except (CommandError, SettingsError) as error:
        print(f"c2cotel {args.command}: {error}", file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at its exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="c2cotel", description="Telemetry for Pyramid, SQLAlchemy and gunicorn."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    names = command_names()
    # Only the module of the command that runs is imported, all of them for the help.
    wanted = arguments[:1] if arguments and arguments[0] in names else names
    for name in wanted:
        try:
            command = _load(name)
        except ImportError as error:
            if wanted != names:
                parser.exit(_USAGE_ERROR, f"c2cotel {name}: {error}\n")
            commands.add_parser(name, help=f"not available: {error}")
            continue
        subparser = commands.add_parser(name, help=command.HELP, description=_sentence(command))
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _load(name: str) -> Command:
    return cast("Command", importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def _sentence(command: Command) -> str:
    return f"{command.HELP[:1].upper()}{command.HELP[1:]}."


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"c2cotel {version('c2cotel')}")
        parser.exit()
