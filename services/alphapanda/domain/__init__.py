"""Values that the cores share: pure, exact, without I/O or clock."""
