from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from tests.values import replace

from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Product, Side, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown, Venue
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.rules import RULES

OPEN, FLIP, EXIT = 100, -50, 0  # targets of a position of 50: adds, crosses, flattens


def _book(market, position: int = 50, key: PositionKey | None = None) -> RiskBook:
    return RiskBook([PositionState(key or market.key, position)])


def _only(verdicts: list[Verdict]) -> Verdict:
    assert len(verdicts) == 1
    return verdicts[0]


def _line(verdict: Verdict, rule: str) -> RuleResult:
    return next(line for line in verdict.rules if line.rule == rule)


def _entries_are_barred(market, inputs: Inputs, rule: str, exit_outcome: RuleOutcome) -> None:
    """Openings fail under the rule, flips are cut to flat by it, exits pass it."""
    reason = {"valid_until": "EXPIRED"}.get(rule, rule.upper())
    opening = _only(_book(market).judge(market.target(OPEN), inputs))
    assert isinstance(opening, Refused)
    assert opening.reason == reason
    assert opening.message == _line(opening, rule).message != ""
    flip = _only(_book(market).judge(market.target(FLIP), inputs))
    assert isinstance(flip, Approved)
    assert (flip.side, flip.quantity, flip.effect) == (Side.SELL, 50, PositionEffect.REDUCES)
    assert "cut to flat" in next(line for line in flip.rules if line.outcome is RuleOutcome.CLAMPED).message
    leaving = _only(_book(market).judge(market.target(EXIT), inputs))
    assert isinstance(leaving, Approved)
    assert _line(leaving, rule).outcome is exit_outcome


def test_every_rule_is_listed_in_order(market) -> None:
    """A verdict lists every rule in force in the order they are asked, passed ones too, and none without a limit."""
    verdict = _only(_book(market).judge(market.target(OPEN), market.inputs()))
    assert isinstance(verdict, Approved)
    listed = [line.rule for line in verdict.rules]
    assert listed == [rule.name for rule in RULES if rule.name in listed]
    quantities = {"max_order_quantity", "max_position_quantity"}
    everywhere = [rule for rule in RULES if not rule.only_live]
    assert {rule.name for rule in everywhere if quantities >= {limit.name for limit in rule.limits}} == set(
        listed
    )
    outcomes = {line.rule: line.outcome for line in verdict.rules}
    assert outcomes.pop("buying_power") is RuleOutcome.NOT_APPLICABLE  # this broker keeps its own funds
    assert set(outcomes.values()) == {RuleOutcome.PASSED}
    assert (verdict.side, verdict.quantity, verdict.effect) == (Side.BUY, 50, PositionEffect.OPENS)


def test_rules_after_the_first_failed_one_are_asked_too(market) -> None:
    """The reason is the first failed rule's; the verdict shows the other failures as well."""
    inputs = market.inputs(max_order=10, max_position=20, price_age=None)
    verdict = _only(_book(market).judge(market.target(OPEN), inputs))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "PRICE"
    failed = [line.rule for line in verdict.rules if line.outcome is RuleOutcome.FAILED]
    assert failed == ["price", "order_quantity", "position_quantity"]
    assert (_line(verdict, "order_quantity").limit, _line(verdict, "order_quantity").observed) == (
        "<= 10",
        "50",
    )


def test_reducing_takes_only_reductions(market) -> None:
    """A kill switch at REDUCING lets exits pass and nothing else."""
    _entries_are_barred(market, market.inputs(state=TradingState.REDUCING), "kill_switch", RuleOutcome.PASSED)


@pytest.mark.parametrize("target", [OPEN, FLIP, EXIT])
def test_halted_takes_nothing(market, target: int) -> None:
    """A kill switch at HALTED refuses exits too."""
    verdict = _only(_book(market).judge(market.target(target), market.inputs(state=TradingState.HALTED)))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "KILL_SWITCH"


