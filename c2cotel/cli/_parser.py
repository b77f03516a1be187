"""How command lines are read, and what the help looks like: the same for all commands."""

import argparse
import difflib
import importlib.util
import shutil
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any, Final, NoReturn

from c2cotel import cli

DOCUMENTATION: Final = "https://github.com/camptocamp/c2cotel/tree/main/docs"

ABOUT: Final = """\
c2cotel tells what an application of Pyramid, SQLAlchemy and gunicorn does:
metrics, traces and logs that are right with any number of workers. These
commands show it at work, find what is wrong with a set-up, and bring numbers
and dashboards to where they are looked at."""

_EXAMPLES: Final = """\
c2cotel demo                      # see it at work, with real servers
c2cotel doctor production.ini     # yours: what is on, and does it work?
"""
_MORE: Final = f"""\
`c2cotel COMMAND --help` tells more of each. Read on at
{DOCUMENTATION}"""

_STATUSES: Final = """\
exit status:
  0    done
  1    {fails}
  2    what was typed or configured cannot be; nothing was done
  130  interrupted"""
_FAILS: Final = "what was asked for failed, or was found wrong"

_WIDEST: Final = 90

_Subactions = Generator[argparse.Action, None, None]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is asked for; ``run``, ``command`` and ``debug`` are always set.

    Raises:
        SystemExit: it is wrong, which is said already, or a help was asked for.
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    names = cli.command_names()
    if words and words[0] in names:
        parser = build([words[0]])
    else:
        # The help needs the modules of all, an unknown command that of none.
        parser = build([] if words else names, lenient=True)
    if not words:
        # Before argparse says that the command is missing.
        if wrong := [it for it in arguments if not _may_be_option(parser, it)]:
            _refuse(parser, wrong)
        if not set(arguments) - {"--debug"}:
            parser.exit(2, parser.format_help())
    args, rest = parser.parse_known_args(arguments)
    if rest:
        _refuse(args.parser, rest)
    args.debug = getattr(args, "debug", False)
    return args


def build(loaded: Collection[str], *, lenient: bool = False) -> argparse.ArgumentParser:
    """The parser of the whole command line; of the commands, only those *loaded* are complete.

    Where it is *lenient*, a command that cannot be had here says so in its line of the list; else
    what it is, or, if it cannot even be imported, that is raised.
    """
    parser = Parser(prog="c2cotel", description=ABOUT, add_help=False)
    parser.epilog = "\n\n".join([_examples(_EXAMPLES), _STATUSES.format(fails=_FAILS), _MORE])
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="command", parser_class=Parser
    )
    # After the commands, which argparse would put last.
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this help and exit")
    options.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    _add_debug(options, "show the stack of an error, too; may also follow the command")
    for name in cli.command_names():
        if name not in loaded:
            commands.add_parser(name)
            continue
        try:
            command = cli.load_command(name)
        except Exception as error:  # whatever its libraries do
            if not lenient:
                raise
            commands.add_parser(name, help=_percent(f"not available: {error}"))
            continue
        lacking = lenient and _missing(command)
        about = f"not installed: {_remedy(command)}" if lacking else command.HELP
        _complete(commands.add_parser(name, help=_percent(about)), command)
    return parser


def _complete(parser: argparse.ArgumentParser, command: cli.Command) -> None:
    """Fill in what *command* says of itself."""
    parser.description = _sentence(command.HELP)
    if about := getattr(command, "ABOUT", "").strip():
        parser.description += f"\n\n{about}"
    parser.set_defaults(run=command.run)
    command.add_arguments(parser)
    _finish(parser, command)


def _finish(parser: argparse.ArgumentParser, command: cli.Command) -> None:
    lines = command.EXAMPLES.strip().replace("\\\n", "\\\0").splitlines()
    own = [line for line in lines if parser.prog in line]
    parser.formatter_class = Formatter
    parser.epilog = "\n\n".join(
        [
            _examples("\n".join(own).replace("\0", "\n")),
            _STATUSES.format(fails=command.FAILS),
        ]
    )
    parser.set_defaults(parser=parser)
    _add_debug(parser)
    chosen = list(actions(parser))
    parser._positionals.title = "actions" if chosen else "arguments"  # noqa: SLF001 - nor to say so
    for child, about in chosen:
        child.description = child.description or _sentence(about)
        _finish(child, command)


