"""Set the requests of a Pyramid application right by what proxies say: :mod:`c2cotel.client_info`.

The instrumentor does so before it measures, so that spans and metrics know who asks; without it,
the execution policy does, before there is a request object. There is no tween: requests are made
before any tween runs.
"""

from typing import Any

from pyramid.config import Configurator
from pyramid.registry import Registry
from pyramid.response import Response

from c2cotel.client_info import Environ, Proxies
from c2cotel.pyramid.policies import Policy, add_policy
from c2cotel.pyramid.settings import settings_of


def includeme(config: Configurator) -> None:
    """Let ``request.client_addr``, ``.host`` and ``.scheme`` be those of who really asks."""
    proxies = Proxies(settings_of(config).client_info)
    config.registry.c2c_prepare_environ = proxies.prepare
    add_policy(config, _prepared)


def _prepared(policy: Policy, registry: Registry) -> Policy:
    prepare = registry.c2c_prepare_environ

    def execution_policy(environ: Environ, router: Any) -> Response:
        prepare(environ)
        return policy(environ, router)

    return execution_policy
