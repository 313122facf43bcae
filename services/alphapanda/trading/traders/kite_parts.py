"""What the trader of Zerodha is built with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.kite.order_updates import OrderUpdates
from alphapanda.kite.rest import KiteRest
from alphapanda.paper_exchange.core.paper_charges import PaperCharges

AUTOMATIC: Final = Decimal(-1)
"""Market protection of which Zerodha sets the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZerodhaOptions:
    """How orders are sent and followed.

    Attributes:
        market_protection: percent, > 0; AUTOMATIC: what Zerodha sets.
        visibility_seconds: seconds within which the order book shows an order that Zerodha has received.
        least_look_ups: answered look-ups without the order before it counts as absent.
        escalation_percents: how far from the last price each step of an exit that rests goes; then the circuit.
        halt_after: equal refusals in a row that no list knows, after which entries are halted.
    """

    market_protection: Decimal = AUTOMATIC
    visibility_seconds: float = 180.0
    least_look_ups: int = 5
    escalation_percents: Sequence[Decimal] = (Decimal(1), Decimal(3))
    halt_after: int = 3


@dataclass(frozen=True, slots=True)
class ZerodhaParts:
    """What the trader is built with.

    Attributes:
        rest: the HTTP API by account.
        charges: what fills are charged, as an estimate until the contract note.
        instruments: today's instruments.
        options: how orders are sent and followed.
        updates: order updates by account; they only say which order is to be read.
        monotonic: seconds of a clock that never goes back.
    """

    rest: Mapping[str, KiteRest]
    charges: PaperCharges
    instruments: Callable[[], InstrumentDirectory]
    options: ZerodhaOptions = ZerodhaOptions()
    updates: Mapping[str, OrderUpdates] = field(default_factory=dict)
    monotonic: Callable[[], float] = time.monotonic