def _add_debug(parser: Any, text: str = "show the stack of an error, too") -> None:
    """The option that every parser has; without a default, which would undo what came before."""
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=text)


def actions(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The parsers that *parser* chooses from, each with its line of help."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for choice in action._choices_actions:  # noqa: SLF001 - as above
                yield action.choices[choice.dest], choice.help or ""


def check_installed(name: str) -> None:
    """Whether the command *name* can run.

    Raises:
        CommandError: a module of its extra is not installed; the message says how to do that.
    """
    command = cli.load_command(name)
    if lacking := _missing(command):
        raise cli.CommandError(
            f"needs {', '.join(lacking)}, not installed here: {_remedy(command)}"
        )


def _missing(command: cli.Command) -> list[str]:
    """The modules that *command* cannot do without, and that are not installed."""
    _, modules = getattr(command, "NEEDS", ("", ()))
    return [module for module in modules if not _is_installed(module)]


def _remedy(command: cli.Command) -> str:
    """The line that installs what *command* needs."""
    extra, _ = getattr(command, "NEEDS", ("", ()))
    return f"pip install 'c2cotel[{extra}]'"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is missing, or it was taken away
        return False


def _percent(text: str) -> str:
    """*text* as argparse wants it for a help, where it fills in things."""
    return text.replace("%", "%%")


def _examples(text: str) -> str:
    lines = text.strip().splitlines()
    return "\n".join(["examples:" if len(lines) > 1 else "example:", *(f"  {it}" for it in lines)])


# What is said of a wrong command line


class Parser(argparse.ArgumentParser):
    """Says what is wrong on one line, with what may be meant; argparse prints the usage, too."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, **how})

    def error(self, message: str) -> NoReturn:
        said = " ".join(message.split()).removeprefix("argument ")
        self.exit(2, f"{self.prog}: {said} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        meant = _meant(str(value), [str(choice) for choice in action.choices])
        if isinstance(action.choices, dict):  # commands or actions
            raise argparse.ArgumentError(None, f"unknown {action.dest} {value!r}{meant}")
        raise argparse.ArgumentError(action, f"cannot be {value!r}{meant}")


def _meant(value: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, choices, n=1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(choices)}"


def _may_be_option(parser: argparse.ArgumentParser, argument: str) -> bool:
    """Whether argparse takes *argument* for an option: it may be shortened."""
    known = parser._option_string_actions  # noqa: SLF001 - argparse has no other way to ask
    return any(option.startswith(argument) for option in known)


def _refuse(parser: argparse.ArgumentParser, rest: Sequence[str]) -> NoReturn:
    said = f"unrecognized arguments: {' '.join(rest)}"
    option = rest[0].partition("=")[0]
    if option.startswith("-"):
        known = parser._option_string_actions  # noqa: SLF001 - argparse has no other way to ask
        near = difflib.get_close_matches(option, known, n=1)
        said += f": did you mean {near[0]}?" if near else ""
    parser.error(said)


# What the help looks like


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Text as it is written, what there is to choose from one line each."""

    def __init__(self, prog: str, *, width: int | None = None) -> None:
        columns = min(shutil.get_terminal_size().columns, _WIDEST) if width is None else width
        super().__init__(prog, max_help_position=26, width=columns - 1)

    def _format_action(self, action: argparse.Action) -> str:
        # Without a line for what all of them are.
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no name for it
            return "".join(map(self._format_action, self._iter_indented_subactions(action)))
        return super()._format_action(action)

    def _iter_indented_subactions(self, action: argparse.Action) -> _Subactions:
        # Not indented: in that, versions of Python differ.
        yield from getattr(action, "_get_subactions", tuple)()


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"c2cotel {version('c2cotel')}")
        parser.exit()
