"""Thresholds, links and names changed in the YAML of rules, of their tests and of data sources.

Line by line, so that comments and layout stay: it is our own YAML, and tests compare what a parser
makes of it. ``expr`` and ``series`` are PromQL, and so is ``query`` in a list ``queries``. A line
that ends in ``# threshold: NAME`` has that threshold: the last number or duration before it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from c2cotel.boards.bounds import BOUNDS, Bounds
from c2cotel.boards.promql import JOB, Names, rewrite

DASHBOARDS: Final = "/d/c2cotel-"
RUNBOOKS: Final = "https://github.com/camptocamp/c2cotel/blob/main/docs/runbooks/"

_THRESHOLD: Final = re.compile(
    r"^(?P<before>.*[^\w.])(?P<value>\d+(?:\.\d+)?(?:ms|[smhdw])?)"
    r"(?P<after> +# threshold: (?P<name>[a-z][a-z0-9_]*))$",
    re.MULTILINE,
)
_ALERT: Final = re.compile(r"^\s*- alert: (\w+)$", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION: Final = re.compile(
    r"(?=\d)(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?", re.ASCII
)
_LONGEST: Final = "1y"

# The rest of the line may be `|`, or the beginning of what goes on in lines further right.
_KEY: Final = re.compile(r"^(?P<indent> *(?:- )?)(?P<key>[a-z_]+):(?P<rest>.*)\n?$")
_BLOCK: Final = re.compile(r"\s*[|>][-+0-9]*\s*(?:#.*)?")
_IN_TEMPLATE: Final = re.compile(rf"(?<=\$labels\.){JOB}\b")
_GROUP: Final = re.compile(r"^( *- (?:name: )?c2cotel-[a-z-]+)(?=\n?$)")
_IN_FLOW: Final = re.compile(rf"""("(?:[^"\\]|\\.)*"|'[^']*')|(?<=[{{,\s]){JOB}(?=: )""")


@dataclass(frozen=True)
class Threshold:
    """A number (``0.005``) or a duration (``15m``) that alerts compare with.

    Attributes:
        name: How it is called.
        value: As it is written.
        alerts: Which have it.
    """

    name: str
    value: str
    alerts: tuple[str, ...]

    @property
    def is_duration(self) -> bool:
        return not _NUMBER.fullmatch(self.value)

    def wrong(self, value: str) -> str:
        """What is wrong with *value* for it; nothing if it will do."""
        if self.is_duration and not _DURATION.fullmatch(value):
            return "not a duration, such as 90s, 5m or 1h30m"
        if not self.is_duration and not _NUMBER.fullmatch(value):
            return "not a number from 0 on, such as 3 or 0.005"
        # Prometheus itself takes 292 years.
        if self.is_duration and Bounds(above=_LONGEST).wrong(value) == "":
            return f"longer than {_LONGEST}, it fires never"
        return BOUNDS.get(self.name, Bounds()).wrong(value)


def thresholds(text: str) -> dict[str, Threshold]:
    """Those of the rules in *text*, by name, sorted."""
    found: dict[str, Threshold] = {}
    alerts = [(match.start(), match[1]) for match in _ALERT.finditer(text)]
    for match in _THRESHOLD.finditer(text):
        alert = next((name for at, name in reversed(alerts) if at < match.start()), "")
        known = found.get(match["name"], Threshold(match["name"], match["value"], ()))
        those = tuple(dict.fromkeys((*known.alerts, alert)))
        found[known.name] = Threshold(known.name, known.value, those)
    return dict(sorted(found.items()))


def alerts(text: str) -> list[str]:
    """The names of the alerts in *text*, in order."""
    return _ALERT.findall(text)


def with_thresholds(text: str, values: Mapping[str, str]) -> str:
    """*text* with other *values*, by the name of the threshold."""

    def changed(match: re.Match[str]) -> str:
        value = values.get(match["name"], match["value"])
        return match["before"] + value + match["after"]

    return _THRESHOLD.sub(changed, text)


def with_links(text: str, dashboards: str = "", runbooks: str = "") -> str:
    """*text* with links to the Grafana at *dashboards*, and to the pages below *runbooks*."""
    if dashboards:
        text = text.replace(f'_url: "{DASHBOARDS}', f'_url: "{dashboards.rstrip("/")}{DASHBOARDS}')
    if runbooks:
        text = text.replace(f'_url: "{RUNBOOKS}', f'_url: "{runbooks.rstrip("/")}/')
    return text


def with_names(text: str, names: Names) -> str:
    """*text* with other *names*: in PromQL, templates, labels that tests expect, and what is
    recorded; groups of rules are named after them, too.
    """
    return "".join(_changed(text.splitlines(keepends=True), names)) if names else text


def _changed(lines: list[str], names: Names) -> Iterator[str]:
    queries = -1  # how far right the list `queries` is, that we are in
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        match = _KEY.match(line)
        column = len(match["indent"]) if match else len(line) - len(line.lstrip())
        if line.strip() and column <= queries:
            queries = -1
        if group := _GROUP.match(line):
            yield f"{group[1]}{names.suffix}{line[group.end() :]}"
        elif match is None:
            yield _IN_TEMPLATE.sub(names.job, line)
        elif match["key"] == "queries":
            queries = column
            yield line
        elif match["key"] in ("expr", "series") or (match["key"] == "query" and queries >= 0):
            end = _end(lines, index, column)
            yield _promql(match, "".join(lines[index:end]), names)
            index = end
        else:
            yield _mapping(line, match, names)


def _end(lines: list[str], index: int, column: int) -> int:
    """Where the value ends that goes on in lines further right than *column*."""
    end = index
    for number in range(index, len(lines)):
        line = lines[number]
        if line.strip():
            if len(line) - len(line.lstrip()) <= column:
                break
            end = number + 1
    return end


def _promql(match: re.Match[str], more: str, names: Names) -> str:
    """The lines of a key whose value is PromQL, with what YAML has around it."""
    head, rest = f"{match['indent']}{match['key']}:", match["rest"]
    if _BLOCK.fullmatch(rest):
        return f"{head}{rest}\n{rewrite(more, names)}"
    value = f"{rest}\n{more}"
    quote = value.lstrip()[0]
    if quote not in "\"'":
        return head + rewrite(value, names)
    # In YAML's quotes those of PromQL are the others, so nothing in there is escaped.
    start, end = value.index(quote) + 1, value.rindex(quote)
    return head + value[:start] + rewrite(value[start:end], names) + value[end:]


def _mapping(line: str, match: re.Match[str], names: Names) -> str:
    """A line that may have the label in a template, among those that a test expects, or as the one
    that an attribute of spans stands for.
    """
    line = _IN_TEMPLATE.sub(names.job, line)
    match match["key"], match["rest"].strip():
        case "record", name:
            return line.replace(name, names.recorded(name))
        case "exp_labels", _:
            return _IN_FLOW.sub(lambda found: found[1] or names.job, line)
        case ("job" | "value", _) if re.fullmatch(rf"\s*(?:{JOB}: .*|value: {JOB})\s*", line):
            return line.replace(JOB, names.job, 1)
    return line
