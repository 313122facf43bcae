"""Values that all cores share. Pure: no I/O, no clock, no protobuf."""
