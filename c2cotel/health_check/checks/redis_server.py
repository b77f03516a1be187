"""Whether Redis answers: the primary, and with Sentinels a replica and one of them."""

from collections.abc import Callable
from typing import Any

from c2cotel.health_check.core import CheckFailedError, Finding
from c2cotel.health_check.texts import shown_url
from c2cotel.redis import Connections
from c2cotel.settings import Redis


def name_of(settings: Redis) -> str:
    """What the check is called if nobody says it: where Redis is, without its password."""
    if settings.sentinels:
        return ",".join(settings.sentinels)
    return shown_url(settings.url or "redis").partition("?")[0]


def check(connections: Connections | None) -> Callable[[Any], Finding]:
    """A check of what is configured; it fails where nothing is."""

    def run(_: Any) -> Finding:
        if connections is None:
            raise CheckFailedError(
                "Redis is not configured: set C2C_REDIS_URL or C2C_REDIS_SENTINELS"
            )
        primary, sentinel = connections.primary, connections.sentinel
        found: dict[str, Any] = {"info": primary.info(), "dbsize": primary.dbsize()}
        if sentinel is not None:
            replica = connections.replica
            found |= {"slave_info": replica.info(), "slave_dbsize": replica.dbsize()}
            found["sentinel"] = _sentinels(sentinel)
        return Finding(details=found)

    return run


def _sentinels(sentinel: Any) -> dict[str, Any]:
    """What the first of the Sentinels that answers knows.

    Raises:
        CheckFailedError: None of them does.
    """
    errors: list[Exception] = []
    for watcher in sentinel.sentinels:
        try:
            masters: dict[str, Any] = watcher.sentinel_masters()
        except Exception as error:  # noqa: BLE001 - the next one may answer
            errors.append(error)
        else:
            return masters
    raise CheckFailedError(
        "No Sentinel answers", details=f"No Sentinel answers: {'; '.join(map(str, errors))}"
    )
