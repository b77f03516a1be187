"""``c2cotel dashboards``: the Grafana dashboards and Prometheus rules, to where they are used."""

import json
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from c2cotel.boards import core
from c2cotel.boards.core import ChoiceError, Collection
from c2cotel.boards.promql import JOB
from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._parser import Parser

HELP = "list, export or push Grafana dashboards and Prometheus rules"

_TOKEN_VARIABLE: Final = "GRAFANA_TOKEN"  # noqa: S105 - its name

EXAMPLES = """\
c2cotel dashboards list
c2cotel dashboards export grafana/dashboards
c2cotel dashboards export monitoring --prefix shop --threshold latency=2 \\
    --dashboard-url https://grafana.example.org
c2cotel dashboards push --url https://grafana.example.org --token-file token \\
    --folder Services
"""
FAILS = "a file cannot be written, or Grafana does not take a dashboard"


class _Mixed(Parser):
    """Takes names before, between and after options; argparse by itself stops at the first."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return super().parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def add_arguments(parser: ArgumentParser) -> None:
    """A parser for each of list, export and push."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="action", parser_class=_Mixed
    )
    _add_list(actions.add_parser("list", help="tell what there is, and the alerts' thresholds"))
    _add_export(actions.add_parser("export", help="write files: to import, provision or commit"))
    _add_push(actions.add_parser("push", help="put the dashboards into a running Grafana"))


def run(args: Namespace) -> int:
    """Do what is asked for; 1 if it fails, and then what failed is said on stderr."""
    from c2cotel.boards.writing import WritingError

    try:
        status: int = args.act(args, core.collection())
    except ChoiceError as error:
        raise CommandError(str(error)) from error
    except (FileNotFoundError, WritingError) as error:
        raise FailedError(str(error)) from error
    return status


# list


def _add_list(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help="for programs: an object of dashboards (name, title, uid, description), alerts "
        "(names) and thresholds (name, default, alerts)",
    )
    parser.set_defaults(act=_list)


def _list(args: Namespace, found: Collection) -> int:
    if args.json:
        print(json.dumps(_told(found), indent=2, ensure_ascii=False))
        return 0
    about = [(board.name, board.description) for board in found.boards.values()]
    about.append((core.RULES, f"For Prometheus: {len(found.alerts)} alerts, and what they ask."))
    about.append((core.PROVISIONING, "For Grafana: examples of files that it reads at its start."))
    _print_table(about)
    print("\nThresholds of the alerts, for export --threshold NAME=VALUE:\n")
    _print_table(
        [(one.name, one.value, ", ".join(one.alerts)) for one in found.thresholds.values()]
    )
    return 0


def _told(found: Collection) -> dict[str, Any]:
    boards = found.boards.values()
    return {
        "dashboards": [
            {key: getattr(board, key) for key in ("name", "title", "uid", "description")}
            for board in boards
        ],
        "alerts": found.alerts,
        "thresholds": [
            {"name": one.name, "default": one.value, "alerts": one.alerts}
            for one in found.thresholds.values()
        ],
    }


def _print_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[-1]]).rstrip())


# export


