from pathlib import Path

import c2cwsgiutils.db
import c2cwsgiutils.health_check
import c2cwsgiutils.pyramid
from pyramid.config import Configurator

from hello_service import collector, models


def main(_, **settings):
    config = Configurator(settings=settings, route_prefix="/api")
    config.include(c2cwsgiutils.pyramid.includeme)
    dbsession = c2cwsgiutils.db.init(
        config, "sqlalchemy", "sqlalchemy_slave", force_slave=["POST /api/hello"]
    )[0]

    config.scan("hello_service.views")
    collector.subscribe()

    def custom_check(request):
        if Path(settings["not_happy"]).exists():
            raise Exception("I'm not happy")
        return "happy"

    # Initialize the health checks
    health_check = c2cwsgiutils.health_check.HealthCheck(config)
    health_check.add_db_session_check(dbsession, at_least_one_model=models.Hello)
    health_check.add_url_check(lambda request: request.route_url("ping"), name="ping")
    health_check.add_custom_check("custom", custom_check, 2)
    health_check.add_alembic_check(dbsession, settings["alembic_ini"], 3)
    return config.make_wsgi_app()
