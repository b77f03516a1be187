"""An application in gunicorn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from c2cotel_acceptance.processes import Process, script
from c2cotel_acceptance.servers.places import LOCALHOST, free_port


class Gunicorn(Process):
    """``gunicorn`` with *options*, by default under ``opentelemetry-instrument``.

    The same arguments as :class:`~c2cotel_acceptance.processes.Process` follow; ``-b`` is given
    here, on *port* of localhost. *within* is a command that runs the rest of its arguments, such as
    ``["unshare", "--mount"]``.
    """

    def __init__(  # noqa: PLR0913 - as for Process
        self,
        options: Sequence[str],
        *,
        port: int | None = None,
        instrument: bool = True,
        within: Sequence[str] = (),
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://{LOCALHOST}:{self.port}"
        wrapper = [script("opentelemetry-instrument")] if instrument else []
        # Its control socket would be left in the home directory, one for every gunicorn there.
        address = ["-b", f"{LOCALHOST}:{self.port}", "--no-control-socket"]
        argv = [*within, *wrapper, script("gunicorn"), *address, *options]
        super().__init__(argv, log=log, env=env, cwd=cwd, grace=40.0)

    def workers(self, master: int | None = None) -> list[int]:
        """The processes that serve, oldest first."""
        return self.children(master)
