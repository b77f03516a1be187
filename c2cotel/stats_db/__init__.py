"""Statistics about a PostgreSQL, told as metrics by a command that ends: ``c2cotel stats-db``.

All are gauges, also the numbers that PostgreSQL counts since ``pg_stat_reset``: each is what the
database says now. All have ``db.namespace``, the name of the database.

====================================  =======  =====================  ============================
name                                  unit     attributes             what
====================================  =======  =====================  ============================
``c2c.database.size``                 By                              of the whole database
``c2c.database.table.rows``           {row}    schema, table          as the planner estimates;
                                                                      where a table was never
                                                                      analysed, as counted since
``c2c.database.table.dead_rows``      {row}    schema, table          deleted, not yet vacuumed
``c2c.database.table.size``           By       schema, table          with TOAST, without indexes
``c2c.database.table.scans``          {scan}   schema, table          of the whole table
``c2c.database.index.size``           By       schema, table, index,  ``main``; ``fsm`` if it is
                                               fork                   not empty
``c2c.database.index.scans``          {scan}   schema, table, index   begun
``c2c.database.index.entries_read``   {entry}  schema, table, index   by these
``c2c.database.index.rows_fetched``   {row}    schema, table, index   by simple ones
``c2c.database.extra``                         metric                 rows of each ``--extra``
``c2c.database.NAME``                          metric                 rows of ``--extra-gauge``
``c2c.database.statistics.time``      s                               Unix time of their end
``c2c.database.statistics.duration``  s                               how long that took
``c2c.database.statistics.failures``  {query}                         queries that failed, or 0
====================================  =======  =====================  ============================

Tables are also partitions and materialized views; what has no storage (partitioned tables, views,
foreign tables) is left out. The sizes are asked for a hundred at once; a table that somebody has
locked is waited for, for two seconds, and then it alone is missing.

They are sent to one of these:

- a Pushgateway, if its address is given: as the group of ``job="db_counts"``, ``db_namespace`` and,
  if it is given, ``instance``. Each run replaces what the one before has said of the same database.
- a collector, by OTLP, if ``OTEL_METRICS_EXPORTER`` or an endpoint says so. The service is
  ``OTEL_SERVICE_NAME``, else ``db_counts``; its instance is given, or the database's address: the
  next run goes on with the same series.
- else who scrapes ``C2C_PROMETHEUS_PORT``, 9090 if that is not set. The command ends when somebody
  has got the numbers.

There is no limit on series (``C2C_METRICS_MAX_SERIES`` is for services). A thousand tables with
3000 indexes are 16 000 series or some more, which take two seconds and 100 MB.
"""
