"""What the tests stand on: real PostgreSQL, Redis and grpcurl, and the recorded NSE sessions."""
