"""Checks the names in a request to risk: what doesn't exist is refused with the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.domain.errors import InvalidInput, UnknownName, nearest
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.risk.store.port import RiskStore


class Names:
    """The brokers, accounts, strategies and instruments that there are.

    An account exists once it is the default one, a strategy trades it, or something was decided in it.

    Args:
        store: knows the accounts in which something was decided.
        strategies: the strategies, and their accounts.
        instruments: returns today's instruments.
        brokers: the active brokers.
        account: the account if a request names none.
    """

    def __init__(
        self,
        store: RiskStore,
        strategies: KnownStrategies,
        instruments: Callable[[], InstrumentDirectory],
        brokers: Sequence[str],
        account: str,
    ) -> None:
        self._store = store
        self._strategies = strategies
        self._instruments = instruments
        self._brokers = tuple(brokers)
        self._account = account

    def broker(self, name: str) -> str:
        """Returns an active broker.

        Raises:
            UnknownName: it isn't active.
        """
        if name not in self._brokers:
            raise UnknownName("broker", name, self._brokers)
        return name

    async def account(self, broker: str, name: str) -> str:
        """Returns an account at a broker, or at any for an empty broker; the default one for an empty name.

        Raises:
            UnknownName: there is no such account.
        """
        if name in ("", self._account):
            return self._account
        known = {self._account, *self._strategies.accounts}
        for at in [broker] if broker else self._brokers:
            known.update(await self._store.accounts(at))
        if name not in known:
            raise UnknownName("account", name, known)
        return name

    async def strategy(self, name: str, others: Collection[str] = ()) -> str:
        """Checks a strategy; returns why that isn't possible now, empty if it exists or none is named.

        Raises:
            UnknownName: there is no such strategy.
        """
        return await self._strategies.verify("strategy_id", name, others)

    def instrument(self, instrument_id: str, others: Collection[str] = ()) -> str:
        """Returns an instrument of today, or one of `others`.

        Raises:
            InvalidInput: there is no such instrument.
        """
        known = self._instruments()
        if instrument_id not in others and known.by_id(instrument_id) is None:
            near = nearest(instrument_id, sorted(one.instrument_id for one in known))
            hint = f"did you mean {near!r}? " if near else ""
            raise InvalidInput(
                "instrument_id", instrument_id, f"{hint}an instrument of today, such as NSE:INFY"
            )
        return instrument_id
