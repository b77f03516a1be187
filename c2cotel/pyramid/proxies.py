"""Set the requests of a Pyramid application right by what proxies say: :mod:`c2cotel.client_info`.

The instrumentor does so before it measures, so that spans and metrics know who asks; without it,
the execution policy does, before there is a request object. There is no tween: requests are made
before any tween runs.
"""

from typing import TYPE_CHECKING, Any

from pyramid.config import Configurator
from pyramid.events import ApplicationCreated
from pyramid.interfaces import IApplicationCreated
from pyramid.registry import Registry
from pyramid.response import Response

from c2cotel.client_info import Environ, Proxies
from c2cotel.pyramid.settings import settings_of

if TYPE_CHECKING:
    from pyramid.router import Router


def includeme(config: Configurator) -> None:
    """Let ``request.client_addr``, ``.host`` and ``.scheme`` be those of who really asks."""
    proxies = Proxies(settings_of(config).client_info)
    config.registry.c2c_prepare_environ = proxies.prepare
    config.add_subscriber(_install, ApplicationCreated)


def _install(event: ApplicationCreated) -> None:
    # Not by set_execution_policy: that is for the application, or for pyramid_retry.
    router: Router = event.app
    policy, prepare = router.execution_policy, router.registry.c2c_prepare_environ

    def execution_policy(environ: Environ, router: Any) -> Response:
        prepare(environ)
        return policy(environ, router)

    router.execution_policy = execution_policy
    _forget_the_past(router.registry)


def _forget_the_past(registry: Registry) -> None:
    """Tell Pyramid that nobody listens, if all there is to hear has been heard.

    With a listener it makes four events of each request, which costs as much as a small view.
    """
    handlers = registry.registeredHandlers()
    heard = all(each.required[0].isOrExtends(IApplicationCreated) for each in handlers)
    if heard and not any(registry.registeredSubscriptionAdapters()):
        registry.has_listeners = False
