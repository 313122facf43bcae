"""Fill models and order matching, without I/O."""
