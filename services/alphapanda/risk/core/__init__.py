"""Risk's pure core: positions and open orders, rules, limits, square-offs."""
