"""Ports kept in memory, for the simulation and for tests that need no server."""
