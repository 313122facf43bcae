"""The log in an SQLite file, for one machine."""
