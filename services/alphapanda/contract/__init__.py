"""Converts between protobuf messages and domain values; reads topics and policies from descriptors; validates."""
