"""Risk's store: the port, PostgreSQL, and the tables."""
