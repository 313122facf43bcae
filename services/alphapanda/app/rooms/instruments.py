"""Builds the room of the instrument registry."""

from __future__ import annotations

from alphapanda.app.process import Room
from alphapanda.app.resources import ProcessResources
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from panda.instruments.v1.instruments_pb2_grpc import add_InstrumentServiceServicer_to_server


def instruments_room(resources: ProcessResources) -> Room:
    """Builds the room."""
    servicer = InstrumentServicer(PostgresInstrumentStore(resources.engine))
    return Room(
        service="instruments",
        full_name="panda.instruments.v1.InstrumentService",
        registration=lambda server: add_InstrumentServiceServicer_to_server(servicer, server),
        counters=lambda: {"instruments": len(resources.directory)},
    )
