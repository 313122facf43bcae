"""What the tests of deploy/k8s need of this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from control_plane import missing_for_policies


@pytest.fixture(scope="session")
def kubernetes_tools(require_or_skip: Callable[[str], NoReturn]) -> None:
    """kubectl, and cyclonus, which evaluates NetworkPolicies."""
    if missing := missing_for_policies():
        require_or_skip(missing)
