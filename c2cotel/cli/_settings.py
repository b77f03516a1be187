"""What ``settings`` and ``doctor`` share: an ini file's settings, and the table of them."""

import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from c2cotel.cli import CommandError

if TYPE_CHECKING:
    from c2cotel.settings import Loaded, Row


def add_config_uri(parser: ArgumentParser) -> None:
    """The ini file, which may be left out."""
    parser.add_argument(
        "config_uri",
        nargs="?",
        help="ini file whose c2c.* keys count too, for example production.ini or a plaster URI",
    )


def loaded_from(config_uri: str | None) -> "Loaded":
    """The settings of the environment and, if there is one, of the ini file.

    Raises:
        CommandError: the file cannot be read.
    """
    from c2cotel.settings import load

    return load(os.environ, _ini(config_uri) if config_uri else {})


def print_table(table: "Sequence[Row]") -> None:
    """Print name, value and origin of each, in columns."""
    cells = [(row.environment[0], _shown(row.value), row.origin) for row in table]
    widths = [max(len(line[column]) for line in cells) for column in (0, 1)]
    for name, value, origin in cells:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _ini(config_uri: str) -> Mapping[str, Any]:
    import configparser

    import plaster

    # Templates interpolate the environment, as in `c2c.base_path = %(BASE_PATH)s`.
    defaults = {name: value.replace("%", "%%") for name, value in os.environ.items()}
    try:
        loader = plaster.get_loader(config_uri)
        section = f"app:{loader.uri.fragment or 'main'}"
        settings: Mapping[str, Any] = loader.get_settings(section, defaults)
    except (plaster.PlasterError, configparser.Error, OSError, LookupError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CommandError(f"{config_uri} cannot be read as an ini file: {text}") from error
    return settings


def _shown(value: Any) -> str:
    """*value* on one line, without what a terminal would obey."""
    if value in (None, [], {}):
        return "-"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = ",".join(value)
    if isinstance(value, dict):
        value = ",".join(f"{name}={rule}" for name, rule in value.items())
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]
