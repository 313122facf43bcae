"""Ticks from feeds to frames: parsing, simulating, sanitising, framing."""
