"""What there is, and what of it is exported with which changes.

Read from the wheel, where it is ``c2cotel/dashboards``, or from a checkout. What is returned is
text: :mod:`c2cotel.boards.writing` and :mod:`c2cotel.boards.push` bring it where it should be.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from c2cotel import values
from c2cotel.boards import grafana, provisioning, rules
from c2cotel.boards.promql import JOB, Names
from c2cotel.boards.rules import Threshold

RULES: Final = "rules"
PROVISIONING: Final = "provisioning"

# Labels that something else is in: they cannot be the job, too. Prometheus' and the alerts' own,
# and those that c2cotel emits.
_TAKEN: Final = re.compile(
    r"instance|le|quantile|pid|alertname|alertstate|severity|telemetry|application|git_(tag|hash)"
    r"|configuration|fork|index|metric|name|schema|table"
    r"|c2cotel|pyramid|gunicorn|sqlalchemy|python|implementation|version|generation"
    r"|(c2c|code|cpu|cpython|db|error|http|network|otel|process|rpc|server|system|telemetry|url)_.*"
)


class ChoiceError(ValueError):
    """What was asked for is not there, or cannot be had like this; the message says what can."""


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        name: What it is called here, and its file.
        text: Its JSON.
    """

    name: str
    text: str

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the JSON says."""
        content: dict[str, Any] = json.loads(self.text)
        return content

    @property
    def title(self) -> str:
        """What Grafana shows."""
        return str(self.content["title"])

    @property
    def uid(self) -> str:
        """What Grafana knows it by, whatever its title and folder."""
        return str(self.content["uid"])

    @property
    def description(self) -> str:
        """What it is for."""
        return str(self.content.get("description", ""))


@dataclass(frozen=True)
class Changes:
    """What is to be another in what is exported; see :func:`changes`, which checks.

    Attributes:
        names: Of metrics, and of the label ``job``.
        datasource: Which one is chosen at first, by name or uid.
        thresholds: Values of the alerts' thresholds, by name.
        dashboard_url: Where the Grafana is that alerts lead to.
        runbook_url: Below which the pages are that alerts lead to.
    """

    names: Names = field(default_factory=Names)
    datasource: str = ""
    thresholds: Mapping[str, str] = field(default_factory=dict)
    dashboard_url: str = ""
    runbook_url: str = ""


class Collection:
    """The dashboards, rules and examples in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def boards(self) -> dict[str, Board]:
        """By name, sorted; but the overview is first."""
        files = sorted(self._folder.glob("*.json"), key=lambda f: (f.stem != "overview", f.stem))
        return {file.stem: Board(file.stem, file.read_text(encoding="utf-8")) for file in files}

    @cached_property
    def rules(self) -> dict[str, str]:
        """Rules and their tests, by path."""
        return self._texts(RULES)

    @cached_property
    def provisioning(self) -> dict[str, str]:
        """Examples of what Grafana reads when it starts, by path."""
        return self._texts(PROVISIONING)

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        """Those of the alerts, by name."""
        return rules.thresholds("\n".join(self.rules.values()))

    @cached_property
    def alerts(self) -> list[str]:
        """The names of the alerts."""
        return rules.alerts("\n".join(self.rules.values()))

    def _texts(self, name: str) -> dict[str, str]:
        files = sorted((self._folder / name).rglob("*.yaml"))
        return {
            str(file.relative_to(self._folder)): file.read_text(encoding="utf-8") for file in files
        }


