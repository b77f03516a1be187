"""What objects do when their process forks."""

import os
import weakref
from collections.abc import Callable


def at_fork(
    before: Callable[[], None],
    after_in_parent: Callable[[], None],
    after_in_child: Callable[[], None],
) -> None:
    """``os.register_at_fork`` with methods of an object that it does not keep alive."""

    def weakly(method: Callable[[], None]) -> Callable[[], None]:
        reference = weakref.WeakMethod(method)

        def call() -> None:
            if (alive := reference()) is not None:
                alive()

        return call

    os.register_at_fork(
        before=weakly(before),
        after_in_parent=weakly(after_in_parent),
        after_in_child=weakly(after_in_child),
    )
