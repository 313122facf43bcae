"""The event log: the port, its adapters (SQLite, Kafka), and the coding of events into records."""
