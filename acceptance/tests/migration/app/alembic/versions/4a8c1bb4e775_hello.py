import sqlalchemy
from alembic import op

revision = "4a8c1bb4e775"
down_revision = None


def upgrade():
    op.create_table(
        "hello",
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("value", sqlalchemy.String, unique=True),
    )
    op.execute("INSERT INTO hello (value) VALUES ('master')")
