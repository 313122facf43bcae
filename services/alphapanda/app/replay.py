"""Builds a replay: the production cores in one loop, with in-memory stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

from alphapanda.app.calendars import open_calendar, usual_data_directory
from alphapanda.app.funds import funds_terms_of, venue_of
from alphapanda.app.instruments import EVERY_DAY, known_instruments
from alphapanda.app.limits import limits_of
from alphapanda.app.paper import paper_market
from alphapanda.app.reading import reading_of
from alphapanda.app.replay_days import ReplayedDays, WantedDays
from alphapanda.contract.topics import payload_policies, shard_of
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.fill_rule import FillRule
from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.order_events import Filled
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.domain.size import units_or_size
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.recorded.options import DAY_NS
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.replay import RecordingWanted, named_symbols, replay_frames
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.replay.core import Replay
from alphapanda.replay.deciding import Deciding
from alphapanda.risk.core.check import StrategyStatus
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits
from alphapanda.risk.limits_file import read_limits
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.core.basket import BasketStrategy, require_together
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.folder import BadStrategyFile, registry_with
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.synchronous import SynchronousTrading

ALL_DAYS: Final = WantedDays()


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A replay that is ready for `replay.run(frames)`; afterwards `data` has what became of the rows, `days` the days."""

    replay: Replay
    frames: Iterator[Frame]
    data: DataAccount
    directory: InstrumentDirectory
    extent: Extent
    days: ReplayedDays
    calendar: TradingCalendar
    strategies: tuple[StrategyConfig, ...]
    settings: Settings
    registry: StrategyRegistry
    scoped: ScopedLimits

    @property
    def watched(self) -> list[Instrument]:
        """The instruments that the strategies watch, ordered by symbol."""
        tokens = {each.instrument_token for strategy in self.strategies for each in strategy.instruments}
        found = (self.directory.by_token(token) for token in tokens)
        return sorted((each for each in found if each is not None), key=lambda each: each.symbol)

    def squared_off_at_once(self) -> str | None:
        """Says which strategies decide on bars of a day for a product that lasts none; None if none does."""
        on_days = DAY_NS in self.data.lengths_ns
        named = []
        for each in self.strategies:
            if each.product is Product.MIS:
                parameters = self.registry.parameters(each.strategy_type, each.parameters)
                interval = self.registry.type_named(each.strategy_type).interval_of(parameters)
                if interval == "1d" or (interval is None and on_days):
                    named.append(each.strategy_id)
        if not named:
            return None
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        return (
            f"{named[0]}{more} decides on bars of a day, and MIS is squared off on the day on which it is bought: --product CNC"
            " holds a position over night"
        )

    def problem(self) -> str | None:
        """Why the run is no result, in one line; None if enough of the data was used. Call it afterwards."""
        together = {
            each.strategy_id
            for each in self.strategies
            if issubclass(self.registry.type_named(each.strategy_type), BasketStrategy)
        }
        return self.data.problem(tokens_of(self.strategies), together)


@dataclass(frozen=True, slots=True)
class WantedStrategy:
    """A requested strategy, not validated yet.

    Attributes:
        strategy_type: registered name of the type.
        parameters: parameters as text; absent ones have their defaults.
    watched = _watched(directory, wanted.symbols or usual)
    units, size = units_or_size(str(wanted.quantity), "quantity")
        product: name of the product.
    """

    strategy_type: str
    parameters: Mapping[str, str]
    symbols: tuple[str, ...] = ()
    quantity: int | str = 1
    product: str = "MIS"


