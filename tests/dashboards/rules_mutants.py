"""Rules with one thing wrong in each, and what promtool's cases say of them.

A mutant is a copy of an alert in which something is different: in its own expression, in its
``for``, or in a rule whose result it asks for, of which there is a copy then, too. All copies of
what a file has cases for are put into one set of rules, and each case is asked of each copy: so
promtool computes once what all have in common.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Rule = dict[str, Any]

RECORDED = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+")
# What is in quotes or in a comment is not looked at.
_CODE = re.compile(r"(\"[^\"]*\"|#[^\n]*)")
_COMPARED = re.compile(r"(?P<sign>>=|==|>) (?P<factor>[\d.]+ \* )?(?P<number>\d+(?:\.\d+)?)\b")
_WINDOW = re.compile(r"(?<=\[)(\d+)([mhd])(?=[\]:])")
# Not of what is multiplied by zero.
_GROUPED = re.compile(r"(?<!0 \* )\b(sum|min|max|count) by \(([^)]*)(?=\))")
_MINUTES = {"m": 1, "h": 60, "d": 1440}
_SET = re.compile(r"\b(and|or|unless)\b")
_MATCHERS = re.compile(r"\{([^{}]*)\}")
_MATCHER = re.compile(r"\w+(?:=~|!~|!=|=)\"[^\"]*\"")
_QUANTILE = re.compile(r"(?<=histogram_quantile\()0\.95")
_OTHERS = {"sum": "max", "max": "min", "min": "max", "count": "sum"}
_SETS = {"and": "or", "or": "and", "unless": "and"}
_FOR = re.compile(r"(\d+)([mh])")
_FIRING = re.compile(r"ALERTS\{alertname=\"(\w+)\"")
_FAILED = re.compile(r"alertname: (\w+), time")


@dataclass(frozen=True)
class Mutant:
    """One thing that is wrong.

    Attributes:
        rule: The alert or the record in which it is.
        what: What there was, and what there is.
        expr: The expression then.
        wait: The ``for`` then.
    """

    rule: str
    what: str
    expr: str
    wait: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def mutants(rule: Rule) -> Iterator[Mutant]:
    """What may be wrong in *rule*."""
    name, expr, wait = rule.get("record") or rule["alert"], rule["expr"], rule.get("for", "0m")
    for start, end, text in _changes(expr):
        line = expr.count("\n", 0, start) + 1
        what = f"{expr[start:end]!r} is {text!r} in line {line}"
        yield Mutant(name, what, expr[:start] + text + expr[end:], wait)
    if "alert" in rule:
        for other in _waits(wait):
            yield Mutant(name, f"for: {wait} is {other}", expr, other)


def _changes(expr: str) -> Iterator[tuple[int, int, str]]:
    """From where to where there is another text."""
    code = _CODE.sub(lambda found: "~" * len(found[0]), expr)
    yield from _compared(code)
    for found in _WINDOW.finditer(code):
        minutes = int(found[1]) * _MINUTES[found[2]]
        yield from ((*found.span(), f"{each}m") for each in (minutes // 2, minutes * 2))
    for found in _QUANTILE.finditer(code):
        yield from ((*found.span(), other) for other in ("0.94", "0.96"))
    for found in _SET.finditer(code):
        yield *found.span(), _SETS[found[0]]
    for found in _GROUPED.finditer(code):
        yield *found.span(1), _OTHERS[found[1]]
        # Without the job nothing is as it should be.
        yield from _without_each(found.start(2), found[2].split(", "), 1)
    for found in _MATCHERS.finditer(expr):
        yield from _without_each(found.start(1), _MATCHER.findall(found[1]))


def _compared(code: str) -> Iterator[tuple[int, int, str]]:
    for found in _COMPARED.finditer(code):
        for text in _numbers(found["sign"], found["number"]):
            yield *found.span("number"), text
        if found["sign"] == ">=":
            yield *found.span("sign"), ">"


def _without_each(start: int, those: list[str], first: int = 0) -> Iterator[tuple[int, int, str]]:
    """*those* without one of them, from the *first* on."""
    end = start + len(", ".join(those))
    for index in range(first, len(those)):
        yield start, end, ", ".join(those[:index] + those[index + 1 :])


def _numbers(sign: str, number: str) -> Iterator[str]:
    """A little less and more: of what is counted one, of others a tenth."""
    if number == "0":
        yield "1"
    elif sign == "==":
        yield "0"
    elif sign == ">=":
        yield from (str(int(number) - 1), str(int(number) + 1))
    else:
        yield from (f"{float(number) * factor:g}" for factor in (0.9, 1.1))


def _waits(wait: str) -> Iterator[str]:
    """A minute less and more."""
    ((number, unit),) = _FOR.findall(wait)
    minutes = int(number) * _MINUTES[unit]
    yield from (f"{other}m" for other in (minutes - 1, minutes + 1) if other >= 0)


class Rules:
    """The groups of rules, in the order in which they are evaluated."""

    def __init__(self, *files: Path) -> None:
        self.groups = [group for file in files for group in _read(file)["groups"]]
        self._rules = [rule for group in self.groups for rule in group["rules"]]
        self._asks = {_name(rule): _asked(rule) for rule in self._rules}
        #: What an alert or a record has a part in, itself among them.
        self._asking = {name: self._all_asking(name) for name in self._asks}

    def _all_asking(self, name: str) -> set[str]:
        found, before = {name}, 0
        while len(found) > before:
            before = len(found)
            found |= {other for other, asked in self._asks.items() if found & asked}
        return found

    def mutants(self) -> list[Mutant]:
        return [mutant for rule in self._rules for mutant in mutants(rule)]

    def alerts(self, name: str) -> set[str]:
        """Those that *name*, an alert or a record, has a part in."""
        return {rule["alert"] for rule in self._rules if rule.get("alert") in self._asking[name]}

    def with_copies(self, those: dict[int, Mutant], asked: set[str]) -> dict[str, Any]:
        """The rules for the alerts *asked*, and for each of *those* copies of what it changes."""
        needed = self._needed(asked)
        copies: dict[str, list[Rule]] = {}
        for number, mutant in those.items():
            for name, rule in self._copied(mutant, number, needed):
                copies.setdefault(name, []).append(rule)
        return {
            "groups": [
                {
                    **group,
                    "rules": [
                        each
                        for rule in group["rules"]
                        if (name := _name(rule)) in needed
                        for each in (rule, *copies.get(name, ()))
                    ],
                }
                for group in self.groups
            ]
        }

    def _needed(self, asked: set[str]) -> set[str]:
        """The *asked*, and whose results they ask for."""
        return {name for name, asking in self._asking.items() if asking & asked}

    def _copied(self, mutant: Mutant, number: int, needed: set[str]) -> Iterator[tuple[str, Rule]]:
        changed = self._asking[mutant.rule] & needed

        def renamed(found: re.Match[str]) -> str:
            return copy_of(found[0], number) if found[0] in changed else found[0]

        for rule in self._rules:
            if (name := _name(rule)) not in changed:
                continue
            made = {**rule, "record" if "record" in rule else "alert": copy_of(name, number)}
            if name == mutant.rule:
                made["expr"] = mutant.expr
                if "alert" in rule:
                    made["for"] = mutant.wait
            made["expr"] = RECORDED.sub(renamed, made["expr"])
            yield name, made


def copy_of(name: str, number: int) -> str:
    """What the copy of *name* is called."""
    return f"{name}_m{number}"


def _name(rule: Rule) -> str:
    return str(rule.get("record") or rule["alert"])


def _asked(rule: Rule) -> set[str]:
    return {*RECORDED.findall(rule["expr"]), *_FIRING.findall(rule["expr"])}


def _read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=yaml.CBaseLoader)  # noqa: S506 - texts only


def survivors(
    promtool: str, rules: Rules, those: list[Mutant], cases: list[Path], folder: Path
) -> list[str]:
    """Of *those* mutants, the ones that pass all *cases*; written to *folder*, with the rules.

    What one file has noticed is not asked of the next. Each test has rules of its own, as promtool
    computes all that it is given.
    """
    left = dict(enumerate(those))
    concerned = {number: rules.alerts(mutant.rule) for number, mutant in left.items()}
    for path in cases:
        if not left:
            break
        content = _read(path)
        argv: list[str | Path] = [promtool, "test", "rules"]
        for index, test in enumerate(content["tests"]):
            asked = {case["alertname"] for case in test["alert_rule_test"]}
            copied = {number: left[number] for number in left if concerned[number] & asked}
            file = folder / f"{path.stem}-{index}-rules.yaml"
            _write(rules.with_copies(copied, asked), file)
            test["alert_rule_test"] += [
                {**case, "alertname": copy_of(case["alertname"], number)}
                for case in test["alert_rule_test"]
                for number in copied
                if case["alertname"] in concerned[number]
            ]
            one = folder / f"{path.stem}-{index}.yaml"
            _write({**content, "rule_files": [file.name], "tests": [test]}, one)
            argv.append(one)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        failed = set(_FAILED.findall(done.stdout + done.stderr))
        # A copy of what fails anyway would seem to be noticed.
        assert failed or done.returncode == 0, done.stderr
        assert not [name for name in failed if "_m" not in name], path.name
        for number in list(left):
            if failed & {copy_of(alert, number) for alert in concerned[number]}:
                del left[number]
    return [str(mutant) for mutant in left.values()]


def _write(content: Any, path: Path) -> None:
    """As JSON, which is YAML, too, and takes a tenth of the time."""
    path.write_text(json.dumps(content))
