"""Where ticks come from. A feed registers in `registry.py`: one file, one line."""