def build_replay(
    files: Sequence[Path],
    wanted: Sequence[WantedStrategy],
    *,
    instrument: str | None = None,
    limits_enforced: bool = True,
    limits: Path | None = None,
    config: Path | None = None,
    on_fill: Callable[[Filled, Decimal], None] | None = None,
    strategies_folder: Path | None = None,
    wanted_days: WantedDays = ALL_DAYS,
    on_bad_file: Callable[[BadStrategyFile], None] = lambda _: None,
    own_account: Decimal | None = None,
    fill: str | None = None,
    reading: Mapping[str, object] = MappingProxyType({}),
    tell: Callable[[str], None] = lambda _: None,
    each_alone: bool = False,
) -> ReplayRun:
    """Builds a replay of one or more strategies in one account, or of each in its own.

    Args:
        files: the recording.
        wanted: the strategies; each gets its own name.
        instrument: "NSE:INFY", for files of bars that don't name their instrument; also the instrument of strategies
            that name none.
        limits_enforced: False lifts the limits of the settings.
        limits: TOML or YAML file with limits by account, strategy and instrument, which override the settings.
        config: TOML file with settings.
        on_fill: called with every fill and its realised profit.
        strategies_folder: folder of the user's own strategy types, in place of the setting strategy.folder.
        wanted_days: the days to replay.
        on_bad_file: called with every file of that folder that can't be loaded.
        own_account: starting cash in rupees of an account for each strategy, with the strategy's name; None: all share
            the account of the settings.
        fill: when orders on bars fill, in place of the setting paper_trading.fill.
        reading: how to read the files, by the names of the settings of `replay`, in their place where not None.
        tell: called with each line about what was recognised in the files.
        each_alone: whether each strategy is to be replayed alone, as in a sweep; it then has its type's name.

    Raises:
        InvalidInput: the request can't be run.
        SettingsInvalid: the settings are invalid.
        CalendarNotCovered: the calendar has no data for a day that was asked for.
    """
    overrides: dict[str, dict[str, object]] = {} if limits_enforced else {"risk": {"limits_enforced": False}}
    if strategies_folder is not None:
        overrides["strategy"] = {"folder": strategies_folder}
    if own_account is not None:
        overrides.setdefault("paper_trading", {})["starting_cash"] = own_account
    if fill is not None:
        overrides.setdefault("paper_trading", {})["fill"] = fill
    settings = load_settings(os.environ, config=config, dotenv=Path(".env"), **overrides)
    calendar = open_calendar(settings, usual_data_directory(settings))
    wanted_days.require_covered(calendar)
    directory = known_instruments(settings, EVERY_DAY)
    registry = registry_with(settings.strategy.folder, on_bad_file)
    types = [each.strategy_type for each in wanted]
    strategies = [
        _configured(
            each,
            each.strategy_type
            if each_alone or types.count(each.strategy_type) == 1
            else f"{each.strategy_type}.{number}",
            (instrument,) if instrument else named_symbols(files),
            directory,
            settings,
            registry,
        )
        for number, each in enumerate(wanted, 1)
    ]
    if own_account is not None:
        strategies = [replace(each, account=each.strategy_id) for each in strategies]
    scoped = NOTHING_SET
    if limits is not None:
        scoped = read_limits(limits, [each.strategy_id for each in strategies], directory)
    between = {"first_day": wanted_days.first, "last_day": wanted_days.last}
    options = reading_of(settings.replay, {**reading, **between})
    data, extent, days = DataAccount(directory, calendar), Extent(), ReplayedDays(calendar)
    return ReplayRun(
        replay=compose_replay(strategies, settings, calendar, directory, on_fill, registry, scoped),
        frames=days.follow(
            replay_frames(
                RecordingWanted(
                    files,
                    instrument,
                    directory,
                    calendar,
                    options,
                    shows_opens=settings.paper_trading.fill is FillRule.NEXT_OPEN,
                ),
                seed=settings.marketdata.seed,
                shards=payload_policies()["tick_frame"].partitions,
                shard_of=shard_of,
                sanitiser=Sanitiser(directory, PRICE_SCALE, data, settings.marketdata.wild_print_percent),
                extent=extent,
                tell=tell,
            )
        ),
        data=data,
        directory=directory,
        extent=extent,
        calendar=calendar,
        strategies=tuple(strategies),
        settings=settings,
        days=days,
        registry=registry,
        scoped=scoped,
    )


def open_registry(config: Path | None, strategies_folder: Path | None) -> StrategyRegistry:
    """The strategy types that a replay would have; files that can't be loaded are left out.

    Raises:
        SettingsInvalid: the settings are invalid.
    """
    overrides: dict[str, dict[str, object]] = {}
    if strategies_folder is not None:
        overrides["strategy"] = {"folder": strategies_folder}
    settings = load_settings(os.environ, config=config, dotenv=Path(".env"), **overrides)
    return registry_with(settings.strategy.folder, lambda _: None)


def tokens_of(strategies: Iterable[StrategyConfig]) -> dict[str, list[int]]:
    """The instrument tokens of each strategy."""
    return {one.strategy_id: [each.instrument_token for each in one.instruments] for one in strategies}


