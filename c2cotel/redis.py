"""The clients of the Redis that is configured: one server by its URL, or a service of Sentinels.

What may be written in ``C2C_REDIS_OPTIONS``, besides the names that redis-py gives to the options
of a connection: ``sentinel_`` before one of them (``sentinel_password``) is for the connections
to the Sentinels. Timeouts are short unless they are set there, and nothing is tried twice: who
waits for Redis is a request.
"""

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from c2cotel.schema import SettingsError, without_password
from c2cotel.settings import Redis as RedisSettings

if TYPE_CHECKING:
    import redis
    from redis.sentinel import Sentinel

_VARIABLE: Final = "C2C_REDIS_OPTIONS"
_DEFAULTS: Final[Mapping[str, Any]] = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "health_check_interval": 30,
    # What every server speaks, without asking it first.
    "protocol": 2,
}
_SECONDS: Final = (float, 0.001, 3600.0)
_NUMBERS: Final[Mapping[str, tuple[type, float, float]]] = {
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "health_check_interval": (float, 0, 3600),
    "max_connections": (int, 1, 100_000),
    "socket_read_size": (int, 512, 2**30),
    "db": (int, 0, 1_000_000),
    "protocol": (int, 2, 3),
    "min_other_sentinels": (int, 0, 1000),
}
_BOOLEANS: Final = frozenset(
    {"socket_keepalive", "retry_on_timeout", "ssl", "ssl_check_hostname", "ssl_validate_ocsp"}
)
_TEXTS: Final = frozenset(
    {
        "username",
        "password",
        "client_name",
        "encoding",
        "encoding_errors",
        "force_master_ip",
        "ssl_keyfile",
        "ssl_certfile",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_ca_data",
        "ssl_password",
        "ssl_ciphers",
    }
)
_OF_SENTINELS: Final = frozenset({"min_other_sentinels", "force_master_ip"})
_PREFIX: Final = "sentinel_"
_MAPPING: Final = "sentinel_kwargs"
_LONGEST: Final = 60


@dataclass(frozen=True)
class Connections:
    """Clients of one Redis; *primary* and *replica* are the same without Sentinels.

    They decode what they read, and connect when they are used.

    Attributes:
        undecoded: Makes another client of the primary, with connections of its own, that gives
            bytes as they come.
        description: Where it is, for a log line; without passwords.
        retry_delay: Seconds between two attempts to reach a Redis that is away.
        message_timeout: Seconds that a listener waits for a message before it looks around.
    """

    primary: "redis.Redis"
    replica: "redis.Redis"
    sentinel: "Sentinel | None" = None
    undecoded: "Callable[[], redis.Redis]" = field(kw_only=True, repr=False, compare=False)
    description: str = field(kw_only=True)
    retry_delay: float = field(kw_only=True, default=0.5)
    message_timeout: float = field(kw_only=True, default=1.0)

    def close(self) -> None:
        """Close what is connected; what is used again connects again."""
        watchers = self.sentinel.sentinels if self.sentinel is not None else ()
        for client in (self.primary, self.replica, *watchers):
            client.close()


def connect(settings: RedisSettings) -> Connections | None:
    """The clients of what *settings* say; ``None`` if they say nothing. Nothing connects yet.

    Raises:
        SettingsError: a value that nothing can be done with, or redis is not installed.
    """
    if not settings.sentinels and not settings.url:
        return None
    for module, library in (("redis", "redis"), ("yaml", "PyYAML")):
        if find_spec(module) is None:
            raise SettingsError(
                "C2C_REDIS_URL or C2C_REDIS_SENTINELS is set, and that needs "
                f"{library}: pip install 'c2cotel[redis]'"
            )
    options = _options(settings.options)
    if settings.sentinels:
        return _by_sentinels(settings, options)
    return _by_url(settings, options)


_LOGIN: Final = re.compile("Authentication|WRONGPASS|NOAUTH")
_RIGHTS: Final = re.compile("NoPermissionError|NOPERM|no permissions", re.IGNORECASE)


