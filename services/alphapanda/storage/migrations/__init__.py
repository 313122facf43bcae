"""Alembic revisions, one file a step; each service has a schema of its own."""
