"""The age of open payouts is read at every sweep (law 16): an index of them alone."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS payout_open_idx")  # of an interrupted run
        op.execute(
            "CREATE INDEX CONCURRENTLY payout_open_idx ON payout (status, created_at)"
            " WHERE due_at IS NOT NULL"
        )


def downgrade() -> None:
    op.execute("DROP INDEX payout_open_idx")
