"""PostgreSQL and Redis: engine, outbox, remembered requests, migrations, price cache."""
