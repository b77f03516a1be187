"""Say what has changed: a log line, a counter, an event on the span of the request.

====================  =======  ==========  =======================================
name                  kind     unit        attributes
====================  =======  ==========  =======================================
c2c.switch.changes    counter  {change}    c2c.switch, c2c.switch.action
====================  =======  ==========  =======================================

``c2c.switch`` is the kind of switch, ``c2c.switch.action`` one of ``set``, ``reset``, ``expired``.
The event ``c2c.switch`` has both, ``c2c.switch.key`` and ``c2c.switch.value``. Each change is said
by the process that was asked for it, what ends by itself by one process of each host. In the log
the empty key has the name that its kind gives it, if it does: ``logging_level root: …``.
"""

import functools
import logging

from opentelemetry import trace
from opentelemetry.metrics import Counter, get_meter

from c2cotel.broadcast.records import Change, short

LOGGER = logging.getLogger(__name__)


def say(change: Change, nameless: str = "") -> None:
    """Log, count and trace *change*; *nameless* is what the empty key is called."""
    key = f" {short(change.key)}" if change.key else nameless and f" {nameless}"
    if change.action == "expired":
        LOGGER.warning(
            "%s%s: %s → configured, its %g s are over, which %s had given it",
            change.switch,
            key,
            short(change.previous),
            change.ttl or 0,
            _who(change),
        )
    else:
        LOGGER.warning(
            "%s%s: %s → %s%s, by %s",
            change.switch,
            key,
            short(change.previous),
            short(change.value),
            "" if change.ttl is None else f" for {change.ttl:g} s",
            _who(change),
        )
    attributes = {"c2c.switch": change.switch, "c2c.switch.action": change.action}
    _counter().add(1, attributes)
    details = {"c2c.switch.key": short(change.key), "c2c.switch.value": short(change.value)}
    trace.get_current_span().add_event("c2c.switch", attributes | details)


def _who(change: Change) -> str:
    who = short(change.actor) if change.actor else "somebody"
    return f"{who} from {short(change.address)}" if change.address else who


@functools.cache
def _counter() -> Counter:
    return get_meter(__name__).create_counter(
        "c2c.switch.changes", "{change}", "Values that all processes agree on, changed."
    )
