"""Ask a REST API as a page of another site would, and check each answer.

::

    @pytest.fixture
    def app_connection():
        utils.wait_url("http://localhost:8080/api/ping")
        return Connection("http://localhost:8080/api", origin="https://site.example")


    def test_hello(app_connection):
        assert app_connection.get_json("hello") == {"text": "hello"}
        app_connection.get("missing", expected_status=404)

Each method checks the status, what other sites may read (CORS), and what caches may keep. A check
that fails shows the request, the answer, its ``X-Request-ID`` and its trace; secrets are masked.
"""

import re
from collections.abc import Callable, Mapping
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import requests

from c2cotel_acceptance import documents, exchange, expectations, masking
from c2cotel_acceptance.exchange import CheckError
from c2cotel_acceptance.expectations import CacheExpected, Statuses

__all__ = ["CacheExpected", "CheckError", "Connection", "Statuses", "check_response"]

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (CheckError, requests.RequestException))

Headers = Mapping[str, str | bytes]
_T = TypeVar("_T")
_REDIRECTS = range(300, 400)


class Connection:
    """To the API at *base_url*, from a page of *origin*.

    *trace_url* is where a trace is looked at, with ``{trace_id}`` in it (default:
    ``C2C_TRACE_URL``): failures link to it. *timeout* is how many seconds the server may take to
    connect, and between two pieces of an answer. Cookies stay from one request to the next; what
    is set on ``session`` (``headers``, ``auth``, ``verify``) goes with each of them.

    Arguments that all methods have:

    * *url*: relative to *base_url*; a whole URL has to lie below it.
    * *expected_status*: one, or a tuple of those that are right. When one of them is a redirect,
      redirects are not followed.
    * *headers*: of this request; they win over the session's.
    * *cors*: send ``Origin``, and check that the page may read the answer:
      ``Access-Control-Allow-Origin`` is ``*``, or with ``Access-Control-Allow-Credentials: true``
      the origin itself.
    * *cache_expected*: what ``Cache-Control`` has to say.
    * all others are those of :meth:`requests.Session.request`: ``params``, ``json``, ``data``,
      ``files``, ``allow_redirects``, ``timeout``…

    Raises:
        CheckError: (an ``AssertionError``) the answer is not as expected.
        requests.RequestException: there is no whole answer.
    """

    def __init__(
        self,
        base_url: str,
        origin: str,
        *,
        trace_url: str | None = None,
        timeout: float | None = 60,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"base_url = {masking.text(base_url)!r}: not a URL. "
                "Write for example http://localhost:8080/api/"
            )
        if parts.query or parts.fragment:
            raise ValueError(
                f"base_url = {masking.text(base_url)!r}: paths are added at its end, so it cannot "
                "have a query or fragment. Give them to each request, as params"
            )
        self.base_url = base_url.rstrip("/") + "/"
        self.origin = origin
        self.trace_url = trace_url
        self.timeout = timeout
        self.session = requests.Session()

    def close(self) -> None:
        """Close its sockets. A ``with`` does it, too."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, url: str, expected_status: Statuses = 200, **how: Any) -> str | None:
        """GET; return the text, or None when there is none (204, 304)."""
        with self._ask("GET", url, expected_status, **how) as response:
            return self._read(response, documents.text)

    def get_raw(self, url: str, expected_status: Statuses = 200, **how: Any) -> requests.Response:
        """GET; return the answer. With ``stream=True`` its body is not read yet: close it."""
        return self._ask("GET", url, expected_status, **how)

    def get_json(self, url: str, expected_status: Statuses = 200, **how: Any) -> Any:
        """GET; return what the JSON says, or None when there is no body (204, 304)."""
        with self._ask("GET", url, expected_status, **how) as response:
            return self._read(response, documents.json_value)

    def get_xml(
        self,
        url: str,
        schema: str | Path | None = None,
        expected_status: Statuses = 200,
        **how: Any,
    ) -> Any:
        """GET; return lxml's tree of it, valid by the XML Schema in the file *schema*, if given."""
        etree = documents.lxml()
        file = None if schema is None else Path(schema)
        with self._ask("GET", url, expected_status, **how) as response:
            return self._read(response, lambda read: documents.xml_tree(etree, read, file))

    def post_json(self, url: str, expected_status: Statuses = 200, **how: Any) -> Any:
        """POST (usually *json*); return what the answer's JSON says."""
        with self._ask("POST", url, expected_status, **how) as response:
            return self._read(response, documents.json_value)

    def post_files(self, url: str, expected_status: Statuses = 200, **how: Any) -> Any:
        """POST *data* and *files* as a form; return what the answer's JSON says."""
        with self._ask("POST", url, expected_status, **how) as response:
            return self._read(response, documents.json_value)

    def post(self, url: str, expected_status: Statuses = 200, **how: Any) -> str | None:
        """POST *data*; return the answer's text, or None when there is none."""
        with self._ask("POST", url, expected_status, **how) as response:
            return self._read(response, documents.text)

    def put_json(self, url: str, expected_status: Statuses = 200, **how: Any) -> Any:
        """PUT (usually *json*); return what the answer's JSON says."""
        with self._ask("PUT", url, expected_status, **how) as response:
            return self._read(response, documents.json_value)

    def patch_json(self, url: str, expected_status: Statuses = 200, **how: Any) -> Any:
        """PATCH (usually *json*); return what the answer's JSON says."""
        with self._ask("PATCH", url, expected_status, **how) as response:
            return self._read(response, documents.json_value)

    def delete(self, url: str, expected_status: Statuses = 204, **how: Any) -> requests.Response:
        """DELETE; return the answer."""
        return self._ask("DELETE", url, expected_status, **how)

    def options(self, url: str, expected_status: Statuses = 200, **how: Any) -> requests.Response:
        """OPTIONS; return the answer. A preflight's own *headers* are the caller's.

        Unless ``cors=True`` is said, neither is ``Origin`` sent nor the answer checked for it.
        """
        return self._ask("OPTIONS", url, expected_status, **{"cors": False} | how)

    def _ask(  # noqa: PLR0913 - what all methods have in common
        self,
        method: str,
        url: str,
        expected_status: Statuses,
        *,
        headers: Headers | None = None,
        cors: bool = True,
        cache_expected: CacheExpected = CacheExpected.NO,
        stream: bool = False,
        **kwargs: Any,
    ) -> requests.Response:
        statuses = expectations.statuses(expected_status)
        expectations.refuse_unknown(cache_expected)
        kwargs.setdefault("timeout", self.timeout)
        kwargs.setdefault("allow_redirects", not any(status in _REDIRECTS for status in statuses))
        sent = requests.structures.CaseInsensitiveDict(headers or {})
        if cors:
            sent.setdefault("Origin", self.origin)
        url = self._url(url)
        response = None
        try:
            # The body is read after the checks: to say what is wrong, its beginning is enough.
            response = self.session.request(method, url, headers=sent, stream=True, **kwargs)
            self._check(response, statuses, cors=cors, cache_expected=cache_expected)
            if not stream:
                response.content  # noqa: B018 - this reads it
        except requests.RequestException as error:
            if response is not None:
                response.close()
            raise _told(error, method, url, sent) from None  # its text may have a secret
        return response

    def _url(self, url: str) -> str:
        if not re.match(r"https?://", url, re.IGNORECASE):
            return self.base_url + url.lstrip("/")
        if not url.startswith(self.base_url):
            raise ValueError(
                f"{masking.text(url)}: not below {masking.text(self.base_url)}, which is the "
                "only place that this connection's cookies and headers are sent to"
            )
        return url

    def _check(
        self,
        response: requests.Response,
        statuses: tuple[int, ...],
        *,
        cors: bool,
        cache_expected: CacheExpected,
    ) -> None:
        problem = (
            expectations.status_problem(response, statuses)
            or expectations.cache_problem(response, cache_expected)
            or (expectations.cors_problem(response) if cors else None)
        )
        if problem:
            self._fail(response, problem)

    def _fail(self, response: requests.Response, problem: str) -> NoReturn:
        raise exchange.failure(response, problem, self.trace_url)

    def _read(self, response: requests.Response, read: Callable[[requests.Response], _T]) -> _T:
        try:
            return read(response)
        except documents.BrokenError as error:
            problem = str(error)
        # Out here: pytest shows an exception together with the one that it was raised in.
        raise exchange.failure(response, problem, self.trace_url)


def check_response(
    r: requests.Response,
    expected_status: Statuses = 200,
    cache_expected: CacheExpected = CacheExpected.DONT_CARE,
) -> None:
    """Check the status, and what caches are told, of an answer to a request of your own.

    Raises:
        CheckError: it is not as expected.
    """
    expectations.refuse_unknown(cache_expected)
    problem = expectations.status_problem(
        r, expectations.statuses(expected_status)
    ) or expectations.cache_problem(r, cache_expected)
    if problem:
        raise exchange.failure(r, problem)


def _told(
    error: requests.RequestException, method: str, url: str, headers: Headers
) -> requests.RequestException:
    """*error* again, with the request in its text, and without the secrets in it."""
    request = error.request
    url = (request.url if request else None) or url
    sent = request.headers if request else headers
    secrets = masking.sent(url, {name: exchange.as_text(value) for name, value in sent.items()})
    text = masking.text(f"{method} {url}: {error}", secrets)
    told = requests.RequestException.__new__(type(error))
    requests.RequestException.__init__(told, text, request=request, response=error.response)
    return told
