"""PostgreSQL and Redis: engine, inbox and outbox, remembered requests, migrations, price cache."""
