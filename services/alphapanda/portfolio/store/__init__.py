"""Portfolio's store: the port, and the books in PostgreSQL."""
