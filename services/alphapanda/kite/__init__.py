"""Everything that knows Zerodha's Kite Connect; imported only where it is used."""
