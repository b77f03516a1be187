"""``c2cotel genversion [TAG] HASH``: what goes into an image, for it to tell when it runs."""

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from importlib.metadata import Distribution, distributions
from pathlib import Path

from c2cotel import cli
from c2cotel.cli import CommandError
from c2cotel.cli._output import write

HELP = "write versions.json: the git hash, and every package's version"
ABOUT = """\
To be run when an image is built: the application in it then serves the file at
/c2c/versions.json. It is an object: main has git_hash and, if there is one,
git_tag; packages has the version of each installed package by its name."""
EXAMPLES = """\
c2cotel genversion $(git rev-parse HEAD)
c2cotel genversion "$GIT_TAG" "$GIT_HASH" --output /app/versions.json
c2cotel genversion $(git rev-parse HEAD) --output - | jq .packages.pyramid
"""
FAILS = "the file cannot be written"


def add_arguments(parser: ArgumentParser) -> None:
    """The tag, which may be missing or empty, and the hash."""
    parser.add_argument("git_tag", nargs="?", help="shown next to the hash, for example 2.4.1")
    parser.add_argument("git_hash", help="of the commit, as `git rev-parse HEAD` prints it")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("versions.json"),
        metavar="FILE",
        help="what to write, versions.json by default; - is standard output",
    )


def run(args: Namespace) -> int:
    """Write the file; what is installed in a way that nobody can read is said on stderr."""
    main = {"git_hash": _checked("hash", args.git_hash)}
    if not main["git_hash"]:
        raise CommandError("The git hash is empty: has `git rev-parse HEAD` failed?")
    if tag := _checked("tag", args.git_tag or ""):
        main["git_tag"] = tag
    text = json.dumps({"main": main, "packages": installed()}, indent=2)
    write(args.output, f"{text}\n".encode())
    return 0


def main() -> int:
    """The script ``c2cotel-genversion``."""
    return cli.main(["genversion", *sys.argv[1:]])


def installed() -> dict[str, str]:
    """The version of every package that can be imported here, by its name, sorted.

    Where several are installed under one name, it is the one that Python finds first.
    """
    found: dict[str, tuple[str, str]] = {}
    for distribution in distributions():
        try:
            name, version = _name_and_version(distribution)
        except Exception as error:  # noqa: BLE001 - one broken package must not hide the others
            print(f"skipped {_place(distribution)}: {error}", file=sys.stderr)
            continue
        found.setdefault(_normalised(name), (name, version))
    return dict(sorted(found.values(), key=lambda package: package[0].lower()))


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    # What pip leaves when it is stopped within an upgrade: the old version, renamed.
    if Path(_place(distribution)).name.startswith("~"):
        raise ValueError("left over from an upgrade that did not end")
    return _field(distribution, "Name"), _field(distribution, "Version")


def _field(distribution: Distribution, name: str) -> str:
    metadata = distribution.metadata
    # Not get: before Python 3.12 the type has none, and from then on a missing key is a warning.
    value = metadata[name].strip() if name in metadata else ""
    if not value or not value.isprintable():
        raise ValueError(f"no {name} in its metadata")
    return value


def _place(distribution: Distribution) -> str:
    """The folder with the metadata; no public attribute tells it."""
    return str(getattr(distribution, "_path", "a package"))


def _normalised(name: str) -> str:
    """See https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _checked(what: str, text: str) -> str:
    text = text.strip()
    if not text.isprintable():
        raise CommandError(f"The git {what} is not a line of text: {text!r}")
    return text
