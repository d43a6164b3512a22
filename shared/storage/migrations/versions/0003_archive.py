"""Old events may leave the database, and only with a record of where they went."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE payout_archive (
    payout_id BIGINT NOT NULL,
    upto INTEGER NOT NULL,
    hash TEXT NOT NULL,
    file TEXT NOT NULL,
    archived_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT payout_archive_pkey PRIMARY KEY (payout_id),
    CONSTRAINT payout_archive_payout_id_fkey FOREIGN KEY(payout_id) REFERENCES payout (id),
    CONSTRAINT payout_archive_upto_positive_check CHECK (upto > 0)
);

DROP TRIGGER payout_event_append_only ON payout_event;

CREATE TRIGGER payout_event_append_only BEFORE UPDATE OR TRUNCATE ON payout_event
    FOR EACH STATEMENT EXECUTE FUNCTION payout_event_is_append_only();

CREATE FUNCTION payout_event_is_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM payout_archive a
               WHERE a.payout_id = OLD.payout_id AND OLD.sequence <= a.upto) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'payout_event is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER payout_event_only_archived_may_go BEFORE DELETE ON payout_event
    FOR EACH ROW EXECUTE FUNCTION payout_event_is_archived();
"""

DOWN = """
DROP TRIGGER payout_event_only_archived_may_go ON payout_event;
DROP FUNCTION payout_event_is_archived();
DROP TRIGGER payout_event_append_only ON payout_event;
CREATE TRIGGER payout_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_event
    FOR EACH STATEMENT EXECUTE FUNCTION payout_event_is_append_only();
DROP TABLE payout_archive;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