def remedy(error: BaseException) -> str | None:
    """What has to be mended where Redis refuses with *error*; ``None`` if it is only away.

    The errors of Sentinels have that of each of them in their text.
    """
    text = f"{type(error).__name__}: {error}"
    if _LOGIN.search(text):
        return (
            "Mend the user and the password, in C2C_REDIS_URL (redis://user:password@host) or "
            "C2C_REDIS_OPTIONS (username, password; sentinel_password for Sentinels)."
        )
    if _RIGHTS.search(text):
        return (
            "Mend the ACL of its user in Redis, PREFIX is C2C_BROADCAST_PREFIX (ACL SETUSER … "
            "~PREFIX* &PREFIX* +@connection +@pubsub +@scripting +@read +@write)."
        )
    return None


@functools.cache
def _made() -> dict[bytes, Connections | None]:
    return {}


def shared(settings: RedisSettings) -> Connections | None:
    """What :func:`connect` gives, once for the same settings in this process.

    Raises:
        SettingsError: as :func:`connect`.
    """
    key, made = msgspec.json.encode(settings), _made()
    if key not in made:
        made[key] = connect(settings)
    return made[key]


def close_shared() -> None:
    """Close and forget all that :func:`shared` gave."""
    while made := _made():
        _, connections = made.popitem()
        if connections is not None:
            connections.close()


def _by_url(settings: RedisSettings, options: dict[str, Any]) -> Connections:
    import redis

    url = settings.url or ""
    shown = _without_query(without_password(url))
    options.pop(_MAPPING, None)
    for name in sorted(options):
        if name in _OF_SENTINELS | {"ssl"} or (
            name.startswith("ssl_") and not url.startswith("rediss://")
        ):
            raise SettingsError(f"{_VARIABLE}: {_misplaced(name, url, 'C2C_REDIS_URL')}")

    def make(**more: Any) -> redis.Redis:
        return redis.Redis.from_url(url, **{**options, **more})

    try:
        primary = make(decode_responses=True)
        pool = primary.connection_pool
        # It does not connect; options in the URL are looked at now, not at the first request.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError) as error:
        if unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
            raise SettingsError(
                f"C2C_REDIS_URL = {shown}: {_misplaced(unknown[1], url, 'it')}"
            ) from error
        raise SettingsError(
            f"C2C_REDIS_URL = {shown}: {error}. Write for example redis://redis:6379/0."
        ) from error
    return Connections(
        primary,
        primary,
        undecoded=lambda: make(decode_responses=False, **_ALONE),
        description=shown,
        retry_delay=settings.pubsub_retry_delay,
        message_timeout=settings.pubsub_get_message_timeout,
    )


def _by_sentinels(settings: RedisSettings, options: dict[str, Any]) -> Connections:
    from redis.sentinel import Sentinel

    if settings.db is not None:
        options["db"] = settings.db
    for_sentinels = {
        **{name: value for name, value in options.items() if name.startswith("socket_")},
        "retry": options["retry"],
        "protocol": options["protocol"],
        **options.pop(_MAPPING, {}),
    }
    special = {name: options.pop(name) for name in _OF_SENTINELS & options.keys()}
    # Without type information in redis-py.
    make: Any = Sentinel
    sentinel = make(
        [_host_and_port(address) for address in settings.sentinels],
        sentinel_kwargs=for_sentinels,
        **special,
        **options,
    )
    name = settings.servicename
    return Connections(
        sentinel.master_for(name, decode_responses=True),
        sentinel.slave_for(name, decode_responses=True),
        sentinel,
        undecoded=lambda: sentinel.master_for(name, decode_responses=False, **_ALONE),
        description=f"Sentinels {','.join(settings.sentinels)}, service {name}",
        retry_delay=settings.pubsub_retry_delay,
        message_timeout=settings.pubsub_get_message_timeout,
    )


