"""The memory for programs, as c2cwsgiutils told it, and for people."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPError,
    HTTPNotImplemented,
    HTTPServiceUnavailable,
)
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.broadcast.messages import Replies
from c2cotel.debug.memory import core
from c2cotel.debug.memory.core import Growth
from c2cotel.debug.memory.maps import MemoryInfo, dump_memory_maps
from c2cotel.debug.memory.target import Outcome, Target, target
from c2cotel.pyramid import pages, parameters

_LONGEST_NAME: Final = 300
_ITSELF: Final = (
    "c2c_debug_memory_diff",
    "c2c_debug_memory_diff_deprecated",
    "c2c_debug_memory_growth",
)
_LONGEST_SHOWN: Final = 1000
_CONFLICT: Final = 409
# Rows of the page, and seconds that it waits where only types are counted.
_SHOWN: Final = 25
_PATIENCE: Final = 30.0


class _Asked(NamedTuple):
    limit: int
    name: str | None
    internals: bool


def memory(request: Request) -> list[Any] | dict[str, Any]:
    """``?limit=30&analyze_type=builtins.dict&python_internals_map=1``: one entry a process."""
    details = parameters.flag(request, "details")
    asked = _asked(request, core.LIMIT)
    report, failed = _report(asked, core.PATIENCE, details=details)
    if not details:
        return [*report.processes, *failed, *(None for _ in report.silent)]
    return {
        "processes": report.processes,
        "failed": [{"process": name, "message": text} for name, text in report.failed],
        "silent": list(report.silent),
    }


def types_page(request: Request) -> Response:
    """The same for people; the processes side by side."""
    asked, report, error = None, core.report(Replies([])), None
    try:
        asked = _asked(request, _SHOWN)
        report, _ = _report(asked, core.PATIENCE if asked.name else _PATIENCE, details=True)
    except HTTPError as found:
        error = found
    limit = asked.limit if asked else _SHOWN
    return pages.render(
        request,
        "c2cotel.debug.memory:templates/types.jinja2",
        status=_status(error),
        error=error,
        name=_sent(request, "analyze_type"),
        limit=_sent(request, "limit") or limit,
        asked=asked,
        most=core.MOST,
        report=report,
        common=core.matrix(report.processes, "most_common_types", limit),
        leaking=core.matrix(report.processes, "leaking_objects", limit),
        has_graph=pages.address(request, "c2c_debug_show_refs") is not None,
    )


def _status(error: HTTPError | None) -> str:
    return "200 OK" if error is None else str(error.status)


def _sent(request: Request, name: str) -> str:
    """What somebody has filled in, whether it can be or not."""
    return str(request.params.get(name, ""))[:_LONGEST_SHOWN]


def _asked(request: Request, limit: int) -> _Asked:
    return _Asked(
        parameters.whole(request, "limit", least=1, most=core.MOST, default=limit),
        parameters.text(request, "analyze_type", longest=_LONGEST_NAME),
        parameters.flag(request, "python_internals_map"),
    )


def _report(
    asked: _Asked, patience: float, *, details: bool
) -> tuple[core.Report, list[dict[str, Any]]]:
    params: dict[str, Any] = {
        "limit": asked.limit,
        "analyze_type": asked.name,
        "python_internals_map": asked.internals,
    }
    # Processes of the predecessor know no more than these.
    if details:
        params["details"] = True
    replies = broadcast.ask(core.CHANNEL, params, timeout=patience)
    report = core.report(replies)
    if report.unknown_type:
        raise HTTPBadRequest(_unknown(asked.name or ""))
    failed = [each for each in replies.answers if isinstance(each, dict) and "status" in each]
    if not report.processes and failed:
        text = "; ".join(f"{name}: {said}" for name, said in report.failed)
        if all(each["status"] == _CONFLICT for each in failed):
            raise HTTPConflict(text)
        raise HTTPServiceUnavailable(text)
    return report, failed


def _unknown(name: str) -> str:
    similar = core.similar_types(name)
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    return (
        f"analyze_type={name[:80]}: no process has such a type.{hint} Expected for example "
        "builtins.dict, builtins.function or linecache"
    )


# --- what a call leaves ---------------------------------------------------------------------------


@dataclass
class Measuring:
    """Whether a call is being measured here; of two at once, neither would tell much."""

    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def alone(self) -> Iterator[None]:
        if not self.lock.acquire(blocking=False):
            raise HTTPConflict("Another call is being measured in this process: try again later")
        try:
            yield
        finally:
            self.lock.release()


@dataclass(frozen=True)
class _Measured:
    growth: Growth
    outcome: Outcome

    @property
    def told(self) -> dict[str, Any]:
        return {
            "memory.growth": self.growth.memory,
            "elapsed_time": self.growth.seconds,
            "objgraph.growth": self.growth.types,
        }


def memory_diff(request: Request) -> Response:
    """``?path=/api/hello?a=1&limit=30&no_warmup``: what that call leaves in this process."""
    path = parameters.required(request, "path", "/api/hello", longest=_LONGEST_NAME * 10)
    return _diff(request, path)


def memory_diff_deprecated(request: Request) -> Response:
    """The same, with the path below this view's own."""
    path = "/".join(request.matchdict["path"])
    return _diff(request, f"/{_quoted(path)}")


def _quoted(path: str) -> str:
    # Pyramid has decoded it.
    return quote(path)


def _diff(request: Request, path: str) -> Response:
    measured = _measured(request, path)
    told = measured.told
    if parameters.flag(request, "details"):
        told |= {"target": {"status": measured.outcome.status, "error": measured.outcome.error}}
    response = Response(msgspec.json.encode(told), content_type="application/json")
    response.headers["C2C-Target-Status"] = str(measured.outcome)
    return response


def _measured(request: Request, path: str) -> _Measured:
    limit = parameters.whole(request, "limit", least=1, most=core.MOST, default=core.LIMIT)
    cold = parameters.flag(request, "no_warmup")
    called = target(request, path, _ITSELF)
    _check_kernel()
    with request.registry.c2c_memory_growth.alone():
        if not cold:
            called.call()
        return _call_measured(called, limit)


def _call_measured(called: Target, limit: int) -> _Measured:
    outcomes: list[Outcome] = []
    growth = core.growth(lambda: outcomes.append(called.call()), limit)
    return _Measured(growth, outcomes[0])


def _check_kernel() -> None:
    try:
        MemoryInfo.read()
    except OSError:
        raise HTTPNotImplemented(
            "The memory of a process is only known on Linux, from /proc"
        ) from None


def growth_page(request: Request) -> Response:
    """A form for the path, and what its call left."""
    path, cold, measured, error = None, False, None, None
    try:
        cold = parameters.flag(request, "no_warmup")
        path = parameters.text(request, "path", longest=_LONGEST_NAME * 10)
        measured = _measured(request, path) if path is not None else None
    except HTTPError as found:
        error = found
    return pages.render(
        request,
        "c2cotel.debug.memory:templates/growth.jinja2",
        status=_status(error),
        error=error,
        path=path or _sent(request, "path"),
        cold=cold,
        measured=measured,
    )


# --- mapped files ---------------------------------------------------------------------------------


def memory_maps(_: Request) -> list[dict[str, Any]]:
    return dump_memory_maps()


def maps_page(request: Request) -> Response:
    found = dump_memory_maps()
    return pages.render(
        request,
        "c2cotel.debug.memory:templates/maps.jinja2",
        maps=found,
        total=sum(each["pss_kb"] for each in found),
        process=broadcast.broadcaster().process,
    )
