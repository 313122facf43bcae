"""Converts instruments to the contract's messages and back."""

from __future__ import annotations

from datetime import date

from alphapanda.contract.wire import decimal, exact
from alphapanda.domain.instrument import Instrument
from panda.instruments.v1 import instruments_pb2 as api


def instrument_message(instrument: Instrument) -> api.Instrument:
    """Converts an instrument to its message."""
    return api.Instrument(
        instrument_id=instrument.instrument_id,
        instrument_token=instrument.instrument_token,
        exchange=instrument.exchange,
        tradingsymbol=instrument.tradingsymbol,
        name=instrument.name,
        segment=instrument.segment,
        instrument_type=instrument.instrument_type,
        tick_size=decimal(instrument.tick_size),
        lot_size=instrument.lot_size,
        freeze_quantity=instrument.freeze_quantity,
        expiry=instrument.expiry.isoformat() if instrument.expiry else "",
        tradable=instrument.tradable,
        session_segment=instrument.session_segment,
    )


def instrument_from(message: api.Instrument) -> Instrument:
    """Converts a message to its instrument."""
    return Instrument(
        instrument_id=message.instrument_id,
        instrument_token=message.instrument_token,
        exchange=message.exchange,
        tradingsymbol=message.tradingsymbol,
        name=message.name,
        segment=message.segment,
        instrument_type=message.instrument_type,
        tick_size=exact(message.tick_size),
        lot_size=message.lot_size,
        freeze_quantity=message.freeze_quantity,
        session_segment=message.session_segment,
        expiry=date.fromisoformat(message.expiry) if message.expiry else None,
    )
