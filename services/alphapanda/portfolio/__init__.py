"""The portfolio service: books fills in a ledger, and derives positions, cash and profit from it."""
