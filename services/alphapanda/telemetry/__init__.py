"""Logs and the correlation id they carry."""
