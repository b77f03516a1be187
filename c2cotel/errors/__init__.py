"""Every exception that leaves a view becomes a JSON answer, if ``C2C_ENABLE_EXCEPTION_HANDLING``.

The body is ``{"message": …, "status": …}``, whatever the client accepts:

=============================  ======  ============================================================
exception                      status  message
=============================  ======  ============================================================
Pyramid's ``HTTPError``        its     its text; its headers go along
SQLAlchemy's integrity and     400     the driver's first line, such as ``duplicate key value …``
data errors
a write where the database     503     that it can only be read; whether for maintenance
can only be read
body or query cannot be read   400     what is wrong with it: no JSON, another charset, too deep
botocore's ``ClientError``     its     its code; 500 if its status is no error's
beaker's invalid signature     401     ``Invalid signature``
the client has gone away       500     nobody reads it
anything else                  500     one sentence for all
=============================  ======  ============================================================

Statements, values, hosts, files and the texts of other exceptions are for those who may see them:
everybody with ``DEVELOPMENT=1``, else who sends the secret (as parameter ``secret`` of the query,
header or cookie) or is logged in. They get the exception's own text, and a key ``stacktrace``.

A redirection or success that is raised is answered as it is. All these answers can be read by pages
of other sites: by the rules of the service if a cornice service has been asked, else by
``Access-Control-Allow-Origin: *``. OPTIONS on a route that exists is answered 200. Errors carry
``X-Request-ID``, and ``traceresponse`` with the trace id where there is a span.

Each is logged once by ``c2cotel.errors.views``, with ``referrer`` if there is one: 401 as DEBUG,
500 and a write that went to a replica as ERROR, a client that went away as INFO, others as WARNING;
with the traceback, but not where the client is told what it has done wrong by an HTTP exception,
nor of a write during maintenance. Message and traceback lose what those of a span lose: passwords,
secret parameters, statements. What pyramid_retry tries again is INFO, without a traceback.

An exception view of the application's own for a class of its exceptions, or for all, goes first.
An ``HTTPException`` that is returned, not raised, is the application's answer and stays as it is,
and so are the errors that cornice collects. With pyramid_debugtoolbar, leave this off.
"""

import warnings

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPException
from pyramid.settings import asbool
from webob.exc import WSGIHTTPException

from c2cotel.errors import views
from c2cotel.pyramid.settings import settings_of
from c2cotel.settings import SettingsError

__all__ = ["includeme", "init"]


def init(config: Configurator) -> None:
    """Deprecated: include ``c2cotel.errors``, or all of ``c2cotel.pyramid``."""
    warnings.warn(
        'c2cotel.errors.init(config) is deprecated: config.include("c2cotel.pyramid") does it',
        DeprecationWarning,
        stacklevel=2,
    )
    includeme(config)


def includeme(config: Configurator) -> None:
    """Answer all exceptions, if ``C2C_ENABLE_EXCEPTION_HANDLING``.

    Raises:
        SettingsError: cornice has been included before, and answers exceptions itself.
    """
    settings = settings_of(config)
    if not settings.enable_exception_handling:
        return
    pyramid_settings = config.get_settings()
    key = "handle_exceptions"
    if hasattr(config.registry, "cornice_services") and asbool(pyramid_settings.get(key, True)):
        raise SettingsError(
            "c2c.enable_exception_handling is on, but cornice, which was included before, answers "
            f"exceptions itself. Include c2cotel before it, or write {key} = false in the ini."
        )
    # For the cornice that is included later.
    pyramid_settings[key] = False
    config.registry.c2c_errors = views.Errors(
        development=settings.development, request_id=settings.request_id.response
    )
    # Pyramid answers HTTP exceptions, its own by their interface, which is less than their class,
    # and those of webob.
    for context in (Exception, HTTPException, WSGIHTTPException):
        config.add_exception_view(views.answer, context=context)
