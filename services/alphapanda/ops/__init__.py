"""OpsService and gRPC health: status of the services, dead letters, consumer lag."""
