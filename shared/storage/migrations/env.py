"""Alembic's entry: runs the migrations on the connection of `shared.storage.migrate`."""

from alembic import context

from shared.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
