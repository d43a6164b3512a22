"""The age of open payouts is read at every sweep (law 16): an index of them alone."""

from alembic import op

from shared.storage.migrations.indexes import create_index

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("payout_open_idx", "payout (status, created_at) WHERE due_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX payout_open_idx")
