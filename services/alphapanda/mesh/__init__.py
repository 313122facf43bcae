"""gRPC: server and channels, interceptors, errors, deadlines, health."""
