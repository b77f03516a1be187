"""What comes in and goes out: proxies, outgoing calls, JSON, health, who may do what."""

from typing import Annotated, Literal

from msgspec import Meta

from c2cotel import values
from c2cotel.schema import Secret, Section


class Requests(Section, frozen=True, kw_only=True):
    """Outgoing HTTP, see :mod:`c2cotel_instrumentation.requests`."""

    default_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        Meta(
            description="Seconds after which an outgoing call of `requests` that has no timeout of "
            "its own is given up; such a call is warned of when unset.",
            examples=[10],
        ),
    ] = None
    excluded_urls: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions, separated by commas; "
            "outgoing requests whose URL matches one make no spans, but are counted.",
            examples=["^https://maps[.]example[.]com/"],
            extra={
                "env": "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()
    capture_request_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers of outgoing requests recorded on spans: names or "
            "regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()
    capture_response_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers of their answers recorded on spans: names or regular expressions.",
            examples=["content-type,x-.*"],
            extra={
                "env": "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
                "ini": None,
                "read": values.regex,
                "telemetry": True,
            },
        ),
    ] = ()


class ClientInfo(Section, frozen=True, kw_only=True):
    """Who really asks, behind proxies, see :mod:`c2cotel.client_info`."""

    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks whose `Forwarded` and `X-Forwarded-*` headers are "
            "believed; `*` for all, `private` for loopback, link-local and private ones and Unix "
            "sockets, empty in the ini for none.",
            examples=["10.0.0.0/8,192.0.2.7"],
            extra={
                "env": "C2C_TRUSTED_PROXIES",
                "ini": "c2c.trusted_proxies",
                "read": values.trusted,
            },
        ),
    ] = ("private",)
    proxy_headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Headers that the trusted proxies write, so that a client cannot: "
            "`forwarded`, `x-forwarded-for`, `-host`, `-proto`, `-scheme`, `-server` and `-port`; "
            "`*` for all but `x-forwarded-port`, and for `forwarded` only where it comes alone.",
            examples=["x-forwarded-for,x-forwarded-proto"],
            extra={
                "env": "C2C_PROXY_HEADERS",
                "ini": "c2c.proxy_headers",
                "read": values.proxy_header,
            },
        ),
    ] = ("*",)
    force_proto: Annotated[
        Literal["http", "https"] | None,
        Meta(
            description="Scheme that every request is taken to have.",
            extra={
                "env": ("C2C_FORCE_PROTO", "C2CWSGIUTILS_FORCE_PROTO"),
                "ini": "c2c.force_proto",
            },
        ),
    ] = None
    force_host: Annotated[
        str | None,
        Meta(
            description="Host that every request is taken to have, with its port.",
            examples=["example.com"],
            extra={
                "env": ("C2C_FORCE_HOST", "C2CWSGIUTILS_FORCE_HOST"),
                "ini": "c2c.force_host",
                "read": values.host,
            },
        ),
    ] = None
    force_server_name: Annotated[
        str | None,
        Meta(
            description="Name of the server (`SERVER_NAME`) that every request is taken to have.",
            examples=["example.com"],
            extra={
                "env": ("C2C_FORCE_SERVER_NAME", "C2CWSGIUTILS_FORCE_SERVER_NAME"),
                "ini": "c2c.force_server_name",
                "read": values.host,
            },
        ),
    ] = None
    force_remote_addr: Annotated[
        str | None,
        Meta(
            description="Address that every request is taken to come from.",
            examples=["192.0.2.1"],
            extra={
                "env": ("C2C_FORCE_REMOTE_ADDR", "C2CWSGIUTILS_FORCE_REMOTE_ADDR"),
                "ini": "c2c.force_remote_addr",
                "read": values.address,
            },
        ),
    ] = None


class Json(Section, frozen=True, kw_only=True):
    """The JSON renderers, see :mod:`c2cotel.pyramid.renderers`."""

    pretty_print: Annotated[
        bool,
        Meta(
            description="Let the JSON renderers indent, by two blanks.",
            extra={"ini": "c2c.json.pretty_print"},
        ),
    ] = False
    sort_keys: Annotated[
        bool,
        Meta(
            description="Let the JSON renderers sort the keys of objects.",
            extra={"ini": "c2c.json.sort_keys"},
        ),
    ] = False


class HealthCheck(Section, frozen=True, kw_only=True):
    """Checks of what the service needs, see :mod:`c2cotel.health_check`."""

    timeout: Annotated[
        float,
        Meta(
            description="Seconds that a health check may take, unless it says otherwise.",
            gt=0,
            le=3600,
            examples=[2],
        ),
    ] = 2.0
    url_timeout: Annotated[
        float,
        Meta(
            description="Seconds that the check of a URL may take, unless it says otherwise.",
            gt=0,
            le=3600,
            examples=[3],
        ),
    ] = 3.0
    deadline: Annotated[
        float,
        Meta(
            description="Seconds after which the health views answer, whatever still runs.",
            gt=0,
            le=3600,
            examples=[10],
        ),
    ] = 10.0
    cache: Annotated[
        float,
        Meta(
            description="Seconds that the outcome of a health check is told again before it is "
            "run again.",
            ge=0,
            le=3600,
            examples=[0],
        ),
    ] = 0.0
    grace: Annotated[
        float,
        Meta(
            description="Seconds from SIGTERM on that readiness fails while requests are still "
            "accepted, if somebody has asked for readiness lately "
            "(`gunicorn -c python:c2cotel.gunicorn`).",
            ge=0,
            le=600,
            examples=[5],
        ),
    ] = 5.0


