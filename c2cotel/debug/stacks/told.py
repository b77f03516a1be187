"""What a process tells of its threads when it is asked."""

import msgspec


class Frame(msgspec.Struct, frozen=True):
    """One line of a stack, as the predecessor told it."""

    file: str
    line: int
    function: str
    code: str = ""


class Request(msgspec.Struct, frozen=True):
    """What a thread is answering, since *seconds*."""

    method: str
    route: str | None
    trace_id: str | None
    request_id: str
    seconds: float


class Wait(msgspec.Struct, frozen=True):
    """A :class:`.Waiting`, with the address of its lock; *perhaps* are who may have it."""

    kind: str
    detail: str = ""
    lock: str | None = None
    owner: int | None = None
    perhaps: tuple[int, ...] = ()


class Thread(msgspec.Struct, frozen=True):
    """One thread.

    Attributes:
        stack: Which of the stacks is its own.
        where: Which frame of the stack is the application's, as far as it is known.
        moved: Whether it has gone on between two looks, a tenth of a second apart; None if it has
            been looked at once.
        cpu: Which part of that time it has computed.
    """

    ident: int
    name: str
    native_id: int | None
    stack: int
    where: int | None = None
    moved: bool | None = None
    cpu: float | None = None
    waiting: Wait | None = None
    request: Request | None = None


class Told(msgspec.Struct, frozen=True):
    """What a process answers.

    Attributes:
        stacks: Each as indices of *frames*, the outermost first.
        cycles: Threads that wait for each other, by ``ident``.
        perhaps: Those that seem to, as far as one sees who has what.
        left_out: How many threads are not told, because there are so many.
    """

    threads: list[Thread]
    stacks: list[list[int]]
    frames: list[Frame]
    cycles: list[list[int]] = []
    perhaps: list[list[int]] = []
    left_out: int = 0
