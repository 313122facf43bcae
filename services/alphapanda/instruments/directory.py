"""The instruments that are known offline: the shipped ones, and those that the user has imported or added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from alphapanda.domain.instrument import Instrument, InstrumentDirectory, SymbolChange
from alphapanda.instruments.registry import InstrumentRegistry

_COMPARED: Final = 2_000


class RegisteredDirectory(InstrumentDirectory):
    """The shipped instruments, with the registry's behind them, which are looked up when they are asked for.

    It iterates over the shipped instruments and those that were asked for, so that 120,000 imported ones cost nothing.
    An instrument that is imported later is found; one that has been asked for stays as it was until `take` gives another.

    Args:
        shipped: the shipped instruments.
        registry: the user's instruments; they take the place of shipped ones with their id or their token.
        changes: symbols that were replaced by others.
    """

    def __init__(
        self,
        shipped: Iterable[Instrument],
        registry: InstrumentRegistry,
        changes: Iterable[SymbolChange] = (),
    ) -> None:
        self._registry = registry
        base = []
        self._shipped = 0
        for one in shipped:
            mine = registry.by_id(one.instrument_id)
            if mine is not None:
                base.append(mine)
            elif registry.by_token(one.instrument_token) is None:
                base.append(one)
                self._shipped += 1
        super().__init__(base, changes)

    @override
    def take(self, changed: Iterable[Instrument]) -> None:
        """Takes those that were asked for before; the others are looked up."""
        known = [
            one
            for one in changed
            if one.instrument_id in self._by_id or one.instrument_token in self._by_token
        ]
        super().take(known)

    @override
    def __len__(self) -> int:
        """How many instruments are known, whether they were asked for or not."""
        return self._shipped + self._registry.count()

    @override
    def by_id(self, instrument_id: str) -> Instrument | None:
        return super().by_id(instrument_id) or self._known(self._registry.by_id(instrument_id))

    @override
    def by_token(self, instrument_token: int) -> Instrument | None:
        return super().by_token(instrument_token) or self._known(self._registry.by_token(instrument_token))

    @override
    def by_symbol(self, symbol: str) -> Instrument | None:
        found = super().by_symbol(symbol)
        if found is None:
            exchange, _, name = symbol.partition(":")
            found = self._known(self._registry.by_symbol(exchange, name))
        return found

    @override
    def symbols_near(self, symbol: str) -> list[str]:
        return [*super().symbols_near(symbol), *self._registry.symbols_near(symbol, _COMPARED)]

    def _known(self, found: Instrument | None) -> Instrument | None:
        if found is not None:
            self._by_id[found.instrument_id] = found
            self._by_token[found.instrument_token] = found
            self._by_symbol.setdefault(found.symbol, found)
        return found
