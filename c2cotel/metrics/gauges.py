"""Gauges that say how the values of several processes become one, for whatever meter there is."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackT, Meter

if TYPE_CHECKING:
    from c2cotel.metrics.instruments import GaugeMerge


def gauge(  # noqa: PLR0913 - what a gauge is
    meter: Meter,
    name: str,
    merge: "GaugeMerge",
    text: str,
    *,
    unit: str = "",
    callbacks: Sequence[CallbackT] = (),
) -> Any:
    """A gauge of *meter*, an observable one with *callbacks*; *merge* counts where ours counts.

    The meter of another SDK, or of none, knows no ``merge=`` and merges nothing.
    """
    create: Callable[..., Any] = meter.create_gauge
    arguments: tuple[Any, ...] = (name,)
    if callbacks:
        create, arguments = meter.create_observable_gauge, (name, callbacks)
    try:
        return create(*arguments, unit=unit, description=text, merge=merge)
    except TypeError:
        return create(*arguments, unit=unit, description=text)
