"""The benchmarks of the score card: `python -m tests.bench [P6 …]`, or `make bench`."""

import sys
from pathlib import Path

# The mesh and its Kafka are tools of the checkout, not of the package.
sys.path += [str(Path(__file__).resolve().parents[2] / "tools" / folder) for folder in (".", "kafka")]
