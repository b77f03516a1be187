"""A PgBouncer in front of a PostgreSQL."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.servers.places import LOCALHOST, free_port, temporary_directory
from c2cotel_acceptance.servers.postgresql import Postgres, unprivileged_user
from c2cotel_acceptance.servers.proxies import installed, wait_for_port


@dataclass(frozen=True)
class Pgbouncer:
    """A running PgBouncer; *url* is that of its PostgreSQL, by way of it."""

    url: str
    process: Process = field(repr=False)


@contextlib.contextmanager
def pgbouncer(
    postgres: Postgres, *, connections: int = 1, options: Mapping[str, str] | None = None
) -> Iterator[Pgbouncer]:
    """A PgBouncer that pools by transaction, on so many *connections* to *postgres*.

    All clients of a database share these. *options* are settings of its section ``pgbouncer``;
    clients that prepare statements need one of version 1.21 or later.

    Raises:
        MissingError: it is not installed.
    """
    program = installed("pgbouncer", "pgbouncer")
    address, port = urlsplit(postgres.url), free_port()
    settings = {
        "listen_addr": LOCALHOST,
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "trust",
        "pool_mode": "transaction",
        "default_pool_size": str(connections),
        "ignore_startup_parameters": "extra_float_digits",
        **(options or {}),
    }
    with temporary_directory("pgbouncer") as folder:
        users = folder / "users.txt"
        users.write_text(f'"{address.username}" "{address.password or ""}"\n')
        config = folder / "pgbouncer.ini"
        lines = [
            "[databases]",
            f"* = host={address.hostname} port={postgres.port}",
            "[pgbouncer]",
            f"auth_file = {users}",
            *(f"{key} = {value}" for key, value in settings.items()),
        ]
        config.write_text("\n".join(lines) + "\n")
        # It refuses to run as root, as PostgreSQL does.
        user = unprivileged_user()
        with Process([program, str(config)], log=folder / "log", user=user, cwd=folder) as process:
            wait_for_port(process, port)
            here = f"{address.username}@{LOCALHOST}:{port}"
            yield Pgbouncer(urlunsplit(address._replace(netloc=here)), process)
