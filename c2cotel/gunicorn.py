"""A complete configuration: ``gunicorn -c python:c2cotel.gunicorn --paste production.ini``.

Workers, threads and logs as the settings say (``GUNICORN_WORKERS``, ``GUNICORN_THREADS``,
``GUNICORN_LOG_LEVEL``, ``LOG_TYPE``, ``LOG_LEVEL``), on ``0.0.0.0:$PORT``, port 8080 without it.
Telemetry is set up here: ``opentelemetry-instrument`` is not needed, and does no harm.

The environment stands in the ini file as ``%(NAME)s``, and its ``[loggers]`` are the logging of all
workers, see :mod:`c2cotel.ini`. Where neither ``--paste`` nor a module names an application, it is
that of ``C2COTEL_CONFIG``, ``production.ini`` without it.

``GUNICORN_CMD_ARGS`` and the command line win, as always with gunicorn. So does a logging
configuration that gunicorn is given: ``--log-config``, or the ``[loggers]`` of ``--paste``.
statsd needs ``--logger-class gunicorn.instrument.statsd.Statsd``.

To change more, in a ``gunicorn.conf.py`` of the application::

    from c2cotel.gunicorn import *

    max_requests = 10_000
"""

import logging
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from c2cotel import ini
from c2cotel.draining import close_port_first, end_gracefully
from c2cotel.otel import instrument
from c2cotel.pyramid_logging import dict_config
from c2cotel.settings import load
from c2cotel.values import level_number
from c2cotel_instrumentation.gunicorn import GunicornInstrumentor

_loaded = load()
# gunicorn writes the sentence on stderr, and stops.
_loaded.raise_for_application("gunicorn")
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
        # Here, not in the file of configuration: only now is known what gunicorn was given.
        file = _ini_file(cfg)
        if not GunicornInstrumentor().is_instrumented_by_opentelemetry:
            # It is switched off: PasteDeploy reads the file, and is told what it has to know.
            cfg.set("raw_paste_global_conf", [*_names(), *cfg.raw_paste_global_conf])
        try:
            cfg.set("logconfig_dict", _logging(cfg, file))
        except ValueError as error:
            # gunicorn writes the sentence on stderr, and stops.
            raise RuntimeError(str(error)) from error
        try:
            super().setup(cfg)
        except RuntimeError as error:
            if file is None or not isinstance(error.__cause__, Exception):
                raise
            raise RuntimeError(ini.unable(file, error.__cause__)) from error
        if cfg.logconfig_dict:
            # Ours is in the dictionary, where an ini may have another.
            if cfg.loglevel != loglevel:
                self.error_log.setLevel(self.loglevel)
            self._write_to(self.error_log, cfg.errorlog, self.error_fmt)
            self._write_to(self.access_log, cfg.accesslog, self.access_fmt)

    def _write_to(self, log: logging.Logger, file: str | None, fmt: str) -> None:
        if file not in (None, "-"):
            # dictConfig has taken the file away.
            self._set_handler(log, file, logging.Formatter(fmt, self.datefmt))
            log.propagate = False


def _ini_file(cfg: Any) -> str | None:
    """The ini file of the application that is served, if there is one."""
    if cfg.paste is None:
        return None
    file = Path(str(cfg.paste).partition("#")[0])
    # gunicorn's own idea of a relative one is from before --chdir.
    known = Path(str(cfg.default_proc_name))
    return str(known if known.is_absolute() and known.name == file.name else Path.cwd() / file)


def _names() -> Iterator[str]:
    for name, value in ini.variables().items():
        # gunicorn unescapes the sign.
        written = (text.replace("\\=", "\\\\=") for text in (name, value))
        yield "=".join(written)


def _logging(cfg: Any, file: str | None) -> dict[str, Any]:
    """What dictConfig is to get; nothing where gunicorn has been given something else."""
    if cfg.logconfig_json or (cfg.logconfig and cfg.logconfig != file):
        return {}
    if cfg.logconfig_dict != logconfig_dict:
        # The gunicorn.conf.py of the application has one of its own.
        return dict(cfg.logconfig_dict)
    if file is None:
        module = str(cfg.default_proc_name if cfg.wsgi_app is None else cfg.wsgi_app)
        return _of_settings([module.partition(":")[0].partition(".")[0]])
    read = ini.Ini(file)
    if not ini.has_logging(read):
        return _of_settings(ini.application_packages(read))
    config = ini.get_logconfig_dict(file)
    for name, level in (
        ("gunicorn.error", _settings.gunicorn.log_level),
        ("gunicorn.access", "INFO"),
    ):
        # gunicorn's own handlers would write them in another form.
        config["loggers"].setdefault(name, {"level": level, "handlers": [], "propagate": True})
    return config


def _of_settings(packages: Iterable[str]) -> dict[str, Any]:
    # Once more: a gunicorn.conf.py of the application may have given levels names of its own.
    loaded = load()
    loaded.raise_for_application("logging")
    return dict_config(loaded.settings, packages)


def _loglevel(level: str | int) -> str:
    """The word of gunicorn for *level*: it has no others."""
    words = {50: "critical", 40: "error", 30: "warning", 20: "info"}
    number = level_number(level)
    return next((word for least, word in words.items() if number >= least), "debug")


def _application() -> str | None:
    """The ini file to serve where the command line names no application."""
    from gunicorn.config import Config

    # Somebody else may import this, with a command line of their own.
    if "gunicorn.app.wsgiapp" not in sys.modules:
        return None
    try:
        parser = Config().parser()
        given = parser.parse_args()
        by_environment = parser.parse_args(shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")))
    except SystemExit:
        return None
    if given.paste or given.args:
        return None
    file: str = by_environment.paste or _settings.gunicorn.config
    there = Path(file.partition("#")[0])
    return str(Path.cwd() / file) if there.is_file() else None


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
loglevel = _loglevel(_settings.gunicorn.log_level)
accesslog = "-"
# The line has a time of its own.
access_log_format = (
    _settings.gunicorn.access_log_format or '%(h)s "%(r)s" %(s)s %(B)s %(M)sms "%(f)s" "%(a)s"'
)
if (_served := _application()) is not None:
    # gunicorn looks at the first, and wants to see the second.
    paste = wsgi_app = _served
