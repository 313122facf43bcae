"""What auth decides, without I/O and without a clock."""
