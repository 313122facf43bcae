"""Trading's store: orders, intents, fills, positions and copies of the kill switches."""
