"""Alike order numbers by an index; the workers' policy on record; what was sent by the hour."""

from alembic import op

from shared.storage.migrations.indexes import create_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE IF NOT EXISTS payout_policy (
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    settings JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT payout_policy_pkey PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS payout_cap_sum (
    epay_account TEXT NOT NULL,
    currency TEXT NOT NULL,
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    amount NUMERIC NOT NULL,
    CONSTRAINT payout_cap_sum_pkey PRIMARY KEY (epay_account, currency, hour)
);
"""


def upgrade() -> None:
    op.execute(UP)
    key = r"regexp_replace(lower(merchant_order_no), '^0+|\.0*$', '', 'g')"
    create_index("payout_alike_idx", f"payout ({key})")


def downgrade() -> None:
    op.execute("DROP INDEX payout_alike_idx")
    op.execute("DROP TABLE payout_policy, payout_cap_sum")
