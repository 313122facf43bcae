"""Reads data files of all forms: text, JSON, Parquet; packed or not, of any size, in any order."""
