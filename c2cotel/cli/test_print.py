"""``c2cotel test-print --url URL``: what a MapFish Print server gives as examples, printed."""

import json
import re
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from c2cotel import cli
from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._output import plain, print_json, write
from c2cotel.cli._values import seconds

if TYPE_CHECKING:
    from c2cotel_acceptance.print import PrintConnection

HELP = "print all examples of a MapFish Print server, tell what fails"
ABOUT = """\
Each application's examples are printed one after the other, as a page at
--referrer does it; one that fails does not keep the others from being tried.
With --json it is an object: ok (a boolean) and prints, each with app, example,
ok, seconds, bytes (of the PDF) and error (null where there is none)."""
EXAMPLES = """\
c2cotel test-print --url https://maps.example.org/print
c2cotel test-print --url http://localhost:8080/print --app demo --verbose
c2cotel test-print --url http://localhost:8080/print --output pdfs
"""
FAILS = "the server does not answer, or an example is not printed"

# It is an application's test of itself: the same as another one, where there is another.
_SPARE: Final = "default"


@dataclass(frozen=True)
class _Print:
    """What became of an example."""

    app: str
    example: str
    ok: bool
    seconds: float
    bytes: int = 0
    error: str | None = None


def add_arguments(parser: ArgumentParser) -> None:
    """The server, what of it, and how long to wait."""
    parser.add_argument(
        "--url", required=True, help="of the server, with the path that ends with /print"
    )
    parser.add_argument("--app", metavar="NAME", help="only this application; by default all")
    parser.add_argument(
        "--referrer", metavar="URL", help="the page that prints; by default the server itself"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="for the server to be ready, and for each print (default 60)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to put the PDFs")
    parser.add_argument("--verbose", action="store_true", help="tell each request, too")
    parser.add_argument("--json", action="store_true", help="for programs: one object")


def run(args: Namespace) -> int:
    """Print the examples, and a line for each; 1 if one of them fails."""
    from c2cotel_acceptance.print import PrintConnection

    try:
        server = PrintConnection(args.url, args.referrer or args.url, timeout=args.timeout)
    except ValueError:
        # Not shown: there may be a password in it.
        raise CommandError(
            "--url is not the address of a MapFish Print. "
            "Write for example https://maps.example.org/print."
        ) from None
    if args.output is not None:
        _make(args.output)
    prints = []
    with server:
        for app in _apps(server, args):
            for told in _printed(server, app, args):
                prints.append(told)
                if not args.json:
                    _show(told, args.verbose)
    if not prints:
        raise FailedError("The server has no example to print.")
    ok = all(told.ok for told in prints)
    if args.json:
        print_json({"ok": ok, "prints": prints})
    return 0 if ok else 1


def main() -> int:
    """The script ``c2cotel-test-print``."""
    return cli.main(["test-print", *sys.argv[1:]])


def _apps(server: "PrintConnection", args: Namespace) -> list[str]:
    """Whose examples to print, once the server is ready."""
    from c2cotel_acceptance import utils

    def ask() -> list[str]:
        if args.app is None:
            return [str(app) for app in server.get_apps()]
        server.get_capabilities(args.app)
        return [str(args.app)]

    try:
        found = ask()
    except _problems() as error:
        _say(f"not ready, for {args.timeout:g} s at most: {_line(error)}")
        try:
            found = utils.retry_timeout(ask, args.timeout)
        except TimeoutError as late:
            raise FailedError(_line(late)) from late
    return [app for app in found if app != _SPARE] or found


def _printed(server: "PrintConnection", app: str, args: Namespace) -> Iterator[_Print]:
    begun = time.monotonic()
    try:
        if args.verbose:
            _say(f"{app} can print {_pretty(server.get_capabilities(app))}")
        examples = server.get_example_requests(app)
    except _problems() as error:
        yield _Print(app, "", ok=False, seconds=time.monotonic() - begun, error=str(error))
        return
    for name, request in examples.items():
        if args.verbose:
            _say(f"{app} is asked for {name}: {_pretty(request)}")
        begun = time.monotonic()
        try:
            pdf = server.get_pdf(app, request, timeout=args.timeout).content
        except _problems() as error:
            yield _Print(app, name, ok=False, seconds=time.monotonic() - begun, error=str(error))
            continue
        if args.output is not None:
            write(args.output / f"{_file_name(app)}-{_file_name(name)}.pdf", pdf)
        yield _Print(app, name, ok=True, seconds=time.monotonic() - begun, bytes=len(pdf))


def _problems() -> tuple[type[Exception], ...]:
    """What an answer that is none, or not the right one, is raised as."""
    import requests

    # Of wrong shapes, too: what answers may be another server.
    return (
        *(AssertionError, requests.RequestException),
        *(AttributeError, KeyError, TypeError, ValueError),
    )


def _show(told: _Print, whole: bool) -> None:  # noqa: FBT001 - the one thing to know
    what = plain(" ".join(filter(None, [told.app, told.example])))
    if told.error is None:
        print(f"ok    {what}: {told.bytes} bytes in {told.seconds:.1f} s", flush=True)
        return
    error = told.error if whole else _line(told.error)
    print(f"FAIL  {what}: {plain(error)}", flush=True)


def _line(error: object) -> str:
    """What is said first; the request and the answer follow it."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    # Of what urllib3 says of a connection that there is none, what the system says.
    return re.sub(r": HTTPS?ConnectionPool\(.*\[Errno -?\d+\] ([\w ]+).*", r": \1", line)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip(".") or "_"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise FailedError(f"{folder} cannot be made: {reason}") from error


def _say(text: str) -> None:
    print(f"c2cotel test-print: {plain(text)}", file=sys.stderr, flush=True)
