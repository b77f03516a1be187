"""What the text of a setting must look like: each function gives the value, or says what is wrong.

They are the ``read`` of a field in :mod:`c2cotel.settings`; the sentence of their ValueError stands
after the value in the error message.
"""

import ipaddress
import logging
import re
import warnings

# What a key of cookies has at the least, in characters.
SHORTEST_KEY = 16
# What a secret for people has at the least; they are warned of fewer than twelve.
SHORTEST_SECRET = 8


def level(text: str) -> str | int:
    """A level of logging as logging takes it: its name, written in any case, or its number."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    for name in logging.getLevelNamesMapping():
        if name.lower() == text.lower():
            return name
    raise ValueError(
        "no level. There are CRITICAL, ERROR, WARNING, INFO, DEBUG, NOTSET and numbers"
    )


def level_number(known: str | int) -> int:
    """The number of what :func:`level` gives."""
    return known if isinstance(known, int) else logging.getLevelNamesMapping()[known]


def path(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("does not begin with a slash")
    steps = [step for step in text.split("/") if step]
    if re.search(r"[^!-~]|[?#%{}*:;\\\\]", text) or any(step in (".", "..") for step in steps):
        raise ValueError("not a path")
    return "".join(f"/{step}" for step in steps)


def header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError("not the name of a header")
    return text


def metric_prefix(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z_:][A-Za-z0-9_:.]*)?", text):
        raise ValueError("not the beginning of a metric's name")
    return text


def url(text: str) -> str:
    if not re.match(r"(?i)https?://[^\s/?#]", text):
        raise ValueError("not an http or https URL")
    return text


def redis_url(text: str) -> str:
    if not re.match(r"(rediss?://[^\s/?#]|unix://)", text):
        raise ValueError("not a redis, rediss or unix URL")
    return text


def host_and_port(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@]+):[0-9]{1,5}", text):
        raise ValueError("not a host and its port")
    return text


# An owner and a repository, as GitHub names them.
REPOSITORY = r"[A-Za-z0-9-]+/(?!\.{1,2}$)[A-Za-z0-9._-]+"


def repository(text: str) -> str:
    if not re.fullmatch(REPOSITORY, text):
        raise ValueError("not an owner and a repository")
    return text


def host(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", text):
        raise ValueError("not a host, with or without a port")
    return text


def address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def trusted(text: str) -> str:
    if text in ("*", "private"):
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"neither an address nor a network ({error})") from None


def proxy_header(text: str) -> str:
    name = text.lower()
    known = r"\*|forwarded|x-forwarded-(for|host|proto|scheme|server|port)"
    if not re.fullmatch(known, name):
        raise ValueError("not a header of proxies that is known")
    return name


def dsn(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/:@]+(:[^\s/:@]*)?@[^\s/?#@]+(/[^\s?#]*)?/[0-9]+", text):
        raise ValueError("not a DSN of Sentry, like https://KEY@sentry.example.com/PROJECT-NUMBER")
    return text


def trace_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s{}]+\{trace_id\}[^\s{}]*", text):
        raise ValueError("not an http or https URL with {trace_id} in it")
    return text


def cookie(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError("not the name of a cookie")
    return text


def not_guessed(text: str) -> str:
    if len(text.strip()) < SHORTEST_SECRET:
        raise ValueError(f"a secret of fewer than {SHORTEST_SECRET} characters is soon guessed")
    return text


def long(text: str) -> str:
    if len(text) < SHORTEST_KEY:
        raise ValueError(f"shorter than the {SHORTEST_KEY} characters that a key needs")
    return text


def regex(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as FutureWarning: it works today
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a list of regular expressions ({error})") from None
    return text
