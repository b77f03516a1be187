"""Every setting of c2cotel: its type, its default and what it does.

The environment wins over the ini file, and that over the default; how names follow from the place
in the tree, and what a field may say besides, is told in :mod:`c2cotel.schema`. A new setting is a
new field here; `make docs-generated` writes it into docs/configuration.md.
"""

from c2cotel.schema import Problem, Secret, SettingsError, without_password
from c2cotel.settings.all import Loaded, Settings, load
from c2cotel.settings.logs import Logging, Sentry, SentryIntegration
from c2cotel.settings.servers import Broadcast, Db, Gunicorn, Redis, StatsDb
from c2cotel.settings.table import Row, rows
from c2cotel.settings.telemetry import (
    Exit,
    Instrumentation,
    Metrics,
    Otel,
    Prometheus,
    RequestId,
    Service,
)
from c2cotel.settings.web import Auth, ClientInfo, GitHub, HealthCheck, Json, Requests

__all__ = [
    "Auth",
    "Broadcast",
    "ClientInfo",
    "Db",
    "Exit",
    "GitHub",
    "Gunicorn",
    "HealthCheck",
    "Instrumentation",
    "Json",
    "Loaded",
    "Logging",
    "Metrics",
    "Otel",
    "Problem",
    "Prometheus",
    "Redis",
    "RequestId",
    "Requests",
    "Row",
    "Secret",
    "Sentry",
    "SentryIntegration",
    "Service",
    "Settings",
    "SettingsError",
    "StatsDb",
    "load",
    "rows",
    "without_password",
]
