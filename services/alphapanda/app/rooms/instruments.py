"""The registry's room."""

from __future__ import annotations

from alphapanda.app.ground import Ground
from alphapanda.app.process import Room
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from panda.instruments.v1.instruments_pb2_grpc import add_InstrumentServiceServicer_to_server


def instruments_room(ground: Ground) -> Room:
    """The registry."""
    servicer = InstrumentServicer(PostgresInstrumentStore(ground.engine))
    return Room(
        service="instruments",
        full_name="panda.instruments.v1.InstrumentService",
        registration=lambda server: add_InstrumentServiceServicer_to_server(servicer, server),
        counters=lambda: {"instruments": len(ground.directory)},
    )
