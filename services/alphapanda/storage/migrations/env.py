"""Alembic's entry: runs the revisions on the connection that `alphapanda.storage.schema` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
tables = context.config.attributes.get("tables", ())
schemas = {metadata.schema for metadata in tables}
context.configure(
    connection=connection,
    target_metadata=list(tables),
    include_schemas=True,
    include_name=lambda name, kind, _parents: kind != "schema" or name in schemas,
    version_table_schema="public",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
