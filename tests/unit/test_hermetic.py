"""What a developer has on their machine doesn't reach the tests."""

from __future__ import annotations

import os
from pathlib import Path

from alphapanda.embedded.layout import default_data_directory


def test_a_developers_data_directory_is_not_the_tests() -> None:
    """Instruments that were imported on this machine, in the data directory of `up`, change no test's result."""
    assert default_data_directory(os.environ, Path.home()) != default_data_directory({}, Path.home())
