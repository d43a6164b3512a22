"""A fresh, migrated database for each test, in milliseconds: a copy of one made once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import PostgresServer

_numbers = itertools.count(1)


def unique_name(prefix: str) -> str:
    """A database name that no other test and no other test run uses."""
    return f"{prefix}_{os.getpid()}_{next(_numbers)}"


@contextmanager
def migrated_template(postgres: PostgresServer) -> Iterator[str]:
    """The name of a migrated, empty database, to be copied; nothing may connect to it."""
    from shared.storage.migrate import upgrade

    name = unique_name("payouts_template")
    upgrade(postgres.create_database(name))
    try:
        yield name
    finally:
        postgres.drop_database(name)


@contextmanager
def fresh_database(postgres: PostgresServer, template: str | None = None) -> Iterator[str]:
    """The URL of a database that is dropped afterwards, open connections or not."""
    name = unique_name("payouts_test")
    url = postgres.create_database(name, template)
    try:
        yield url
    finally:
        postgres.drop_database(name)
