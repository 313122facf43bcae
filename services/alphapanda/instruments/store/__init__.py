"""Instruments' store: the port, PostgreSQL, and the tables."""
