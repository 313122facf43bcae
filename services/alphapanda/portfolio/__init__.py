"""The portfolio service: the ledger, and the positions, cash and profit that follow from it."""
