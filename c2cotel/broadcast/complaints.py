import logging

LOGGER = logging.getLogger(__name__)
_MOST = 1000


class Complaints:
    """Warnings that are given once, until what they are about has worked again."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, about: str, message: str, *args: object) -> None:
        """Log *message* as a warning, unless one about the same stands."""
        if about not in self._given:
            if len(self._given) >= _MOST:
                self._given.clear()
            self._given.add(about)
            LOGGER.warning(message, *args)

    def settle(self, about: str) -> None:
        """It works: the next time that it does not is said again."""
        self._given.discard(about)