@pytest.mark.parametrize("target", [OPEN, FLIP, EXIT])
@pytest.mark.parametrize("at", ["2026-03-04T09:14:59", "2026-03-04T15:30:00", "2026-03-07T11:00:00"])
def test_a_closed_market_takes_nothing(market, target: int, at: str) -> None:
    """Before the open, from the close on and on a Saturday there is no exchange, not even for exits."""
    now = datetime.fromisoformat(at).replace(tzinfo=market.now.tzinfo)
    verdict = _only(_book(market).judge(market.target(target), market.inputs(now=now)))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "MARKET_HOURS"
    assert "closed" in verdict.message


def test_intraday_positions_only_shrink_from_the_cut_off(market) -> None:
    """From 15:00 a MIS entry is refused with a message that names the cut-off; an exit passes."""
    at_cut_off = market.inputs(now=market.now.replace(hour=15))
    _entries_are_barred(market, at_cut_off, "market_hours", RuleOutcome.PASSED)
    verdict = _only(_book(market).judge(market.target(OPEN), at_cut_off))
    assert isinstance(verdict, Refused)
    assert "15:00 IST" in verdict.message
    before = market.inputs(now=market.now.replace(hour=14, minute=59, second=59))
    assert isinstance(_only(_book(market).judge(market.target(OPEN), before)), Approved)


def test_delivery_knows_no_cut_off(market) -> None:
    """A CNC entry passes after the cut-off of MIS."""
    key = replace(market.key, product=Product.CNC)
    inputs = market.inputs(now=market.now.replace(hour=15, minute=10))
    assert isinstance(_only(_book(market, 0, key).judge(market.target(10, key=key), inputs)), Approved)


def test_an_unknown_market_time_lets_exits_through(market) -> None:
    """Without market time entries are refused and exits are waived through, undated."""
    inputs = market.inputs(now=None)
    _entries_are_barred(market, inputs, "market_hours", RuleOutcome.WAIVED)
    verdict = _only(_book(market).judge(market.target(EXIT), inputs))
    assert verdict.decided_at is None


def test_a_day_the_calendar_does_not_cover_is_unknown(market) -> None:
    """A day without calendar data bars entries and waives exits."""
    inputs = market.inputs(now=market.now.replace(year=2031))
    signal = market.target(EXIT)
    verdict = _only(_book(market).judge(signal, inputs))
    assert isinstance(verdict, Approved)
    assert _line(verdict, "market_hours").outcome is RuleOutcome.WAIVED


def test_an_expired_signal_only_exits(market) -> None:
    """Past valid_until an entry is EXPIRED, a flip only flattens, an exit passes; at it nothing has expired."""
    inputs = market.inputs()
    for target, kind in ((OPEN, Refused), (FLIP, Approved), (EXIT, Approved)):
        late = market.target(target, valid_until=market.now - timedelta(microseconds=1))
        verdict = _only(_book(market).judge(late, inputs))
        assert isinstance(verdict, kind)
        if isinstance(verdict, Refused):
            assert verdict.reason == "EXPIRED"
        else:
            assert verdict.effect is PositionEffect.REDUCES
    on_time = market.target(OPEN, valid_until=market.now)
    assert isinstance(_only(_book(market).judge(on_time, inputs)), Approved)


def test_a_stopped_strategy_only_reduces(market) -> None:
    """A stopped strategy's openings are refused, its reductions pass."""
    _entries_are_barred(market, market.inputs(running=False), "strategy_state", RuleOutcome.PASSED)


def test_an_old_revision_only_reduces(market) -> None:
    """A replaced revision's openings are refused, its reductions pass."""
    _entries_are_barred(market, market.inputs(revision=4), "strategy_state", RuleOutcome.PASSED)


def test_an_unknown_revision_is_waited_for_by_entries_alone(market) -> None:
    """A revision that isn't known yet stops the decision of an entry and changes nothing; an exit passes at once."""
    book, inputs = _book(market), market.inputs(revision=2)
    with pytest.raises(StrategyRevisionUnknown) as unknown:
        book.judge(market.target(OPEN), inputs)
    assert (unknown.value.strategy_id, unknown.value.revision) == ("ema-1", 3)
    assert book.positions == {market.key: PositionState(market.key, 50)}
    leaving = _only(book.judge(market.target(EXIT), inputs))
    assert _line(leaving, "strategy_state").outcome is RuleOutcome.WAIVED


