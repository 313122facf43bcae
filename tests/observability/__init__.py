"""`make observability-check`: the rules and dashboards of deploy/observability, on a real Prometheus."""
