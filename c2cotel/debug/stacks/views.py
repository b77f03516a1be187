"""The threads for programs, as c2cwsgiutils told them, and for people."""

from typing import Any

from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.stacks import core
from c2cotel.pyramid import pages, parameters
from c2cotel_instrumentation.pyramid import PyramidInstrumentor

_STUCK_AFTER = 5.0  # seconds
_LONGEST = 86_400
# Threads of c2cotel itself; nobody looks for these first.
_OURS = "c2cotel-"


def stacks(request: Request) -> list[dict[str, Any]] | dict[str, Any]:
    """All stacks, each with its threads; with ``?details=1``, what is known of each thread."""
    if parameters.flag(request, "details"):
        return core.as_json(core.report())
    return core.grouped_stacks()


def page(request: Request) -> Response:
    """The threads in requests, the longest first, then the others by their stacks.

    ``?q=`` are words that have to be somewhere in a thread, ``?stuck=`` the seconds after which one
    that waits for a lock is marked.
    """
    searched = parameters.text(request, "q", longest=200) or ""
    patience = parameters.number(request, "stuck", least=0, most=_LONGEST, default=_STUCK_AFTER)
    report = core.report()
    rows = report.rows
    shown = [row for row in rows if _matches(row, searched)]
    others = [row for row in shown if row.thread.request is None]
    return pages.render(
        request,
        "c2cotel.debug.stacks:templates/page.jinja2",
        report=report,
        processes=len({row.process for row in report.rows}),
        total=len(rows),
        shown=len(shown),
        searched=searched,
        patience=patience,
        instrumented=PyramidInstrumentor().is_instrumented_by_opentelemetry,
        answering=[row for row in shown if row.thread.request is not None],
        stuck={row.label for row in rows if row.is_locked and row.seconds >= patience},
        others=report.grouped(row for row in others if not row.thread.name.startswith(_OURS)),
        ours=report.grouped(row for row in others if row.thread.name.startswith(_OURS)),
        text=_text,
        trace_url=request.registry.c2c_settings.settings.trace_url,
    )


def _matches(row: core.Row, searched: str) -> bool:
    text = _text(row).lower()
    return all(word in text for word in searched.lower().split())


def _text(row: core.Row) -> str:
    """What is searched of a thread."""
    request, wait = row.thread.request, row.thread.waiting
    return " ".join(
        [
            row.label,
            *([request.method, request.route or "", request.request_id] if request else []),
            *([request.trace_id or ""] if request else []),
            *([wait.kind, wait.detail] if wait else []),
            *(f"{frame.file}:{frame.line} {frame.function}" for frame in row.stack),
        ]
    )
