"""The contract's options of each RPC, read from its descriptor (rule 10)."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from alphapanda.domain.errors import InvalidInput
from panda.options.v1 import options_pb2 as options

LONGEST_DEADLINE_MS = 60_000


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The options of one RPC.

    Args:
        method: full name as it travels, "/panda.risk.v1.RiskService/GetLimits".
        permission: the permission that the caller needs.
        is_command: whether it changes state; a command runs to its end even if its caller disconnects. Else it may be
            repeated freely.
        default_deadline: deadline in seconds of a call that came without one.
        is_urgent: whether it has the lane of what stops trading or reduces positions.
    """

    method: str
    permission: options.Permission.ValueType
    is_command: bool
    default_deadline: float
    is_urgent: bool = False

    @property
    def is_internal(self) -> bool:
        """Whether services call it, not people: a call that another call waits for."""
        return self.permission == options.PERMISSION_INTERNAL


def method_policy(method: MethodDescriptor) -> MethodPolicy:
    """Reads the policy of one RPC.

    Raises:
        InvalidInput: an option is missing or out of range, which is a defect of the contract.
    """
    name = f"/{method.containing_service.full_name}/{method.name}"
    policy = method.GetOptions().Extensions[options.method]
    if policy.permission == options.PERMISSION_UNSPECIFIED:
        raise InvalidInput(f"{name}.permission", "UNSPECIFIED", "every RPC names the permission it needs")
    if policy.retry == options.RETRY_UNSPECIFIED:
        raise InvalidInput(f"{name}.retry", "UNSPECIFIED", "every RPC says whether it may be sent again")
    if not 1 <= policy.default_deadline_ms <= LONGEST_DEADLINE_MS:
        raise InvalidInput(
            f"{name}.default_deadline_ms", policy.default_deadline_ms, f"1 to {LONGEST_DEADLINE_MS}"
        )
    return MethodPolicy(
        method=name,
        permission=policy.permission,
        is_command=policy.retry != options.RETRY_SAFE,
        default_deadline=policy.default_deadline_ms / 1000,
        is_urgent=policy.lane == options.LANE_URGENT,
    )


def service_policies(service: ServiceDescriptor) -> dict[str, MethodPolicy]:
    """Reads the policies of a service's RPCs, by the RPC's name."""
    return {method.name: method_policy(method) for method in service.methods}


def find_service(name: str) -> ServiceDescriptor:
    """Finds a service of the contract by its full name; its generated module has to be imported already.

    Raises:
        KeyError: there is no such service.
    """
    return descriptor_pool.Default().FindServiceByName(name)
