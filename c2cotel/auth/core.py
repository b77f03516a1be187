"""Which kind of authentication an application has, and what its settings lack for it."""

import re
from enum import Enum
from urllib.parse import quote, urlsplit

from c2cotel import schema
from c2cotel.settings import Secret, Settings

# A secret with fewer characters is guessed in no time by who has a cookie that was made with it.
SHORT_SECRET = 12
_GITHUB_NEEDS = ("repository", "client_id", "client_secret", "secret")
_LONGEST_TARGET = 1500


class AuthenticationType(Enum):
    """How somebody shows who he is."""

    NONE = 0
    SECRET = 1
    GITHUB = 2


def authentication_type(settings: Settings) -> AuthenticationType:
    """What *settings* ask for; a login by GitHub that lacks something is none."""
    if text_of(settings.secret):
        return AuthenticationType.SECRET
    return AuthenticationType.GITHUB if not _lacking(settings) else AuthenticationType.NONE


def missing_for_github(settings: Settings) -> str | None:
    """What has to be set besides for a login by GitHub, if some of it is; None if that is well.

    The secret of the cookies alone does not ask for GitHub: it goes with ``C2C_SECRET`` too.
    """
    lacking = _lacking(settings)
    if text_of(settings.secret) or not lacking or not {*_GITHUB_NEEDS[:3]} - {*lacking}:
        return None
    known = {key.name: key for key in schema.keys(Settings)}
    named = (known[f"auth.github.{field}"] for field in lacking)
    return "The login by GitHub lacks " + ", ".join(
        f"{key.env[0]} (in the ini: {key.ini})" for key in named
    )


def _lacking(settings: Settings) -> list[str]:
    return [name for name in _GITHUB_NEEDS if not text_of(getattr(settings.auth.github, name))]


def text_of(value: Secret | str | None) -> str:
    """The text, empty where there is nothing but blanks."""
    text = value.reveal() if isinstance(value, Secret) else value
    return text if text and text.strip() else ""


def local_target(came_from: str | None, host: str) -> str | None:
    """The path, and query, of *came_from*; None if it may lead anywhere else than to *host*.

    Scheme and host are cut off, so that nothing which a browser reads otherwise than Python can
    leave this host: https://cheatsheetseries.owasp.org/cheatsheets/Unvalidated_Redirects_and_Forwards_Cheat_Sheet.html
    """
    # Browsers drop tabs and line ends, and take a backslash for a slash.
    if (
        not came_from
        or came_from.startswith("//")
        or len(came_from) > _LONGEST_TARGET
        or re.search(r"[\x00-\x20\x7f-\x9f\\]", came_from)
    ):
        return None
    try:
        parts = urlsplit(came_from)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https") or bare_host(parts.netloc) != bare_host(host):
            return None
        path = parts.path or "/"
    else:
        path = parts.path
    if not path.startswith("/") or path.startswith("//"):
        return None
    target = f"{path}?{parts.query}" if parts.query else path
    return quote(target, safe="/?&=%:@!$'()*+,;~-._", errors="replace")


def bare_host(netloc: str) -> str:
    """*netloc* without the usual ports: behind a proxy nobody knows which of them is."""
    return netloc.lower().removesuffix(":443").removesuffix(":80")


def one_line(text: object, longest: int = 200) -> str:
    """*text* from elsewhere, fit for a log line or a sentence: no line ends, not too long."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return printable if len(printable) <= longest else printable[:longest] + "…"
