"""A strategy's configuration at one revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from alphapanda.domain.order import Product


class StrategyState(IntEnum):
    """Whether a strategy trades; numbered as in panda.events.v1."""

    RUNNING = 1
    STOPPED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class StrategyInstrument:
    """An instrument of a strategy: its id, and the token that it had when the strategy was changed."""

    instrument_id: str
    instrument_token: int

    @property
    def symbol(self) -> str:
        """The symbol, such as "NSE:INFY": the id without its expiry."""
        return self.instrument_id.partition("@")[0]


@dataclass(frozen=True, slots=True)
class Flattening:
    """Positions of earlier revisions that are closed when `revision`, or a later one, takes effect.

    Later revisions keep it, because one of them may replace `revision` before any frame arrives.

    Attributes:
        revision: the revision that closes them.
        instruments: the instruments that the earlier revisions traded.
        product: product of the positions.
    """

    revision: int
    instruments: tuple[StrategyInstrument, ...]
    product: Product


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """A strategy's configuration; every change makes the next revision.

    Attributes:
        strategy_id: the strategy's name.
        revision: 1, 2, 3 …
        state: whether it trades.
        strategy_type: registered name of its type.
        parameters: all parameters as text, valid for the type.
        instruments: the instruments that it trades.
        brokers: brokers that it opted in to; paper always gets its signals, too.
        account: its account at each of these brokers.
        quantity: units of a full position, > 0; 1 if `size` says it.
        product: product of its signals.
        signal_ttl_seconds: market time for which its signals are valid, > 0.
        flattens: the positions that it closes when it takes effect; None if positions stay as they are.
        size: size of a full position in rupees or percent, such as "10%"; empty: `quantity` says it.
    """

    strategy_id: str
    revision: int
    state: StrategyState
    strategy_type: str
    parameters: Mapping[str, str]
    instruments: tuple[StrategyInstrument, ...]
    brokers: tuple[str, ...]
    account: str
    quantity: int
    product: Product
    signal_ttl_seconds: int
    flattens: Flattening | None = None
    size: str = ""

    def only(self, instruments: Iterable[StrategyInstrument]) -> StrategyConfig:
        """The same configuration with only these instruments."""
        return replace(self, instruments=tuple(instruments))

    def after(self, revision: int) -> StrategyConfig:
        """The same configuration without a flattening that `revision`, or an earlier one, has done already."""
        if self.flattens is None or self.flattens.revision > revision:
            return self
        return replace(self, flattens=None)

    def restricted_to(self, holds: Callable[[StrategyInstrument], bool]) -> StrategyConfig:
        """The same configuration with only the instruments, traded or to be flattened, for which `holds` is true."""
        flattens = self.flattens
        if flattens is not None:
            flattens = replace(flattens, instruments=tuple(filter(holds, flattens.instruments)))
        return replace(self, instruments=tuple(filter(holds, self.instruments)), flattens=flattens)
