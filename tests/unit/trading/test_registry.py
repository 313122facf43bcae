"""The registry of brokers by itself, what strategies opted in to, and what paper is built with."""

from __future__ import annotations

import gc
import subprocess
import sys
from types import FunctionType, ModuleType

import pytest

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.trading.execution_context import OptIns
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.paper import registration
from alphapanda.trading.traders.registry import BrokerRegistration, BrokerRegistry, TraderParts
from alphapanda.trading.traders.trader import ExecutionMode, OffTrader
from panda.events.v1.control_pb2 import StrategyChanged
from panda.events.v1.events_pb2 import Event


class Credentials:
    """Stands for what Zerodha's trader is built with: sessions, keys, connections."""


def _parts(zerodha=None) -> TraderParts:
    return TraderParts(object(), 0.3, zerodha)  # type: ignore[arg-type] - never called here


def test_a_broker_is_live_by_its_registration() -> None:
    """Zerodha's orders reach an exchange and paper's don't; what isn't registered is refused with the nearest name."""
    registry = BrokerRegistry(
        (*BROKERS, BrokerRegistration("third", live=True, build=lambda _: OffTrader("third")))
    )
    assert registry.live(("paper", "zerodha", "third")) == ("zerodha", "third")
    assert registry.live(("paper",)) == ()
    with pytest.raises(UnknownName, match="zerodha"):
        registry.live(("paper", "zerodah"))


def test_a_broker_is_registered_once_under_a_name_that_topics_can_have() -> None:
    """Two of one name, and a name with capitals, are refused at the start."""
    with pytest.raises(InvalidInput, match="registered once"):
        BrokerRegistry((registration("paper"), registration("paper")))
    with pytest.raises(InvalidInput):
        BrokerRegistry((registration("Paper"),))


def test_an_enabled_broker_gets_its_trader_and_one_that_is_off_gets_none() -> None:
    """Each active broker has a trader of its own name; only the enabled ones are built."""
    traders = BrokerRegistry(BROKERS).traders(("zerodha", "paper"), ("paper",), _parts())
    assert list(traders) == ["zerodha", "paper"]
    assert [traders[name].get_execution_mode() for name in traders] == [
        ExecutionMode.OFF,
        ExecutionMode.PAPER,
    ]
    with pytest.raises(InvalidInput, match=r"zerodha\.enabled"):
        BrokerRegistry(BROKERS).traders(("zerodha",), ("zerodha",), _parts())


async def test_the_newest_revision_of_a_strategy_says_what_it_opted_in_to() -> None:
    """An older one that comes later changes nothing, and an unknown strategy opted in to nothing."""
    opt_ins = OptIns()

    async def changed(revision: int, *brokers: str) -> None:
        await opt_ins.learn(
            Event(strategy_changed=StrategyChanged(strategy_id="ema", revision=revision, brokers=brokers))
        )

    assert opt_ins("ema") == ()
    await changed(2, "paper", "zerodha")
    assert opt_ins("ema") == ("paper", "zerodha")
    await changed(3)
    assert opt_ins("ema") == ()
    await changed(1, "zerodha")
    assert opt_ins("ema") == ()


def test_paper_holds_no_credential() -> None:
    """Whatever its trader refers to, over any number of steps, nothing that Zerodha is built with is among it."""
    secret = Credentials()
    trader = BrokerRegistry(BROKERS).traders(("paper",), ("paper",), _parts(secret))["paper"]
    seen, waiting = {id(trader)}, [trader]
    while waiting:
        for found in gc.get_referents(waiting.pop()):
            if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):
                continue
            assert not isinstance(found, Credentials)
            seen.add(id(found))
            waiting.append(found)


def test_paper_imports_nothing_that_speaks_to_a_broker() -> None:
    """Its trader, its exchange and their matching load no client of Zerodha's, and nothing that opens an HTTP or a web socket."""
    code = (
        "import sys, alphapanda.trading.traders.paper, alphapanda.paper_exchange.exchange\n"
        "print(' '.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = (
        "kiteconnect",
        "websockets",
        "aiohttp",
        "requests",
        "httpx",
        "alphapanda.kite",
        "alphapanda.settings.zerodha",
    )
    names = loaded.stdout.split()
    assert "alphapanda.paper_exchange.exchange" in names
    assert [name for name in names if name.startswith(roots)] == []
    assert [name for name in names if name.startswith("alphapanda.trading.traders.kite")] == []
