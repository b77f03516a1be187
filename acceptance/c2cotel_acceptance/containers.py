"""What ``docker compose ps`` tells of containers."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 8000  # characters of a command's output


class CompositionError(subprocess.CalledProcessError):
    """A command of docker failed, or a service did; the text has the end of the output."""

    def __str__(self) -> str:
        output = (self.output or "").strip()
        cut = f"…{output[-_MOST:]}" if len(output) > _MOST else output
        command = self.cmd if isinstance(self.cmd, str) else " ".join(self.cmd)
        return f"{command}: status {self.returncode}\n{cut}"


@dataclass(frozen=True)
class Container:
    """A container of a service, as compose sees it."""

    service: str
    name: str
    state: str
    """``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``dead``…"""
    health: str
    """``starting``, ``healthy``, ``unhealthy``; empty without a health check."""
    exit_code: int

    def __str__(self) -> str:
        how = self.health or (f"status {self.exit_code}" if self.state == "exited" else "")
        return f"{self.name} is {self.state}" + (f" ({how})" if how else "")

    @property
    def is_ready(self) -> bool:
        """It runs and is healthy, or was to end and did so without a failure."""
        if self.state == "running":
            return self.health in ("", "healthy")
        return self.state == "exited" and self.exit_code == 0

    @property
    def is_ruined(self) -> bool:
        """It will not become ready by waiting."""
        if self.state == "running":
            return self.health == "unhealthy"
        return self.state == "dead" or (self.state == "exited" and self.exit_code != 0)


def containers(told: str) -> list[Container]:
    """Read the JSON of ``ps``: an object a line, or before compose 2.21 one array."""
    text = told.strip()
    rows = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
    return [
        Container(
            service=row["Service"],
            name=row["Name"],
            state=row["State"].lower(),
            health=row.get("Health", ""),
            exit_code=int(row.get("ExitCode", 0)),
        )
        for row in rows
    ]


def not_ready(found: Iterable[Container]) -> list[Container]:
    """Those of *found* that have to be waited for."""
    return [one for one in found if not one.is_ready]


def ruined(found: Iterable[Container]) -> list[Container]:
    """Those of *found* for which waiting is no use."""
    return [one for one in found if one.is_ruined]
