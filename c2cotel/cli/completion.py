"""``c2cotel completion SHELL``: commands, options and files, completed by a shell."""

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Final

from c2cotel.cli import _parser, command_names

HELP = "print what makes a shell complete commands, options and files"
ABOUT = """\
The script is for the c2cotel that prints it: make it anew after an upgrade."""
EXAMPLES = """\
c2cotel completion bash > ~/.local/share/bash-completion/completions/c2cotel
c2cotel completion zsh > ~/.zfunc/_c2cotel    # with ~/.zfunc in $fpath
c2cotel completion tcsh > ~/.c2cotel.csh      # to be sourced by ~/.tcshrc
"""
FAILS = "the script cannot be written"

_SHELLS: Final = ("bash", "zsh", "tcsh")


def add_arguments(parser: ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))


def run(args: Namespace) -> int:
    """Print the script."""
    import shtab

    parser = _parser.build(command_names())
    _mark(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _mark(parser: ArgumentParser, files: Any, folders: Any) -> None:
    """Say which arguments are paths: where shtab looks for it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for child in action.choices.values():
                _mark(child, files, folders)
        elif action.metavar == "DIR":
            action.complete = folders  # type: ignore[attr-defined] # shtab's
        elif action.type is Path or action.dest == "config_uri":
            action.complete = files  # type: ignore[attr-defined] # shtab's
