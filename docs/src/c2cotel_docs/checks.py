"""Whether a block is what it says: Python compiles, data can be read, settings exist."""

import ast
import configparser
import json
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from typing import Final

import promql_parser
import yaml

from c2cotel import settings
from c2cotel_docs.blocks import Block, commands


def check(block: Block) -> None:
    """Read *block* as what its language says.

    Raises:
        BlockError: It cannot be read, or its language is not one of :data:`LANGUAGES`.
    """
    try:
        reader = LANGUAGES[block.language]
    except KeyError:
        known = ", ".join(LANGUAGES)
        raise block.error(f"language {block.language!r}: of {known} is known", -1) from None
    if reader is not None:
        reader(block)


def _python(block: Block) -> None:
    try:
        ast.parse(block.text)
    except SyntaxError as error:
        raise block.error(f"no Python: {error.msg}", (error.lineno or 1) - 1) from error


def _ini(block: Block) -> None:
    parser = configparser.RawConfigParser(strict=False)
    # What stands without a section is meant for the application's.
    headed = any(line.startswith("[") for line in block.text.splitlines())
    try:
        parser.read_string(block.text if headed else f"[app:main]\n{block.text}")
    except configparser.Error as error:
        raise block.error(f"no ini file: {' '.join(str(error).split())}") from error
    for section in parser.sections():
        loaded = settings.load({}, _literal(parser[section]))
        for problem in (*loaded.problems, *loaded.warnings):
            raise block.error(str(problem))


def _literal(section: Mapping[str, str]) -> dict[str, str]:
    """Without what the environment fills in."""
    return {key: value for key, value in section.items() if "%(" not in value}


def _yaml(block: Block) -> None:
    try:
        list(yaml.safe_load_all(block.text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        text = " ".join(str(error).split())
        raise block.error(f"no YAML: {text}", mark.line if mark else 0) from error


def _json(block: Block) -> None:
    try:
        json.loads(block.text)
    except json.JSONDecodeError as error:
        raise block.error(f"no JSON: {error.msg}", error.lineno - 1) from error


def _toml(block: Block) -> None:
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        raise block.error(f"no TOML: {error}") from error


def _promql(block: Block) -> None:
    # Of several queries, each stands after a blank line; Grafana fills its variables in.
    for query in block.text.replace("$__rate_interval", "5m").split("\n\n"):
        try:
            promql_parser.parse(query)
        except ValueError as error:
            raise block.error(f"no PromQL: {error}") from error


def _console(block: Block) -> None:
    for command in commands(block):
        done = subprocess.run(
            ["bash", "-n"],  # noqa: S607 - found on PATH as by whoever follows the page
            input=command.text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise block.error(f"$ {command.text}: {done.stderr.strip()}", command.line)


# Those with None are for people, or for programs that are not here.
LANGUAGES: Final[Mapping[str, Callable[[Block], None] | None]] = {
    "python": _python,
    "console": _console,
    "ini": _ini,
    "yaml": _yaml,
    "json": _json,
    "toml": _toml,
    "promql": _promql,
    "text": None,
    "apache": None,
    "css": None,
    "diff": None,
    "docker": None,
    "dockerfile": None,
    "dot": None,
    "haproxy": None,
    "html": None,
    "http": None,
    "jinja": None,
    "logql": None,
    "makefile": None,
    "mako": None,
    "markdown": None,
    "nginx": None,
    "sql": None,
    "traceql": None,
    "vcl": None,
    "xml": None,
}
