"""How long a connection waits for a PostgreSQL that says nothing any more.

By default, minutes to hours: a host that vanishes without a word (a machine that lost its power, a
firewall that forgot the connection) is noticed by the lack of acknowledgements only. A statement
that takes long is none of this: its host does acknowledge.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL

    from c2cotel.settings import Db

_DRIVERS = ("psycopg", "psycopg2", "psycopg_async")
# Of the network's time: half until the first question whether somebody is there, then three.
_QUESTIONS = 3


def deadlines(url: "URL", driver: str, db: "Db") -> dict[str, Any]:
    """The arguments of libpq for it, as far as *url* and the environment leave them open."""
    if driver not in _DRIVERS or "service" in url.query or "PGSERVICE" in os.environ:
        return {}
    found: dict[str, Any] = {}
    if db.connect_timeout and "PGCONNECT_TIMEOUT" not in os.environ:
        found["connect_timeout"] = db.connect_timeout
    if db.network_timeout:
        found |= {
            "tcp_user_timeout": db.network_timeout * 1000,
            "keepalives_idle": max(1, db.network_timeout // 2),
            "keepalives_interval": max(1, db.network_timeout // (2 * _QUESTIONS)),
            "keepalives_count": _QUESTIONS,
        }
    return {name: value for name, value in found.items() if name not in url.query}
