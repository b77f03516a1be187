"""Pieces of PromQL.

Every selector has the job and the instance of the dashboard's variables::

    >>> rate(series("c2c_db_fallbacks_total"), "c2c_engine")
    'sum by (c2c_engine) (rate(c2c_db_fallbacks_total{job=~"$job",…}[$__rate_interval]))'

A gauge with a ``pid`` has a series for each process: add them, or take the largest, on purpose.
"""

from collections.abc import Iterable
from typing import Final

REQUESTS: Final = "http_server_request_duration_seconds"
RENDERING: Final = "c2c_pyramid_render_duration_seconds"
CALLS: Final = "http_client_request_duration_seconds"
OPERATIONS: Final = "db_client_operation_duration_seconds"

ALWAYS_THERE: Final = "c2c_metrics_processes"
"""What every service of c2cotel emits, and nothing else: these are the jobs to choose from."""

WINDOW: Final = "$__rate_interval"
NOBODY_ASKED: Final = 'c2c_gunicorn_exit_reason!~"requested|max_requests|graceful_timeout"'
"""The ends of workers that are losses; the recording rules count the same ones."""

# For how long a series may have been away, and still goes on.
REMEMBERED: Final = "1h"

OURS: Final = ('job=~"$job"', 'instance=~"$instance"')


def series(metric: str, *matchers: str, of: Iterable[str] = OURS) -> str:
    """The series of *metric* that the variables let through, and *matchers* (``a="b"``)."""
    return f"{metric}{{{','.join((*of, *matchers))}}}"


def rate(selector: str, *by: str, function: str = "sum") -> str:
    """What a counter, or the count of a histogram, grows by in a second, added up *by* labels."""
    return aggregate(f"rate({selector}[{WINDOW}])", *by, function=function)


def increase(selector: str, *by: str, window: str = WINDOW) -> str:
    """What it has grown by in *window*; ``$__range`` for what the dashboard shows in all."""
    return aggregate(f"increase({selector}[{window}])", *by)


def counted(selector: str, *by: str, window: str = WINDOW) -> str:
    """How many there were in *window*, with those of series that began in it.

    A series appears when something is counted, and ``increase`` has no first value to compare that
    with: it does not see the first error of a route, nor anything of a series that has one value.
    So what began counts whole: its largest value, which is exact even where it has ended again,
    or what it grew by and where it began if the counter was restarted on the way.

    A series that was there before, and has not become less, has not begun: it was away for a scrape
    that failed, and what it counted since its service was started is not news.
    """
    first, grown = f"min_over_time({selector}[{window}])", f"increase({selector}[{window}])"
    restarted = f"{first} + {grown} and resets({selector}[{window}]) > 0"
    whole = f"({restarted} or max_over_time({selector}[{window}]))"
    before = f"last_over_time({selector}[{REMEMBERED}] offset {window}) <= {first}"
    known = f"({selector} offset {window} or {before})"
    return aggregate(f"{whole} unless {known} or {grown}", *by)


def workers_lost() -> str:
    """How many workers ended, in what the dashboard shows, though gunicorn had not told them to."""
    exits = series("c2c_gunicorn_worker_exits_total", NOBODY_ASKED)
    return or_zero(counted(exits, window="$__range"))


def aggregate(expression: str, *by: str, function: str = "sum") -> str:
    """*expression* added up (or ``max``, ``min``, ``avg``, …) *by* labels, or altogether."""
    grouping = f" by ({', '.join(by)}) " if by else ""
    return f"{function}{grouping}({expression})"


def share(part: str, whole: str) -> str:
    """*part* of *whole*, 0 to 1, nothing where *whole* is nothing.

    Where there is a whole and no part it is 0, so that no error is not no data.
    """
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def quantile(q: float, metric: str, *by: str, matchers: Iterable[str] = ()) -> str:
    """The *q* quantile of the histogram *metric* (without its suffix) *by* labels.

    Where nothing was observed there is nothing, rather than NaN.
    """
    buckets = rate(series(f"{metric}_bucket", *matchers), "le", *by)
    return f"(histogram_quantile({q}, {buckets}) >= 0)"


def mean(metric: str, *by: str, matchers: Iterable[str] = ()) -> str:
    """What one observation of the histogram *metric* was on average."""
    total = rate(series(f"{metric}_sum", *matchers), *by)
    count = rate(series(f"{metric}_count", *matchers), *by)
    return f"{total} / ({count} > 0)"


def busiest(count: int, expression: str) -> str:
    """The *count* largest of *expression*, at every moment."""
    return f"topk({count}, {expression})"


def named(expression: str, label: str, name: str) -> str:
    """*expression* with *name* for series without *label*: a legend would have the label's name."""
    return f'label_replace({expression}, "{label}", "{name}", "{label}", "")'


def by_status(requests: str) -> str:
    """The rate of *requests* by their HTTP status; where the store is full, it is not known."""
    status = "http_response_status_code"
    return named(rate(requests, status), status, "(not known)")


def or_zero(expression: str, *by: str) -> str:
    """0 where *expression* has no series yet: a counter has none before it counts.

    Where there is no service either there is nothing. *by* are of job and instance.
    """
    zero = aggregate(series(ALWAYS_THERE), *by)
    return f"({expression} or {zero} * 0)"


def added(*expressions: str) -> str:
    """All of them together; each may have no series yet."""
    return " + ".join(map(or_zero, expressions))


def where_set(variable: str, expression: str) -> str:
    """*expression* if the dashboard's *variable* has a value, else nothing.

    An empty label is no label: the series that stands for the variable is then like ``vector(0)``.
    """
    known = f'label_replace(vector(1), "is_set", "${{{variable}}}", "", "")'
    return f"({expression}) and on () ({known} unless on (is_set) vector(0))"
