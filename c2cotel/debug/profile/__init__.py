"""Where the time of all processes goes: profiles of a running service, without any restart.

``{base_path}/debug/profiles`` is the page. For programs::

    curl -X POST -H 'X-API-Key: …' -d seconds=10 {base_path}/debug/profile

==================  ============================================================================
``seconds``         1 to 60, by default 10
``hz``              how often in a second the threads are looked at: 1 to 200, by default 100
``mode``            ``wall``: the time of every thread, waiting or not; ``cpu``: the CPU time of
                    those that use some (on Linux)
``process``         ``all``, the number of a process, or ``host/number`` where hosts share numbers
``route``           only threads that answer such a route, for example ``/api/*``
==================  ============================================================================

It is answered at once, with the ``id`` and where the profile will be. A process makes one profile
at a time: while one that is asked for is busy, the answer is 409, and says who profiles what.
``POST …?stop=<id>`` ends one early. Who may start and stop one needs the right to change things.

=======================================  =======================================================
``GET debug/profile``                    those that run, and those of the last minutes
``GET debug/profile/<id>``               who took part; hottest functions, routes and traces
                                         (``limit``, ``route``, ``threads=all`` or
                                         ``requests``, ``q``)
``GET debug/profile/<id>/speedscope``    for https://www.speedscope.app/
``GET debug/profile/<id>/collapsed``     for flame graph tools, in microseconds
``GET debug/profile/<id>/pstats``        for :mod:`pstats`, SnakeViz and others
``GET debug/profile/<id>/json``          all of it
=======================================  =======================================================

Threads that answer no request count only with ``threads=all``, or where there was no request.
How long profiles are kept is told in :mod:`c2cotel.debug.parts`.

The last four are of all processes together, or of one: ``?process=host/number``.

The spans of requests that ran meanwhile have the attribute ``c2c.profile.id``. A worker that ends
meanwhile leaves what it has; of one that is killed, the profile says so, and has the others.
"""

from pyramid.config import Configurator

from c2cotel.broadcast import broadcaster
from c2cotel.broadcast.agreement import agreement
from c2cotel.debug.profile import core, views

__all__ = ["includeme", "listen"]


def listen() -> core.Profiles:
    """Take part in profiles."""
    profiles = core.profiles(broadcaster(), agreement())
    profiles.jobs.listen()
    return profiles


def includeme(config: Configurator) -> None:
    """Take part in profiles, and serve the views."""
    config.registry.c2c_profiles = listen()
    config.add_c2c_view(
        "debug/profile", views.profiles, name="c2c_debug_profile", changes=views.changes
    )
    config.add_c2c_view("debug/profile/{id}", views.profile, name="c2c_debug_profile_one")
    config.add_c2c_view(
        "debug/profile/{id}/{format}", views.download, name="c2c_debug_profile_download"
    )
    config.add_c2c_view(
        "debug/profiles",
        views.profiles_page,
        name="c2c_debug_profiles",
        title="Profiles",
        section="Debug",
        description="Where the time of all processes goes, by function and by route.",
    )
    config.add_c2c_view("debug/profiles/{id}", views.profile_page, name="c2c_debug_profiles_one")
