"""Archiving: move old journal events to files. Payout rows stay: order numbers are never reused.

A payout's newest event stays in the database. `payout_archive` names the file of the events before
it and the hash of the last one, so that the hash chain can be verified across both.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text

from shared.domain import hash_chain
from shared.domain.payout import JournalEvent
from shared.storage.journal_audit import ChainBreak, broken_event
from shared.storage.row_mapping import event_from_row, to_json_text

_BATCH = 1000

_ELIGIBLE = """
FROM payout p WHERE p.created_at < :before AND p.finished_at < :before
AND p.review_reason IS NULL AND p.sequence > 1
AND NOT EXISTS (SELECT FROM payout_archive a WHERE a.payout_id = p.id)
AND NOT EXISTS (SELECT FROM payout_outbox o WHERE o.payout_id = p.id AND o.sent_at IS NULL)
"""
_OLD = text(
    "SELECT p.id, p.epay_account, p.merchant_order_no, p.sequence, p.journal_hash"
    f" {_ELIGIBLE} AND p.id > :last ORDER BY p.id LIMIT :limit FOR UPDATE OF p SKIP LOCKED"
)
_COUNT = text(f"SELECT count(*) AS payouts, coalesce(sum(p.sequence - 1), 0) AS events {_ELIGIBLE}")
_EVENTS = text(
    "SELECT * FROM payout_event WHERE payout_id = ANY(CAST(:ids AS bigint[]))"
    " ORDER BY payout_id, sequence"
)
_MESSAGES = text(
    "SELECT * FROM payout_outbox WHERE payout_id = ANY(CAST(:ids AS bigint[])) ORDER BY id"
)
_RECORD = text(
    """
INSERT INTO payout_archive (payout_id, upto, hash, file, archived_at)
SELECT r.payout_id, r.upto, r.hash, :file, :now
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(payout_id bigint, upto int, hash text)
"""
)
_DELETE_EVENTS = text(
    """
DELETE FROM payout_event e USING payout_archive a
WHERE a.payout_id = e.payout_id AND e.sequence <= a.upto
AND a.payout_id = ANY(CAST(:ids AS bigint[]))
"""
)
_DELETE_MESSAGES = text("DELETE FROM payout_outbox WHERE payout_id = ANY(CAST(:ids AS bigint[]))")


@dataclass(frozen=True, slots=True)
class Archived:
    """One file, and how many payouts and events it holds."""

    file: Path
    payouts: int
    events: int


def count_archivable(engine: Engine, before: datetime) -> tuple[int, int]:
    """The numbers of payouts and of events that `archive` would move.

    Eligible are payouts created and final before that time, not in review, with no unsent message.
    """
    with engine.connect() as connection:
        row = connection.execute(_COUNT, {"before": before}).one()
    return int(row.payouts), int(row.events)


def archive(engine: Engine, before: datetime, folder: Path, now: datetime) -> Iterator[Archived]:
    """Move the events of eligible payouts, except each newest one, to gzipped JSON lines files.

    A file is complete and synced before one transaction deletes its events: an interrupted run
    loses nothing and can be repeated. Payouts whose hash chain is broken are skipped; `payouts
    verify` names them.
    """
    last_id = 0
    while True:
        with engine.begin() as connection:
            found = connection.execute(
                _OLD, {"last": last_id, "before": before, "limit": _BATCH}
            ).all()
            if not found:
                return
            last_id = found[-1].id
            moved = _move(connection, found, folder, now)
        if moved is not None:
            yield moved


def _move(
    connection: Connection, payouts: Sequence[Any], folder: Path, now: datetime
) -> Archived | None:
    events = _rows_by_payout(connection, _EVENTS, payouts)
    payouts = [row for row in payouts if _is_whole(row, events[row.id])]
    if not payouts:
        return None
    messages = _rows_by_payout(connection, _MESSAGES, payouts)
    ids = [row.id for row in payouts]
    lines = [
        {
            "epay_account": row.epay_account,
            "merchant_order_no": row.merchant_order_no,
            "events": events[row.id][:-1],
            "messages": messages[row.id],
        }
        for row in payouts
    ]
    file = folder / f"payouts-{now:%Y%m%dT%H%M%S}-{ids[0]}-{ids[-1]}.jsonl.gz"
    _write(file, lines)
    last = {payout_id: events[payout_id][-2] for payout_id in ids}
    records = [
        {"payout_id": payout_id, "upto": event["sequence"], "hash": event["hash"]}
        for payout_id, event in last.items()
    ]
    connection.execute(_RECORD, {"rows": json.dumps(records), "file": file.name, "now": now})
    connection.execute(_DELETE_EVENTS, {"ids": ids})
    connection.execute(_DELETE_MESSAGES, {"ids": ids})
    return Archived(file, len(payouts), sum(len(line["events"]) for line in lines))


def _rows_by_payout(
    connection: Connection, statement: TextClause, payouts: Sequence[Any]
) -> dict[int, list[dict[str, Any]]]:
    """The rows of each payout, without their ids."""
    found: dict[int, list[dict[str, Any]]] = {payout.id: [] for payout in payouts}
    for row in connection.execute(statement, {"ids": list(found)}).mappings():
        values = {name: value for name, value in row.items() if name not in {"id", "payout_id"}}
        found[row["payout_id"]].append(values)
    return found


def _is_whole(payout: Any, events: Sequence[dict[str, Any]]) -> bool:
    order = payout.merchant_order_no, payout.epay_account
    return broken_event(order, list(map(event_from_row, events))) is None and (
        len(events) == payout.sequence and events[-1]["hash"] == payout.journal_hash
    )


def _write(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write atomically: a file of this name is complete and synced to disk."""
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as out:
            for line in lines:
                out.write(
                    json.dumps(line, default=to_json_text, ensure_ascii=False).encode() + b"\n"
                )
        raw.flush()
        os.fsync(raw.fileno())
    unfinished.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def audit_file(engine: Engine, file: Path) -> Iterator[ChainBreak | None]:
    """Verify one file: for each payout its first break, or None if its events are intact."""
    with engine.connect() as connection, gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            archived = json.loads(line)
            order = archived["merchant_order_no"], archived["epay_account"]
            record = connection.execute(_RECORDED, {"no": order[0], "account": order[1]}).first()
            yield _first_break(order, list(map(event_from_row, archived["events"])), record)


_RECORDED = text(
    "SELECT a.upto, a.hash FROM payout_archive a JOIN payout p ON p.id = a.payout_id"
    " WHERE p.merchant_order_no = :no AND p.epay_account = :account"
)


def _first_break(
    order: tuple[str, str], events: list[JournalEvent], record: Any
) -> ChainBreak | None:
    if (broken := broken_event(order, events)) is not None:
        return ChainBreak(*order, broken[0], "is not what was archived")
    last = events[-1].hash if events else hash_chain.GENESIS
    if record is None or (record.upto, record.hash) != (len(events), last):
        return ChainBreak(*order, len(events) + 1, "the database names other archived events")
    return None
