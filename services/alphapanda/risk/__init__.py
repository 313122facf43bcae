"""Risk: which signals become orders, of what quantity, and why not."""
