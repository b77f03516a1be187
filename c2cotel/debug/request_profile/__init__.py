"""Where one request spends its time: a request with a header, or the next ones of a route.

``X-C2C-Profile: 1``, with what shows who asks: the header ``X-API-Key``, the parameter ``secret``
or the cookie of the console. (``Authorization`` is the application's in its own views.) The answer
says where the profile is, ``X-C2C-Profile-Id: 0123456789abcdef``, or why there is none,
``X-C2C-Profile-Error``. Without the right, the request is answered like any other, and a wrong
secret is counted as one.

On the page ``{base_path}/debug/requests``, or of ``{base_path}/debug/request_profile``:

=========================  =====================================================================
nothing                    what is ordered, and the profiles that there are
``?requests=5``            profile the next 5 requests, 20 at most; never those of operators
``&route=/api/*``          only those of routes whose pattern is like that
``&ttl=300``               those of the next 5 minutes, an hour at most
``?requests=0``            no more
``/{id}?format=text``      one profile as text, ``json`` (pyinstrument's) or ``speedscope``
=========================  =====================================================================

An order goes to all processes: together those of a host, or of what shares its run directory, take
as many requests as are ordered. Those of several hosts tell each other; of requests that begin
within that moment, more may be profiled.

pyinstrument (``c2cotel[debug]``) looks at the thread of the request once a millisecond, from
outside of every tween until there is a response: a body that is streamed comes after it, tries of
pyramid_retry are all in it, and what other threads do for the request is seen as waiting. A second
profiler in the thread is not begun. What consists of nothing but calls may take several times as
long, as each costs some tenths of a microsecond more; what waits or computes in C takes as long.

What is kept is told in :mod:`c2cotel.debug.parts`: the last 20, for some minutes. The request's
span has its id as ``c2c.profile.id``, the profile the id of the trace. Requests that nobody
profiles pay one call, some 0.1 µs.
"""

from pyramid.config import Configurator

from c2cotel.broadcast.agreement import agreement
from c2cotel.debug.request_profile import core, views, watching
from c2cotel.pyramid.policies import add_policy

__all__ = ["includeme"]


def includeme(config: Configurator) -> None:
    """Look out for requests that are to be profiled, and serve the profiles."""
    profiles = config.registry.c2c_request_profiles = core.profiles()
    config.registry.c2c_request_profile_switch = profiles.listen(agreement())
    add_policy(config, watching.around)
    config.add_c2c_view("debug/request_profile", views.profiles, changes=views.changes)
    config.add_c2c_view(
        "debug/request_profile/{id}", views.download, name="c2c_debug_request_profile_download"
    )
    config.add_c2c_view(
        "debug/requests",
        views.page,
        title="Profiles of requests",
        section="Debug",
        description="Where a request spends its time: the next ones of a route, call by call.",
    )
    config.add_c2c_view("debug/requests/{id}", views.request_page, name="c2c_debug_request")
