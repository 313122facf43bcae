"""Reads the fills of an account and of its shadow, and compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from alphapanda.contract.wire import optional_moment, timestamp
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.portfolio.core.slippage import Leg, Pair, SignalFill, SignalKey, SlippageReport, compare
from alphapanda.portfolio.messages import decimal, money
from alphapanda.portfolio.store.port import AccountName, BookedFill, PortfolioStore
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio

MOST_FILLS: Final = 10_000
"""Fills of each account that a report reads, the newest ones."""
DEFAULT_PAIRS: Final = 100
"""Pairs in an answer if the request has no limit."""
_PAGE: Final = 500


class SlippageReports:
    """Makes reports of slippage.

    Args:
        store: the books.
        directory: returns today's instruments.
    """

    def __init__(self, store: PortfolioStore, directory: Callable[[], InstrumentDirectory]) -> None:
        self._store = store
        self._directory = directory

    async def report(
        self, live: AccountName, shadow: AccountName, request: portfolio.ReportSlippageRequest
    ) -> portfolio.ReportSlippageResponse:
        """Compares the fills of two open accounts, as the request says."""
        measured, all_measured = await self._fills(live, request)
        against, all_against = await self._fills(shadow, request)
        left_out = "" if all_measured and all_against else f"only the newest {MOST_FILLS} fills were compared"
        return self._message(
            live, shadow, request, compare(map(_of_signal, measured), map(_of_signal, against)), left_out
        )

    async def _fills(
        self, name: AccountName, request: portfolio.ReportSlippageRequest
    ) -> tuple[Sequence[BookedFill], bool]:
        """The account's fills of the time asked for, and whether they are all of them."""
        since, until = optional_moment(request, "since"), optional_moment(request, "until")
        found: list[BookedFill] = []
        before: int | None = None
        for _ in range(MOST_FILLS // _PAGE):
            page = await self._store.fills(
                name, strategy_id=request.strategy_id, order_id="", before=before, limit=_PAGE
            )
            found += [fill for fill in page if _within(fill.traded_at, since, until)]
            # Fills are booked as they come, so one that is much older than the time asked for ends the search.
            if len(page) < _PAGE or (since is not None and all(fill.traded_at < since for fill in page)):
                return found, True
            before = page[-1].revision
        return found, False

    def _message(
        self,
        live: AccountName,
        shadow: AccountName,
        request: portfolio.ReportSlippageRequest,
        report: SlippageReport,
        left_out: str,
    ) -> portfolio.ReportSlippageResponse:
        return portfolio.ReportSlippageResponse(
            broker=live.broker,
            account=live.account,
            shadow_broker=shadow.broker,
            shadow_account=shadow.account,
            pairs=[self._pair(pair) for pair in report.pairs[: request.limit or DEFAULT_PAIRS]],
            pair_count=len(report.pairs),
            only_live=report.only_live,
            only_shadow=report.only_shadow,
            cost=money(report.cost),
            basis_points=decimal(report.basis_points),
            incomplete=left_out,
        )

    def _pair(self, pair: Pair) -> portfolio.SlippagePair:
        signal = pair.signal
        instrument = self._directory().by_id(signal.instrument_id)
        return portfolio.SlippagePair(
            strategy_id=signal.strategy_id,
            instrument_id=signal.instrument_id,
            symbol=instrument.symbol if instrument else signal.instrument_id,
            product=common.Product.ValueType(signal.product),
            side=common.Side.ValueType(signal.side),
            correlation_id=signal.correlation_id,
            live=_leg(pair.live),
            shadow=_leg(pair.shadow),
            per_unit=decimal(pair.per_unit),
            basis_points=decimal(pair.basis_points),
            cost=money(pair.cost),
        )


def _leg(leg: Leg) -> portfolio.SlippageLeg:
    return portfolio.SlippageLeg(
        quantity=leg.quantity,
        average_price=decimal(leg.average_price),
        fills=leg.fills,
        first_at=timestamp(leg.first_at),
        last_at=timestamp(leg.last_at),
        fill_ids=leg.fill_ids,
    )


def _of_signal(fill: BookedFill) -> SignalFill:
    key = fill.key
    signal = SignalKey(key.strategy_id, key.instrument_id, key.product, fill.side, fill.correlation_id)
    return SignalFill(signal, fill.fill_id, fill.quantity, fill.price, fill.traded_at)


def _within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)
