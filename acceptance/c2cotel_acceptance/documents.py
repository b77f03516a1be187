"""The documents that answers consist of, read strictly."""

import importlib
import io
import json
from pathlib import Path
from typing import Any

import requests

from c2cotel_acceptance.processes import MissingError

_NO_BODY = (requests.codes.no_content, requests.codes.not_modified)
_AROUND = 40  # characters of a broken document, on each side of where it breaks


class BrokenError(ValueError):
    """An answer is not the document that it should be; the text says what it is instead."""


def text(response: requests.Response) -> str | None:
    """The text of an answer, or None when it has no body."""
    return None if response.status_code in _NO_BODY else response.text


def json_value(response: requests.Response) -> Any:
    """What the JSON of an answer says, or None when it has no body."""
    if response.status_code in _NO_BODY:
        return None
    type_ = response.headers.get("Content-Type", "")
    mime = type_.partition(";")[0].strip().lower()
    if mime != "application/json" and not mime.endswith("+json"):
        raise BrokenError(f"its Content-Type is {type_!r}, expected 'application/json'")
    try:
        return json.loads(response.content)
    except json.JSONDecodeError as error:
        around = error.doc[max(0, error.pos - _AROUND) : error.pos + _AROUND]
        raise BrokenError(f"broken JSON: {error}, near {around!r}") from None
    except UnicodeDecodeError as error:
        raise BrokenError(
            f"JSON has to be in UTF-8: {error.reason} at byte {error.start}"
        ) from None
    except RecursionError:
        raise BrokenError("JSON nested so deeply that it cannot be read") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise BrokenError(f"JSON that cannot be read: {error}") from None


def lxml() -> Any:
    """Lxml's ``etree``.

    Raises:
        MissingError: it is not installed.
    """
    try:
        return importlib.import_module("lxml.etree")
    except ImportError as error:
        raise MissingError("get_xml needs lxml: pip install 'c2cotel[acceptance]'") from error


def xml_tree(etree: Any, response: requests.Response, schema: Path | None) -> Any:
    """Lxml's tree of an answer, valid by the XML Schema in the file *schema*, if given."""
    # A document of somebody else's reads no file and opens no connection here.
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        document = etree.parse(io.BytesIO(response.content), parser)
    except etree.XMLSyntaxError as error:
        raise BrokenError(f"broken XML: {error}") from None
    if schema is not None:
        try:
            etree.XMLSchema(etree.parse(schema)).assertValid(document)
        except etree.DocumentInvalid as error:
            told = "; ".join(f"line {one.line}: {one.message}" for one in error.error_log)
            raise BrokenError(f"not valid by {schema}: {told}") from None
    return document
