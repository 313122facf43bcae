"""Retries of a channel are the contract's."""

from __future__ import annotations

import json

from alphapanda.mesh.catalogue import service_descriptors
from alphapanda.mesh.channel import service_config
from alphapanda.mesh.policy import service_policies


def test_every_rpc_may_be_sent_again_where_nobody_answered() -> None:
    """Each RPC of the contract, all being safe or remembered, has a retry policy on UNAVAILABLE alone."""
    policies = [policy for service in service_descriptors() for policy in service_policies(service).values()]
    (config,) = json.loads(service_config(policies))["methodConfig"]
    named = {f"/{name['service']}/{name['method']}" for name in config["name"]}
    assert named == {policy.method for policy in policies}
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
