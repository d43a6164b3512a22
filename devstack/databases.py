"""Creating and dropping the databases of a PostgreSQL server."""

from __future__ import annotations

from abc import ABC, abstractmethod

import psycopg
from psycopg import sql
from sqlalchemy import make_url


class PostgresServer(ABC):
    """A server that is known by the URL of one of its databases."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The database to connect to for creating and dropping others."""

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template`, and return its URL.

        The template must have no sessions; the server waits some seconds for them to end.
        """
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            # FILE_COPY costs two checkpoints, here a third of the time of logging every page.
            copy = sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
            statement += copy
        self._execute(statement)
        url = make_url(self.url).set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Drop a database, if it exists, and end its sessions."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._execute(statement.format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        plain = self.url.replace("postgresql+psycopg://", "postgresql://", 1)
        with psycopg.connect(plain, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)
