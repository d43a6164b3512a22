"""Which database this is, and the pause that the service sets when it is another."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE payout_deployment (
    id INTEGER NOT NULL,
    token TEXT NOT NULL,
    high_water BIGINT NOT NULL,
    epoch INTEGER NOT NULL,
    ask_first_until TIMESTAMP WITH TIME ZONE,
    server TEXT NOT NULL,
    timeline TEXT NOT NULL,
    database BIGINT NOT NULL,
    written_by BIGINT NOT NULL,
    CONSTRAINT payout_deployment_pkey PRIMARY KEY (id),
    CONSTRAINT payout_deployment_one_row_check CHECK (id = 1)
);

ALTER TABLE payout_brake ADD COLUMN code TEXT;
"""

DOWN = """
ALTER TABLE payout_brake DROP COLUMN code;
DROP TABLE payout_deployment;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
