"""What people put in a payout's way, and the comparison of a day's payouts with EPAY."""

from alembic import op

from shared.storage.migrations.indexes import create_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE payout ADD COLUMN IF NOT EXISTS released_at TIMESTAMP WITH TIME ZONE;

CREATE TABLE IF NOT EXISTS payout_brake (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    epay_account TEXT,
    channel_code TEXT,
    currency TEXT,
    set_at TIMESTAMP WITH TIME ZONE NOT NULL,
    set_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    lifted_at TIMESTAMP WITH TIME ZONE,
    lifted_by TEXT,
    lifted_reason TEXT,
    CONSTRAINT payout_brake_pkey PRIMARY KEY (id),
    CONSTRAINT payout_brake_lifted_by_somebody_check CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);

CREATE INDEX IF NOT EXISTS payout_brake_active_idx ON payout_brake (id) WHERE lifted_at IS NULL;

CREATE TABLE IF NOT EXISTS payout_books (
    epay_account TEXT NOT NULL,
    day DATE NOT NULL,
    last_id BIGINT NOT NULL,
    agreed INTEGER NOT NULL,
    differing INTEGER NOT NULL,
    unanswered INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payout_books_pkey PRIMARY KEY (epay_account, day)
);
"""


def upgrade() -> None:
    op.execute(TABLES)
    create_index("payout_sent_idx", "payout (currency, first_sent_at)")


def downgrade() -> None:
    op.execute("DROP INDEX payout_sent_idx")
    op.execute("DROP TABLE payout_brake, payout_books")
    op.execute("ALTER TABLE payout DROP COLUMN released_at")
