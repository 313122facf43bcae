"""A hostile client, bounded and seeded: hundreds of calls at once, each answer followed by another call at once.

It heeds nothing: not RetryInfo, not a refusal, not a watch's end. What it sends follows from the seed. Run as a program it
prints what became of its calls, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from alphapanda.contract.catalogue import service_descriptors
from alphapanda.mesh.status import call_failure

METHODS = {method.name: method for service in service_descriptors() for method in service.methods}
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ListOrders", {"page_size": 500}),
    ("ListVerdicts", {"page_size": 500}),
    ("ListFills", {"page_size": 500}),
    ("ListLedgerEntries", {"page_size": 500}),
    ("GetPortfolio", {}),
    ("GetExposure", {}),
    ("GetEquityCurve", {}),
    ("ListInstruments", {}),
    ("GetStatus", {}),
    ("ListConsumerLag", {}),
)
WATCHES = ("WatchOrders", "WatchOrders", "WatchOrders", "WatchPortfolio", "WatchQuotes")
LONGEST_NONSENSE = 2000
CALL_SECONDS = 20.0


@dataclass
class Outcome:
    """What became of the calls.

    Attributes:
        statuses: number of calls by status.
        reasons: number of refusals by reason.
        refused_badly: refusals without RetryInfo.
        messages: the first message of each status.
        slowest_seconds: the longest call that was no watch.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    refused_badly: int = 0
    slowest_seconds: float = 0.0


class Hostile:
    """Calls a platform until told to stop.

    Args:
        target: host:port.
        seed: what it sends follows from it.
        in_flight: calls at once.
        connections: over so many connections.
    """

    def __init__(self, target: str, seed: int, in_flight: int, connections: int) -> None:
        self.outcome = Outcome()
        self._target = target
        self._seed = seed
        self._in_flight = in_flight
        self._connections = connections

    async def run(self, seconds: float) -> None:
        """Floods the platform for so long."""
        alone = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 26)]
        channels = [grpc.aio.insecure_channel(self._target, options=alone) for _ in range(self._connections)]
        callers = [
            asyncio.create_task(self._call(channels[number % len(channels)], self._seed + number))
            for number in range(self._in_flight)
        ]
        await asyncio.wait(callers, timeout=seconds)
        for caller in callers:
            caller.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        for channel in channels:
            with suppress(asyncio.CancelledError):
                await channel.close()

    async def _call(self, channel: grpc.aio.Channel, seed: int) -> None:
        chance = random.Random(seed)
        while True:
            kinds = (self._read, self._watch, self._nonsense, self._stream, self._command)
            (kind,) = chance.choices(kinds, (60, 20, 8, 4, 8))
            began = time.monotonic()
            try:
                await kind(channel, chance)
                self.outcome.statuses["OK"] += 1
            except grpc.aio.AioRpcError as error:
                self._count(error)
            if kind not in (self._watch, self._stream):
                took = time.monotonic() - began
                self.outcome.slowest_seconds = max(self.outcome.slowest_seconds, took)

    def _count(self, error: grpc.aio.AioRpcError) -> None:
        failure = call_failure(error)
        self.outcome.statuses[failure.code.name] += 1
        self.outcome.messages.setdefault(failure.code.name, failure.message)
        if failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self.outcome.reasons[failure.reason] += 1
            self.outcome.refused_badly += failure.retry_after is None

    async def _read(self, channel: grpc.aio.Channel, chance: random.Random) -> None:
        name, body = chance.choice(READS)
        await channel.unary_unary(_path(METHODS[name]))(_encoded(name, body), timeout=CALL_SECONDS)

    async def _watch(self, channel: grpc.aio.Channel, chance: random.Random) -> None:
        name = chance.choice(WATCHES)
        watch = channel.unary_stream(_path(METHODS[name]))(_encoded(name, {}))
        await watch.read()
        await asyncio.sleep(chance.random())
        watch.cancel()

    async def _nonsense(self, channel: grpc.aio.Channel, chance: random.Random) -> None:
        method = chance.choice([method for method in METHODS.values() if not method.server_streaming])
        body = chance.randbytes(chance.randrange(LONGEST_NONSENSE))
        await channel.unary_unary(_path(method))(body, timeout=CALL_SECONDS)

    async def _stream(self, channel: grpc.aio.Channel, chance: random.Random) -> None:
        if chance.random() < 0.5:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        else:
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            watch = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        await watch.read()
        await asyncio.sleep(chance.random())
        watch.cancel()

    async def _command(self, channel: grpc.aio.Channel, chance: random.Random) -> None:
        request_id = f"hostile-{self._seed}-{chance.getrandbits(48)}"
        name, body = chance.choice(
            [
                ("PlaceOrder", {"request_id": request_id, "symbol": "NSE:INFY", "side": 1, "quantity": 1}),
                ("PlaceOrder", {"request_id": request_id, "symbol": "NSE:NONE", "side": 1, "quantity": 1}),
                ("StartStrategy", {"request_id": request_id, "strategy_id": "nobody"}),
                (
                    "UpdateLimits",
                    {"request_id": request_id, "broker": "paper", "account": "hostile", "reason": "x"},
                ),
            ]
        )
        await channel.unary_unary(_path(METHODS[name]))(_encoded(name, body), timeout=CALL_SECONDS)


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _encoded(name: str, body: dict[str, Any]) -> bytes:
    return message_factory.GetMessageClass(METHODS[name].input_type)(**body).SerializeToString()


def main() -> None:
    """Floods a platform and prints what became of the calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--connections", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    hostile = Hostile(given.target, given.seed, given.in_flight, given.connections)
    asyncio.run(hostile.run(given.seconds))
    sys.stdout.write(json.dumps(vars(hostile.outcome)))


if __name__ == "__main__":
    main()
