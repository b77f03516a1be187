r"""Log lines for machines and for people, from any :class:`logging.LogRecord`.

=======================  ========================================================================
field of a JSON line     value
=======================  ========================================================================
timestamp                seconds since 1970
level, level_name        syslog's number (3 error, 4 warning, 6 info, 7 debug), logging's name
logger_name, msg         the logger, the message with its arguments
full_message, full_msg   stack trace of the exception, and ``"true"``; only when there is one
file, line, function     where the record was made
pid, process_name,       who made it
thread_name, host
request_id, trace_id,    only in a request, see :mod:`c2cotel_instrumentation.logging`
span_id
client_addr, method,     only in a request of Pyramid: where it is from, its path without the
path, matched_route      query, the name of its route
status, route, duration  only in the access lines of gunicorn, see
bytes, user_agent        :mod:`c2cotel_instrumentation.gunicorn`; *duration* is in seconds
anything else            what the application gave in ``extra``, without leading underscores;
                         ``extra_NAME`` where the name is one of those above
=======================  ========================================================================

One record is one line of ASCII. On the console one record is one line and, for more lines, ones
that are indented; control characters are written as ``\x1b``. So nothing that a client sends can
look like a line of its own.

On a pipe, lines of several workers do not mix, however long they are. As packets of syslog they are
cut where they are too long, see :class:`PyramidCeeSysLogHandler`. What a handler loses is counted:
``c2c.log.dropped`` {record}, by ``c2c.log.handler``.

A record that cannot be written (arguments that do not fit the message, values that fail, cycles)
is written as far as it goes: the message as it stands with ``unformatted_args``, such values as
their ``repr``, and ``format_error`` says why.
"""

from c2cotel.pyramid_logging.cee import PyramidCeeSysLogHandler
from c2cotel.pyramid_logging.configuration import dict_config
from c2cotel.pyramid_logging.formatters import ConsoleFormatter, JsonFormatter
from c2cotel.pyramid_logging.handlers import ConsoleLogHandler, JsonLogHandler

__all__ = [
    "ConsoleFormatter",
    "ConsoleLogHandler",
    "JsonFormatter",
    "JsonLogHandler",
    "PyramidCeeSysLogHandler",
    "dict_config",
]