def test_a_revision_that_never_comes_is_refused_in_the_end(market) -> None:
    """Once it was waited for long enough the entry is refused."""
    inputs = replace(market.inputs(revision=2), timed_out={("ema-1", 3)})
    _entries_are_barred(market, inputs, "strategy_state", RuleOutcome.WAIVED)


def test_persons_and_square_offs_need_no_strategy(market) -> None:
    """A manual order is judged without a strategy's standing."""
    verdict = _only(_book(market, 0, market.manual).judge(market.explicit(Side.BUY, 5), market.inputs()))
    assert isinstance(verdict, Approved)
    assert _line(verdict, "strategy_state").outcome is RuleOutcome.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("instrument_id", "token", "quantity", "says"),
    [
        ("NSE:NOPE", 408065, 1, "not a known instrument"),
        ("NSE:INFY", 1, 1, "does not have the token"),
        ("NSE:NIFTY 50", 256265, 1, "can't be traded"),
        ("NFO:X", 9001, 100, "multiple of the lot of 75"),
    ],
)
@pytest.mark.parametrize("position", [0, 200])
def test_what_the_exchange_does_not_take_is_refused(
    market, instrument_id: str, token: int, quantity: int, says: str, position: int
) -> None:
    """Unknown and untradable instruments and odd lots are refused, exits too."""
    key = replace(market.manual, instrument_id=instrument_id)
    signal = market.explicit(Side.SELL, quantity, key=key, token=token)
    verdict = _only(_book(market, position, key).judge(signal, market.inputs()))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "INSTRUMENT"
    assert says in verdict.message


def test_ten_freeze_quantities_are_the_most_of_an_entry(market) -> None:
    """An entry of ten slices passes, one more unit doesn't; an exit of any size does."""
    inputs = market.inputs(max_order=None, max_position=None)
    assert isinstance(_only(_book(market, 0).judge(market.target(10_000), inputs)), Approved)
    refused = _only(_book(market, 0).judge(market.target(10_001), inputs))
    assert isinstance(refused, Refused)
    assert refused.reason == "INSTRUMENT"
    assert isinstance(_only(_book(market, 10_001).judge(market.target(0), inputs)), Approved)


def test_lots_are_asked_of_what_is_left_of_a_cut_flip(market) -> None:
    """A flip cut to flat is shown to the rules before it again: half a lot can't be sold."""
    key = replace(market.key, instrument_id="NFO:X")
    signal = market.target(-50, key=key, token=9001)
    verdict = _only(_book(market, 100, key).judge(signal, market.inputs(price_age=None)))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "INSTRUMENT"


@pytest.mark.parametrize("age", [None, 30.5])
def test_without_a_fresh_price_only_exits_pass(market, age: float | None) -> None:
    """No price, or one older than the limit, bars entries and waives exits."""
    _entries_are_barred(market, market.inputs(price_age=age), "price", RuleOutcome.WAIVED)


def test_a_price_as_old_as_the_limit_is_fresh(market) -> None:
    """The limit itself is allowed."""
    verdict = _only(_book(market).judge(market.target(OPEN), market.inputs(price_age=30)))
    assert isinstance(verdict, Approved)


def test_an_order_over_the_limit_is_refused_or_cut(market) -> None:
    """Order quantity bars entries; an exit of more than the limit passes."""
    _entries_are_barred(market, market.inputs(max_order=49), "order_quantity", RuleOutcome.PASSED)
    assert isinstance(_only(_book(market).judge(market.target(OPEN), market.inputs(max_order=50))), Approved)


def test_a_position_over_the_limit_may_shrink(market) -> None:
    """Position quantity bars entries; what is left of an exit may be over it."""
    _entries_are_barred(market, market.inputs(max_position=40), "position_quantity", RuleOutcome.PASSED)
    shrinking = _only(_book(market).judge(market.target(45), market.inputs(max_position=40)))
    assert isinstance(shrinking, Approved)


