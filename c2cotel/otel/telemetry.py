"""What is known of the telemetry of this process: its parts, and what became of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from c2cotel.otel.complaint import complain
from c2cotel.otel.exit import Exit
from c2cotel.settings import Settings

if TYPE_CHECKING:
    from c2cotel.metrics.scrape import Scraper
    from c2cotel.metrics.serving import Serving
    from c2cotel.otel.resource import ProcessResource

State = Literal["on", "off", "failed"]


@dataclass(frozen=True)
class Part:
    """One part of the telemetry. *why*: what it does, or why it does not."""

    name: str
    state: State
    why: str


@dataclass
class Telemetry:
    """What has been set up in this process.

    Attributes:
        parts: What is on, off and failed, for ``c2cotel doctor``.
        scraper: The merged metrics of the group; ``None`` if the SDK is disabled.
        instrumented: Whether the instrumentors have been loaded.
        too_late: Keys of an ini that could not be heeded any more, which has been said.
    """

    settings: Settings
    exit: Exit
    resource: "ProcessResource | None" = None
    parts: list[Part] = field(default_factory=list)
    scraper: "Scraper | None" = None
    serving: "Serving | None" = None
    instrumented: bool = False
    too_late: set[str] = field(default_factory=set)

    def attempt(self, name: str, action: Callable[[], Part]) -> None:
        """Do one part; if it fails say so, and go on without it."""
        try:
            part = action()
        except Exception as error:  # noqa: BLE001 - the application starts whatever is wrong here
            part = Part(name, "failed", str(error) or type(error).__name__)
            complain(f"{name} off: {part.why}")
        self.parts = [other for other in self.parts if other.name != part.name] + [part]


def exporter_names(
    chosen: tuple[str, ...] | None, endpoint: str | None, settings: Settings
) -> tuple[str, ...]:
    """The exporters of a signal: those *chosen*, else OTLP if there is an endpoint, else none.

    No endpoint means no exporter: there is no collector on localhost to be retried for ever.
    """
    if chosen is not None:
        return tuple(dict.fromkeys(name for name in chosen if name and name != "none"))
    return ("otlp",) if endpoint or settings.otel.otlp_endpoint else ()
