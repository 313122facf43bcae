"""Replay: the real cores over recorded frames in one synchronous loop, no log, no clock, no await."""
