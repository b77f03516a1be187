"""A complete configuration: ``gunicorn -c python:c2cotel.gunicorn --paste production.ini``.

Workers, threads and logs as the settings say (``GUNICORN_WORKERS``, ``GUNICORN_THREADS``,
``GUNICORN_LOG_LEVEL``, ``LOG_TYPE``, ``LOG_LEVEL``), on ``0.0.0.0:$PORT``, port 8080 without it.
Telemetry is set up here: ``opentelemetry-instrument`` is not needed, and does no harm.

``GUNICORN_CMD_ARGS`` and the command line win, as always with gunicorn. So does a logging
configuration that gunicorn is given: ``--log-config``, or the ``[loggers]`` of ``--paste``.
statsd needs ``--logger-class gunicorn.instrument.statsd.Statsd``.

To change more, in a ``gunicorn.conf.py`` of the application::

    from c2cotel.gunicorn import *

    max_requests = 10_000
"""

import logging
import os
from pathlib import Path
from typing import Any

from c2cotel.draining import close_port_first, end_gracefully
from c2cotel.otel import instrument
from c2cotel.pyramid_logging import dict_config
from c2cotel.settings import load

_loaded = load()
# gunicorn writes the sentence on stderr, and stops.
_loaded.raise_for_application()
_settings = _loaded.settings

# Now, not in on_starting: gunicorn reads this file, loads the application if preload_app is on,
# and only then calls its hooks.
instrument()

# Only now: OpenTelemetry's log handler stays where it is because set-up has wrapped dictConfig,
# and gunicorn.glogging keeps the one that it finds when it is imported.
from gunicorn.glogging import Logger as _GunicornLogger  # noqa: E402 - see above


class Logger(_GunicornLogger):  # type: ignore[misc] # gunicorn has no type information
    """gunicorn's logger, where what is asked for on the command line wins over our defaults."""

    def setup(self, cfg: Any) -> None:
        if cfg.logconfig or cfg.logconfig_json:
            # gunicorn would look at logconfig_dict alone.
            cfg.set("logconfig_dict", {})
        super().setup(cfg)
        if cfg.logconfig_dict:
            self.error_log.setLevel(self.loglevel)
            self._write_to(self.error_log, cfg.errorlog, self.error_fmt)
            self._write_to(self.access_log, cfg.accesslog, self.access_fmt)

    def _write_to(self, log: logging.Logger, file: str | None, fmt: str) -> None:
        if file not in (None, "-"):
            # dictConfig has taken the file away.
            self._set_handler(log, file, logging.Formatter(fmt, self.datefmt))
            log.propagate = False


# In a container, which is where nothing else is configured, all interfaces are what is wanted.
bind = f"0.0.0.0:{os.environ.get('PORT') or '8080'}"
workers = _settings.gunicorn.workers
worker_class = "gthread"
threads = _settings.gunicorn.threads
# gthread's heartbeat is not stopped by a slow request: a worker that is silent for so long hangs.
timeout = 60
# Kubernetes kills 30 s after TERM: readiness fails for 5, requests may end in 18, and the last
# spans have their time.
graceful_timeout = 18
# On a disk, the heartbeat waits for the disk, and a worker that waits is killed as hanging.
_memory = Path("/dev/shm")  # noqa: S108 - gunicorn makes its file there as it should
worker_tmp_dir = str(_memory) if os.access(_memory, os.W_OK | os.X_OK) else None


def when_ready(server: Any) -> None:
    """Let readiness fail first at SIGTERM; one of the application's own calls this one."""
    end_gracefully(server, _settings.health_check.grace)


def post_worker_init(worker: Any) -> None:
    """Let a worker that ends close its port first; one of the application's own calls this one."""
    close_port_first(worker)


logger_class = Logger
logconfig_dict = dict_config(_settings)
loglevel = _settings.gunicorn.log_level.lower()
accesslog = "-"
# The line has a time of its own.
access_log_format = '%(h)s "%(r)s" %(s)s %(B)s %(M)sms "%(f)s" "%(a)s"'
