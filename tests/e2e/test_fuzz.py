"""Random bytes and random messages at every RPC of a platform, in short; `make fuzz` does it a million times (R10)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from fuzz import ENVIRONMENT, METHODS, Fuzzer, payload, token_of
from running import Platform

from alphapanda.contract.catalogue import service_descriptors
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, GetStatusRequest
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub

CALLS = 700


def test_whatever_is_sent_gets_a_status_that_means_something(tmp_path: Path) -> None:
    """No call ends as INTERNAL or UNKNOWN or tells of the program's inside; the platform goes on, and its log has no defect."""
    seed = random.randrange(1_000_000)
    with Platform(tmp_path / "data", "--auth", environment=ENVIRONMENT) as platform:
        platform.start()
        token = token_of(platform.data_dir)
        fuzzer = Fuzzer(platform.target, seed, token)
        asyncio.run(fuzzer.run(CALLS))
        metadata = (("authorization", f"Bearer {token()}"),)
        status = OpsServiceStub(platform.channel).GetStatus(GetStatusRequest(), metadata=metadata, timeout=10)
        defects = [line for line in platform.log() if line.get("exception")]
        platform.stop()
    assert fuzzer.outcome.wrong == {}
    assert fuzzer.outcome.statuses.total() == CALLS
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= fuzzer.outcome.statuses.keys()
    assert {one.state for one in status.services} == {SERVICE_STATE_SERVING}
    assert defects == [], f"seed {seed}"


def test_every_rpc_is_sent_something_and_the_seed_decides_what() -> None:
    """The contract's RPCs are all among those called; the same seed makes the same bytes."""
    assert {method.full_name for method in METHODS} == {
        method.full_name for service in service_descriptors() for method in service.methods
    }
    for method in METHODS:
        assert payload(random.Random(7), method) == payload(random.Random(7), method)
