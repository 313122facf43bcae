"""The pure core of market data: parses, simulates, sanitises and frames ticks."""
