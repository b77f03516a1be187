"""Names of metrics, and of the label ``job``, changed in PromQL.

The text is cut into tokens, and only names are replaced: blanks, comments and Grafana's variables
(``$job``, ``${route}``, ``$__rate_interval``, which no parser of PromQL takes) stay as they are.

>>> rewrite('sum by (job) (rate(c2c_x_total{job="up"}[5m]))  # up', Names("shop", "service"))
'sum by (service) (rate(shop_c2c_x_total{service="up"}[5m]))  # up'
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

JOB: Final = "job"

# `$$` is how a dollar is written in Grafana's provisioning.
_VARIABLE: Final = r"\${1,2}(?:\{[^{}]*\}|[A-Za-z_]\w*)"
_TOKEN: Final = re.compile(
    rf"""
      (?P<blank>  \s+ | \#[^\n]* )
    | (?P<string> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `[^`]*` )
    | (?P<word>   (?: [A-Za-z_:] | {_VARIABLE} ) (?: [A-Za-z0-9_:] | {_VARIABLE} )* )
    | (?P<number> \.?[0-9][A-Za-z0-9_.]* )
    | (?P<sign>   =~ | !~ | [=!<>]= | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING: Final = {")": "(", "}": "{", "]": "["}

_GROUPING: Final = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_KEYWORDS: Final = _GROUPING | {
    *("and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"),
    *("anchored", "smoothed"),
}

# Made by Prometheus itself, or written without a prefix by c2cotel.
_NEVER_PREFIXED: Final = frozenset(("up", "ALERTS", "ALERTS_FOR_STATE", "target_info"))

# What a rule records: level:metric:operation.
_RECORDED: Final = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*:\w+", re.ASCII)

# Which arguments of a function are names of labels: these, and all from a number on.
_LABEL_ARGUMENTS: Final[dict[str, tuple[frozenset[int], int]]] = {
    "count_values": (frozenset((0,)), 99),
    "label_replace": (frozenset((1, 3)), 99),
    "label_join": (frozenset((1,)), 3),
    "sort_by_label": (frozenset(), 1),
    "sort_by_label_desc": (frozenset(), 1),
}


class PromqlError(ValueError):
    """This is not PromQL, or not such that its names can be changed."""


@dataclass(frozen=True)
class Names:
    """What names become.

    Attributes:
        prefix: As in ``C2C_PROMETHEUS_PREFIX``; before the name of every metric that is ours.
        job: In place of the label ``job``.
    """

    prefix: str = ""
    job: str = JOB

    def __bool__(self) -> bool:
        return bool(self.prefix) or self.job != JOB

    def metric(self, name: str) -> str:
        """*name* with the prefix, as :mod:`c2cotel.metrics.exposition` writes it, if it is ours.

        A name with a colon was recorded by a rule: see :meth:`recorded`. One that begins with a
        variable is unknown.
        """
        if ":" in name.partition("$")[0]:
            return self.recorded(name) if _RECORDED.fullmatch(name) else name
        if not self.prefix or name in _NEVER_PREFIXED or re.match(r"scrape_|\$", name):
            return name
        return re.sub(r"[^a-zA-Z0-9:]+", "_", f"{self.prefix}_") + name

    def recorded(self, name: str) -> str:
        """What is recorded as *name* (``level:metric:operation``) with the names as they are.

        Each other choice of names has its own, so that in one Prometheus the rules of services
        with and without a prefix do not write over each other's numbers.
        """
        level, _, rest = name.partition(":")
        if self.job != JOB:
            level = f"{level}_by_{self.job}"
        return f"{level}:{self.metric(rest.partition(':')[0])}:{rest.partition(':')[2]}"

    @property
    def suffix(self) -> str:
        """What tells these names from others, at the end of a group's name."""
        job = f"by-{self.job}" if self.job != JOB else ""
        # In YAML a name cannot end in a colon.
        prefix = re.sub(":$", "_", self.prefix)
        return "".join(f"-{part}" for part in (prefix, job) if part)

    def label(self, name: str) -> str:
        """*name*, or what stands for ``job``."""
        return self.job if name == JOB else name


def rewrite(expression: str, names: Names) -> str:
    """*expression* with other *names*; nothing else is another.

    Raises:
        PromqlError: A bracket or a quote has no other, or ``__name__`` is matched by a pattern.
    """
    if not names:
        return expression
    tokens = list(_tokens(expression))
    return "".join(_Rewriting(tokens, names).texts())


def metrics(expression: str) -> list[str]:
    """The names of metrics in *expression*, sorted."""
    found = _Seen()
    rewrite(expression, found)
    return sorted(found.seen)


@dataclass(frozen=True)
class _Seen(Names):
    """Changes nothing, and keeps the names that it was asked for."""

    seen: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return True

    def metric(self, name: str) -> str:
        if not name.startswith("$"):  # it may as well be a number or a duration
            self.seen.add(name)
        return name


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _tokens(expression: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(expression):
        token = _Token(match.lastgroup or "", match[0])
        if token.kind == "sign" and token.text in "\"'`":
            raise PromqlError(f"a quote without an end: {expression[match.start() :]}")
        yield token


@dataclass
class _Bracket:
    """Within which brackets a token is.

    Attributes:
        sign: Which of ``(``, ``{``, ``[``.
        labels: The parentheses of ``by``, ``on`` and so on.
        function: Whose arguments these are.
        argument: Number of the argument, from 0.
    """

    sign: str
    labels: bool = False
    function: str = ""
    argument: int = 0


class _Rewriting:
    """One pass over the tokens, that knows the last few and the brackets around."""

    def __init__(self, tokens: list[_Token], names: Names) -> None:
        self._tokens = tokens
        self._names = names
        self._around: list[_Bracket] = []
        self._last = self._before_last = ""  # as written, without blanks
        # In `sum by (x) (y)`, what stands before the grouping.
        self._aggregation = ""

    def texts(self) -> Iterator[str]:
        for index, token in enumerate(self._tokens):
            if token.kind == "blank":
                yield token.text
                continue
            yield self._text(token, index)
            self._before_last, self._last = self._last, token.text
        if self._around:
            raise PromqlError(f"{self._around[-1].sign} without an end: {self._whole()}")

    def _text(self, token: _Token, index: int) -> str:
        match token.kind:
            case "word":
                return self._word(token.text, index)
            case "string":
                return self._string(token.text)
            case "sign":
                self._sign(token.text)
        return token.text

    def _word(self, word: str, index: int) -> str:
        around = self._around[-1] if self._around else _Bracket("")
        if around.sign == "[":
            return word
        if around.sign == "{" or around.labels:
            return self._names.label(word)
        keyword = word.lower()
        following = self._following(index)
        if keyword in ("by", "without"):
            is_name = re.fullmatch(r"[A-Za-z_]\w*", self._last)
            self._aggregation = self._last.lower() if is_name else ""
        if keyword in _KEYWORDS or following == "(" or following.lower() in ("by", "without"):
            return word
        return self._names.metric(word)

    def _following(self, index: int) -> str:
        for token in self._tokens[index + 1 :]:
            if token.kind != "blank":
                return token.text
        return ""

    def _string(self, text: str) -> str:
        around = self._around[-1] if self._around else _Bracket("")
        content = text[1:-1]
        if around.sign == "{" and self._before_last == "__name__":
            if self._last in ("=~", "!~"):
                raise PromqlError(f"names of metrics by a pattern: {self._whole()}")
            return text[0] + self._names.metric(content) + text[0]
        some, from_here = _LABEL_ARGUMENTS.get(around.function, (frozenset(), 99))
        if around.argument in some or around.argument >= from_here:
            return text[0] + self._names.label(content) + text[0]
        return text

    def _sign(self, sign: str) -> None:
        if sign == "," and self._around:
            self._around[-1].argument += 1
        elif sign in _OPENING.values():
            self._around.append(self._opened(sign))
        elif sign in _OPENING and not (self._around and self._around.pop().sign == _OPENING[sign]):
            raise PromqlError(f"{sign} without a beginning: {self._whole()}")

    def _opened(self, sign: str) -> _Bracket:
        if sign != "(":
            return _Bracket(sign)
        last = self._last.lower()
        if last in _GROUPING:
            return _Bracket(sign, labels=True)
        if last == ")":
            function, self._aggregation = self._aggregation, ""
            return _Bracket(sign, function=function)
        return _Bracket(sign, function=last)

    def _whole(self) -> str:
        return "".join(token.text for token in self._tokens)
