"""Traders: one file a broker, one line in `brokers` to register it."""
