"""Builds the room of the instrument registry."""

from __future__ import annotations

from alphapanda.app import clocks
from alphapanda.app.instruments import registry_of
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import purging
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.commands import InstrumentCommands
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.instruments.syncing import RegistrySync
from panda.instruments.v1.instruments_pb2_grpc import add_InstrumentServiceServicer_to_server


def instruments_room(resources: ProcessResources, *, waits: bool) -> Room:
    """Builds the room.

    Args:
        resources: shared by the services of this process.
        waits: whether it begins to answer only when the database has every imported instrument, because other processes
            load them from it.
    """
    store = PostgresInstrumentStore(resources.engine)
    sync = RegistrySync(
        registry_of(resources.settings), store, clocks.today, waits=waits, changed=resources.directory.take
    )
    commands = InstrumentCommands(registry_of(resources.settings), resources.engine, clocks.today, sync.sync)
    servicer = InstrumentServicer(store, commands)
    purges = purging(resources, "instruments")
    dumps = []
    if resources.kite is not None:
        from alphapanda.app.kite_market import daily_dump  # noqa: PLC0415 - only where Zerodha is used

        dumps.append(daily_dump(resources.settings, resources.kite.rest))
    return Room(
        service="instruments",
        full_name="panda.instruments.v1.InstrumentService",
        registration=lambda server: add_InstrumentServiceServicer_to_server(servicer, server),
        parts=[(Phase.LISTEN, sync), (Phase.WAKE, purges.rounds), *((Phase.WAKE, dump) for dump in dumps)],
        checks=[purges.rounds],
        degradable=dumps,
        counters=lambda: {"instruments": len(resources.directory)},
    )