class GitHub(Section, frozen=True, kw_only=True):
    """Login by GitHub, see :mod:`c2cotel.auth`."""

    repository: Annotated[
        str | None,
        Meta(
            description="Repository on which a user of GitHub needs a right to log in; "
            "with it, all four of repository, client id, client secret and secret are required.",
            examples=["camptocamp/c2cotel"],
            extra={"ini": "c2c.auth.github.repository", "read": values.repository},
        ),
    ] = None
    access_type: Annotated[
        Literal["pull", "push", "admin"],
        Meta(
            description="Right that changing something needs; "
            "who has it, or `pull` on a private repository, may look at everything.",
            extra={
                "env": ("C2C_AUTH_GITHUB_ACCESS_TYPE", "C2C_AUTH_GITHUB_REPOSITORY_ACCESS_TYPE"),
                "ini": "c2c.auth.github.access_type",
            },
        ),
    ] = "push"
    client_id: Annotated[
        str | None,
        Meta(
            description="Id of the OAuth application on GitHub.",
            extra={"ini": "c2c.auth.github.client_id"},
        ),
    ] = None
    client_secret: Annotated[
        Secret | None,
        Meta(
            description="Secret of the OAuth application on GitHub; never shown.",
            extra={"ini": "c2c.auth.github.client_secret"},
        ),
    ] = None
    scope: Annotated[
        str,
        Meta(
            description="Scope that is asked of GitHub.",
            extra={"ini": "c2c.auth.github.scope"},
        ),
    ] = "repo"
    secret: Annotated[
        Secret | None,
        Meta(
            description="Text that the key of the session cookie is made of, "
            f"{values.SHORTEST_KEY} characters or more; "
            "with `C2C_SECRET` that one is used when unset.",
            extra={
                "env": ("C2C_AUTH_GITHUB_SECRET", "C2C_AUTH_SECRET"),
                "ini": "c2c.auth.github.auth.secret",
                "read": values.long,
            },
        ),
    ] = None
    previous_secret: Annotated[
        Secret | None,
        Meta(
            description="What it was before: cookies made with it are still read.",
            extra={
                "env": ("C2C_AUTH_GITHUB_PREVIOUS_SECRET", "C2C_AUTH_PREVIOUS_SECRET"),
                "ini": "c2c.auth.github.auth.previous_secret",
                "read": values.long,
            },
        ),
    ] = None
    cookie: Annotated[
        str,
        Meta(
            description="Name of the session cookie.",
            extra={
                "env": ("C2C_AUTH_GITHUB_COOKIE", "C2C_AUTH_COOKIE"),
                "ini": "c2c.auth.github.auth.cookie",
                "read": values.cookie,
            },
        ),
    ] = "c2c-auth-jwt"
    auth_url: Annotated[
        str,
        Meta(
            description="Page where a user of GitHub agrees.",
            extra={"ini": "c2c.auth.github.auth_url", "read": values.url},
        ),
    ] = "https://github.com/login/oauth/authorize"
    token_url: Annotated[
        str,
        Meta(
            description="Where GitHub changes a code for a token.",
            extra={"ini": "c2c.auth.github.token_url", "read": values.url},
        ),
    ] = "https://github.com/login/oauth/access_token"  # noqa: S105 - an address
    user_url: Annotated[
        str,
        Meta(
            description="Where GitHub tells who a token belongs to.",
            extra={"ini": "c2c.auth.github.user_url", "read": values.url},
        ),
    ] = "https://api.github.com/user"
    repo_url: Annotated[
        str,
        Meta(
            description="Where GitHub tells the rights on a repository, which is added to it.",
            extra={"ini": "c2c.auth.github.repo_url", "read": values.url},
        ),
    ] = "https://api.github.com/repos"
    proxy_url: Annotated[
        str | None,
        Meta(
            description="Page that redirects to its parameter `came_from`: where GitHub sends "
            "the user back to, for applications that share one OAuth application.",
            extra={"ini": "c2c.auth.github.auth.proxy_url", "read": values.url},
        ),
    ] = None
    cache_ttl: Annotated[
        float,
        Meta(
            description="Seconds that a right on the repository is believed before it is asked "
            "for again.",
            ge=0,
            le=86400,
            examples=[300],
            extra={"ini": "c2c.auth.github.cache_ttl"},
        ),
    ] = 300.0


class Auth(Section, frozen=True, kw_only=True):
    """Who may see and change things, see :mod:`c2cotel.auth`."""

    github: GitHub = GitHub()
    lifetime: Annotated[
        int,
        Meta(
            description="Seconds without a visit after which somebody has to log in again.",
            ge=60,
            le=31_536_000,
            examples=[604800],
        ),
    ] = 604_800
