"""Answers that show how a request fares on its way here and back.

===========================  =====================================================================
``debug/sleep?time=60.2``    204 after that many seconds, 300 at most: do load balancers wait so
                             long? It keeps one thread of the service busy meanwhile.
``debug/headers``            the headers as they arrived here, and who asks for what, as proxies
                             have told it; ``&status=500`` says the same in an error
``debug/error?status=404``   the answer of that status that Pyramid knows: errors as JSON, a page
                             for who asks for HTML
``debug/time``               the clock of this host, for everybody
===========================  =====================================================================

What would let somebody in (``Authorization``, ``Cookie``, ``X-API-Key`` and the like, secret
parameters in URLs) is ``REDACTED``. ``debug/headers/table`` and ``debug/time/clock`` are pages.
"""

from pyramid.config import Configurator

from c2cotel.debug.plain import core, views
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.console import Field, Form

__all__ = ["includeme"]

_SECTION = "Debug"


def includeme(config: Configurator) -> None:
    """Serve the views, and the pages of two."""
    config.add_c2c_view(
        "debug/sleep",
        views.sleep,
        title="Sleep",
        section=_SECTION,
        description="Answer late, to see how long load balancers and clients wait.",
        form=Form(
            (
                Field(
                    "time",
                    "Seconds",
                    kind="number",
                    value="1",
                    required=True,
                    help=f"{core.LONGEST_SLEEP} at most; a thread is busy meanwhile.",
                ),
            ),
            button="Sleep",
        ),
    )
    config.add_c2c_view("debug/headers", views.headers)
    config.add_c2c_view(
        "debug/headers/table",
        views.headers_page,
        title="Headers",
        section=_SECTION,
        description="The headers of your request as they arrive here, without secrets.",
    )
    config.add_c2c_view(
        "debug/error",
        views.error,
        title="Error",
        section=_SECTION,
        description="An answer of that status, to see what becomes of it on its way.",
        form=Form((Field("status", "Status", kind="number", value="500", required=True),)),
    )
    config.add_c2c_view("debug/time", views.time, access=Access.PUBLIC)
    config.add_c2c_view(
        "debug/time/clock",
        views.time_page,
        access=Access.PUBLIC,
        title="Time",
        section=_SECTION,
        description="The clock of this host.",
    )
