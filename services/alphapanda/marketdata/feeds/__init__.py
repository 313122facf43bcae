"""Feeds: the sources of ticks. A new feed is one file here and one line in `registry.py`."""
