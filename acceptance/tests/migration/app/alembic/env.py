import os

import sqlalchemy
from alembic import context

engine = sqlalchemy.create_engine(os.environ["SQLALCHEMY_URL"], poolclass=sqlalchemy.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
