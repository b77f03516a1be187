"""Log records in a table of a database, see :mod:`c2cotel.sqlalchemylogger.handlers`."""