def _misplaced(name: str, url: str, this: str) -> str:
    """What is wrong with the option *name* for *url*, which is called *this*."""
    if name == "ssl":
        return f"{name} is an option for Sentinels: begin the URL with rediss://."
    if name in _OF_SENTINELS or name.startswith(_PREFIX):
        return f"{name[:_LONGEST]} is an option for Sentinels: they are not configured."
    if name in _TEXTS | _BOOLEANS and name.startswith("ssl_") and not url.startswith("rediss://"):
        return f"{name} is of use with TLS only: begin {this} with rediss://."
    return _unknown(name)


# What a client of its own does differently: it looks after the health of its connections itself.
_ALONE: Final[Mapping[str, Any]] = {
    "health_check_interval": 0,
    "max_connections": 10_000,
    "protocol": 2,
}


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _without_query(url: str) -> str:
    """Without ``?password=…``."""
    return url.partition("?")[0] if urlsplit(url).query else url


def _options(given: Mapping[str, str]) -> dict[str, Any]:
    """The options of redis-py that *given* texts mean, and the defaults.

    Raises:
        SettingsError: a name or a value that redis-py would fail at, or not notice.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = dict(_DEFAULTS)
    sentinels: dict[str, Any] = {}
    for name, text in given.items():
        if name == _MAPPING:
            sentinels |= _mapping(text)
        elif name.startswith(_PREFIX):
            short = name.removeprefix(_PREFIX)
            sentinels[short] = _value(name, short, _yaml(text), text)
        else:
            options[name] = _value(name, name, _yaml(text), text)
    if sentinels:
        options[_MAPPING] = sentinels
    # A second attempt has the same time to wait, and is for whoever asks for it.
    options["retry"] = Retry(NoBackoff(), int(bool(options.get("retry_on_timeout"))))
    return options


def _mapping(text: str) -> dict[str, Any]:
    parsed = _yaml(text)
    if not isinstance(parsed, dict):
        raise SettingsError(
            f"{_VARIABLE}: {_MAPPING} is not a mapping. "
            "Write for example sentinel_password=… instead."
        )
    return {
        name: _value(f"{_PREFIX}{name}", str(name), value, str(value))
        for name, value in parsed.items()
    }


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _value(name: str, known_as: str, value: Any, text: str) -> Any:
    """What *value*, which was written as *text*, means for the option *known_as*."""
    if known_as in _TEXTS:
        # A password may look like a number, or like "no".
        return value if isinstance(value, str) else text
    if known_as in _BOOLEANS:
        if isinstance(value, bool):
            return value
        raise _unusable(name, text, "true or false")
    if known_as in _NUMBERS:
        kind, least, most = _NUMBERS[known_as]
        fits = isinstance(value, int) or (kind is float and isinstance(value, float))
        if fits and not isinstance(value, bool) and least <= value <= most:
            return value
        what = "a whole number" if kind is int else "a number"
        raise _unusable(name, text, f"{what} from {least:g} to {most:g}")
    raise SettingsError(f"{_VARIABLE}: {_unknown(name)}")


def _unknown(name: str) -> str:
    known = [*_NUMBERS, *_BOOLEANS, *_TEXTS, _MAPPING]
    known += [_PREFIX + each for each in known if not each.startswith(_PREFIX)]
    nearest = difflib.get_close_matches(name[:_LONGEST], known, n=1, cutoff=0.6)
    meant = f"Is {nearest[0]} meant?" if nearest else f"Known are {', '.join(sorted(_TEXTS))}…"
    return f"{name[:_LONGEST]} is not an option of Redis. {meant}"


def _unusable(name: str, text: str, expected: str) -> SettingsError:
    secret = re.search("(?i)passw|secret|token", name)
    shown = "(not shown)" if secret else repr(without_password(text)[:_LONGEST])
    return SettingsError(f"{_VARIABLE}: {name} = {shown}: not {expected}. Write {expected}.")
