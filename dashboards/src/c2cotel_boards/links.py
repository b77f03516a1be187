"""Where a click leads: another dashboard for the same time and services, or traces in Tempo."""

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


def traces(title: str, query: str) -> Link:
    """What TraceQL *query* finds in Tempo; a value of the row is :func:`column`.

    Put it on a column that is only there where Tempo is set: see ``tables.traces``.
    """
    pane = {
        "datasource": "${tempo_datasource}",
        "queries": [
            {
                "refId": "A",
                "datasource": {"type": "tempo", "uid": "${tempo_datasource}"},
                "queryType": "traceql",
                "limit": 20,
                "tableType": "traces",
                "query": query,
            }
        ],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
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
