"""Who really asks, and for what, when proxies stand between.

A proxy says in headers for whom it asks. Anybody can write these headers, so each is believed only
from whom ``C2C_TRUSTED_PROXIES`` names: the connection's other end first; if it is trusted, what it
has added at the right end of the list; if that one is trusted too, what stands left of it; and so
on until somebody who is not: the client. What a client has written itself never counts.

=====================  ===========================================================================
in the environ         comes from
=====================  ===========================================================================
``REMOTE_ADDR``        ``X-Forwarded-For`` or ``Forwarded: for=``; ``REMOTE_PORT`` with it, if that
                       is told, and ``REMOTE_HOST``, if the server has set one
``HTTP_HOST``          ``X-Forwarded-Host`` (completed by ``X-Forwarded-Port``, unless that is 80
                       or 443), else ``X-Forwarded-Server``; or ``Forwarded: host=``
``SERVER_NAME``        ``X-Forwarded-Server`` or ``Forwarded: by=``
``SERVER_PORT``        ``X-Forwarded-Port`` or ``Forwarded: by=``
``wsgi.url_scheme``    ``X-Forwarded-Proto``, else ``X-Forwarded-Scheme``; or ``Forwarded: proto=``
=====================  ===========================================================================

``C2C_FORCE_PROTO``, ``_HOST``, ``_SERVER_NAME`` and ``_REMOTE_ADDR`` win over all of it. None of
these headers is left where WebOb or the application would read it: believed or not, it goes to
``HTTP_ORIGINAL_X_FORWARDED_FOR`` and so on, as does each value that is replaced
(``HTTP_ORIGINAL_REMOTE_ADDR``, ``HTTP_ORIGINAL_WSGI_URL_SCHEME``). That is done once a request; one
without such headers costs half a microsecond, under waitress five.

A proxy hands on what it does not write itself: that may be a client's invention.
``C2C_PROXY_HEADERS`` names what the proxies do write, for example
``x-forwarded-for,x-forwarded-proto``; nothing else then counts. Without it (``*``) the application
is safe behind a proxy that sets ``X-Forwarded-For``, ``-Host`` and ``-Proto``, or takes away which
of them it does not set:

* ``Forwarded`` counts only where no ``X-Forwarded-For``, ``-Host``, ``-Proto``, ``-Scheme`` or
  ``-Server`` comes with it. What it says otherwise than they is said once.
* ``X-Forwarded-Port`` does not count. That a host lacks it is said once.

``*,forwarded`` and ``*,x-forwarded-port`` let these two count as well. ``Forwarded``, where it is
named, wins in what it says, unless it names another client than ``X-Forwarded-For``.

A proxy that hides its client (``for=unknown``, ``for=_secret``) stands for it.

The servers have lists of their own. gunicorn believes the scheme that it is told by whoever its
``forwarded_allow_ips`` names, by default this very machine; where ``C2C_PROXY_HEADERS`` names
headers, that counts no more. waitress, of which ``pserve`` makes use, takes these headers away,
so that the proxy is taken for the client, which is said once; it leaves them with
``clear_untrusted_proxy_headers = false`` in the section of the server, or the option
``--no-clear-untrusted-proxy-headers``.

``config.include("c2cotel")`` does all this by itself. For other WSGI applications, or in front of
other filters, there is one for PasteDeploy, whose options are the settings without their ``c2c.``::

    [filter:proxies]
    use = egg:c2cotel#client_info
    trusted_proxies = 10.0.0.0/8

Source: RFC 7239, read leniently: proxies write ``host=example.com:8080`` without the quotes.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from c2cotel import schema, settings
from c2cotel.client_info.core import Environ, Proxies

__all__ = ["Environ", "Filter", "Proxies", "filter_factory"]

Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Filter:
    """A WSGI application in front of *app*, which sees who really asks."""

    def __init__(self, app: Application, client_info: settings.ClientInfo | None = None) -> None:
        self._app = app
        self._prepare = Proxies(client_info or settings.load().settings.client_info).prepare

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self._prepare(environ)
        return self._app(environ, start_response)


def filter_factory(global_conf: Any, **options: str) -> Callable[[Application], Filter]:
    """``egg:c2cotel#client_info`` of PasteDeploy; the environment wins over its *options*.

    Raises:
        SettingsError: an option is unknown, or a value is not what it should be.
    """
    del global_conf
    loaded = schema.read(
        _Section,
        {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        {f"c2c.{name.removeprefix('c2c.')}": value for name, value in options.items()},
    )
    loaded.raise_for_application()
    if loaded.warnings:
        raise schema.SettingsError(f"The filter client_info: {' '.join(loaded.warnings)}")
    client_info = loaded.settings.client_info
    return lambda app: Filter(app, client_info)


class _Section(schema.Section, frozen=True, kw_only=True):
    """All that the filter reads."""

    client_info: settings.ClientInfo = settings.ClientInfo()


_VARIABLES = frozenset(name for key in schema.keys(_Section) for name in key.env)
