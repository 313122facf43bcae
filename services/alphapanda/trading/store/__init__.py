"""Where orders, fills, positions and the copy of the kill switch are kept."""
