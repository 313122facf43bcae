"""One machine's own PostgreSQL and Redis, run from wheels inside a data directory."""
