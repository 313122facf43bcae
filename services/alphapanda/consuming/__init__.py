"""The reliable consumer, and reading whole topics."""
