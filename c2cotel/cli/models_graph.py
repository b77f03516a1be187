"""``c2cotel models-graph MODULE``: the SQLAlchemy models of an application, drawn."""

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import ModuleType
from typing import Final

from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._output import write

HELP = "draw the inheritance and the relations of SQLAlchemy models"
EXAMPLES = """\
c2cotel models-graph hello_app.models | dot -Tpdf > models.pdf
c2cotel models-graph hello_app.models --output models.svg
c2cotel models-graph hello_app.models --base Document --output documents.png
"""
FAILS = "Graphviz failed, or the file cannot be written"

_FORMATS: Final = ("dot", "svg", "png")
_ENDINGS: Final = {"": "dot", ".gv": "dot"} | {f".{form}": form for form in _FORMATS}


def add_arguments(parser: ArgumentParser) -> None:
    """The module, what of it, and the form of the picture."""
    parser.add_argument(
        "module",
        metavar="MODULE",
        help="has the models, or their declarative base; it is imported, from here or as installed",
    )
    parser.add_argument(
        "--base", metavar="NAME", help="a class in it: only what is derived from that is drawn"
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="the language of Graphviz (dot), or a picture, which needs Graphviz itself; by "
        "default what the ending of the file says, without one dot",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="by default standard output")


def run(args: Namespace) -> int:
    """Write the graph."""
    write(args.output, _picture(args))
    return 0


def _picture(args: Namespace) -> bytes:
    form = args.format or _form_of(args.output)
    if form == "png" and _to_terminal(args.output):
        raise CommandError("A png is not for a terminal: add --output FILE.")
    dot = shutil.which("dot")
    if form != "dot" and dot is None:
        raise CommandError(
            f"--format {form} needs the program dot: apt-get install graphviz, or use --format dot."
        )
    try:
        # Not before the checks: this is what needs SQLAlchemy.
        from c2cotel.models_graph import ModelsGraphError, model_graph

        graph = model_graph(_imported(args.module), args.base).encode()
    except ModelsGraphError as error:
        raise CommandError(str(error)) from error
    return graph if dot is None or form == "dot" else _drawn(dot, form, graph)


def _form_of(path: Path | None) -> str:
    """What the ending of the file at *path* says."""
    ending = path.suffix.lower() if path else ""
    if ending not in _ENDINGS:
        raise CommandError(
            f"{path}: {ending} says no form that is known here. Add --format dot, svg or png; for "
            f"others: c2cotel models-graph MODULE | dot -T{ending.removeprefix('.')}"
        )
    return _ENDINGS[ending]


def _to_terminal(path: Path | None) -> bool:
    return (path is None or str(path) == "-") and sys.stdout.isatty()


def _imported(name: str) -> ModuleType:
    if "/" in name or name.endswith(".py"):
        raise CommandError(
            f"{name}: not a module, but a file. Write it as it is imported, for example "
            "hello_app.models."
        )
    # As `python -m` finds it; a script's own folder is that of the script.
    here = os.getcwd()  # noqa: PTH109 - a text is what is needed there
    sys.path.insert(0, here)
    try:
        # What it prints is not part of the graph, and what it warns of is not the question.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise CommandError(f"{name} cannot be imported: {said}") from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _drawn(dot: str, form: str, graph: bytes) -> bytes:
    done = subprocess.run([dot, f"-T{form}"], input=graph, capture_output=True, check=False)  # noqa: S603 - Graphviz
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise FailedError(f"{dot} failed ({done.returncode}): {said}")
    return done.stdout