def test_limits_can_be_lifted(market) -> None:
    """A rule whose limit isn't enforced isn't in the verdict."""
    inputs = market.inputs(max_order=None, max_position=None)
    verdict = _only(_book(market).judge(market.target(9_000), inputs))
    assert isinstance(verdict, Approved)
    assert not {line.rule for line in verdict.rules} & {"order_quantity", "position_quantity"}


def test_delivery_is_never_short(market) -> None:
    """In CNC a short target is one to be flat: a flip becomes an exit, from flat it is held already."""
    key = replace(market.key, product=Product.CNC)
    flip = _only(_book(market, 50, key).judge(market.target(-50, key=key), market.inputs()))
    assert isinstance(flip, Approved)
    assert (flip.quantity, flip.effect) == (50, PositionEffect.REDUCES)
    assert _line(flip, "product").outcome is RuleOutcome.CLAMPED
    flat = _only(_book(market, 0, key).judge(market.target(-50, key=key), market.inputs()))
    assert isinstance(flat, Refused)
    assert flat.reason == "ALREADY_AT_TARGET"
    assert _line(flat, "product").outcome is RuleOutcome.CLAMPED


def test_a_person_can_not_sell_what_is_not_held_for_delivery(market) -> None:
    """An explicit CNC sale from flat is refused by the product rule."""
    key = replace(market.manual, product=Product.CNC)
    verdict = _only(_book(market, 0, key).judge(market.explicit(Side.SELL, 5, key=key), market.inputs()))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "PRODUCT"


def test_rule_16_a_delivery_flip_is_clamped_to_flat_with_that_reason(market) -> None:
    """One can't sell shares that one doesn't own; the verdict says so."""
    key = replace(market.key, product=Product.CNC)
    flip = _only(_book(market, key=key).judge(market.target(FLIP, key=key), market.inputs()))
    assert isinstance(flip, Approved)
    assert (flip.side, flip.quantity, flip.effect) == (Side.SELL, 50, PositionEffect.REDUCES)
    line = _line(_only(_book(market, 0, key).judge(market.target(FLIP, key=key), market.inputs())), "product")
    assert "CNC is never short" in line.message


STOP = Terms(OrderType.SL_M, trigger_price=Decimal(1505))


@pytest.mark.parametrize(
    ("venue", "passes"), [(Venue.LIVE, False), (Venue.AS_LIVE, False), (Venue.PAPER, True)]
)
def test_rule_3_paper_refuses_what_live_would_refuse(market, venue: Venue, passes: bool) -> None:
    """NRML for shares: an opening fails, a flip is cut to flat, an exit passes. Research on paper may lift that."""
    key = replace(market.key, product=Product.NRML)
    inputs = replace(market.inputs(), venue=venue)
    opening = _only(_book(market, key=key).judge(market.target(OPEN, key=key), inputs))
    assert isinstance(opening, Approved) is passes
    flip = _only(_book(market, key=key).judge(market.target(FLIP, key=key), inputs))
    assert isinstance(flip, Approved)
    assert flip.quantity == (100 if passes else 50)
    assert isinstance(_only(_book(market, key=key).judge(market.target(EXIT, key=key), inputs)), Approved)
    if not passes:
        assert isinstance(opening, Refused)
        assert opening.reason == "CAPABILITY"
        assert opening.message == (
            "NSE:INFY: NRML is for futures and options; use CNC to hold shares over night, MIS for the day"
        )


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (STOP, ""),
        (Terms(OrderType.SL_M, trigger_price=Decimal(1500)), "has its trigger above the last price 1500"),
        (Terms(OrderType.SL_M, trigger_price=Decimal("1505.03")), "a price of the instrument's grid"),
        (
            Terms(OrderType.SL, limit_price=Decimal(1504), trigger_price=Decimal(1505)),
            "at least trigger_price",
        ),
        (Terms(OrderType.LIMIT, limit_price=Decimal(9000)), ""),
    ],
)
def test_rule_3_prices_are_checked_with_the_last_price(market, terms: Terms, says: str) -> None:
    """On the grid, and the trigger on its side; what isn't refused passes with these terms."""
    signal = replace(market.explicit(Side.BUY, 10), terms=terms)
    verdict = _only(RiskBook().judge(signal, market.inputs()))
    assert isinstance(verdict, Refused) is bool(says)
    assert says in _line(verdict, "capability").message
    if isinstance(verdict, Approved):
        assert verdict.terms == terms