def _add_export(parser: ArgumentParser) -> None:
    parser.add_argument("dir", type=_folder, metavar="DIR", help="made if it is not there")
    _add_names(parser, f"only these dashboards; also {core.RULES} and {core.PROVISIONING}")
    _add_changes(parser)
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="when an alert fires, see list; may be repeated",
    )
    parser.add_argument(
        "--dashboard-url",
        default="",
        metavar="BASE",
        help="the Grafana that alerts link to, for example https://grafana.example.org",
    )
    parser.add_argument(
        "--runbook-url", default="", metavar="BASE", help="where you keep the alerts' runbooks"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.set_defaults(act=_export)


def _folder(text: str) -> Path:
    # Most likely a variable of the shell that is not set; Path("") is the folder that one is in.
    if not text:
        raise ArgumentTypeError("it is empty; write . for the folder that you are in")
    return Path(text)


def _export(args: Namespace, found: Collection) -> int:
    from c2cotel.boards.writing import write

    changes = core.changes(
        found,
        **_changes(args),
        thresholds=args.threshold,
        dashboard_url=args.dashboard_url,
        runbook_url=args.runbook_url,
    )
    files = core.exported(found, args.names, changes, args.dir)
    write(args.dir, files, replace=args.force)
    for path in files:
        print(args.dir / path)
    if changes.thresholds and any(path.startswith(f"{core.RULES}/") for path in files):
        print("The tests of the rules are left out: they are for the defaults.", file=sys.stderr)
        if (old := args.dir / core.RULES / "tests").is_dir():
            print(f"Delete {old}: they are of an earlier export, and fail now.", file=sys.stderr)
    return 0


# push


def _add_push(parser: ArgumentParser) -> None:
    _add_names(parser, "only these dashboards")
    parser.add_argument("--url", required=True, help="of Grafana, with its path if it has one")
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="has the token of a service account with the role Editor; "
        f"without it, {_TOKEN_VARIABLE} in the environment",
    )
    token.add_argument(
        "--token",
        help="the token itself: everybody on this machine can see it in the list of processes, "
        "and the shell keeps it in its history",
    )
    _add_changes(parser)
    parser.add_argument(
        "--folder",
        metavar="TITLE",
        help="made if it is not there; without it, each stays in its folder, and new ones are "
        "at the top",
    )
    parser.add_argument("--dry-run", action="store_true", help="only ask, and change nothing")
    parser.set_defaults(act=_push)


def _push(args: Namespace, found: Collection) -> int:
    names = core.chosen(args.names, found.boards)
    changes = core.changes(found, **_changes(args))
    boards = [core.changed_board(found.boards[name], changes) for name in names]
    url, token = _url(args.url), _token(args)
    if args.folder is not None and not args.folder.strip():
        raise CommandError("--folder: write the title of a folder, or leave it out.")

    from c2cotel.boards.exchange import PushError
    from c2cotel.boards.push import Grafana, push

    failed = False
    try:
        with Grafana(url, token) as grafana:
            for outcome in push(grafana, boards, args.folder or "", dry_run=args.dry_run):
                failed |= outcome.failed
                out = sys.stderr if outcome.failed else sys.stdout
                print(f"{outcome.name}: {outcome.text}", file=out, flush=True)
    except PushError as error:
        raise FailedError(str(error)) from error
    return 1 if failed else 0


def _url(text: str) -> str:
    if not re.fullmatch(r"(?i)https?://[^\s/?#@]+(/[^\s?#@]*)?", text):
        # Not shown: there may be a password in it.
        raise CommandError(
            "--url is not the address of a Grafana. Write for example "
            "https://grafana.example.org, without user, password, ? and #."
        )
    return text


def _token(args: Namespace) -> str:
    if args.token is not None:
        print(
            "warning: --token can be seen in the list of processes; better is --token-file.",
            file=sys.stderr,
        )
        return _checked(args.token, "--token")
    if args.token_file is not None:
        try:
            text = args.token_file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise CommandError(f"{args.token_file} cannot be read: {reason}.") from error
        return _checked(text, str(args.token_file))
    return _checked(os.environ.get(_TOKEN_VARIABLE, ""), _TOKEN_VARIABLE)


def _checked(text: str, source: str) -> str:
    token = text.strip()
    if not token:
        raise CommandError(
            f"There is no token in {source}. Give the token of a service account of Grafana by "
            f"--token-file or {_TOKEN_VARIABLE}."
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise CommandError(f"What is in {source} is not a token: a blank or another sign is in it.")
    return token


# Both


def _add_names(parser: ArgumentParser, text: str) -> None:
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help=text)


def _add_changes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--datasource",
        default="",
        metavar="NAME_OR_UID",
        help="the Prometheus that is chosen at first; otherwise Grafana's default",
    )
    parser.add_argument("--prefix", default="", help="what C2C_PROMETHEUS_PREFIX is")
    parser.add_argument(
        "--job-label",
        default=JOB,
        metavar="LABEL",
        help="the services' label (default job); one for each prefix, or alerts come twice",
    )


def _changes(args: Namespace) -> dict[str, Any]:
    return {key: getattr(args, key) for key in ("datasource", "prefix", "job_label")}
