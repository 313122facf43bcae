"""Reconciles the accounts of live brokers at the start and at an interval."""

from __future__ import annotations

import time
from typing import Final

import structlog

from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from alphapanda.resilience.rounds import Rounds

RETRY_SECONDS: Final = 5.0
"""Wall time until an account is looked at again whose broker couldn't be read."""
_SHOWN: Final = 3
_log = structlog.get_logger(__name__)


class BrokerReconciliation:
    """Reconciles every account of every live broker, one after the other; simulated brokers are reconciled on demand.

    Args:
        store: the books, which know the accounts.
        reconciler: compares accounts.
        interval_seconds: wall time between two reconciliations of an account; the first comes at once. Where the broker
            can't be read, as before somebody has signed in, the next one comes after RETRY_SECONDS.

    Attributes:
        name: name in the service's status.
        rounds: the rounds; the owner starts and stops them.
    """

    name = "reconciliation with the broker"

    def __init__(self, store: PortfolioStore, reconciler: Reconciler, interval_seconds: float) -> None:
        self._store = store
        self._reconciler = reconciler
        self._interval = interval_seconds
        self._due: dict[AccountName, float] = {}
        pause = min(interval_seconds, RETRY_SECONDS)
        self.rounds = Rounds(self.name, self.round, pause, _log, at_once=True)

    @property
    def degradation(self) -> str:
        """Which accounts differ, or couldn't be compared; empty where all agree."""
        said = []
        live = self._reconciler.live_brokers
        for name, outcome in sorted(self._reconciler.latest.items()):
            if name.broker not in live:
                continue
            whose = f"{name.broker} account {name.account}"
            if outcome.look.problem:
                said.append(f"{whose} isn't reconciled: {outcome.look.problem}")
            elif halting := sorted({one.difference.instrument_id for one in outcome.alive if one.halts}):
                more = f" and {len(halting) - _SHOWN} more" if len(halting) > _SHOWN else ""
                said.append(
                    f"{whose} differs from the broker in {', '.join(halting[:_SHOWN])}{more}: entries there are refused;"
                    f" `alphapanda reconcile list --broker {name.broker}`"
                )
        return "; ".join(said)

    async def round(self) -> None:
        """Reconciles the accounts whose interval is over, and those whose broker couldn't be read."""
        for broker in self._reconciler.live_brokers:
            for name in await self._store.accounts(broker):
                if time.monotonic() < self._due.get(name, 0.0):
                    continue
                outcome = await self._reconciler.reconcile(name)
                if not outcome.look.problem:
                    self._due[name] = time.monotonic() + self._interval
                    _log.info(
                        "account.reconciled",
                        broker=name.broker,
                        account=name.account,
                        compared=outcome.look.theirs.size if outcome.look.theirs else 0,
                        differences=len(outcome.alive),
                    )
