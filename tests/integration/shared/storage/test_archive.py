"""Old journals leave the database for files, whole, and the chain holds across the two."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from shared.storage import archive, journal_audit
from shared.storage.encryption import NO_ENCRYPTION
from tests.support.jobs import NOTIFY, callback_message, freeze_clock, kinds
from worker.jobs.callback import callback
from worker.jobs.notify import notify

if TYPE_CHECKING:
    from tests.integration.conftest import World

DAY = timedelta(days=1)


@pytest.fixture
def ended(world: World) -> World:
    """Three payouts that have ended, their apps told; a fourth that has not."""
    freeze_clock(world)
    for nth in (1, 2, 3):
        world.ask(f"order-{nth}", notify=NOTIFY)
        callback(world.context, callback_message(f"order-{nth}", epay_order_no=None))
    notify(world.context)
    world.ask("order-open")
    return world


def archived(world: World, folder: Path) -> list[archive.Archived]:
    now = world.context.clock()
    return list(archive.archive(world.engine, now + DAY, folder, now))


def stories(folder: Path) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.iterdir()):
        with gzip.open(file, "rt") as lines:
            found += [json.loads(line) for line in lines]
    return found


def broken(world: World) -> list[journal_audit.ChainBreak]:
    return [
        found
        for found in journal_audit.audit_chains(world.engine, NO_ENCRYPTION)
        if found is not None
    ]


def test_old_journals_go_and_the_newest_event_stays(ended: World, tmp_path: Path) -> None:
    before = [event.hash for event in ended.events("order-1")]
    assert archive.count_archivable(ended.engine, ended.context.clock() + DAY) == (3, 6)
    [done] = archived(ended, tmp_path)
    assert (done.payouts, done.events) == (3, 6)
    assert [event.hash for event in ended.events("order-1")] == before[-1:]
    one = next(story for story in stories(tmp_path) if story["merchant_order_no"] == "order-1")
    assert [event["hash"] for event in one["events"]] == before[:-1]
    assert [message["kwargs"]["status"] for message in one["messages"]] == [
        "submitting",
        "succeeded",
    ]
    assert kinds(ended, "order-open") == ["accepted", "create_report"]
    assert ended.sql("SELECT count(*) FROM payout_outbox")[0].count == 0


def test_the_chain_holds_in_the_database_and_in_the_file(ended: World, tmp_path: Path) -> None:
    [done] = archived(ended, tmp_path)
    assert broken(ended) == []
    assert list(archive.audit_file(ended.engine, done.file)) == [None, None, None]


def test_an_order_number_is_taken_for_ever(ended: World, tmp_path: Path) -> None:
    archived(ended, tmp_path)
    answer = ended.ask("order-1", notify=NOTIFY)
    assert (answer["status"], answer["duplicate"]) == ("succeeded", True)
    assert ended.gateway.ledger()["orders"]["order-1"]["creates_received"] == 1


def test_a_late_contradiction_goes_on_where_the_journal_stands(
    ended: World, tmp_path: Path
) -> None:
    archived(ended, tmp_path)
    callback(ended.context, callback_message("order-1", status="6", epay_order_no=None))
    assert (ended.row("order-1").review_reason or "").startswith("contradiction")
    assert [event.sequence for event in ended.events("order-1")] == [3, 4]
    assert broken(ended) == []


def test_a_second_run_finds_nothing(ended: World, tmp_path: Path) -> None:
    archived(ended, tmp_path)
    assert archived(ended, tmp_path) == []
    assert archive.count_archivable(ended.engine, ended.context.clock() + DAY) == (0, 0)


@pytest.mark.parametrize("why", ["young", "in review", "untold"])
def test_what_may_still_be_needed_stays(world: World, tmp_path: Path, why: str) -> None:
    freeze_clock(world)
    world.ask(notify=NOTIFY if why == "untold" else None)
    callback(world.context, callback_message())
    if why == "in review":
        callback(world.context, callback_message(status="6"))
    now = world.context.clock()
    before = now - DAY if why == "young" else now + DAY
    assert list(archive.archive(world.engine, before, tmp_path, now)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_broken_chain_is_left_for_people(ended: World, tmp_path: Path) -> None:
    with ended.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE payout_event SET actor = 'me' WHERE id = 1"))
    [done] = archived(ended, tmp_path)
    assert done.payouts == 2
    assert [one.merchant_order_no for one in broken(ended)] == ["order-1"]


def test_a_file_that_cannot_be_written_takes_nothing(ended: World, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        archived(ended, tmp_path / "nowhere")
    assert len(ended.events("order-1")) == 3
    assert ended.sql("SELECT count(*) FROM payout_archive")[0].count == 0


def test_a_changed_file_is_noticed(ended: World, tmp_path: Path) -> None:
    [done] = archived(ended, tmp_path)
    changed = stories(tmp_path)
    changed[1]["events"][0]["actor"] = "me"
    changed[2]["events"].pop()
    with gzip.open(done.file, "wt") as out:
        out.writelines(json.dumps(story) + "\n" for story in changed)
    found = list(archive.audit_file(ended.engine, done.file))
    assert found[0] is None
    assert [one.what if one else None for one in found[1:]] == [
        "is not what was archived",
        "the database names other archived events",
    ]


def test_no_event_goes_that_is_in_no_archive(ended: World, tmp_path: Path) -> None:
    """Not even of an archived payout: the newest one stays."""
    archived(ended, tmp_path)
    for order_no in ("order-1", "order-open"):
        with pytest.raises(IntegrityError, match="append-only"):
            ended.sql(
                "DELETE FROM payout_event e USING payout p"
                " WHERE p.id = e.payout_id AND p.merchant_order_no = :no",
                no=order_no,
            )


def test_an_archive_record_hides_no_missing_event(ended: World, tmp_path: Path) -> None:
    """A made-up record whose hash is not the one before the event that stayed is noticed."""
    archived(ended, tmp_path)
    ended.sql("UPDATE payout_archive SET hash = 'x'")
    assert {one.what for one in broken(ended)} == {"does not follow the event before it"}