def test_an_orders_value_is_measured_by_its_limit_where_that_is_more(market) -> None:
    """Ten at a limit of 1,600 are worth 16,000; at 1,400 they count by the last price, to which they may be modified."""
    plain = market.inputs()
    inputs = replace(plain, limits=plain.limits.with_values({"max_order_value": Decimal(15_500)}))
    for price, passes in ((1600, False), (1400, True)):
        limit = Terms(OrderType.LIMIT, limit_price=Decimal(price))
        verdict = _only(RiskBook().judge(replace(market.explicit(Side.BUY, 10), terms=limit), inputs))
        assert isinstance(verdict, Approved) is passes
        if isinstance(verdict, Refused):
            assert (verdict.reason, verdict.largest_quantity) == ("ORDER_VALUE", 9)


def test_rule_3_an_exit_in_a_refused_form_is_told_that_it_passes_at_market(market) -> None:
    """Its stop is on the wrong side of the last price: at MARKET it would be sent."""
    held = _book(market, 10, market.manual)
    signal = replace(market.explicit(Side.SELL, 10), terms=STOP)
    verdict = _only(held.judge(signal, market.inputs()))
    assert isinstance(verdict, Refused)
    assert verdict.message.endswith("; an exit passes at MARKET")
    assert isinstance(_only(held.judge(market.explicit(Side.SELL, 10), market.inputs())), Approved)


def test_rule_21_an_order_for_the_next_session_is_refused_by_name(market) -> None:
    """After the close there is no AMO; the refusal says so."""
    closed = market.inputs(now=market.now.replace(hour=16))
    verdict = _only(RiskBook().judge(market.target(10), closed))
    assert isinstance(verdict, Refused)
    assert verdict.message.endswith("an order for the next session (AMO) is never sent")


def _ended(
    market, book, target: int, inputs, key=None, *, rejected: str | None = "RMS: Blocked", day: int = 4
):
    """A target's order, which the broker rejects, or takes and cancels; the verdict where there is no order."""
    key = key or market.key
    verdict = _only(
        book.judge(market.target(target, key=key, valid_until=market.now + timedelta(days=2)), inputs)
    )
    if isinstance(verdict, Approved):
        status = OrderStatus.REJECTED if rejected else OrderStatus.OPEN
        at = market.now.replace(day=day)
        book.on_order(market.event(verdict, 0, status, 1, at), inputs, None, rejected)
        if not rejected:
            book.on_order(market.event(verdict, 0, OrderStatus.CANCELLED, 2, at), inputs)
    return verdict


def test_rule_5_repeated_rejections_block_an_instrument_and_product_for_the_day(market) -> None:
    """After three in a row no entry of that product passes, of whatever strategy; exits do, other products too."""
    plain = market.inputs()
    inputs = replace(plain, limits=plain.limits.with_values({"max_rejections": 3}))
    book = RiskBook()
    for _ in range(3):
        assert isinstance(_ended(market, book, 10, inputs), Approved)
    refused = _only(book.judge(market.explicit(Side.BUY, 5), inputs))
    assert isinstance(refused, Refused)
    assert refused.reason == "REJECTIONS"
    assert "has rejected 3 orders in NSE:INFY as MIS in a row today (RMS: Blocked)" in refused.message
    assert isinstance(_ended(market, book, 10, inputs, replace(market.key, product=Product.CNC)), Approved)
    book.positions[market.key] = PositionState(market.key, 50)
    assert isinstance(_only(book.judge(market.target(0), inputs)), Approved)


