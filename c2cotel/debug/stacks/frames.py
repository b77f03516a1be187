"""Look into frames of other threads, which go on meanwhile, without running anything of theirs.

Attributes are taken from where they are stored: no property, no ``__getattr__`` and no ``__repr__``
of the application is called.

What stands where one looked may be something else a moment later; it is never half of it: all
that happens here happens while the interpreter's lock is held.
"""

import dis
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import CodeType, FrameType, MemberDescriptorType
from typing import Any, Final, NamedTuple, TypeAlias

from c2cotel.debug.undisturbed import undisturbed

MISSING: Final[Any] = object()

DEEPEST: Final = 10_000
"""Frames of a thread that are looked at; Python itself stops at 1000, unless told otherwise."""

# What a key of a dictionary may be: others would be asked for their hash.
_KEYS: Final = (str, int, bytes, bool, float, type(None))
_NAMES: Final = {
    "LOAD_CLASSDEREF",
    "LOAD_CLOSURE",
    "LOAD_DEREF",
    "LOAD_FAST",
    "LOAD_FAST_AND_CLEAR",
    "LOAD_FAST_CHECK",
}
_GLOBALS: Final = {"LOAD_GLOBAL", "LOAD_NAME"}
_ATTRIBUTES: Final = {"LOAD_ATTR", "LOAD_METHOD"}
_CALLS: Final = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "PRECALL"}
_NOTHING: Final = {"CACHE", "COPY_FREE_VARS", "EXTENDED_ARG", "NOP", "PUSH_NULL", "RESUME"}
_DEEPEST_EXPRESSION: Final = 8

Place: TypeAlias = tuple[int | None, int | None]


class Value(NamedTuple):
    """What an expression stands for, and how it reads: ``self.lock``."""

    found: Any
    text: str


UNKNOWN: Final = Value(MISSING, "")


class Held(NamedTuple):
    """What a frame seems to hold.

    Attributes:
        within: It is in the ``with`` of it, and gives nothing back there; else, it may as well have
            tried to acquire it in vain.
    """

    found: Any
    within: bool


class _Step(NamedTuple):
    name: str
    argument: Any
    offset: int
    place: Place


@dataclass(frozen=True)
class Operation:
    """What the innermost frame of a thread waits to be done, outside of Python.

    Attributes:
        name: ``acquire`` of ``lock.acquire()``; ``__enter__`` of ``with lock``.
        owner: What it is called on.
        function: What is called, where that is no method.
    """

    name: str
    owner: Value = UNKNOWN
    function: Value = UNKNOWN


def walk(frame: FrameType | None) -> Iterator[FrameType]:
    """*frame* and those that have called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def stack(frame: FrameType) -> list[FrameType]:
    """The same as a list, of no endless stack."""
    return list(islice(walk(frame), DEEPEST))


def module(frame: FrameType) -> str:
    """The name of the module that the code of *frame* is in."""
    name = dict.get(frame.f_globals, "__name__")
    return name if type(name) is str else ""


def attribute(found: object, name: str) -> Any:
    """What is stored as *found*'s attribute; MISSING if nothing is, or a property stands there."""
    try:
        value = inspect.getattr_static(found, name, MISSING)
        if type(value) is MemberDescriptorType:  # of __slots__, and of types made in C
            value = value.__get__(found)
    except Exception:  # noqa: BLE001 - a slot without a value, a class that is being made
        return MISSING
    # Not isinstance: that may ask an object of what class it says it is.
    return MISSING if issubclass(type(value), property) else value


def is_one(found: object, of: Iterable[object]) -> bool:
    """Whether *found* is one of those; unlike ``in``, it does not ask whether they are equal."""
    return any(found is each for each in of)


def item(found: Any, key: Any) -> Any:
    """``found[key]`` of a dictionary, list or tuple; MISSING of what has other ways of its own."""
    if not is_one(type(key), _KEYS):
        return MISSING
    try:
        if issubclass(type(found), dict):
            return dict.get(found, key, MISSING)
        if is_one(type(found), (list, tuple)):
            return found[key]
    except (LookupError, TypeError):
        pass
    return MISSING


