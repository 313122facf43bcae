"""Random bytes, mutated and random valid messages at every RPC of the contract (R10 of the scorecard): `make fuzz`.

What is sent follows from the seed. Every answer has to be a status that means something for what was sent: never INTERNAL or
UNKNOWN, nothing of the program's inside in a message. Run as a program it starts a platform of its own whose callers sign in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from alphapanda.app.local_auth import local_secret
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.validation import bounds_broken, violations
from alphapanda.embedded.layout import Layout
from alphapanda.mesh.own_tokens import OwnTokens
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.status import call_failure
from panda.options.v1 import options_pb2 as options

METHODS: Final = [method for service in service_descriptors() for method in service.methods]
ENVIRONMENT: Final = {
    "ALPHAPANDA_ZERODHA__API_KEY": "fuzzers-key",  # pragma: allowlist secret
    "ALPHAPANDA_ZERODHA__API_SECRET": "fuzzers-word",  # pragma: allowlist secret
    "ALPHAPANDA_ZERODHA__API_ROOT": "http://127.0.0.1:9",
}
"""Settings with which every service runs; nobody signs in to Zerodha."""
SELDOM: Final = frozenset({"Login", "ChangePassword", "CreateUser", "SetPassword", "CreateBackup"})
"""RPCs that cost a third of a second of the processor (a password's hash), or write to the disk."""
ANSWERS: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
INSIDE: Final = (
    "Traceback",
    'File "',
    "sqlalchemy",
    "asyncpg",
    "SELECT ",
    "INSERT ",
    "site-packages",
    "object at 0x",
)
"""What no message to a caller holds."""
TEXTS: Final = (
    *(
        "NSE:INFY",
        "NSE:NONE",
        "paper",
        "zerodha",
        "default",
        "ema_cross",
        "one",
        "risk",
        "viewer",
        "meera",
        "1",
        "10%",
    ),
    *(
        "",
        " ",
        "a" * 64,
        "b" * 1001,
        "नमस्ते",
        "\u202e\u0000",
        "'; DROP TABLE trading.orders; --",
        "../../etc/passwd",
    ),
    *("paper.orders.filled", "NaN", "-1e309", "50000INR", "2026-11-30", "%s%n", "{}", "\n\r\t"),
)
NUMBERS: Final = (0, 1, 2, 5, 100, 500, 501, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
NOTHING_THERE: Final = "/proc/nowhere/backup"
WATCH_SECONDS: Final = 0.1
CALL_SECONDS: Final = 10.0
TRIES: Final = 12
MOST_DEPTH: Final = 4
MOST_MEBIBYTES: Final = 200


@dataclass
class Outcome:
    """What became of the calls.

    Attributes:
        statuses: number of calls by status.
        wrong: calls that had no right answer, by RPC, status and message, with the seed of the first.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)


class Fuzzer:
    """Sends calls that follow from a seed.

    Args:
        target: host:port.
        seed: what it sends follows from it.
        token: returns the access token of a call.
    """

    def __init__(self, target: str, seed: int, token: Any) -> None:
        self.outcome = Outcome()
        self._target = target
        self._seed = seed
        self._token = token

    async def run(self, calls: int, at_once: int = 32) -> None:
        """Makes so many calls."""
        numbers = iter(range(calls))
        roomy = (("grpc.max_receive_message_length", 1 << 26), ("grpc.enable_retries", 0))
        async with grpc.aio.insecure_channel(self._target, options=roomy) as channel:

            async def work() -> None:
                for number in numbers:
                    await self._call(channel, number)

            await asyncio.gather(*(work() for _ in range(at_once)))

    async def _call(self, channel: grpc.aio.Channel, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        method = METHODS[number % len(METHODS)]
        if method.name in SELDOM and chance.random() > 0.05:
            method = chance.choice(METHODS)
        body = payload(chance, method)
        metadata = (("authorization", f"Bearer {self._token()}"),)
        path = f"/{method.containing_service.full_name}/{method.name}"
        code, said = grpc.StatusCode.OK, ""
        try:
            if method.server_streaming:
                watch = channel.unary_stream(path)(body, metadata=metadata)
                try:
                    await asyncio.wait_for(watch.read(), WATCH_SECONDS)
                except TimeoutError:
                    pass
                finally:
                    watch.cancel()
            else:
                await channel.unary_unary(path)(body, metadata=metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = call_failure(error)
            code, said = failure.code, f"{failure.reason} {failure.message}"
        self.outcome.statuses[code.name] += 1
        if code not in ANSWERS or any(inside in said for inside in INSIDE):
            self.outcome.wrong.setdefault(
                f"{path} {code.name} {said[:300]}", f"seed {self._seed}, call {number}"
            )


def payload(chance: random.Random, method: MethodDescriptor) -> bytes:
    """Random bytes, a valid message with some bytes changed, or a random valid message."""
    kind = chance.choices(("bytes", "mutated", "valid"), (15, 25, 60))[0]
    if kind == "bytes":
        return chance.randbytes(chance.choice((0, 1, 8, 100, 2000)))
    whole = _allowed(chance, method.input_type).SerializeToString()
    if kind == "valid" or not whole:
        return whole
    changed = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randint(1, len(changed))]) if chance.random() < 0.3 else bytes(changed)


def _allowed(chance: random.Random, descriptor: Descriptor) -> Message:
    """A random message; of several the first that the contract's rules allow, so that handlers get to see most of them."""
    for _ in range(TRIES):
        made = random_message(chance, descriptor)
        if not bounds_broken(made) and not violations(made):
            break
    return made


def random_message(chance: random.Random, descriptor: Descriptor, depth: int = 0) -> Message:
    """A message that any value of its fields' types may be in."""
    made: Any = message_factory.GetMessageClass(descriptor)()
    for one in descriptor.fields:
        if chance.random() < (0.3 if depth else 0.15) or depth > MOST_DEPTH:
            continue
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            _fill_map(chance, getattr(made, one.name), one.message_type)
        elif one.is_repeated:
            values = [_value(chance, one, depth) for _ in range(chance.choice((0, 1, 1, 2, 5)))]
            getattr(made, one.name).extend(values)
        elif one.message_type is not None:
            getattr(made, one.name).CopyFrom(_value(chance, one, depth))
        else:
            setattr(made, one.name, _value(chance, one, depth))
    return made


def _fill_map(chance: random.Random, entries: Any, entry: Descriptor) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for _ in range(chance.randint(0, 3)):
        if value.message_type is None:
            entries[_value(chance, key, 0)] = _value(chance, value, 0)


def _value(chance: random.Random, one: FieldDescriptor, depth: int) -> Any:
    match one.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return random_message(chance, one.message_type, depth + 1)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice([*(value.number for value in one.enum_type.values), 99])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice((0.0, 1.5, -1.0, float("nan"), float("inf"), 1e308))
        case FieldDescriptor.CPPTYPE_STRING:
            bytes_too = one.type == FieldDescriptor.TYPE_BYTES
            return chance.randbytes(chance.choice((0, 3, 50))) if bytes_too else _text(chance, one.name)
        case kind:
            return _number(chance, kind)


def _number(chance: random.Random, kind: int) -> int:
    bits = 64 if kind in {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64} else 32
    signed = kind in {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32}
    number = min(chance.choice(NUMBERS), 2 ** (bits - signed) - 1)
    return -number if signed and chance.random() < 0.3 else number


def _text(chance: random.Random, name: str) -> str:
    if name == "folder":
        return NOTHING_THERE
    if name == "request_id":
        return (
            f"fuzz-{chance.getrandbits(48)}"
            if chance.random() < 0.9
            else chance.choice(("again", "", "x" * 65))
        )
    return chance.choice(TEXTS)


def token_of(data_dir: Path) -> OwnTokens:
    """A token that may call everything: of the secret in the platform's data directory."""
    every = frozenset(value.number for value in options.Permission.DESCRIPTOR.values)
    (key, *_) = secret_keys(local_secret(Layout(data_dir).auth_secret))
    return OwnTokens("fuzz", every, key, "alphapanda", "alphapanda", time.time)


def main() -> int:
    """Starts a platform, calls it, prints what became of the calls as JSON; 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1_000_000)
    given = parser.parse_args()
    sys.path.append(str(Path(__file__).parents[2] / "tools" / "kafka"))
    from running import Platform

    with (
        tempfile.TemporaryDirectory(prefix="panda-") as folder,
        Platform(Path(folder, "data"), "--demo", "--auth", environment=ENVIRONMENT) as platform,
    ):
        platform.start()
        process = psutil.Process(platform.process.pid)
        fuzzer = Fuzzer(platform.target, given.seed, token_of(platform.data_dir))
        asyncio.run(fuzzer.run(min(given.calls, 10_000)))
        before, began = process.memory_info().rss, time.monotonic()
        asyncio.run(fuzzer.run(max(given.calls - 10_000, 0)))
        grown = (process.memory_info().rss - before) / 1024**2
        platform.stop()
    found = {
        "calls": fuzzer.outcome.statuses.total(),
        "seconds": round(time.monotonic() - began),
        "grown_mebibytes": round(grown, 1),
        **vars(fuzzer.outcome),
    }
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=True) + "\n")
    return int(bool(fuzzer.outcome.wrong) or grown > MOST_MEBIBYTES)


if __name__ == "__main__":
    raise SystemExit(main())
