"""The measured process of P4: a cached read as it is served, and a bare echo of the same bytes, on a port each.

Prints the two ports, the token of a call and the hexadecimal request. The read is GetInstrument from memory, behind the server as
a production has it: the token checked, the permission required, one query in a hundred traced, the log on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import date
from functools import partial
from uuid import uuid4

import grpc
import structlog
from typing_extensions import override

from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.wire import instrument_message
from alphapanda.mesh.access import Access
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.server import OPTIONS, MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.tokens import CallerKind, Claims, TokenType, TokenVerifier, signed
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LoggingOptions
from alphapanda.telemetry.tracing import Tracer
from panda.instruments.v1 import instruments_pb2 as api
from panda.instruments.v1.instruments_pb2_grpc import (
    InstrumentServiceServicer,
    add_InstrumentServiceServicer_to_server,
)
from panda.options.v1 import options_pb2 as options

QUERY_RATIO = 0.01
KEY = secret_keys("x" * 48)[0]


def token() -> str:
    """A valid access token of a person who may read."""
    now = int(time.time())
    return signed(
        Claims(
            subject="bench",
            kind=CallerKind.PERSON,
            roles=("viewer",),
            permissions=frozenset({options.PERMISSION_READ}),
            session_id="session",
            generation=0,
            token_id="token",
            type=TokenType.ACCESS,
            issuer="alphapanda",
            audience="alphapanda",
            issued_at=now,
            expires_at=now + 3600,
        ),
        KEY,
    )


class Cached(InstrumentServiceServicer):
    """Answers from memory."""

    def __init__(self) -> None:
        known = shipped_instruments(date(2026, 11, 23))
        self._answers = {
            f"{one.exchange}:{one.tradingsymbol}": api.GetInstrumentResponse(
                instrument=instrument_message(one)
            )
            for one in known
        }

    @override
    async def GetInstrument(self, request, context):  # type: ignore[no-untyped-def]
        return self._answers[request.symbol]


async def main() -> None:
    """Serves until it is killed."""
    configure_logging(LoggingOptions(), sys.stderr)
    servicer = Cached()
    verifier = TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", Revocations())
    ours = MeshServer(
        "127.0.0.1",
        0,
        [partial(add_InstrumentServiceServicer_to_server, servicer)],
        structlog.get_logger("alphapanda.mesh"),
        bounds=CallBounds(max_requests_per_second=1_000_000),
        security=ServerSecurity(access=Access(verifier, now=time.time)),
        tracer=lambda service: Tracer(service, lambda _: None, query_ratio=QUERY_RATIO),
    )
    request = api.GetInstrumentRequest(symbol="NSE:INFY")
    answer = (await servicer.GetInstrument(request, None)).SerializeToString()

    async def echo(_: bytes, __: object) -> bytes:
        return answer

    async def named(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Reads the call's metadata and answers with an id, as little as who calls can be found out with."""
        dict(context.invocation_metadata() or ())["authorization"]
        context.set_trailing_metadata((("x-correlation-id", str(uuid4())),))
        return answer

    bare = grpc.aio.server(options=OPTIONS)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(behaviour)
        for name, behaviour in (("Echo", echo), ("Named", named))
    }
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    print(await ours.start(), port, token(), request.SerializeToString().hex(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
