"""Messages, and a first one to read."""

import sqlalchemy as sa
from alembic import op

revision = "4a8c1bb4e775"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    message = op.create_table(
        "message",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String, nullable=False),
        sa.Column(
            "said_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
    )
    op.bulk_insert(message, [{"text": "hello"}])


def downgrade() -> None:
    op.drop_table("message")
