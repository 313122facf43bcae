"""Where strategies are kept: configurations by revision, activations, snapshots of state."""
