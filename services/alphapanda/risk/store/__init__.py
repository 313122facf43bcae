"""Risk's own schema: the port, PostgreSQL and memory."""
