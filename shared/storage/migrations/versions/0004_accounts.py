"""A payout's gateway, and within what its order number is unique (law 10)."""

from alembic import op

from shared.storage.migrations.indexes import create_index

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE payout ADD COLUMN IF NOT EXISTS epay_gateway TEXT,"
        " ADD COLUMN IF NOT EXISTS order_scope TEXT"
    )
    # rows of earlier releases have no scope, so those that spell one account twice may stay;
    # the constraint on (epay_account, merchant_order_no) stays for programs of those releases
    create_index("payout_order_idx", "payout (merchant_order_no, order_scope)", unique=True)


def downgrade() -> None:
    op.execute("DROP INDEX payout_order_idx")
    op.execute("ALTER TABLE payout DROP COLUMN epay_gateway, DROP COLUMN order_scope")
