"""Where a click leads: another dashboard for the same time and services, or traces and logs.

Those are of the services that are chosen: ``job`` is a name that Prometheus was told, so what Tempo
and Loki know them by is looked up, see ``variables.service``.
"""

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders

_SAME: Final = (
    "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
)


@dataclass(frozen=True)
class Link:
    """A title and an address with Grafana's variables in it."""

    title: str
    url: str
    new_tab: bool = False

    def build(self) -> builders.DashboardLink:
        """For a panel."""
        return builders.DashboardLink(self.title).url(self.url).target_blank(self.new_tab)

    def plain(self) -> dict[str, object]:
        """For a column of a table."""
        return {"title": self.title, "url": self.url, "targetBlank": self.new_tab}


def to(board: str, title: str, **variables: str) -> Link:
    """The dashboard *board* (``requests``), for what is selected here.

    *variables* are set there, usually from what was clicked: ``route=links.VALUE``.
    """
    more = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return Link(title, f"/d/c2cotel-{board}?{_SAME}{more}")


VALUE: Final = "${__value.raw:percentencode}"
"""What was clicked, for an address: also where it is empty, and shown as ``(none)``."""


def column(title: str) -> str:
    """What another column shows, in the row that was clicked, for an address."""
    return f'${{__data.fields["{title}"]:percentencode}}'


def traces(title: str, *conditions: str) -> Link:
    """Traces with a span of which TraceQL's *conditions* hold; :func:`column` is of the row.

    Put it on a column that is only there where Tempo is set: see ``tables.traces``.
    """
    spans = " && ".join((f"resource.service.name =~ {_SERVICES}", *conditions))
    query = {"queryType": "traceql", "limit": 20, "tableType": "traces", "query": f"{{ {spans} }}"}
    return _explore(title, "tempo", query)


def logs(title: str, *conditions: str) -> Link:
    """Log lines of which LogQL's *conditions* hold; :func:`column` is of the row.

    Lines of JSON and those that came over OTLP have the same fields: what is no JSON is not parsed,
    and has them already. Put it on a column that is only there where Loki is set: see
    ``tables.logs``.
    """
    fields = "json | drop __error__, __error_details__"
    parts = (f"{{service_name=~{_SERVICES}}}", fields, *conditions)
    return _explore(title, "loki", {"queryType": "range", "expr": " | ".join(parts)})


_SERVICES: Final = '"${service:pipe}"'
FAILURES: Final = 'level_name =~ "ERROR|CRITICAL" or severity_text =~ "ERROR|CRITICAL|FATAL"'
"""The lines that say that something failed, in LogQL: of JSON, or of OTLP."""


def _explore(title: str, kind: str, query: dict[str, object]) -> Link:
    """A *query* to the data source that the variable of this *kind* has."""
    uid = f"${{{kind}_datasource}}"
    asked = {"refId": "A", "datasource": {"type": kind, "uid": uid}, **query}
    times = {"from": "${__from}", "to": "${__to}"}
    pane = {"datasource": uid, "queries": [asked], "range": times}
    text = json.dumps({"c2c": pane}, separators=(",", ":"))
    return Link(title, f"/explore?schemaVersion=1&panes={_quoted(text)}", new_tab=True)


def _quoted(text: str) -> str:
    """*text* in percent codes, but for ``${…}``."""
    parts = []
    while (start := text.find("${")) >= 0:
        end = text.index("}", start) + 1
        # In JSON the quotes of ${__data.fields["Route"]} have a backslash.
        parts += [quote(text[:start], safe=""), text[start:end].replace('\\"', '"')]
        text = text[end:]
    return "".join([*parts, quote(text, safe="")])
