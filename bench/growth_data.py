"""Tables of any size: payouts of the past with their journals, the newest of them under way."""

from __future__ import annotations

import psycopg

from bench.payloads import ACCOUNT

EVENTS_EACH = 5
_OPEN = 5_000
"""The newest payouts, which are not final; of the others a person looks at one in 10,000."""

_PAYOUTS = """
INSERT INTO payout (
    epay_account, merchant_order_no, amount, currency, channel_code, account_no, remark, status,
    due_at, sequence, journal_hash, nonce, claim_id, attempts, first_sent_at, last_sent_at, queries,
    absences, epay_order_no, epay_status, fee, review_reason, review_since, created_at, updated_at,
    finished_at
)
SELECT %(account)s, 'old-' || lpad(n::text, 9, '0'), 1 + n %% 1000,
    (ARRAY['USD', 'EUR', 'GBP'])[1 + n %% 3], '11', 'U' || (1000000000 + n), 'salary',
    CASE WHEN open THEN 'processing' ELSE 'succeeded' END,
    CASE WHEN open THEN now() + interval '1 day' + n * interval '1 ms' END,
    %(events)s, encode(sha256(n::text::bytea), 'hex'), md5(n::text), md5('c' || n), 1, sent, sent,
    1, '[]', '2311' || n, CASE WHEN open THEN '1' ELSE '7' END, 0.20,
    CASE WHEN looked_at THEN 'mismatch: another amount' END, CASE WHEN looked_at THEN sent END,
    sent, sent + interval '2 min', CASE WHEN NOT open THEN sent + interval '2 min' END
FROM (
    SELECT n, n > %(count)s - %(open)s AS open, n %% 10000 = 0 AS looked_at,
        now() - (%(count)s - n) * interval '2 s' AS sent
    FROM generate_series(1, %(count)s) AS n
) AS made
"""
_EVENTS = """
INSERT INTO payout_event (payout_id, sequence, kind, actor, at, status_before, status_after,
    detail, row_hash, previous_hash, hash)
SELECT id, s, 'query_report', 'query', created_at + s * interval '20 s', 'processing', 'processing',
    jsonb_build_object('status', '1', 'epay_order_no', epay_order_no, 'amount', amount),
    encode(sha256((id * 7 + s)::text::bytea), 'hex'),
    encode(sha256((id * 10 + s - 1)::text::bytea), 'hex'),
    encode(sha256((id * 10 + s)::text::bytea), 'hex')
FROM payout, generate_series(1, %(events)s) AS s ORDER BY id, s
"""


def make(url: str, payouts: int) -> None:
    """Fill an empty, migrated database: `payouts` rows, five events each, one in three told of."""
    values = {
        "account": ACCOUNT,
        "count": payouts,
        "events": EVENTS_EACH,
        "open": min(_OPEN, payouts // 2),
    }
    with psycopg.connect(url, autocommit=True) as connection:
        # the rows are right: no look at each foreign key
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.execute(_PAYOUTS, values)
        connection.execute(_EVENTS, values)
        connection.execute("VACUUM (ANALYZE) payout")
        connection.execute("VACUUM (ANALYZE) payout_event")
        connection.execute("CHECKPOINT")  # or it would come while something is measured


def sizes(url: str) -> dict[str, int]:
    """Bytes of the tables with their indexes."""
    statement = "SELECT pg_total_relation_size(%s::regclass)"
    with psycopg.connect(url) as connection:
        found = {}
        for table in ("payout", "payout_event", "payout_outbox"):
            row = connection.execute(statement, [table]).fetchone()
            found[table] = int(row[0]) if row else 0
        return found
