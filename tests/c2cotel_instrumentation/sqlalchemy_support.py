"""What the tests of SQLAlchemy's instrumentor share; their fixtures are imported by name."""

import contextlib
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .conftest import Telemetry as Base


@dataclass
class Telemetry(Base):
    def instrument(self, **options):
        SQLAlchemyInstrumentor().instrument(
            **{"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}
            | options
        )

    @property
    def durations(self):
        return self.points("db.client.operation.duration")

    @property
    def names(self):
        return [span.name for span in self.spans]

    @property
    def statements(self):
        """The names without those of the ends of transactions."""
        return [name for name in self.names if name not in ("COMMIT", "ROLLBACK")]


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture(autouse=True)
def unwrapped():
    """The instrumentor of a test is gone after it."""
    before = _wrapped()
    yield
    instrumentor = SQLAlchemyInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert _wrapped() == before


def _wrapped():
    """What is in SQLAlchemy's classes, and in whatever is made of them."""
    fresh = sa.create_engine("sqlite://")
    events = (
        *(fresh.dispatch.before_cursor_execute, fresh.dialect.dispatch.handle_error),
        *(fresh.pool.dispatch.connect, fresh.pool.dispatch.checkin, fresh.pool.dispatch.detach),
    )
    return (
        *(sa.Connection._commit_impl, sa.Connection._rollback_impl, sa.Engine.raw_connection),
        *(len(list(listeners)) for listeners in events),
    )


@pytest.fixture(scope="session")
def postgres_url():
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postgres())
        except MissingError as error:
            pytest.skip(str(error))
        yield server.url
