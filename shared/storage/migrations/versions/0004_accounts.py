"""A payout's gateway, and within what its order number is unique (law 10)."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE payout ADD COLUMN epay_gateway TEXT, ADD COLUMN order_scope TEXT")
    with op.get_context().autocommit_block():
        # rows of earlier releases have no scope, so those that spell one account twice may stay;
        # the constraint on (epay_account, merchant_order_no) stays for programs of those releases
        op.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payout_order_idx"
            " ON payout (merchant_order_no, order_scope)"
        )


def downgrade() -> None:
    op.execute("DROP INDEX payout_order_idx")
    op.execute("ALTER TABLE payout DROP COLUMN epay_gateway, DROP COLUMN order_scope")
