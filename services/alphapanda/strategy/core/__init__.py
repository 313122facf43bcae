"""The strategies themselves and the host that shows them ticks: plain Python, the same in the mesh and in replay."""
