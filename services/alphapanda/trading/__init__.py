"""Trading: turns what risk let through into orders at a broker, each sent at most once."""
