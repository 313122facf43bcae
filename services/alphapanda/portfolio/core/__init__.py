"""The pure core of the portfolio: ledger, positions, marks, the book. No I/O, no clock, no await."""
