"""The page of the documentation that has the help of every command."""

import argparse
import functools
from typing import Final

from c2cotel import cli
from c2cotel.cli import _parser

_INTRODUCTION: Final = """\
# Commands

<!-- made by `make docs-generated` -->

An error is one line on stderr; with `--debug`, before or after the command, its stack comes first.
Where a command has `--json`, there is nothing else on stdout.
"""
_WIDTH: Final = 90


def markdown() -> str:
    """Every command and each of its actions, as `--help` shows them on a wide terminal."""
    parser = _parser.build(cli.command_names())
    blocks = [_block(parser, 2)]
    for command, _ in _parser.actions(parser):
        blocks.append(_block(command, 2))
        blocks += [_block(action, 3) for action, _ in _parser.actions(command)]
    return "\n".join([_INTRODUCTION, *blocks])


def _block(parser: argparse.ArgumentParser, depth: int) -> str:
    parser.formatter_class = functools.partial(_parser.Formatter, width=_WIDTH)
    return f"{'#' * depth} {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
