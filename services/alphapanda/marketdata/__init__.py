"""Feeds, the sanitiser, tick frames, the price cache's writer, quotes."""
