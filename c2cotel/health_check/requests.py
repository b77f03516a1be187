"""A request for each check: what runs beside each other must not share sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pyramid.request import Request, apply_request_extensions
from pyramid.threadlocal import RequestContext

# What pyramid_tm and repoze.tm leave in the environ: with it, the copy would have the manager of
# the request that is copied, whose transaction runs already, in another thread.
_TRANSACTION: Final = ("tm.manager", "tm.active", "repoze.tm.active")


@contextmanager
def own_request(request: Request) -> Iterator[Request]:
    """One like *request*, without its body, for the thread that this is called in.

    What is made on it (``dbsession``) is its own. Its transaction, where pyramid_tm makes one, is
    aborted in the end, and its finished callbacks are called, so that nothing stays open.
    """
    own = request.copy_get()
    for name in _TRANSACTION:
        own.environ.pop(name, None)
    own.registry = request.registry
    own.matchdict = request.matchdict
    own.matched_route = request.matched_route
    with RequestContext(own):
        apply_request_extensions(own)
        try:
            with _transaction(own):
                yield own
        finally:
            own._process_finished_callbacks()  # noqa: SLF001 - as pyramid.scripting does


@contextmanager
def _transaction(request: Request) -> Iterator[None]:
    manager: Any = getattr(request, "tm", None)
    if manager is None:
        yield
        return
    manager.begin()
    try:
        yield
    finally:
        manager.abort()
