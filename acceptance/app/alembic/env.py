# ruff: noqa: INP001 - alembic runs this file, nothing imports it
import os

import sqlalchemy
from alembic import context

from c2cotel_app.models import Base


def migrate() -> None:
    """Bring the database at SQLALCHEMY_URL to the version asked for."""
    engine = sqlalchemy.create_engine(os.environ["SQLALCHEMY_URL"], poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()


migrate()
