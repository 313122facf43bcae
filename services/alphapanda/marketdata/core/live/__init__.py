"""What the messages of a live feed mean: pure, in columns."""
