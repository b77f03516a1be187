"""Questions of our own on a connection of the application, which they leave as it was."""

from collections.abc import Callable, Mapping
from typing import Any, Final

# libpq's PGTransactionStatusType.
IDLE: Final = 0
WITHIN: Final = 2
_FAILED: Final = 3
_UNKNOWN: Final = 4

_SAVEPOINT: Final = "c2cotel_profiler"

Runner = Callable[[str, Any], list[Any]]


class Alone:
    """Where a question cannot harm: a transaction of its own."""

    def __init__(self, dbapi: Any) -> None:
        self._dbapi = dbapi

    def __enter__(self) -> Runner:
        return self._run

    def __exit__(self, *error: object) -> None:
        return None

    def _run(self, question: str, parameters: Any = None) -> list[Any]:
        return ask(self._dbapi, question, parameters)


class Aside(Alone):
    """In the transaction that there is, behind a savepoint."""

    def __enter__(self) -> Runner:
        self._run(f"SAVEPOINT {_SAVEPOINT}")
        return self._run

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._run(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        self._run(f"RELEASE SAVEPOINT {_SAVEPOINT}")


class ReadOnly(Alone):
    """Where nothing can be written, and which is rolled back."""

    def __init__(self, dbapi: Any, *, in_transaction: bool) -> None:
        super().__init__(dbapi)
        self._in_transaction = in_transaction

    def __enter__(self) -> Runner:
        if self._in_transaction:
            self._run(f"SAVEPOINT {_SAVEPOINT}")
            try:
                self._run("SET LOCAL transaction_read_only = on")
            except BaseException:
                self.__exit__()
                raise
        else:
            self._run("BEGIN READ ONLY")
        return self._run

    def __exit__(self, *error: object) -> None:
        if self._in_transaction:
            # The transaction can write again: the setting was the savepoint's.
            self._run(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._run(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        else:
            self._run("ROLLBACK")


def ask(dbapi: Any, question: str, parameters: Any) -> list[Any]:
    cursor = dbapi.cursor()
    try:
        if parameters is None:
            cursor.execute(question)
        else:
            cursor.execute(question, parameters)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def status(driver: Any) -> int:
    return int(driver.info.transaction_status)


def is_usable(driver: Any) -> bool:
    """Whether a question of ours can be asked at all."""
    if status(driver) in (_FAILED, _UNKNOWN):
        return False
    pgconn = getattr(driver, "pgconn", None)
    return not getattr(pgconn, "pipeline_status", 0)


def first(row: Any) -> Any:
    """The only column of *row*, whatever rows are here."""
    return next(iter(row.values() if isinstance(row, Mapping) else row))


def two(row: Any) -> tuple[Any, Any]:
    first, second = row.values() if isinstance(row, Mapping) else row
    return first, second
