"""Who of the group serves, pushes and folds.

One process at a time has the lock ``serve`` of the run directory: it listens on the Prometheus
port, pushes over OTLP and folds the slabs of ended processes. The first process of the group takes
it before anything is forked; when it ends, another takes over within a second. A forked process
stands back as long as the one that forked it lives, because it may be recycled at any time.

Each process has one thread that looks after this once a second, and writes what the observable
instruments say into its slab. In a forked process it starts with the first series, or at once if
there is something to observe; one that measures nothing pays nothing.

=============================  =======  =========  ===========================================
name                           kind     unit       what
=============================  =======  =========  ===========================================
``c2c.metrics.fold.failures``  counter  {failure}  folds that found no room; each is tried again
                                                   after a second
=============================  =======  =========  ===========================================
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from c2cotel.metrics.fold import Folder
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper

if TYPE_CHECKING:
    from c2cotel.metrics.server import MetricsServer

LOGGER = logging.getLogger(__name__)

# Seconds.
_TICK = 1.0
_OBSERVE_EVERY = 5.0


class Push(Protocol):
    """Something that sends the metrics somewhere, from when it is started until it is stopped."""

    def start(self) -> None: ...

    def stop(self, timeout: float) -> None: ...


@dataclass(frozen=True)
class Address:
    """Where to listen; *variable* is the setting to name when that does not work."""

    host: str
    port: int
    variable: str = "C2C_PROMETHEUS_PORT"


class Serving:
    """This process's part in serving the group's metrics."""

    def __init__(
        self,
        provider: MeterProvider,
        scraper: Scraper,
        address: Address | None = None,
        make_push: Callable[[], Push | None] = lambda: None,
    ) -> None:
        self._provider = provider
        self._scraper = scraper
        self._address = address
        self._make_push = make_push
        self._directory = provider.store.directory
        self._folder: Folder | None = None
        self.server: MetricsServer | None = None
        self._parent: int | None = None
        self._process = os.getpid()
        self._reset()
        provider.store.register(self)
        has_forked = weakref.WeakMethod(self._has_forked)
        os.register_at_fork(after_in_parent=lambda: (method := has_forked()) and method())

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._role: int | None = None
        self._leading = False
        self._push: Push | None = None
        self._refused = ""
        self._observed = 0.0
        self._failed = ""

    def forget(self) -> None:
        """In a forked child: leave the parent's port and thread to the parent."""
        inherited, self.server = self.server, None
        if inherited is not None:
            inherited.abandon()
        # Not getppid(): the parent may have ended already.
        self._parent, self._process = self._process, os.getpid()
        self._reset()

    @property
    def leading(self) -> bool:
        """Whether this process serves for the group."""
        return self._leading

    def start(self) -> None:
        """Start looking after it; does nothing if this process already does."""
        # Whoever has the lock is starting it. Nobody waits: where greenlets are made of threads,
        # starting one lets another go on, which would wait for ever.
        if self._stopped.is_set() or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="c2cotel-keeper", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError as error:  # no more threads are to be had
            LOGGER.warning("Nobody looks after the metrics of process %d: %s", os.getpid(), error)
        finally:
            self._starting.release()

    def _has_forked(self) -> None:
        """A daemon's launcher ends, and the master that it leaves measures nothing."""
        if self._process == os.getpid():
            self.start()

    def lead_now(self) -> None:
        """Take the role at once if it is free: the first process, before it forks."""
        self._take_part()
        self.start()

    def stop(self, timeout: float) -> None:
        """Observe and push a last time, within *timeout* seconds, and let go of the port."""
        deadline = time.monotonic() + timeout
        self._stopped.set()
        if self._thread is not None:
            # It observes a last time; a callback that hangs must leave time for the push.
            self._thread.join(timeout / 2)
        if self._push is not None:
            self._push.stop(max(0.0, deadline - time.monotonic()))
        if self.server is not None:
            self.server.stop()
            self.server = None
        self._leading = False
        if self._directory is not None and self._role is not None:
            self._directory.release(self._role)

    def _run(self) -> None:
        stopped = self._stopped
        while not stopped.wait(_TICK):
            try:
                self._tick()
            except Exception as error:
                # This thread is the only one to fold and serve: it has to live.
                if repr(error) != self._failed:
                    self._failed = repr(error)
                    LOGGER.exception("Looking after the metrics failed; trying again.")
        self._provider.shutdown()

    def _tick(self) -> None:
        try:
            self._take_part()
        finally:
            # Last: a callback may hang. And in any case: a fold may fail.
            if time.monotonic() - self._observed > _OBSERVE_EVERY:
                self._observed = time.monotonic()
                self._provider.observe()

    def _take_part(self) -> None:
        if not self._leading and self._may_lead():
            if self._directory is not None:
                self._role = self._directory.hold("serve")
            self._leading = self._directory is None or self._role is not None
        if self._leading:
            self._lead()

    def _may_lead(self) -> bool:
        """Not in a worker that its master may recycle. A process's parent changes when it ends."""
        return self._parent is None or os.getppid() != self._parent

    def _lead(self) -> None:
        if self.server is None and self._address is not None:
            self._listen(self._address)
        if self._push is None:
            self._push = self._make_push()
            if self._push is not None:
                self._push.start()
        if self._directory is not None:
            self._folder = self._folder or Folder(self._directory, self._provider.store.max_series)
            self._fold(self._folder)

    def _fold(self, folder: Folder) -> None:
        try:
            folder.fold()
        except OSError:
            meter = self._provider.get_meter("c2cotel.metrics")
            meter.create_counter(
                "c2c.metrics.fold.failures",
                unit="{failure}",
                description="Times that ended processes could not be folded into one file.",
            ).add(1)
            raise

    def _listen(self, address: Address) -> None:
        try:
            # Only whoever serves pays for importing an HTTP server.
            from c2cotel.metrics.server import MetricsServer

            self.server = MetricsServer(address.host, address.port, self._scraper.expose)
        except OSError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                LOGGER.warning(
                    "%s = %d: cannot listen on %s: %s. The application goes on without it; "
                    "trying again every second.",
                    address.variable,
                    address.port,
                    address.host or "all interfaces",
                    error.strerror or error,
                )
            return
        self.server.start()
        # Whoever leaves the port to us has to be told.
        level = logging.INFO if address.port else logging.WARNING
        LOGGER.log(level, "Metrics are served on port %d.", self.server.port)
