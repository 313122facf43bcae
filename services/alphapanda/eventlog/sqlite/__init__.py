"""The event log in an SQLite file, for one machine."""
