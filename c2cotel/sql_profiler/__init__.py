"""Which statements take the time, and their plans: switched on while the service runs.

With ``C2C_SQL_PROFILER_ENABLED``, ``{base_path}/sql_profiler/statements`` is the page and
``{base_path}/sql_profiler`` what c2cwsgiutils had:

=========================  =====================================================================
nothing                    whether it is on
``?enable=1``              on, in every process of the service, also in later ones
``&ttl=900``               for 15 minutes only; without it, until somebody switches it off
``&sample_rate=0.1``       plans of a tenth of the transactions only
``&min_duration=0.05``     plans of executions that take 50 ms or more only
``&route=/api/*``          only requests whose route's pattern is like that
``&analyze=1``             see below
``&values=1``              plans and log with the values of the statements, which may be secrets
``?enable=0``              off; what has been found stays until it is switched on again
``?details=1``             the rules and what has been found, too
=========================  =====================================================================

All statements of SQLAlchemy are counted while it is on, and the page has those that took the most
time. Plans are those of ``SELECT``, ``INSERT``, ``UPDATE``, ``DELETE`` and ``MERGE`` on PostgreSQL:
on the page, as an event on the span of the statement, and by the logger ``c2cotel.sql_profiler`` at
INFO. For the page a process tells 200 kB at most: where that is too little for all texts and plans,
those that took less time have the beginning of their text, and no plan.

**No statement is executed twice.** Where the server lets us, each plan is that of the real
execution, with its rows and times, for one more round trip a transaction, and with psycopg 3 one a
``SELECT``. As superuser, from PostgreSQL 15 on::

    ALTER DATABASE app SET session_preload_libraries = 'auto_explain';
    GRANT SET ON PARAMETER auto_explain.log_min_duration, auto_explain.log_analyze,
        auto_explain.log_format, auto_explain.log_level, auto_explain.sample_rate,
        auto_explain.log_buffers, auto_explain.log_timing, auto_explain.log_parameter_max_length
        TO app;

It counts for new connections. Elsewhere, and in autocommit, the plan is what ``EXPLAIN`` says after
the statement, which executes nothing. Only with ``analyze``, a ``SELECT`` is executed again for it,
where nothing can be written and what it does is rolled back.

Off, it costs nothing.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.broadcast.agreement import agreement
from c2cotel.pyramid import settings_of
from c2cotel.sql_profiler import core, views

__all__ = ["includeme"]


def includeme(config: Configurator) -> None:
    """Follow the switch and serve both views, if ``C2C_SQL_PROFILER_ENABLED``."""
    if not settings_of(config).sql_profiler_enabled:
        return
    profiler = core.profiler()
    broadcast.subscribe(core.CHANNEL, profiler.told)
    config.registry.c2c_sql_profiler = agreement().switch(
        core.KIND, check=core.check, apply=profiler.apply
    )
    config.add_c2c_view("sql_profiler", views.profiler, changes=views.changes)
    config.add_c2c_view(
        "sql_profiler/statements",
        views.page,
        name="c2c_sql_profiler_page",
        title="SQL profiler",
        description="The statements that take the most time, and how the database executes them.",
    )
