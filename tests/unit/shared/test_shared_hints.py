"""A hint follows its commit, whatever stood at the same place in memory before."""

from __future__ import annotations

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from shared.storage.after_commit import after_commit


def test_many_short_lived_engines() -> None:
    """Python gives out their addresses again: each commit is heard of all the same."""
    heard: list[int] = []
    for nth in range(1500):
        engine = create_engine("sqlite://")
        with Session(engine) as session:
            session.execute(text("SELECT 1"))
            after_commit(session.connection(), lambda nth=nth: heard.append(nth))
            session.commit()
        engine.dispose()
    assert heard == list(range(1500))
