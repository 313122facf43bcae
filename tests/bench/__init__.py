"""The benchmarks of the score card: `python -m tests.bench [P6 …]`, or `make bench`."""
