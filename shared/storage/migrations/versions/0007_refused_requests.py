"""Requests that were refused as invalid leave a trace; payouts are found by the day they ended."""

from alembic import op

from shared.storage.migrations.indexes import create_index

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE IF NOT EXISTS payout_refused (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT NOT NULL,
    merchant_order_no TEXT NOT NULL,
    account_no TEXT NOT NULL,
    code TEXT NOT NULL,
    field TEXT NOT NULL,
    message TEXT NOT NULL,
    CONSTRAINT payout_refused_pkey PRIMARY KEY (id)
);
"""


def upgrade() -> None:
    op.execute(UP)
    create_index("payout_finished_idx", "payout (finished_at) WHERE finished_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX payout_finished_idx")
    op.execute("DROP TABLE payout_refused")
