"""Embedded PostgreSQL and Redis: run from Python wheels, in a data directory."""
