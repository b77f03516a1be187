"""The command ``c2cotel``: each module of this package is one of its commands.

A command is a module with ``HELP``, ``EXAMPLES``, ``FAILS``, ``add_arguments(parser)`` and
``run(args) -> int``, see :class:`Command`; its name is the module's, with dashes. It imports what
is heavy within ``run``: all of them are imported for the help. Results go to stdout, talk to
stderr. All commands end alike:

======  ============================================================================
status  meaning
======  ============================================================================
0       done
1       what was asked for was tried, and failed or is found wrong: ``FAILS`` says when
2       what was typed or configured cannot be, and nothing was done
130     interrupted
======  ============================================================================

What the person typing can do something about is raised as :class:`CommandError` (2) or
:class:`FailedError` (1): one line on stderr. So is what nobody expected (1). ``--debug``, before or
after the command, shows the stack, too.
"""

import errno
import importlib
import os
import pkgutil
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import argparse

_DONE: Final = 0
_FAILED: Final = 1
_USAGE_ERROR: Final = 2
_INTERRUPTED: Final = 130  # what a shell gives for SIGINT

# What who writes a result may hear: the disk is full, it is too much.
_OF_OUTPUT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CommandError(Exception):
    """Something the person at the keyboard can do something about; the message says what."""

    status = _USAGE_ERROR


class FailedError(CommandError):
    """What was asked for can be, but failed this time; the message says why."""

    status = _FAILED


class Command(Protocol):
    """What a module of this package has.

    It may also have ``ABOUT``, a paragraph or more for its help, and ``NEEDS``: the extra of
    c2cotel to install, and the modules of it that the command cannot do without.
    """

    HELP: str
    """What it does, in the list of commands: less than a line, no capital, no full stop."""
    EXAMPLES: str
    """One line each, as it is typed; of a command with actions, one for each of these at least."""
    FAILS: str
    """When its exit status is 1."""

    def add_arguments(self, parser: "argparse.ArgumentParser") -> None:
        """Declare options and arguments."""

    def run(self, args: "argparse.Namespace") -> int:
        """Do it, and return the exit status."""


def command_names() -> list[str]:
    """All commands, sorted; none of them is imported for that."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def load_command(name: str) -> Command:
    """The module of the command *name*."""
    return cast("Command", importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def reference_markdown() -> str:
    """All commands with their help, as a page of the documentation."""
    from c2cotel.cli._reference import markdown

    return markdown()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (default: the command line) asks for; return its exit status.

    Raises:
        SystemExit: the command line is wrong, or asks for help or the version.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            # Here, where it can be said if it fails; also after a help, which ends with SystemExit.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        _forget_output()
        return _DONE
    except OSError as error:
        _forget_output()
        print(f"c2cotel: the output cannot be written: {error.strerror}", file=sys.stderr)
        return _FAILED


def _run(arguments: Sequence[str]) -> int:
    from c2cotel.cli import _parser
    from c2cotel.cli._output import plain

    _make_printable()
    name = "c2cotel"
    debug = "--debug" in arguments
    try:
        args = _parser.parse(arguments)
        name = f"c2cotel {args.command}"
        debug = args.debug
        _parser.check_installed(args.command)
        status: int = args.run(args)
    except KeyboardInterrupt:
        _show_stack(debug)
        return _INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and _is_of_output(error):
            raise
        _show_stack(debug)
        told, status = _told(error, name)
        print(f"{name}: {plain(told)}", file=sys.stderr)
    return status


def _is_of_output(error: OSError) -> bool:
    """Whether it is the result that could not be written, not something of the command's own."""
    if error.errno != errno.EPIPE or sys.stdout is None:
        return error.errno in _OF_OUTPUT
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _told(error: Exception, name: str) -> tuple[str, int]:
    """What to say about *error*, on one line, and the exit status."""
    if isinstance(error, CommandError):
        return str(error), error.status
    # Not before something is wrong: most commands end without it.
    from c2cotel.settings import SettingsError
    from c2cotel_instrumentation.redaction import redacted_text

    if isinstance(error, SettingsError):
        return str(error), _USAGE_ERROR
    if isinstance(error, ModuleNotFoundError):
        ours = not error.name or "pip install" in str(error)
        return str(error) if ours else f"needs {error.name}, not installed here", _USAGE_ERROR
    said = " ".join(redacted_text(f"{type(error).__name__}: {error}").split())
    return f"unexpectedly failed: {said} (`{name} --debug …` shows where)", _FAILED


def _show_stack(wanted: bool) -> None:  # noqa: FBT001 - the one thing to know
    if wanted:
        import traceback

        from c2cotel_instrumentation.redaction import redacted_text

        print(redacted_text(traceback.format_exc(), values=True), end="", file=sys.stderr)


def _make_printable() -> None:
    """Let no character of a result be an error: a terminal may know few of them."""
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if not encoding.lower().startswith("utf") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Python would try to write what is left at its exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
