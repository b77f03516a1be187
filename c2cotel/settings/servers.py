"""gunicorn, the databases and Redis."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from c2cotel import values
from c2cotel.schema import Section

# As values.level gives it, which is the "read" of each.
Level: TypeAlias = str | int


class Gunicorn(Section, frozen=True, kw_only=True):
    """Defaults of ``gunicorn -c python:c2cotel.gunicorn``."""

    workers: Annotated[
        int,
        Meta(
            description="Worker processes.",
            ge=1,
            le=1000,
            examples=[2],
            extra={"env": "GUNICORN_WORKERS"},
        ),
    ] = 2
    threads: Annotated[
        int,
        Meta(
            description="Threads of each worker.",
            ge=1,
            le=1000,
            examples=[10],
            extra={"env": "GUNICORN_THREADS"},
        ),
    ] = 10
    log_level: Annotated[
        Level,
        Meta(
            description="Level of gunicorn's own logs.",
            examples=["INFO"],
            extra={
                "env": ("GUNICORN_LOG_LEVEL", "GUNICORN_ERROR_LOG_LEVEL"),
                "part": "gunicorn",
                "read": values.level,
            },
        ),
    ] = "INFO"
    access_log_format: Annotated[
        str | None,
        Meta(
            description="Format of the access lines, with gunicorn's atoms.",
            examples=['%(h)s "%(r)s" %(s)s %(M)sms'],
            extra={"env": "GUNICORN_ACCESS_LOG_FORMAT"},
        ),
    ] = None
    config: Annotated[
        str,
        Meta(
            description="The ini file of the application, where no `--paste` names one.",
            extra={"env": ("C2COTEL_CONFIG", "C2CWSGIUTILS_CONFIG")},
        ),
    ] = "production.ini"


class Redis(Section, frozen=True, kw_only=True):
    """The Redis through which the processes of several hosts agree, see :mod:`c2cotel.redis`."""

    url: Annotated[
        str | None,
        Meta(
            description="URL of a single Redis.",
            examples=["redis://redis:6379/0"],
            extra={"read": values.redis_url},
        ),
    ] = None
    options: Annotated[
        Mapping[str, str],
        Meta(
            description="Options of the connections, `name=value,name=value`, "
            "each value as YAML writes it.",
            examples=["socket_timeout=2,ssl_cert_reqs=none"],
        ),
    ] = msgspec.field(default_factory=dict)
    sentinels: Annotated[
        tuple[str, ...],
        Meta(
            description="Redis Sentinels, `host:port,host:port`; they win over the URL.",
            examples=["sentinel-1:26379,sentinel-2:26379"],
            extra={"read": values.host_and_port},
        ),
    ] = ()
    servicename: Annotated[
        str,
        Meta(description="Name of the service that the Sentinels watch."),
    ] = "mymaster"
    db: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="Number of the database, with Sentinels.", examples=[0]),
    ] = None
    pubsub_retry_delay: Annotated[
        float,
        Meta(
            description="Seconds between two attempts to reach a Redis that is away.",
            gt=0,
            le=3600,
            examples=[0.5],
        ),
    ] = 0.5
    pubsub_get_message_timeout: Annotated[
        float,
        Meta(
            description="Seconds that the listener waits for a message before it looks around.",
            gt=0,
            le=60,
            examples=[1],
        ),
    ] = 1.0


class Broadcast(Section, frozen=True, kw_only=True):
    """Questions to all processes, see :mod:`c2cotel.broadcast`."""

    prefix: Annotated[
        str,
        Meta(
            description="Text put before the name of every channel and key in Redis; "
            "another one for each service that shares a Redis.",
            examples=["myapp_"],
        ),
    ] = "broadcast_api_"


class Db(Section, frozen=True, kw_only=True):
    """Databases with a replica, see :mod:`c2cotel.db`."""

    connect_timeout: Annotated[
        int,
        Meta(
            description="Seconds that connecting to PostgreSQL may take, where the URL says no "
            "`connect_timeout`; 0 for as long as it takes.",
            ge=0,
            le=3600,
            examples=[10],
        ),
    ] = 10
    network_timeout: Annotated[
        int,
        Meta(
            description="Seconds after which a PostgreSQL whose host has vanished from the network "
            "is given up, also within a statement; 0 leaves that to the system.",
            ge=0,
            le=86400,
            examples=[30],
        ),
    ] = 30
    replica_down: Annotated[
        Literal["error", "primary"],
        Meta(
            description="What sessions for reading do while the replica cannot be connected to: "
            "fail, or use the primary.",
        ),
    ] = "error"
    read_your_writes: Annotated[
        float,
        Meta(
            description="Seconds that a client reads from the primary after it has written, told "
            "by a cookie; 0 is off.",
            ge=0,
            le=86400,
            examples=[5],
        ),
    ] = 0.0
    readonly_answer: Annotated[
        Literal["error", "503"],
        Meta(
            description="What a request for writing gets while the database is read-only for "
            "maintenance: the database's error when it writes, or 503 when it asks for a session.",
        ),
    ] = "error"
    readonly_retry_after: Annotated[
        int,
        Meta(
            description="Seconds after which a client may try again, told as `Retry-After` with "
            "a 503 during maintenance; 0 tells nothing.",
            ge=0,
            le=604_800,
            examples=[60],
        ),
    ] = 60


class StatsDb(Section, frozen=True, kw_only=True):
    """``c2cotel stats-db``, see :mod:`c2cotel.stats_db`."""

    tries: Annotated[
        int,
        Meta(
            description="How often `c2cotel stats-db` tries to reach the database, and whom it "
            "pushes to.",
            ge=1,
            le=10_000,
            examples=[10],
            extra={
                "env": ("C2COTEL_STATS_DB_TRYNUMBER", "C2CWSGIUTILS_STATS_DB_TRYNUMBER"),
                "part": "stats-db",
            },
        ),
    ] = 10
    pause: Annotated[
        float,
        Meta(
            description="Seconds between these tries.",
            ge=0,
            le=3600,
            examples=[1],
            extra={
                "env": ("C2COTEL_STATS_DB_SLEEP", "C2CWSGIUTILS_STATS_DB_SLEEP"),
                "part": "stats-db",
            },
        ),
    ] = 1.0
