"""Health checks: whether the service can do its work, for load balancers, orchestrators, people.

::

    from c2cotel.health_check import HealthCheck

    health_check = HealthCheck(config)
    health_check.add_db_session_check(models.DBSession, at_least_one_model=models.Hello)
    health_check.add_url_check("http://localhost:8080/api/hello")
    health_check.add_custom_check("custom", custom_check, 2)
    health_check.add_alembic_check(models.DBSession, "/app/alembic.ini", 3)

================================  ==================================================================
``{base_path}/health_check``      runs the checks up to ``?max_level=`` (1), of them those in
                                  ``?checks=`` and ``?group=``; 200, or 500 if one fails
``{base_path}/health/live``       200 as long as the process answers; no check is run
``{base_path}/health/ready``      the checks of level 1; 503 if one fails, or the service is ending
``{base_path}/health/startup``    the same, until they have passed once
``{base_path}/health``            a page with all of them
================================  ==================================================================

Level 1 is what the service cannot do without, 2 and above is up to you; ``max_level=0`` is a ping.
With ``Accept: application/health+json`` the answer is that of draft-inadarei-api-health-check.

Checks run at once, each in a thread and with a request of its own, and with a deadline
(``timeout``); one that is late has failed, and is not started again while it still runs. Callers at
the same time share what runs. Whoever may look at the console is told more: what failed, where, and
with ``?trace=1`` by spans.

Two callers of a process wait for a check as long as it may take. More of them at the same time are
told at once that it passed, if it did so at most 5 seconds before it was started again; otherwise
they wait as well. The check of a URL may be about the application itself, whose threads must not
all wait for it: if it has not passed just before, those callers wait for half of its time, and are
then told "No result yet". So ask for pages of your own by ``add_url_check``, not in a function.

A check is a function of the request: what it returns is its ``result``, what it raises its
``message``. :class:`JsonCheckException` has both.
"""

from pyramid.config import Configurator

from c2cotel.health_check import views
from c2cotel.health_check.checks.database import EngineType
from c2cotel.health_check.core import CheckFailedError, Finding, JsonCheckException
from c2cotel.health_check.registration import HealthCheck, add_health_check, health_of
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.console import Field, Form
from c2cotel.pyramid.views import add_c2c_view

__all__ = [
    "CheckFailedError",
    "EngineType",
    "Finding",
    "HealthCheck",
    "JsonCheckException",
    "add_health_check",
    "includeme",
]


def includeme(config: Configurator) -> None:
    """Serve the views of the health, and add the directive ``config.add_health_check``."""
    config.add_directive("add_health_check", add_health_check)
    if not hasattr(config.registry, "c2c_route_prefix"):
        # An application may begin with its health checks, and need nothing else of ours.
        config.registry.c2c_route_prefix = config.route_prefix
        config.add_directive("add_c2c_view", add_c2c_view)
    config.include("c2cotel.pyramid.pages")
    health_of(config)
    config.add_c2c_view("health_check", views.health_check, access=Access.PUBLIC)
    config.add_c2c_view("health/live", views.live, access=Access.PUBLIC)
    config.add_c2c_view("health/ready", views.ready, access=Access.PUBLIC)
    config.add_c2c_view("health/startup", views.startup, access=Access.PUBLIC)
    config.add_c2c_view(
        "health",
        views.page,
        name="c2c_health_page",
        title="Health checks",
        description="What the service needs, and whether it has it.",
        form=Form([Field("max_level", "Up to level", "number", "1")], "Check"),
    )
