"""Make gunicorn's log lines part of their request, its ini file ours, and count its workers.

===============  =================================================================================
logger           what changes
===============  =================================================================================
gunicorn.access  the record is made in the request's Context, which has ended by then; secrets in
                 its path, query string, referer, location and credential headers are ``REDACTED``
gunicorn.error   likewise the stack trace of an exception that left the application
===============  =================================================================================

On USR2, gunicorn starts its successor with the environment that it was itself started with. What
has been put there since stays behind, except for the variables named by *inherited*.

The record of an access line has attributes besides its text, see
:mod:`c2cotel_instrumentation.gunicorn_access`. The master counts its workers, see
:mod:`c2cotel_instrumentation.gunicorn_workers`.

Three options say how gunicorn reads the ini file of ``--paste``: *load_paste* makes the application
of it, instead of PasteDeploy alone; *has_logging* tells whether it configures logging;
*configure_logging* does so, instead of :func:`logging.config.fileConfig`, or says which names that
one is to know.

So whatever puts ids on log records (:mod:`c2cotel_instrumentation.logging`) has the right ones, in
any gunicorn log format and with any ``logger_class`` that calls gunicorn's own.

The Context is the one that the Pyramid instrumentor leaves in the WSGI environ as ``c2c.context``;
where there is none, one with the ``c2c.request_id`` of that environ. gunicorn logs an exception
without the environ at hand: it is looked for in the frames of the traceback.
"""

import functools
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

import wrapt
from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)

from c2cotel_instrumentation.context import (
    CONTEXT_KEY,
    REQUEST_ID_KEY,
    ROUTE_KEY,
    with_request_id,
)
from c2cotel_instrumentation.gunicorn_access import ACCESS, add_fields, redact, redacted_details
from c2cotel_instrumentation.gunicorn_workers import Workers
from c2cotel_instrumentation.redaction import redacted_url
from c2cotel_instrumentation.wrapping import Wrappings

LoadPaste: TypeAlias = Callable[[str, str | None, Mapping[str, str] | None], Any]
HasLogging: TypeAlias = Callable[[str], bool]
ConfigureLogging: TypeAlias = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]


class GunicornInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Log what gunicorn says about a request within that request, and count its workers.

    Options of ``instrument()``:

    * ``inherited``: variables that a successor started by USR2 gets as they are then;
    * ``load_paste(uri, name, names)``: the application of an ini file;
    * ``has_logging(file)``: whether an ini file configures logging;
    * ``configure_logging(file, names)``: sets up the logging of an ini file and returns None, or
      returns the names that gunicorn's own way is to know.
    """

    _active = False
    _inherited: tuple[str, ...] = ()
    _load_paste: LoadPaste | None = None
    _has_logging: HasLogging | None = None
    _configure_logging: ConfigureLogging | None = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()
    _workers: Workers | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        # Under another server the hook waits for ever: that is no conflict to be told about.
        return ()

    def _instrument(
        self,
        *,
        inherited: Collection[str] = (),
        load_paste: LoadPaste | None = None,
        has_logging: HasLogging | None = None,
        configure_logging: ConfigureLogging | None = None,
        **_: Any,
    ) -> None:
        self._active = True
        self._inherited = tuple(inherited)
        self._load_paste = load_paste
        self._has_logging = has_logging
        self._configure_logging = configure_logging
        logging.getLogger(ACCESS).addFilter(add_fields)
        # The application may run under another server: gunicorn is not imported for it.
        wrapt.register_post_import_hook(self._wrap, "gunicorn.glogging")
        wrapt.register_post_import_hook(self._wrap_arbiter, "gunicorn.arbiter")
        wrapt.register_post_import_hook(self._wrap_paste, "gunicorn.app.pasterapp")

    def _uninstrument(self, **_: Any) -> None:
        self._active = False
        self._load_paste = self._has_logging = self._configure_logging = None
        logging.getLogger(ACCESS).removeFilter(add_fields)
        self._wrappings.undo()

    def _wrap(self, module: ModuleType) -> None:
        if not self._active:
            return
        self._wrappings.wrap(module.Logger, "access", self._in_request)
        self._wrappings.wrap(module.Logger, "atoms", self._redacting)
        self._wrappings.wrap(module.Logger, "exception", self._in_failed_request)
        self._wrappings.wrap(module, "fileConfig", self._configuring)

    def _wrap_arbiter(self, module: ModuleType) -> None:
        if self._active:
            self._wrappings.wrap(module.Arbiter, "reexec", self._handing_on)
            self._workers = self._workers or Workers(lambda: self._active)
            self._workers.wrap(self._wrappings, module)

    def _wrap_paste(self, module: ModuleType) -> None:
        if self._active:
            self._wrappings.wrap(module, "get_wsgi_app", self._loading)
            self._wrappings.wrap(module, "has_logging_config", self._looking)

    def _looking(self, has_logging_config: Callable[[str], bool]) -> Callable[[str], bool]:
        @functools.wraps(has_logging_config)
        def wrapper(config_file: str) -> bool:
            return (self._has_logging or has_logging_config)(config_file)

        return wrapper

    def _loading(self, get_wsgi_app: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(get_wsgi_app)
        def wrapper(config_uri: str, name: str | None = None, defaults: Any = None) -> Any:
            load = self._load_paste or get_wsgi_app
            return load(config_uri, name, defaults)

        return wrapper

    def _configuring(self, file_config: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(file_config)
        def wrapper(fname: Any, defaults: Any = None, *args: Any, **kwargs: Any) -> None:
            if self._configure_logging is not None:
                try:
                    defaults = self._configure_logging(fname, defaults or {})
                except ValueError as error:
                    # gunicorn writes the sentence on stderr, and stops.
                    raise RuntimeError(str(error)) from error
                if defaults is None:
                    return
            file_config(fname, defaults, *args, **kwargs)

        return wrapper

    def _handing_on(self, reexec: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(reexec)
        def wrapper(arbiter: Any) -> None:
            if self._active:
                for name in self._inherited:
                    if name in os.environ:
                        arbiter.cfg.env_orig.setdefault(name, os.environ[name])
            reexec(arbiter)

        return wrapper

    def _in_request(self, access: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(access)
        def wrapper(logger: Any, resp: Any, req: Any, environ: Any, *args: Any, **kw: Any) -> None:
            if not self._active:
                access(logger, resp, req, environ, *args, **kw)
                return
            if (context := _context_of(environ)) is None:
                # Where the application failed, gunicorn has made a new environ for this line.
                failed = _failed_environ()
                context = _context_of(failed)
                if ROUTE_KEY in failed:
                    environ = {**environ, ROUTE_KEY: failed[ROUTE_KEY]}
            with _attached(context):
                access(logger, resp, req, environ, *args, **kw)

        return wrapper

    def _in_failed_request(self, exception: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(exception)
        def wrapper(logger: Any, msg: Any, *args: Any, **kwargs: Any) -> None:
            if not self._active:
                exception(logger, msg, *args, **kwargs)
                return
            # Among the arguments is the URL.
            shown = (redacted_url(arg) if isinstance(arg, str) else arg for arg in args)
            with _attached(_context_of(_failed_environ())):
                exception(logger, msg, *shown, **kwargs)

        return wrapper

    def _redacting(self, atoms: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        @functools.wraps(atoms)
        def wrapper(logger: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            made = atoms(logger, *args, **kwargs)
            if self._active:
                redact(made)
                # Headers and environ: seldom asked for, and many.
                if "%({" in logger.cfg.access_log_format:
                    made.update(redacted_details(made))
            return made

        return wrapper


@contextmanager
def _attached(context: Context | None) -> Iterator[None]:
    if context is None:
        yield
        return
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def _context_of(environ: Any) -> Context | None:
    if not isinstance(environ, Mapping):
        return None
    context = environ.get(CONTEXT_KEY)
    if isinstance(context, Context):
        return context
    request_id = environ.get(REQUEST_ID_KEY)
    return with_request_id(request_id, Context()) if isinstance(request_id, str) else None


def _failed_environ() -> Mapping[str, Any]:
    """The environ of the request that the exception being handled comes from, else an empty one."""
    error = sys.exc_info()[1]
    traceback = None if error is None else error.__traceback__
    while traceback is not None:
        # All of gunicorn's WSGI workers call it so; a middleware may have gone on with a copy.
        environ = traceback.tb_frame.f_locals.get("environ")
        if _context_of(environ) is not None:
            return {**environ} if isinstance(environ, Mapping) else {}
        traceback = traceback.tb_next
    return {}
