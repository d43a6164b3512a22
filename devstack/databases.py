"""Databases of a PostgreSQL server: made, dropped and named by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg.sql import Composed


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    from sqlalchemy import make_url  # noqa: PLC0415 - heavy, and only the demo and tests need it

    url = make_url(server_url).set(drivername="postgresql", database=name)
    return url.render_as_string(hide_password=False)


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Make a database, empty or as a copy of `template`, and return its URL.

    Args:
        server_url: a database of the server that may be connected to, but not the template.
        name: must be new.
        template: nobody may be connected to it; the server waits some seconds for the last to go.

    Raises:
        psycopg.Error: the server refused.
    """
    from psycopg import sql  # noqa: PLC0415

    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        # Copying files costs two checkpoints: a third of the time of logging every page, here.
        copied = sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        statement += copied
    _execute(server_url, statement)
    return database_url(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, throwing out whoever is connected; nothing happens when there is none."""
    from psycopg import sql  # noqa: PLC0415

    identifier = sql.Identifier(name)
    _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))


def _execute(server_url: str, statement: Composed) -> None:
    import psycopg  # noqa: PLC0415

    plain = server_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True, connect_timeout=10) as connection:
        connection.execute(statement)
