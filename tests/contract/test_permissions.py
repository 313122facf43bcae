"""protos/PERMISSIONS.md says who may call what, as the contract and the shipped roles do."""

from __future__ import annotations

import sys
from pathlib import Path

from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import method_policy
from panda.options.v1 import options_pb2 as options

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import permissions


def test_the_page_is_what_the_contract_says() -> None:
    """`make permissions` would change nothing."""
    assert permissions.PAGE.read_text() == permissions.page()


def test_every_permission_is_somebodys_and_every_role_has_some() -> None:
    """No RPC is out of everybody's reach, and no permission of a role is unknown to the contract."""
    given = {permission for _, of_role in SHIPPED_ROLES.values() for permission in of_role}
    known = {value.name.removeprefix("PERMISSION_") for value in options.Permission.DESCRIPTOR.values}
    assert given <= known
    needed = {
        options.Permission.Name(method_policy(method).permission).removeprefix("PERMISSION_")
        for service in service_descriptors()
        for method in service.methods
    }
    assert needed - {"PUBLIC", "AUTHENTICATED"} <= given


def test_calls_between_services_are_no_persons() -> None:
    """INTERNAL is in the role of service accounts alone."""
    assert [role for role, (_, of_role) in SHIPPED_ROLES.items() if "INTERNAL" in of_role] == ["service"]
