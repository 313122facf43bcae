"""What a call to Kite came to: done, definitely refused, or unknown (REAL_MONEY rule 1; KITE_FACTS sections 3.2 and 10).

Pure. On order endpoints a refusal is final only where it is on a list of known ones: Kite has answered HTTP 400 ("Order request
timed out …") for orders that appeared 8 seconds later. Whatever isn't listed may have been done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final


class Stage(StrEnum):
    """How far a call came that has no usable answer."""

    NOT_SENT = "not sent"
    """No connection stood: nothing has left this machine."""
    SENT = "sent"
    """It may have arrived: no answer, half an answer, or one that can't be read."""
    ANSWERED = "answered"
    """Kite has answered."""


class KiteReason(StrEnum):
    """Why a call failed."""

    UNREACHABLE = "UNREACHABLE"
    """There is no connection to Kite."""
    NO_ANSWER = "NO_ANSWER"
    """No answer within the time-out, half an answer, or one that can't be read."""
    SESSION_DEAD = "SESSION_DEAD"
    """The access token counts no more."""
    SOURCE_ADDRESS = "SOURCE_ADDRESS"
    """Orders may not come from this machine's address."""
    NOT_PERMITTED = "NOT_PERMITTED"
    """The app or the user may not do this."""
    RATE_LIMITED = "RATE_LIMITED"
    """Too many requests; this one was not looked at."""
    DAY_USED_UP = "DAY_USED_UP"
    """All order requests of the day are used up."""
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    """The account's margin doesn't cover the order."""
    NEEDS_DEPOSITORY = "NEEDS_DEPOSITORY"
    """Holdings have to be authorised at the depository (TPIN) before they can be sold."""
    MARKET_PROTECTION = "MARKET_PROTECTION"
    """A market order came without market protection."""
    TICK_SIZE = "TICK_SIZE"
    """The price is no multiple of the tick size."""
    CIRCUIT = "CIRCUIT"
    """The price is outside the day's range."""
    FREEZE_QUANTITY = "FREEZE_QUANTITY"
    """The quantity is above what the exchange takes in one order."""
    SLICING = "SLICING"
    """Slicing was asked for a quantity that needs none."""
    TOO_MANY_MODIFICATIONS = "TOO_MANY_MODIFICATIONS"
    """The order was modified as often as is allowed."""
    TOO_MUCH_AT_ONCE = "TOO_MUCH_AT_ONCE"
    """A question for more than Kite answers at once."""
    BAD_REQUEST = "BAD_REQUEST"
    """Kite can't read the request, or refuses it by a rule that isn't listed here."""
    BROKER_FAILED = "BROKER_FAILED"
    """Kite, or what stands behind it, has failed."""


