"""The paper exchange: a broker's side of orders, simulated."""
