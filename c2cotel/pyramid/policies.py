"""What stands around each request of an application, outside of every tween.

An execution policy of Pyramid makes the request and has it answered, more than once with
pyramid_retry; whoever wants something of that comes from the application. What is added here is
around it, whichever it is, and costs one call.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from pyramid.config import Configurator
from pyramid.events import ApplicationCreated
from pyramid.interfaces import IApplicationCreated
from pyramid.registry import Registry

from c2cotel.client_info import Environ

if TYPE_CHECKING:
    from pyramid.router import Router

Policy: TypeAlias = Callable[[Environ, Any], Any]
"""Takes the environ and the router, gives the response."""


def add_policy(config: Configurator, around: Callable[[Policy, Registry], Policy]) -> None:
    """Put what *around* makes of the application's policy in its place.

    What is added first is the outermost.
    """
    registry = config.registry
    if (added := getattr(registry, "c2c_policies", None)) is None:
        added = registry.c2c_policies = []
        config.add_subscriber(_install, ApplicationCreated)
    added.append(around)


def _install(event: ApplicationCreated) -> None:
    # Not by set_execution_policy: that is for the application, or for pyramid_retry.
    router: Router = event.app
    policy = router.execution_policy
    for around in reversed(router.registry.c2c_policies):
        policy = around(policy, router.registry)
    router.execution_policy = policy
    _forget_the_past(router.registry)


def _forget_the_past(registry: Registry) -> None:
    """Tell Pyramid that nobody listens, if all there is to hear has been heard.

    With a listener it makes four events of each request, which costs as much as a small view.
    """
    handlers = registry.registeredHandlers()
    heard = all(each.required[0].isOrExtends(IApplicationCreated) for each in handlers)
    if heard and not any(registry.registeredSubscriptionAdapters()):
        registry.has_listeners = False
