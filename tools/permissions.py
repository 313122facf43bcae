"""Writes the table of who may call what, from the contract's options and the shipped roles: protos/PERMISSIONS.md."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import method_policy
from alphapanda.mesh.access import permission_name

PAGE: Final = Path(__file__).resolve().parents[1] / "protos" / "PERMISSIONS.md"
FOR_ALL: Final = {
    "PUBLIC": "everybody, without a token",
    "AUTHENTICATED": "everybody who has signed in",
}
HEAD: Final = """\
# Who may call what

Made by `make permissions` from the contract's options (`panda.options.v1.method`) and the roles that an empty database begins with; don't
edit it. Roles are rows that administrators change: `alphapanda users roles` shows those of a deployment. With authentication
off (loopback only) everybody may call everything.
"""


def page() -> str:
    """The text of the page."""
    return f"{HEAD}\n## Roles\n\n{_roles()}\n\n## RPCs\n\n{_rpcs()}\n"


def _roles() -> str:
    lines = ["| Role | Permissions | For |", "|---|---|---|"]
    for role, (description, permissions) in SHIPPED_ROLES.items():
        lines.append(f"| {role} | {', '.join(permissions)} | {description} |")
    return "\n".join(lines)


def _rpcs() -> str:
    lines = ["| RPC | Permission | Roles that have it |", "|---|---|---|"]
    for service in service_descriptors():
        for method in service.methods:
            permission = permission_name(method_policy(method).permission)
            roles = [role for role, (_, permissions) in SHIPPED_ROLES.items() if permission in permissions]
            who = FOR_ALL.get(permission) or ", ".join(roles)
            lines.append(f"| {service.name}/{method.name} | {permission} | {who} |")
    lines += [
        "| grpc.health.v1.Health | - | everybody, without a token |",
        "| grpc.reflection | READ | as `api.reflection` says |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
