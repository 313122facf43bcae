"""A Kubernetes control plane with the operators' resource definitions, one for all tests here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from control_plane import CRDS, ControlPlane, missing_for_kubernetes


@pytest.fixture(scope="session")
def cluster(require_or_skip: Callable[[str], NoReturn]) -> Iterator[ControlPlane]:
    """A control plane that runs, with nodes in two zones, and knows the operators' resources."""
    if missing := missing_for_kubernetes():
        require_or_skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="panda-k8s-"))
    plane = ControlPlane(folder)
    try:
        plane.start()
        plane.install(CRDS)
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(folder, ignore_errors=True)
