"""Takes the instruments in which entries are refused, because the broker's books differ from ours; portfolio says which."""

from __future__ import annotations

import structlog

from alphapanda.risk.store.port import RiskStore
from panda.risk.v1 import risk_pb2 as risk

_log = structlog.get_logger(__name__)


async def set_instrument_halts(
    store: RiskStore, request: risk.SetInstrumentHaltsRequest
) -> risk.SetInstrumentHaltsResponse:
    """Stores all halts of an account; an older reconciliation than the newest changes nothing.

    A decision that is being made meanwhile is made again: the account's version rises.
    """
    wanted = {one.instrument_id: one.reason for one in request.halts}
    async with store.unit(request.broker, request.account) as unit:
        before, revision = unit.limits.halts, unit.limits.halts_revision
        changes = request.revision > revision and bool(before or wanted)
        if changes:
            await unit.save_halts(request.revision, wanted)
    in_force = wanted if changes else before
    if changes:
        for instrument_id in sorted(wanted.keys() - before.keys()):
            _log.error(
                "instrument.halted",
                alarm=True,
                broker=request.broker,
                account=request.account,
                instrument_id=instrument_id,
                reason=wanted[instrument_id],
            )
        for instrument_id in sorted(before.keys() - wanted.keys()):
            _log.info(
                "instrument.released",
                broker=request.broker,
                account=request.account,
                instrument_id=instrument_id,
            )
    return risk.SetInstrumentHaltsResponse(
        revision=max(request.revision, revision),
        halts=[
            risk.InstrumentHalt(instrument_id=instrument_id, reason=reason)
            for instrument_id, reason in sorted(in_force.items())
        ],
    )