class Sight:
    """One look at the frames of a process: what has been read of a frame is kept until the end."""

    def __init__(self) -> None:
        self._locals: dict[int, tuple[FrameType, Any]] = {}
        self._steps: dict[CodeType, list[_Step]] = {}

    def local(self, frame: FrameType, name: str) -> Any:
        """The variable of this name; MISSING if it has no value, or *frame* is no function's."""
        # Of a class body, it may be an object of the application's.
        if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            return dict.get(frame.f_globals, name, MISSING)
        known = self._locals.get(id(frame))
        if known is None:
            known = self._locals[id(frame)] = frame, _locals(frame)
        try:
            return known[1][name]
        except KeyError:
            return MISSING

    def operation(self, frame: FrameType) -> Operation | None:
        """What *frame* waits for, if it is the innermost one and its code calls something now."""
        steps = self._of(frame.f_code)
        index = _at(steps, frame.f_lasti)
        if index is None:
            return None
        step = steps[index]
        if step.name == "BEFORE_WITH":
            return Operation("__enter__", self._value(frame, steps, index - 1)[0])
        if step.name not in _CALLS:
            return None
        # The expression that is called begins where the call does.
        for before in range(index - 1, -1, -1):
            each = steps[before]
            if each.place != step.place:
                continue
            if each.name in _ATTRIBUTES:
                owner, _ = self._value(frame, steps, before - 1)
                return Operation(each.argument, owner, _member(owner, each.argument))
            if each.name in _NAMES or each.name in _GLOBALS:
                function, _ = self._value(frame, steps, before)
                return Operation(function.text, function=function)
        return None

    def held(self, frame: FrameType) -> Iterator[Held]:
        """What *frame* is within a ``with`` of, or may have called ``acquire`` of.

        The latter only if it will call ``release`` of it.

        What the expression stands for now: it may have stood for something else before.
        """
        code = frame.f_code
        # Most code has neither: it need not be read.
        if not code.co_exceptiontable and "acquire" not in code.co_names:
            return
        steps = self._of(code)
        entered = [i for i, step in enumerate(steps) if step.name == "BEFORE_WITH"]
        if entered:
            table = _Handlers(code)
            around = table.around(frame.f_lasti)
            within = "release" not in code.co_names
            for index in entered:
                if index + 1 < len(steps) and table.of(steps[index + 1].offset) in around:
                    yield Held(self._value(frame, steps, index - 1)[0].found, within)
        yield from self._acquired(frame, steps)

    def _acquired(self, frame: FrameType, steps: list[_Step]) -> Iterator[Held]:
        called = [
            (index, step.argument, step.offset)
            for index, step in enumerate(steps)
            if step.name in _ATTRIBUTES and step.argument in ("acquire", "release")
        ]
        before = [index for index, name, at in called if name == "acquire" and at < frame.f_lasti]
        after = [index for index, name, at in called if name == "release" and at > frame.f_lasti]
        if not before or not after:
            return
        released = [self._value(frame, steps, index - 1)[0].found for index in after]
        for index in before:
            value, _ = self._value(frame, steps, index - 1)
            if is_one(value.found, released):
                yield Held(value.found, within=False)

    def _of(self, code: CodeType) -> list[_Step]:
        known = self._steps.get(code)
        if known is None:
            known = self._steps[code] = list(_read(code))
        return known

    def _value(
        self, frame: FrameType, steps: list[_Step], index: int, depth: int = 0
    ) -> tuple[Value, int]:
        """What the expression that ends with the step *index* stands for, and where it begins."""
        if index < 0 or depth > _DEEPEST_EXPRESSION:
            return UNKNOWN, index
        step = steps[index]
        if step.name in _NAMES or step.name in _GLOBALS:
            look = self.local if step.name in _NAMES else self._global
            return Value(look(frame, step.argument), step.argument), index
        if step.name == "LOAD_CONST":
            return Value(step.argument, "…"), index
        if step.name in _ATTRIBUTES:
            inner, begin = self._value(frame, steps, index - 1, depth + 1)
            return _member(inner, step.argument), begin
        if step.name == "BINARY_SUBSCR":
            key, begin = self._value(frame, steps, index - 1, depth + 1)
            inner, begin = self._value(frame, steps, begin - 1, depth + 1)
            # The key may be anything, a secret too.
            return Value(item(inner.found, key.found), f"{inner.text}[…]"), begin
        return UNKNOWN, index

    def _global(self, frame: FrameType, name: str) -> Any:
        value = dict.get(frame.f_globals, name, MISSING)
        return dict.get(frame.f_builtins, name, MISSING) if value is MISSING else value


def _member(owner: Value, name: str) -> Value:
    found = MISSING if owner.found is MISSING else attribute(owner.found, name)
    return Value(found, f"{owner.text}.{name}" if owner.text else name)


if sys.version_info >= (3, 13):

    def _locals(frame: FrameType) -> Any:
        # It reads one variable at a time: https://peps.python.org/pep-0667/
        return frame.f_locals

else:

    def _locals(frame: FrameType) -> Any:
        # All variables are copied.
        return undisturbed(lambda: frame.f_locals)


class _Handlers:
    """Where code goes on after an exception: it tells within which ``with`` it is now."""

    def __init__(self, code: CodeType) -> None:
        self._entries = [
            (entry.start, entry.end, entry.target)
            for entry in getattr(dis.Bytecode(code), "exception_entries", ())
        ]

    def of(self, offset: int) -> int | None:
        return next((to for start, end, to in self._entries if start <= offset < end), None)

    def around(self, offset: int) -> set[int]:
        """The handlers of what is at *offset*, of those handlers, and so on."""
        found: set[int] = set()
        target = self.of(offset)
        while target is not None and target not in found:
            found.add(target)
            target = self.of(target)
        return found


def _read(code: CodeType) -> Iterator[_Step]:
    for each in dis.get_instructions(code):
        if each.opname in _NOTHING:
            continue
        positions = each.positions
        place = (positions.lineno, positions.col_offset) if positions else (None, None)
        # Of Python 3.13: two at once.
        if each.opname == "LOAD_FAST_LOAD_FAST":
            for name in each.argval:
                yield _Step("LOAD_FAST", name, each.offset, place)
        else:
            yield _Step(each.opname, each.argval, each.offset, place)


def _at(steps: list[_Step], offset: int) -> int | None:
    return next((i for i, step in enumerate(steps) if step.offset == offset), None)
