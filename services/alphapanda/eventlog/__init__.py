"""The event log: the port and its adapters, topics from the contract, the envelope, the reliable consumer."""
