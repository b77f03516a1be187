"""Receive what an application sends to Sentry.

:class:`SentryReceiver` is a Sentry in this process, as far as its clients see one: it takes
envelopes, and tells what was in them. A client that sends anything else finds it in ``errors``.

Source: https://develop.sentry.dev/sdk/data-model/envelopes/.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any

from c2cotel_acceptance.receiving import Receiver

KEY = "0123456789abcdef0123456789abcdef"

_PATH = re.compile(r"/api/[0-9]+/envelope/")


@dataclass(frozen=True)
class Item:
    """One item of an envelope; *kind* is event, transaction, sessions, client_report and others."""

    kind: str
    payload: Any
    envelope: dict[str, Any]


class SentryReceiver(Receiver):
    """A Sentry on a free port of localhost, from ``with`` to its end.

    Safe to read while events arrive: each property gives what has come so far. *status* and
    *delay* (seconds) make it a bad one.
    """

    answer = b"{}"
    content_type = "application/json"

    def __init__(self, *, status: int = 200, delay: float = 0.0) -> None:
        super().__init__(status=status, delay=delay)
        self.requests = 0
        self._items: list[Item] = []

    @property
    def url(self) -> str:
        """For ``SENTRY_URL``."""
        return f"http://{KEY}@127.0.0.1:{self.port}/42"

    @property
    def items(self) -> list[Item]:
        """Every item so far, in the order of arrival."""
        with self._lock:
            return list(self._items)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [item.payload for item in self.items if item.kind == "event"]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return [item.payload for item in self.items if item.kind == "transaction"]

    def clear(self) -> None:
        """Forget what has arrived."""
        with self._lock:
            self._items.clear()
            self.errors.clear()

    def __str__(self) -> str:
        kinds = dict(Counter(item.kind for item in self.items))
        return f"{kinds} in {self.requests} requests, errors {self.errors}"

    def take(self, path: str, headers: Message, body: bytes) -> int:
        """Take one envelope; return the HTTP status for it."""
        self.requests += 1
        if self.status != HTTPStatus.OK:
            return self.status
        if not _PATH.fullmatch(path):
            self.errors.append(f"{path}: no such path")
            return HTTPStatus.NOT_FOUND
        if f"sentry_key={KEY}" not in headers.get("X-Sentry-Auth", ""):
            self.errors.append(f"{path}: without the key")
            return HTTPStatus.UNAUTHORIZED
        try:
            self._items += _items(body)
        except ValueError as error:
            self.errors.append(f"{path}: {error}")
            return HTTPStatus.BAD_REQUEST
        return HTTPStatus.OK


def _items(body: bytes) -> Iterator[Item]:
    """What is in an envelope: a line of headers, then for each item a line and its payload.

    Raises:
        ValueError: it is none.
    """
    head, _, rest = body.partition(b"\n")
    envelope = json.loads(head)
    while rest:
        head, _, rest = rest.partition(b"\n")
        if not head:
            continue
        described = json.loads(head)
        if (length := described.get("length")) is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        is_json = described.get("type") != "attachment"
        yield Item(described["type"], json.loads(payload) if is_json else payload, envelope)
