"""How each broker's own books are read; one file a broker."""
