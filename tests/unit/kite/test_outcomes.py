"""What a failed call to Kite came to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.kite.outcomes import (
    KiteReason,
    KiteRefused,
    KiteUnknown,
    RawFailure,
    Stage,
    judged,
    kite_error,
)

IP = "IP (1.2.3.4) is not allowed to place orders for this app. Update allowed IPs on the Kite developer console."
FREEZE = "The order quantity 1000 (40 lots) is higher than the maximum quantity of 900 (36 lots) allowed by the exchanges."

# Status, class and words as KITE_FACTS has them (3.2 and 10), and what they mean.
TABLE = [
    (403, "TokenException", "Incorrect `api_key` or `access_token`.", KiteReason.SESSION_DEAD, True),
    (403, "TwoFAException", "Two factor needed", KiteReason.SESSION_DEAD, True),
    (403, "UserException", "The user account is blocked", KiteReason.NOT_PERMITTED, True),
    (403, "PermissionException", "Insufficient permission for that call.", KiteReason.NOT_PERMITTED, True),
    (403, "PermissionException", IP, KiteReason.SOURCE_ADDRESS, True),
    (400, "GeneralException", IP, KiteReason.SOURCE_ADDRESS, True),
    (
        400,
        "InputException",
        "No IPs configured for this app. Add allowed IPs",
        KiteReason.SOURCE_ADDRESS,
        True,
    ),
    (
        400,
        "InputException",
        "Market orders without market protection are not allowed via API. Please set market protection",
        KiteReason.MARKET_PROTECTION,
        True,
    ),
    (
        400,
        "InputException",
        "Invalid request (failed to decode market_protection, got: True (expected decimal))",
        KiteReason.MARKET_PROTECTION,
        True,
    ),
    (400, "InputException", "Invalid request (failed to decode price)", KiteReason.BAD_REQUEST, True),
    (
        400,
        "MarginException",
        "Insufficient funds. Required margin is 5 but available margin is 1.",
        KiteReason.INSUFFICIENT_FUNDS,
        True,
    ),
    (400, "MarginException", "other words", KiteReason.INSUFFICIENT_FUNDS, True),
    (
        428,
        "HoldingException",
        "10 quantity needs authorisation at depository.",
        KiteReason.NEEDS_DEPOSITORY,
        True,
    ),
    (400, "InputException", "Order price is not a multiple of tick size", KiteReason.TICK_SIZE, True),
    (
        400,
        "InputException",
        "Price exceeds circuit limits for the instrument. Place an order within the daily range.",
        KiteReason.CIRCUIT,
        True,
    ),
    (400, "InputException", FREEZE, KiteReason.FREEZE_QUANTITY, True),
    (
        400,
        "InputException",
        "Quantity should be greater than or equal to 3510 for order slicing.",
        KiteReason.SLICING,
        True,
    ),
    (
        400,
        "OrderException",
        "Maximum allowed order modifications exceeded.",
        KiteReason.TOO_MANY_MODIFICATIONS,
        True,
    ),
    (400, "OrderException", "Maximum allowed order requests exceeded.", KiteReason.DAY_USED_UP, True),
    (
        400,
        "InputException",
        "Too many tokens requested. Max permitted is 500.",
        KiteReason.TOO_MUCH_AT_ONCE,
        True,
    ),
    (400, "InputException", "interval exceeds max limit: 60 days", KiteReason.TOO_MUCH_AT_ONCE, True),
    (429, "NetworkException", "Too many requests", KiteReason.RATE_LIMITED, True),
    (
        400,
        "OrderException",
        "Order request timed out. Please check the order book and confirm before placing again.",
        KiteReason.NO_ANSWER,
        False,
    ),
    (400, "InputException", "words that nobody has seen before", KiteReason.BAD_REQUEST, False),
    (404, "GeneralException", "Route not found", KiteReason.BAD_REQUEST, False),
    (502, "DataException", "bad answer of the OMS", KiteReason.NO_ANSWER, False),
    (503, "NetworkException", "the OMS can't be reached", KiteReason.BROKER_FAILED, False),
    (500, "GeneralException", "Something went wrong", KiteReason.BROKER_FAILED, False),
    (502, "", "the answer is no JSON: Bad Gateway", KiteReason.BROKER_FAILED, False),
]


@pytest.mark.parametrize(("status", "error_type", "words", "reason", "definite"), TABLE)
def test_each_known_answer_means_what_the_facts_say(
    status: int, error_type: str, words: str, reason: KiteReason, definite: bool
) -> None:
    """A refusal is final only where it is known; a time-out that comes as a 400 is none."""
    found = judged(RawFailure(Stage.ANSWERED, status, error_type, words))
    assert (found.reason, found.definite) == (reason, definite)


def test_the_freeze_quantity_is_learned() -> None:
    """The refusal is the only place where Kite tells the largest quantity of an order."""
    assert judged(RawFailure(Stage.ANSWERED, 400, "InputException", FREEZE)).limit == 900


def test_what_was_never_sent_is_no_order_and_what_was_sent_may_be_one() -> None:
    """A refused connection is definite; a broken one, or a time-out, is not."""
    assert isinstance(kite_error("a", "place_order", RawFailure(Stage.NOT_SENT)), KiteRefused)
    assert isinstance(kite_error("a", "place_order", RawFailure(Stage.SENT)), KiteUnknown)


WORDS = st.lists(
    st.sampled_from([*"a (1)", "IP (", "timed out", "Insufficient funds", "maximum quantity of"])
).map("".join)


@settings(max_examples=100)
@given(st.sampled_from(Stage), st.integers(-1, 700), st.sampled_from(["", "DataException", "Other"]), WORDS)
def test_every_failure_has_a_meaning(stage: Stage, status: int, error_type: str, words: str) -> None:
    """Whatever Kite answers, it is judged; what lost its answer is never taken for a refusal."""
    found = judged(RawFailure(stage, status, error_type, words))
    if stage is Stage.SENT and status != 429:
        assert not found.definite
    if stage is Stage.ANSWERED and status >= 500:
        assert not found.definite
