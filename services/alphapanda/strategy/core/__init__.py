"""The strategies, and the host that runs them on ticks; pure, and the same in services and in replay."""