@dataclass(frozen=True, slots=True)
class RawFailure:
    """What a call failed with.

    Attributes:
        stage: how far it came.
        status: HTTP status; 0 without an answer.
        error_type: Kite's name of the error, such as "InputException"; empty where there is none.
        message: Kite's words; without an answer, what happened.
    """

    stage: Stage
    status: int = 0
    error_type: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failure means.

    Attributes:
        reason: why.
        definite: whether nothing was done; otherwise it may have been.
        limit: of FREEZE_QUANTITY, the largest quantity that Kite has named; None where it has named none.
    """

    reason: KiteReason
    definite: bool
    limit: int | None = None


_BY_TEXT: Final[Sequence[tuple[re.Pattern[str], KiteReason]]] = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (
            r"IP \(.*\) is not allowed to place orders|No IPs configured for this app",
            KiteReason.SOURCE_ADDRESS,
        ),
        (r"market orders without market protection|decode market_protection", KiteReason.MARKET_PROTECTION),
        (r"insufficient (funds|margin)", KiteReason.INSUFFICIENT_FUNDS),
        (r"needs? authorisation at depository", KiteReason.NEEDS_DEPOSITORY),
        (r"not a multiple of tick size", KiteReason.TICK_SIZE),
        (
            r"exceeds circuit limits|outside the (current )?allowed limit price protection range",
            KiteReason.CIRCUIT,
        ),
        (r"higher than the maximum quantity of|quantity .* freeze", KiteReason.FREEZE_QUANTITY),
        (r"greater than or equal to \d+ for order slicing", KiteReason.SLICING),
        (r"maximum allowed order modifications exceeded", KiteReason.TOO_MANY_MODIFICATIONS),
        (r"maximum allowed order requests exceeded", KiteReason.DAY_USED_UP),
        (r"too many tokens requested|interval exceeds max limit", KiteReason.TOO_MUCH_AT_ONCE),
        (r"^Invalid request", KiteReason.BAD_REQUEST),
    )
)
"""Refusals that are known by their words: the class under which Kite sends them has changed (KITE_FACTS section 10, 1)."""
_MAXIMUM: Final = re.compile(r"maximum quantity of (\d+)", re.IGNORECASE)
_TIMED_OUT: Final = re.compile(r"timed out|order book and confirm", re.IGNORECASE)
_BY_TYPE: Final[Mapping[tuple[str, int], KiteReason]] = {
    ("MarginException", HTTPStatus.BAD_REQUEST): KiteReason.INSUFFICIENT_FUNDS,
    ("HoldingException", HTTPStatus.PRECONDITION_REQUIRED): KiteReason.NEEDS_DEPOSITORY,
    ("TokenException", HTTPStatus.FORBIDDEN): KiteReason.SESSION_DEAD,
    ("UserException", HTTPStatus.FORBIDDEN): KiteReason.NOT_PERMITTED,
    ("TwoFAException", HTTPStatus.FORBIDDEN): KiteReason.SESSION_DEAD,
    ("PermissionException", HTTPStatus.FORBIDDEN): KiteReason.NOT_PERMITTED,
}


def judged(failure: RawFailure) -> Judgement:
    """Says what a failure means. Only what is known to be definite is; everything else may have been done."""
    if failure.stage is Stage.NOT_SENT:
        return Judgement(KiteReason.UNREACHABLE, definite=True)
    if failure.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Judgement(KiteReason.RATE_LIMITED, definite=True)
    unclear = _unclear(failure)
    return Judgement(unclear, definite=False) if unclear is not None else _of_refusal(failure)


def _unclear(failure: RawFailure) -> KiteReason | None:
    """Why nobody can say whether it was done; None where Kite has refused it."""
    if failure.stage is Stage.SENT or _TIMED_OUT.search(failure.message):
        return KiteReason.NO_ANSWER
    if failure.error_type == "DataException":
        return KiteReason.NO_ANSWER
    refused = HTTPStatus.BAD_REQUEST <= failure.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return None if refused else KiteReason.BROKER_FAILED


def _of_refusal(failure: RawFailure) -> Judgement:
    """What a 4xx means: final where its words or its class are known, else it may have been done all the same."""
    for pattern, reason in _BY_TEXT:
        if pattern.search(failure.message):
            named = _MAXIMUM.search(failure.message) if reason is KiteReason.FREEZE_QUANTITY else None
            return Judgement(reason, definite=True, limit=int(named[1]) if named else None)
    known = _BY_TYPE.get((failure.error_type, failure.status))
    return Judgement(known or KiteReason.BAD_REQUEST, definite=known is not None)


class KiteError(Exception):
    """A call to Kite that failed; the message says the account, the call and Kite's words, and holds no secret.

    KiteError
    ├── KiteRefused   nothing was done
    └── KiteUnknown   it may have been done

    Args:
        account: our name of the account.
        call: what was asked, such as "place_order".
        judgement: what it means.
        failure: what it failed with.

    Attributes:
        is_unlisted: whether it is a refusal (4xx) in words that are on no list, so that it may have been done all the same.
    """

    def __init__(self, account: str, call: str, judgement: Judgement, failure: RawFailure) -> None:
        self.account = account
        self.call = call
        self.reason = judgement.reason
        self.limit = judgement.limit
        self.failure = failure
        self.is_unlisted = not judgement.definite and judgement.reason is KiteReason.BAD_REQUEST
        status = f" (HTTP {failure.status})" if failure.status else ""
        super().__init__(f"Kite, account {account}, {call}: {failure.message or self.reason}{status}")


class KiteRefused(KiteError):
    """Nothing was done, and the same call would be refused again until what the reason says has changed."""


class KiteUnknown(KiteError):
    """It may have been done: look it up before doing it again."""


def kite_error(account: str, call: str, failure: RawFailure) -> KiteError:
    """The error of a failed call."""
    judgement = judged(failure)
    kind = KiteRefused if judgement.definite else KiteUnknown
    return kind(account, call, judgement, failure)
