"""The strategies and the host that runs them on ticks: plain Python, the same in the mesh and in replay."""
