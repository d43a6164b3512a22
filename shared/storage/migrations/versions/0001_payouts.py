"""The tables of one payout: its row, its journal, its messages."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE payout (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    epay_account TEXT NOT NULL,
    merchant_order_no TEXT NOT NULL,
    amount NUMERIC(18, 2) NOT NULL,
    currency TEXT NOT NULL,
    channel_code TEXT NOT NULL,
    account_no TEXT NOT NULL,
    remark TEXT,
    extend_fields JSONB,
    notify JSONB,
    status TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    sequence INTEGER NOT NULL,
    journal_hash TEXT NOT NULL,
    nonce TEXT NOT NULL,
    claim_id TEXT,
    attempts INTEGER NOT NULL,
    first_sent_at TIMESTAMP WITH TIME ZONE,
    last_sent_at TIMESTAMP WITH TIME ZONE,
    queries INTEGER NOT NULL,
    absences JSONB NOT NULL,
    refusal TEXT,
    epay_order_no TEXT,
    epay_status TEXT,
    fee NUMERIC,
    review_reason TEXT,
    review_since TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payout_pkey PRIMARY KEY (id),
    CONSTRAINT payout_epay_account_merchant_order_no_key UNIQUE (epay_account, merchant_order_no),
    CONSTRAINT payout_amount_positive_check CHECK (amount > 0),
    CONSTRAINT payout_status_known_check CHECK (status IN ('cancelled', 'closed', 'failed', 'failed_fee_kept', 'pending_withdrawal', 'processing', 'queued', 'rejected', 'submitting', 'succeeded', 'unknown')),
    CONSTRAINT payout_due_unless_final_check CHECK ((due_at IS NULL) = (status IN ('cancelled', 'closed', 'failed', 'failed_fee_kept', 'rejected', 'succeeded'))),
    CONSTRAINT payout_finished_if_final_check CHECK ((finished_at IS NULL) <> (status IN ('cancelled', 'closed', 'failed', 'failed_fee_kept', 'rejected', 'succeeded'))),
    CONSTRAINT payout_submitting_is_claimed_check CHECK (status <> 'submitting' OR (claim_id IS NOT NULL AND last_sent_at IS NOT NULL)),
    CONSTRAINT payout_has_event_check CHECK (sequence > 0),
    CONSTRAINT payout_review_has_since_check CHECK ((review_reason IS NULL) = (review_since IS NULL))
);

CREATE INDEX payout_created_idx ON payout (created_at);

CREATE INDEX payout_due_idx ON payout (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX payout_review_idx ON payout (review_since) WHERE review_reason IS NOT NULL;

CREATE TABLE payout_mark (
    name TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT payout_mark_pkey PRIMARY KEY (name)
);

CREATE TABLE payout_event (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    payout_id BIGINT,
    sequence INTEGER,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    status_before TEXT,
    status_after TEXT,
    detail JSONB NOT NULL,
    row_hash TEXT,
    previous_hash TEXT,
    hash TEXT,
    CONSTRAINT payout_event_pkey PRIMARY KEY (id),
    CONSTRAINT payout_event_payout_id_sequence_key UNIQUE (payout_id, sequence),
    CONSTRAINT payout_event_sequence_within_payout_check CHECK ((payout_id IS NULL) = (sequence IS NULL)),
    CONSTRAINT payout_event_payout_id_fkey FOREIGN KEY(payout_id) REFERENCES payout (id)
);

CREATE TABLE payout_outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    payout_id BIGINT,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    kwargs JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payout_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT payout_outbox_payout_id_fkey FOREIGN KEY(payout_id) REFERENCES payout (id)
);

CREATE INDEX payout_outbox_payout_idx ON payout_outbox (payout_id);

CREATE INDEX payout_outbox_unsent_idx ON payout_outbox (id) WHERE sent_at IS NULL;
"""

TRIGGERS = """
CREATE FUNCTION payout_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payout_event is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER payout_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_event
    FOR EACH STATEMENT EXECUTE FUNCTION payout_event_is_append_only();

CREATE FUNCTION payout_final_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payout % is %: final is final', OLD.merchant_order_no, OLD.status
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER payout_final_is_final BEFORE UPDATE ON payout
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL AND (
        OLD.status IS DISTINCT FROM NEW.status OR OLD.finished_at IS DISTINCT FROM NEW.finished_at))
    EXECUTE FUNCTION payout_final_is_final();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(TRIGGERS)


def downgrade() -> None:
    op.execute("DROP TABLE payout_mark, payout_outbox, payout_event, payout")
    op.execute("DROP FUNCTION payout_event_is_append_only(), payout_final_is_final()")
