"""What an application has for its health: its checks, and what runs them."""

from dataclasses import dataclass
from typing import Self

from c2cotel.health_check.core import Checks
from c2cotel.health_check.engine import Engine
from c2cotel.settings import HealthCheck as Options
from c2cotel.settings import Settings


@dataclass
class Health:
    """On the registry of an application, as ``c2c_health_check``.

    Attributes:
        automatic: Whether the checks that nobody has to ask for have been added.
        development: Whether everybody sees what else only the authorised see.
        started: Which groups have passed once in this process.
    """

    options: Options
    checks: Checks
    engine: Engine
    automatic: bool = False
    development: bool = False

    def __post_init__(self) -> None:
        self.started: set[str | None] = set()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        chosen, checks = settings.health_check, Checks()
        engine = Engine(checks, deadline=chosen.deadline, cache=chosen.cache)
        return cls(chosen, checks, engine, development=settings.development)
