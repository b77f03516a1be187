"""JSON over HTTP, with a Grafana: how long is waited, what is tried again, what a failure means.

A read time-out is between two bytes, and whoever sends one every few seconds would be listened to
for ever. So each exchange has a deadline of its own, and all together have one.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and to wait for the next part of an answer."""
WHOLE: Final = 60.0
"""Seconds until an answer is complete."""
OVERALL: Final = 300.0
"""Seconds for everything that is asked, the pauses between tries included."""

_PAUSES: Final = (0.5, 1.0, 2.0)
_LONGEST_PAUSE: Final = 30.0
_PASSING: Final = frozenset((429, 500, 502, 503, 504))
_UNAUTHORIZED: Final = 401
_LONGEST: Final = 300


class PushError(Exception):
    """Grafana did not do it; the message says why, and never has the token in it.

    Attributes:
        status: Of the answer; 0 if there was none that can be understood.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def concerns_all(self) -> bool:
        """Whether the next dashboard would fare the same."""
        return self.status in (0, _UNAUTHORIZED) or self.status in _PASSING


class Exchange:
    """What is at *url*, spoken to as who has *token*.

    *sleep* waits between tries of what may pass: too many requests, or an error of the server.
    """

    def __init__(self, url: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._ends = time.monotonic() + OVERALL
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers["Accept"] = "application/json"

    def close(self) -> None:
        self._session.close()

    def ask(self, method: str, path: str, expected: type, **more: Any) -> Any:
        """What is answered: JSON, of the type that is *expected*.

        Raises:
            PushError: something else, or nothing.
        """
        for pause in (*_PAUSES, None):
            response = self._complete(method, path, **more)
            if pause is None or response.status_code not in _PASSING:
                break
            self._sleep(min(_pause(response, pause), self._left()))
        return self._understood(response, expected)

    def _left(self) -> float:
        """Seconds until the end of it all."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise PushError(
                f"{self.url} is too slow: what is left was given up after {OVERALL:g} seconds."
            )
        return left

    def _complete(self, method: str, path: str, **more: Any) -> requests.Response:
        """An answer to its last byte, waited for as long as it may take.

        Whoever is too slow is left with a thread that listens, which does not outlive the process.
        """
        outcome: list[requests.Response | Exception] = []

        def exchange() -> None:
            try:
                outcome.append(self._send(method, path, **more))
            except Exception as error:  # noqa: BLE001 - it is raised by who waits
                outcome.append(error)

        left = self._left()
        listening = threading.Thread(target=exchange, name=f"{method} {path}", daemon=True)
        listening.start()
        listening.join(min(WHOLE, left))
        if not outcome:
            self._left()
            raise PushError(f"{self.url} has not sent its whole answer within {WHOLE:g} seconds.")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            # A redirection would lead a POST to a page, or the token elsewhere.
            return self._session.request(
                method, self.url + path, timeout=TIMEOUT, allow_redirects=False, **more
            )
        except requests.Timeout as error:
            raise PushError(f"{self.url} does not answer in time.") from error
        except requests.exceptions.SSLError as error:
            raise PushError(
                f"{self.url} does not speak TLS, or its certificate is not trusted."
            ) from error
        except requests.RequestException as error:
            raise PushError(f"{self.url} cannot be reached: {_reason(error)}.") from error

    def _understood(self, response: requests.Response, expected: type) -> Any:
        status = response.status_code
        if response.is_redirect:
            raise PushError(self._redirected(response))
        content = _json(response)
        if response.ok:
            if not isinstance(content, expected):
                kind = self._shown(response.headers.get("Content-Type", "something"))
                raise PushError(
                    f"{self.url} answers {status} with {kind} where Grafana answers with JSON. "
                    "Is --url the address of Grafana itself?"
                )
            return content
        message = content.get("message") if isinstance(content, dict) else None
        told = self._shown(str(message or response.reason or "nothing"))
        raise PushError(f"{self.url} answers {status}: {told}{_hint(status)}", status)

    def _redirected(self, response: requests.Response) -> str:
        target = urlsplit(urljoin(response.url, response.headers["Location"]))
        place = self._shown(f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}")
        if "login" in target.path.lower():
            return (
                f"{self.url} leads to a login page, {place}: something in front of Grafana does "
                "not let the token through. Give the address of Grafana itself as --url."
            )
        asked = urlsplit(response.url).path.removeprefix(urlsplit(self.url).path)
        return f"{self.url} leads to another place: give --url {place.removesuffix(asked)}"

    def _shown(self, text: str) -> str:
        """*text* of somebody else on one line, without the token."""
        text = text.replace(self._token, "***")
        text = re.sub(r"\s+", " ", text).strip()
        return "".join(one if one.isprintable() else "?" for one in text[:_LONGEST])


class _Bearer(AuthBase):
    """As ``auth``, so that neither ~/.netrc nor the URL puts something else in its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _pause(response: requests.Response, otherwise: float) -> float:
    """Seconds to wait before the next try."""
    wished = response.headers.get("Retry-After", "")
    return min(float(wished), _LONGEST_PAUSE) if wished.isdecimal() else otherwise


def _json(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _reason(error: requests.RequestException) -> str:
    """The innermost reason: what the libraries say around it is about themselves."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        reason = getattr(inner, "reason", None) or next(iter(inner.args), None)
        inner = reason if isinstance(reason, BaseException) else inner.__cause__
    return type(error).__name__


def _hint(status: int) -> str:
    match status:
        case 401:
            return ". Is the token one of this Grafana, and still valid?"
        case 403:
            return ". The token's service account needs the role Editor."
        case 404:
            return ". Is --url the address of Grafana itself?"
    return ""