def test_rule_5_an_order_that_was_taken_or_a_new_day_ends_the_row(market) -> None:
    """Two rejections, one order that rests, two more: nothing is blocked. The next day begins anew."""
    plain = market.inputs()
    inputs = replace(plain, limits=plain.limits.with_values({"max_rejections": 3}))
    book = RiskBook()
    for rejected in ("no", "no", None, "no", "no"):
        assert isinstance(_ended(market, book, 10, inputs, rejected=rejected), Approved)
    assert isinstance(_ended(market, book, 10, inputs, rejected="no"), Approved)
    assert isinstance(_only(book.judge(market.target(10), inputs)), Refused)
    tomorrow = replace(market.inputs(now=market.now + timedelta(days=1)), limits=inputs.limits)
    assert isinstance(_ended(market, book, 10, tomorrow, rejected="no", day=5), Approved)
    assert [one.count for one in book.rejections.values()] == [1]


def test_a_target_already_held_is_refused(market) -> None:
    """There is nothing to order; no rule is asked."""
    verdict = _only(_book(market).judge(market.target(50), market.inputs()))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "ALREADY_AT_TARGET"
    assert {line.outcome for line in verdict.rules} == {RuleOutcome.NOT_APPLICABLE}


def test_one_order_is_open_under_a_key(market) -> None:
    """While an order is open a target waits, a later one takes its place, a person's order is refused."""
    book, inputs = _book(market, 0), market.inputs()
    first = _only(book.judge(market.target(10), inputs))
    assert isinstance(first, Approved)
    older, newer = market.target(-10), market.target(30)
    assert book.judge(older, inputs) == []
    superseded = _only(book.judge(newer, inputs))
    assert isinstance(superseded, Refused)
    assert (superseded.signal_id, superseded.reason) == (older.signal_id, "SUPERSEDED")
    explicit = _only(book.judge(market.explicit(Side.BUY, 1, key=market.key), inputs))
    assert isinstance(explicit, Refused)
    assert explicit.reason == "OPEN_ORDER"
    assert book.on_order(market.event(first, 4, OrderStatus.PARTIALLY_FILLED, 2), inputs) == []
    decided = _only(book.on_order(market.event(first, 10, OrderStatus.FILLED, 3), inputs))
    assert isinstance(decided, Approved)
    assert (decided.signal_id, decided.side, decided.quantity) == (newer.signal_id, Side.BUY, 20)


def test_a_failed_opening_does_not_double_the_next_flip(market) -> None:
    """The order of a target is measured from the position as it is, not as it would have been."""
    book, inputs = _book(market, 0), market.inputs()
    first = _only(book.judge(market.target(10), inputs))
    assert isinstance(first, Approved)
    book.judge(market.target(-10), inputs)
    decided = _only(book.on_order(market.event(first, 0, OrderStatus.REJECTED, 1), inputs))
    assert isinstance(decided, Approved)
    assert (decided.side, decided.quantity, decided.effect) == (Side.SELL, 10, PositionEffect.OPENS)


def test_an_order_event_is_applied_once_by_its_revision(market) -> None:
    """A repeated or older event moves nothing; a jump of revisions carries everything it skipped."""
    book, inputs = _book(market, 0), market.inputs()
    first = _only(book.judge(market.target(10), inputs))
    assert isinstance(first, Approved)
    book.on_order(market.event(first, 10, OrderStatus.FILLED, 3), inputs)
    for filled, status, revision in (
        (4, OrderStatus.PARTIALLY_FILLED, 2),
        (10, OrderStatus.FILLED, 3),
        (0, OrderStatus.OPEN, 1),
    ):
        assert book.on_order(market.event(first, filled, status, revision), inputs) == []
    state = book.position(market.key)
    assert (state.quantity, state.opened_at, state.open, state.waiting) == (10, market.now, None, None)


def test_an_order_unknown_to_risk_moves_the_position(market) -> None:
    """A fill is a fact: the position follows it though risk never let the order through."""
    book = RiskBook()
    signal = market.target(10)
    order = market.event(_only(_book(market, 0).judge(signal, market.inputs())), 10, OrderStatus.FILLED, 2)
    assert book.on_order(order, market.inputs()) == []
    assert book.position(market.key).quantity == 10
