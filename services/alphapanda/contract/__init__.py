"""Protobuf messages and domain values, topics and policies from descriptors, validation."""
