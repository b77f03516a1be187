"""What is logged, and what Sentry gets."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from c2cotel import values
from c2cotel.schema import Secret, Section

# As values.level gives it, which is the "read" of each.
Level: TypeAlias = str | int


class Logging(Section, frozen=True, kw_only=True):
    """Logs where no ini configures them.

    That is with ``gunicorn -c python:c2cotel.gunicorn`` and with ``c2c://``: only there a wrong
    value stops the start. An ini reads the same variables by ``%(LOG_LEVEL)s``, and may have other
    values for them: ``LOG_TYPE`` is the name of a handler there.
    """

    part: ClassVar[str] = "logging"

    type: Annotated[
        Literal["console", "json"],
        Meta(
            description="Form of the log lines of `gunicorn -c python:c2cotel.gunicorn` and of "
            "`c2c://`, where no ini configures logging: `console` for people, `json` for machines.",
            extra={"env": "LOG_TYPE"},
        ),
    ] = "console"
    level: Annotated[
        Level,
        Meta(
            description="Level of its root logger.",
            examples=["INFO"],
            extra={"env": "LOG_LEVEL", "read": values.level},
        ),
    ] = "INFO"
    other_level: Annotated[
        Level | None,
        Meta(
            description="Level of its root logger, instead of `LOG_LEVEL`, which is then that of "
            "the application's packages.",
            examples=["WARNING"],
            extra={"env": "OTHER_LOG_LEVEL", "read": values.level},
        ),
    ] = None
    sql_level: Annotated[
        Level,
        Meta(
            description="Level of the logger of statements, `sqlalchemy.engine`: `INFO` shows "
            "them, `DEBUG` their results too.",
            examples=["WARNING"],
            extra={"env": "SQL_LOG_LEVEL", "read": values.level},
        ),
    ] = "WARNING"
    c2c_level: Annotated[
        Level,
        Meta(
            description="Level of c2cotel's own loggers.",
            examples=["WARNING"],
            extra={"env": ("C2COTEL_LOG_LEVEL", "C2CWSGIUTILS_LOG_LEVEL"), "read": values.level},
        ),
    ] = "WARNING"
    debug_config: Annotated[
        bool,
        Meta(
            description="Print the logging configuration that was made of the ini file, at start.",
            # An ini's logging uses this one.
            extra={"env": "DEBUG_LOGCONFIG", "part": ""},
        ),
    ] = False


class SentryIntegration(Section, frozen=True, kw_only=True):
    """Which of Sentry's integrations are on."""

    logging: Annotated[
        bool,
        Meta(
            description="Events and breadcrumbs of log records.",
            extra={
                "env": "SENTRY_INTEGRATION_LOGGING",
                "ini": "c2c.sentry.integration.logging",
            },
        ),
    ] = True
    pyramid: Annotated[
        bool,
        Meta(
            description="The request on Sentry's events.",
            extra={
                "env": "SENTRY_INTEGRATION_PYRAMID",
                "ini": "c2c.sentry.integration.pyramid",
            },
        ),
    ] = True
    sqlalchemy: Annotated[
        bool,
        Meta(
            description="Breadcrumbs of statements.",
            extra={
                "env": "SENTRY_INTEGRATION_SQLALCHEMY",
                "ini": "c2c.sentry.integration.sqlalchemy",
            },
        ),
    ] = True
    redis: Annotated[
        bool,
        Meta(
            description="Breadcrumbs of Redis commands.",
            extra={"env": "SENTRY_INTEGRATION_REDIS", "ini": "c2c.sentry.integration.redis"},
        ),
    ] = True
    asyncio: Annotated[
        bool,
        Meta(
            description="Exceptions of asyncio tasks.",
            extra={
                "env": "SENTRY_INTEGRATION_ASYNCIO",
                "ini": "c2c.sentry.integration.asyncio",
            },
        ),
    ] = True


class Sentry(Section, frozen=True, kw_only=True):
    """Errors sent to Sentry, see :mod:`c2cotel.sentry`."""

    url: Annotated[
        Secret | None,
        Meta(
            description="DSN of the project at Sentry, `https://KEY@HOST/PROJECT`; never shown.",
            examples=["https://KEY@sentry.example.com/42"],
            extra={"env": "SENTRY_URL", "ini": "c2c.sentry.url", "read": values.dsn},
        ),
    ] = None
    excludes: Annotated[
        tuple[str, ...],
        Meta(
            description="Loggers that make no events, separated by colons or commas.",
            examples=["myapp.noisy,urllib3"],
            extra={"env": "SENTRY_EXCLUDES", "ini": "c2c.sentry.excludes"},
        ),
    ] = ("sentry_sdk",)
    level: Annotated[
        Level,
        Meta(
            description="Level from which on a log record becomes an event.",
            examples=["ERROR"],
            extra={"env": "SENTRY_LEVEL", "ini": "c2c.sentry.level", "read": values.level},
        ),
    ] = "ERROR"
    traces_sample_rate: Annotated[
        float,
        Meta(
            description="Share of requests whose spans are sent to Sentry too.",
            ge=0,
            le=1,
            examples=[0.1],
            extra={"env": "SENTRY_TRACES_SAMPLE_RATE", "ini": "c2c.sentry.traces_sample_rate"},
        ),
    ] = 0.0
    integration: SentryIntegration = SentryIntegration()
