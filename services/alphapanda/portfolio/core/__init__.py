"""The pure core of portfolio: ledger, positions, last prices, books. No I/O, no clock, no await."""
