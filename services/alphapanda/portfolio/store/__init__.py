"""Where the books are kept: one port, PostgreSQL for the service, memory for replay and simulation."""
