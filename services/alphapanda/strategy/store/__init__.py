"""Strategy's store: configurations by revision, activations, snapshots of state."""
