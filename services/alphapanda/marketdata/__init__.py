"""Reads ticks from a feed, publishes them as frames, and serves quotes."""
