"""Sources of ticks. A new feed is one file and one line in `registry.py`."""
