"""Traders: one file for each broker, and one line in `brokers.py` to register it."""