def _configured(
    wanted: WantedStrategy,
    strategy_id: str,
    usual: Sequence[str],
    directory: InstrumentDirectory,
    settings: Settings,
    registry: StrategyRegistry,
) -> StrategyConfig:
    watched = _watched(directory, wanted.symbols or usual)
    units, size = units_or_size(str(wanted.quantity), "quantity")
    parameters = registry.complete(wanted.strategy_type, wanted.parameters)
    require_together(
        registry.type_named(wanted.strategy_type),
        watched,
        f"symbols of --set {wanted.strategy_type}@NSE:X,NSE:Y",
    )
    return StrategyConfig(
        strategy_id=strategy_id,
        revision=1,
        state=StrategyState.RUNNING,
        strategy_type=wanted.strategy_type,
        parameters=parameters,
        instruments=tuple(StrategyInstrument(each.instrument_id, each.instrument_token) for each in watched),
        brokers=(),
        account=settings.account,
        quantity=1 if size else _whole_lots(units, watched),
        size=size,
        product=_product(wanted.product),
        signal_ttl_seconds=settings.strategy.signal_ttl_seconds,
    )


def compose_replay(
    strategies: Sequence[StrategyConfig],
    settings: Settings,
    calendar: TradingCalendar,
    directory: InstrumentDirectory,
    on_fill: Callable[[Filled, Decimal], None] | None = None,
    registry: StrategyRegistry | None = None,
    scoped: ScopedLimits = NOTHING_SET,
    deciding: Deciding | None = None,
) -> Replay:
    """Wires the cores for these strategies, with the paper exchange.

    Args:
        strategies: their configurations.
        settings: all of them.
        calendar: the exchange's sessions.
        directory: the instruments.
        on_fill: called with every fill and its realised profit.
        registry: the strategy types; None: the shipped ones.
        scoped: limits of the account, its strategies and instruments.
        deciding: what decides in place of a host of these strategies.
    """
    paper = settings.paper_trading
    accounts = dict.fromkeys(strategy.account for strategy in strategies) or {settings.account: None}
    router = ExecutionRouter([DEFAULT_BROKER])
    host = deciding or host_of(strategies, settings, calendar, directory, registry)
    opt_ins = {strategy.strategy_id: strategy.brokers for strategy in strategies}
    checks = PreSubmitChecks(
        router,
        lambda strategy_id: opt_ins.get(strategy_id, ()),
        calendar,
        timedelta(seconds=settings.trading.price_max_age_seconds),
        paper_as_live=paper.as_live,
    )
    market = paper_market(settings)
    return Replay(
        host=host,
        trading=SynchronousTrading(
            checks, directory, {DEFAULT_BROKER: PaperBook(DEFAULT_BROKER, market, calendar)}, calendar
        ),
        books=[PortfolioBook(DEFAULT_BROKER, account, paper.starting_cash) for account in accounts],
        instruments=directory,
        calendar=calendar,
        limits=limits_of(settings.risk, paper.square_off_time),
        strategy_statuses={
            s.strategy_id: StrategyStatus(revision=s.revision, running=True) for s in strategies
        },
        brokers=[DEFAULT_BROKER],
        price_scale=PRICE_SCALE,
        on_fill=on_fill,
        scoped=scoped,
        funds=funds_terms_of(paper) if paper.buying_power else None,
        venue=venue_of(paper),
        fill=paper.fill,
    )


def host_of(
    strategies: Iterable[StrategyConfig],
    settings: Settings,
    calendar: TradingCalendar,
    directory: InstrumentDirectory,
    registry: StrategyRegistry | None,
) -> StrategyHost:
    """A host with these strategies."""
    host = StrategyHost(
        directory,
        calendar,
        ExecutionRouter([DEFAULT_BROKER]),
        registry,
        settings.strategy.max_errors_in_a_row,
        settings.strategy.max_signals_per_minute,
    )
    for strategy in strategies:
        host.configure(strategy)
    return host


def _watched(directory: InstrumentDirectory, symbols: Sequence[str]) -> list[Instrument]:
    if not symbols:
        return [each for each in directory if each.tradable]
    if len(set(symbols)) < len(symbols):
        raise InvalidInput("symbols", ", ".join(symbols), "each symbol once")
    found = [directory.require_symbol(symbol, "instrument") for symbol in symbols]
    for each in found:
        if not each.tradable:
            raise InvalidInput("instrument", each.symbol, "an index can't be traded")
    return found


def _whole_lots(quantity: int, instruments: Sequence[Instrument]) -> int:
    for each in instruments:
        if quantity <= 0 or quantity % each.lot_size:
            raise InvalidInput(
                "quantity", quantity, f"a multiple of {each.symbol}'s lot of {each.lot_size}, > 0"
            )
    return quantity


def _product(name: str) -> Product:
    try:
        return Product[name]
    except KeyError:
        raise UnknownName("product", name, [product.name for product in Product]) from None
