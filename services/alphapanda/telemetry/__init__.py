"""Logs, metrics and the correlation id."""
