"""Auth's store in PostgreSQL."""
