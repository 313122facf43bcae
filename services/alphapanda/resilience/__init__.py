"""What failed, and how long to wait."""
