"""What the application needs, for load balancers and for whoever is called at night."""

from pathlib import Path

from pyramid.config import Configurator
from pyramid.request import Request

from c2cotel.db import SessionFactory
from c2cotel.health_check import HealthCheck
from c2cotel_app.models import Message

_ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"


class NotHappyError(Exception):
    """Nothing is wrong but the mood."""


def add_checks(config: Configurator, sessions: SessionFactory) -> None:
    """Let ``/c2c/health_check`` look at the database, a page of ours, the mood, the migrations."""
    health_check = HealthCheck(config)
    health_check.add_db_session_check(sessions, at_least_one_model=Message)
    health_check.add_url_check(_hello, name="http://localhost/api/hello")
    health_check.add_custom_check("custom", custom_check, 2)
    health_check.add_alembic_check(sessions, str(_ALEMBIC_INI), 3)


def custom_check(request: Request) -> str:
    """Fail as long as the file ``not_happy`` of the ini is there."""
    if Path(request.registry.settings.get("not_happy", "not_happy")).exists():
        raise NotHappyError("I'm not happy")
    return "happy"


def _hello(request: Request) -> str:
    # The port we listen on; never the Host header, which the client chooses.
    return f"http://127.0.0.1:{request.environ['SERVER_PORT']}/api/hello"
