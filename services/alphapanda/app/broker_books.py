"""Chooses who reads each broker's own books."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alphapanda.app.clocks import today
from alphapanda.app.resources import ProcessResources
from alphapanda.portfolio.brokers.reader import BrokerReader
from alphapanda.portfolio.brokers.simulated import SimulatedBooks
from alphapanda.portfolio.store.port import PortfolioStore
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

ZERODHA: Final = "zerodha"


def broker_readers(
    resources: ProcessResources, trading: TradingServiceStub, store: PortfolioStore
) -> Mapping[str, BrokerReader]:
    """The readers by enabled broker. A live broker whose books nobody can read here is compared through trading, as a simulated one."""
    readers: dict[str, BrokerReader] = {
        broker: SimulatedBooks(trading, store, today) for broker in resources.router.enabled
    }
    if ZERODHA in readers and resources.kite is not None:
        from alphapanda.portfolio.brokers.kite_books import ZerodhaBooks  # noqa: PLC0415 - only where Zerodha is used

        readers[ZERODHA] = ZerodhaBooks(resources.kite.rest, resources.instruments, today)
    return readers
