"""Trading: sends the orders that risk approved to brokers, each broker call at most once."""
