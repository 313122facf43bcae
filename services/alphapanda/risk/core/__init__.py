"""The decisions of risk, pure: a book of positions and open orders, rules, square-offs."""
