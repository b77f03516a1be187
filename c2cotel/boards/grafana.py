"""Names of metrics and labels changed in the JSON of a dashboard.

PromQL stands in ``expr`` (panels, annotations) and in the queries of variables; the label ``job``
also in legends, in what a table makes of its columns, and in links. What is for people to read, and
queries of other data sources, stay as they are.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from c2cotel.boards.promql import JOB, Names, PromqlError, rewrite

Json = dict[str, Any]

_TEXTS: Final = frozenset(("title", "description", "displayName", "label", "tooltip", "content"))
_TEMPLATES: Final = frozenset(("legendFormat", "titleFormat", "textFormat"))

_IN_TEMPLATE: Final = re.compile(rf"(?<=\{{\{{)(\s*){JOB}(\s*)(?=\}}\}})")
_OF_FIELD: Final = re.compile(
    rf"(?<=__field\.labels\.){JOB}\b|(?<=__field\.labels\[\"){JOB}(?=\"\])"
)
# As @grafana/prometheus reads them.
_LABEL_VALUES: Final = re.compile(
    r"(\s*label_values\s*\()(?:(.*)(,\s*))?([A-Za-z_$]\w*)(\s*\)\s*)", re.DOTALL
)
_QUERY_RESULT: Final = re.compile(r"(\s*query_result\s*\()(.*)(\)\s*)", re.DOTALL)


def with_names(board: Json, names: Names) -> Json:
    """A copy of *board* that asks for other *names*."""
    return _Board(names).changed(board) if names else board


def with_datasource(board: Json, name: str) -> Json:
    """A copy of *board* in which the data source *name* (or uid) is chosen at first."""
    variables = [
        {**variable, "current": {"selected": True, "text": name, "value": name}}
        if variable.get("type") == "datasource" and variable.get("query") == "prometheus"
        else variable
        for variable in board["templating"]["list"]
    ]
    return {**board, "templating": {**board["templating"], "list": variables}}


def query_of_variable(query: str, names: Names) -> str:
    """The *query* of a variable with other *names*.

    Raises:
        PromqlError: It asks for metrics by a pattern.
    """
    if match := _LABEL_VALUES.fullmatch(query):
        before, metric, comma, label, after = match.groups("")
        return before + rewrite(metric, names) + comma + names.label(label) + after
    if match := _QUERY_RESULT.fullmatch(query):
        return match[1] + rewrite(match[2], names) + match[3]
    if re.match(r"\s*label_names\s*\(", query):
        return query
    if re.match(r"\s*metrics\s*\(", query):
        raise PromqlError(f"names of metrics by a pattern: {query}")
    return rewrite(query, names)


class _Board:
    def __init__(self, names: Names) -> None:
        self._names = names

    def changed(self, board: Json) -> Json:
        """The variables here, the rest alike wherever it is."""
        variables = [self._variable(one) for one in board.get("templating", {}).get("list", ())]
        made = {key: self._any(key, value, prometheus=True) for key, value in board.items()}
        if variables:
            made["templating"] = {**board["templating"], "list": variables}
        return made

    def _variable(self, variable: Json) -> Json:
        if variable.get("type") != "query" or not _is_prometheus(variable, inherited=True):
            return variable
        made = dict(variable)
        for key in ("query", "definition"):
            query = variable.get(key)
            if isinstance(query, str):
                made[key] = query_of_variable(query, self._names)
            elif isinstance(query, dict) and isinstance(query.get("query"), str):
                made[key] = {**query, "query": query_of_variable(query["query"], self._names)}
        return made

    def _any(self, key: str, value: Any, *, prometheus: bool) -> Any:
        if key == "transformations":
            return [self._transformation(one) for one in value]
        if isinstance(value, dict):
            prometheus = _is_prometheus(value, inherited=prometheus)
            return {k: self._any(k, v, prometheus=prometheus) for k, v in value.items()}
        if isinstance(value, list):
            return [self._any(key, one, prometheus=prometheus) for one in value]
        if not isinstance(value, str) or key in _TEXTS:
            return value
        if key == "expr":
            return rewrite(value, self._names) if prometheus else value
        return self._string(key, value)

    def _string(self, key: str, value: str) -> str:
        if key in _TEMPLATES:
            return _IN_TEMPLATE.sub(rf"\g<1>{self._names.job}\g<2>", value)
        if key == "tagKeys":
            return ",".join(self._names.label(label.strip()) for label in value.split(","))
        return _OF_FIELD.sub(self._names.job, value)

    def _transformation(self, transformation: Json) -> Json:
        """Labels are columns: their names are keys and values, but for the titles they get."""
        options = transformation.get("options", {})
        titles = options.get("renameByName")
        made = _renamed(options, self._names.label)
        if titles is not None:
            made["renameByName"] = {self._names.label(k): title for k, title in titles.items()}
        return {**transformation, "options": made}


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {rename(key): _renamed(one, rename) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, rename) for one in value]
    return rename(value) if isinstance(value, str) else value


def _is_prometheus(owner: Json, *, inherited: bool) -> bool:
    """Whether what *owner* asks is asked of Prometheus; what says nothing asks as its parent."""
    datasource = owner.get("datasource")
    if isinstance(datasource, dict) and "type" in datasource:
        return bool(datasource["type"] == "prometheus")
    return inherited
