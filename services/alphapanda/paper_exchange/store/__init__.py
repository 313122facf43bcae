"""The rows of the schema `paper_exchange`."""