def collection() -> Collection:
    """What comes with this c2cotel.

    Raises:
        FileNotFoundError: It is not installed as it should be.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "dashboards", package.parent / "dashboards"):
        if any(folder.glob("*.json")):
            return Collection(folder)
    raise FileNotFoundError(f"There are no dashboards in {package}: install c2cotel again.")


def changes(  # noqa: PLR0913 - the options of the command
    found: Collection,
    *,
    prefix: str = "",
    job_label: str = JOB,
    datasource: str = "",
    thresholds: Sequence[str] = (),
    dashboard_url: str = "",
    runbook_url: str = "",
) -> Changes:
    """What is asked for, if it can be had; *thresholds* are ``name=value``.

    Raises:
        ChoiceError: It cannot.
    """
    return Changes(
        names=Names(_prefix(prefix), _label(job_label)),
        datasource=_datasource(datasource),
        thresholds=_thresholds(found, thresholds),
        dashboard_url=_base("--dashboard-url", dashboard_url),
        runbook_url=_base("--runbook-url", runbook_url),
    )


def chosen(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """*names*, each once, or all that are *known*.

    Raises:
        ChoiceError: One of them is not known.
    """
    all_known = list(known)
    for name in names:
        if name in (RULES, PROVISIONING) and name not in all_known:
            raise ChoiceError(
                f"{name} cannot be pushed, only dashboards can: it is read from files. "
                f"Write them with: c2cotel dashboards export DIR {name}"
            )
        if name not in all_known:
            raise ChoiceError(f"{name!r} is not one of the dashboards. {_meant(name, all_known)}")
    return list(dict.fromkeys(names)) or all_known


def exported(
    found: Collection, names: Sequence[str], changed: Changes, folder: Path
) -> dict[str, str]:
    """The files of the dashboards *names*, of ``rules`` and ``provisioning``, or of all.

    By their paths in *folder*, which the examples of provisioning refer to. Tests of rules expect
    the thresholds that there are by default: with others they stay away.

    Raises:
        ChoiceError: A name is not known, or something is to be changed in rules that are not asked
            for.
    """
    wanted = chosen(names, [*found.boards, RULES, PROVISIONING])
    if RULES not in wanted and (option := _of_rules(changed)):
        raise ChoiceError(f"{option} is for the rules, which are not exported: add the name rules.")
    boards = (found.boards[name] for name in wanted if name in found.boards)
    files = {f"{board.name}.json": changed_board(board, changed).text for board in boards}
    if RULES in wanted:
        for path, text in found.rules.items():
            if not (changed.thresholds and path.startswith(f"{RULES}/tests/")):
                files[path] = _changed_rules(text, changed)
    if PROVISIONING in wanted:
        texts = found.provisioning
        files |= provisioning.examples(texts, folder, changed.names, changed.datasource)
    return files


def changed_board(board: Board, changed: Changes) -> Board:
    """*board* with other names, and another data source."""
    content = grafana.with_names(board.content, changed.names)
    if changed.datasource:
        content = grafana.with_datasource(content, changed.datasource)
    if content is board.content:
        return board
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    return Board(board.name, f"{text}\n")


def _changed_rules(text: str, changed: Changes) -> str:
    text = rules.with_thresholds(text, changed.thresholds)
    text = rules.with_names(text, changed.names)
    return rules.with_links(text, changed.dashboard_url, changed.runbook_url)


def _of_rules(changed: Changes) -> str:
    """The option that concerns only rules, if there is one."""
    if changed.thresholds:
        return "--threshold"
    if changed.dashboard_url:
        return "--dashboard-url"
    return "--runbook-url" if changed.runbook_url else ""


def _prefix(text: str) -> str:
    try:
        return values.metric_prefix(text)
    except ValueError as error:
        raise ChoiceError(
            f"--prefix {text!r}: {error}. Write what C2C_PROMETHEUS_PREFIX is: letters, digits, "
            "underscores, dots and colons, beginning with no digit."
        ) from error


def _label(text: str) -> str:
    # PromQL has numbers and a keyword that are no labels in "by (…)", and YAML has one word.
    no_label = re.fullmatch(r"(?i)inf|nan|without|null", text)
    if no_label or not re.fullmatch(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
        raise ChoiceError(
            f"--job-label {text!r}: not the name of a label. Write letters, digits and "
            "underscores, for example service."
        )
    if _TAKEN.fullmatch(text):
        raise ChoiceError(f"--job-label {text}: this label says something else. Take another one.")
    return text


def _datasource(text: str) -> str:
    if text and (not text.isprintable() or not text.strip()):
        raise ChoiceError(f"--datasource {text!r}: write a data source's name or uid in Grafana.")
    return text


def _base(option: str, text: str) -> str:
    if text and not re.fullmatch(r"(?i)https?://[^\s/?#\"\\{}@]+[^\s?#\"\\{}]*", text):
        raise ChoiceError(
            f"{option} {text!r}: not an http or https URL to which a path can be added. "
            "Write for example https://grafana.example.org."
        )
    return text


def _thresholds(found: Collection, given: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ChoiceError(f"--threshold {text!r}: write name=value, for example latency=2.")
        known = found.thresholds.get(name)
        if known is None:
            raise ChoiceError(
                f"--threshold {text!r}: there is no threshold {name!r}. "
                f"{_meant(name, found.thresholds)}"
            )
        if problem := known.wrong(value):
            raise ChoiceError(
                f"--threshold {text!r}: {problem}. By default it is {name}={known.value}."
            )
        if wanted.get(name, value) != value:
            raise ChoiceError(f"--threshold {name} is given twice: {wanted[name]} and {value}.")
        wanted[name] = value
    return wanted


def _meant(name: str, known: Iterable[str]) -> str:
    all_known = list(known)
    near = difflib.get_close_matches(name.lower(), all_known, n=1)
    return f"Is {near[0]} meant?" if near else f"There are: {', '.join(all_known)}."
