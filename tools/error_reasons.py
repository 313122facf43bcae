"""The table of every reason for which something is refused or fails, with its cause and its remedy: `make error-reasons` writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from alphapanda.domain.order import FailureReason
from alphapanda.eventlog.decode import Reason
from alphapanda.mesh import admission
from alphapanda.risk.core.rules import RULES

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "services" / "alphapanda"
PAGE: Final = PACKAGE / "ops" / "README.md"
BEGIN: Final = "<!-- made by make error-reasons -->"
END: Final = "<!-- end -->"
RAISED: Final = (
    "NotFound",
    "AlreadyExists",
    "FailedPrecondition",
    "TooMany",
    "OutOfRange",
    "PermissionDenied",
    "TokenRefused",
    "TooOften",
    "Unauthenticated",
    "Unavailable",
    "Failure",
)
"""Calls whose first string in capitals is a reason; `Failure` has the status before it."""

Described = Mapping[str, tuple[str, str]]

CALLS: Final[Described] = {
    "LOGIN_REFUSED": (
        "user name or password is wrong",
        "try again; an administrator sets a new password with `alphapanda users password`",
    ),
    "LOGIN_SLOWED": (
        "there were many wrong passwords for this user, or from this address",
        "wait as RetryInfo says; nothing is locked",
    ),
    "TOO_MANY_PASSWORDS": (
        "too many passwords wait to be checked",
        "wait as RetryInfo says and send it again; `auth.hashes_at_once` are checked at once",
    ),
    "USER_DISABLED": ("the user is disabled", "an administrator enables it: `alphapanda users enable`"),
    "USER_EXISTS": ("there is a user of this name", "choose another name"),
    "USER_NOT_FOUND": ("there is no user of this name", "`alphapanda users` lists them"),
    "SESSION_NOT_FOUND": ("there is no such session", "`alphapanda users sessions` lists them"),
    "BROKER_ACCOUNT_NOT_FOUND": (
        "there is no such account at a broker here, or several and none is named",
        "name one that the message knows; `zerodha.accounts` says which there are",
    ),
    "BROKER_AWAY": ("the broker doesn't answer, or not in a way that can be read", "try again"),
    "BROKER_NOT_READY": (
        "the order's broker isn't active here, or can't be asked now",
        "try again; `alphapanda status` says what the broker waits for",
    ),
    "NO_DISCREPANCY": ("there is no discrepancy of this id", "`alphapanda reconcile list` shows them"),
    "DISCREPANCY_RESOLVED": (
        "the discrepancy is over already: it healed, the books agree again, or a person resolved it",
        "nothing is left to do; `alphapanda reconcile list --all` shows how it ended",
    ),
    "NOT_BOOKABLE": (
        "our books don't hold what a discrepancy is to be booked of",
        "the message says what they hold; name another strategy with --strategy, or accept it",
    ),
    "POSITION_CHANGED": (
        "trading holds something else than portfolio: a fill is on its way between them",
        "try again in a moment; if it stays, `alphapanda reconcile` says what differs",
    ),
    "NO_FILLS_OF_DAY": (
        "the contract note is of a day on which the account traded nothing here",
        "give the day that the note is of: `alphapanda reconcile note --help`",
    ),
    "CHARGES_NEGATIVE": (
        "the contract note takes more back than was ever booked",
        "check that the note is of this account and day",
    ),
    "NO_ORDER": ("there is no order of this id", "`alphapanda orders --ids` shows them"),
    "ORDER_ENDED": (
        "the order has ended, so it can't be changed",
        "`alphapanda orders show` says how it ended",
    ),
    "ORDER_PROTECTIVE": (
        "the order is the stop of a protected position, which trading keeps as large as the position",
        "end its protection instead: `alphapanda orders unprotect`",
    ),
    "PROTECTION_UNKNOWN": ("there is no protection of this id", "`alphapanda orders protections` shows them"),
    "PROTECTION_ENDED": ("the protection has ended", "place an order with a stop or a target of its own"),
    "BROKER_FAILED": ("the broker has failed, or doesn't answer", "try again; the message has its words"),
    "BROKER_LOGIN_REFUSED": (
        "the broker refuses a login: its request token was used or is too old, or the app's secret is wrong",
        "`alphapanda kite login` again; if it is refused again, compare key and secret with the broker's page of the app",
    ),
    "BROKER_SESSION_NEEDED": ("nobody is signed in at the broker", "`alphapanda kite login`"),
    "BROKER_SESSION_NOT_FOUND": ("there is no such session at a broker", "none: it was reported too late"),
    "HISTORY_NOT_AVAILABLE": (
        "no broker gives bars of the past here",
        "set `zerodha.api_key` and `zerodha.api_secret`, and sign in",
    ),
    "LOGIN_NOT_BEGUN": (
        "a login at a broker was not begun here, or too long ago",
        "begin with `alphapanda kite login`, and use the address that it shows",
    ),
    "OTHER_BROKER_USER": (
        "another user of the broker has signed in than the account is of",
        "sign in as the account's user; if it is another's from now on, `alphapanda kite login --other-user`",
    ),
    "NO_SESSION": (
        "the call came without a user's token: authentication is off, or a certificate says who calls",
        "none is needed; with authentication on, `alphapanda login`",
    ),
    "NO_PASSWORD": (
        "a service account has no password",
        "issue a token: `alphapanda token --service-account NAME`",
    ),
    "NO_SERVICE_ACCOUNT": ("the user is a person", "`alphapanda login` gets tokens of a person"),
    "LAST_ADMIN": (
        "nobody could manage users any more",
        "give another person a role with MANAGE_USERS first: `alphapanda users roles`",
    ),
    "TOO_MANY_USERS": ("there are as many users as may be", "disabled ones count; use one of them again"),
    "TOO_MANY_ROLES": ("there are as many roles as may be", "change one that nobody has"),
    "TOKEN_MISSING": (
        "the call came without an access token",
        "`alphapanda login`; for grpcurl, send what `alphapanda token` prints as `authorization: Bearer TOKEN`",
    ),
    "TOKEN_EXPIRED": (
        "the token's time is over, or the roles of its user have changed since",
        "refresh it (commands do so by themselves), or `alphapanda login`",
    ),
    "TOKEN_REVOKED": (
        "the token's session was ended, or its user was disabled",
        "`alphapanda login`; an administrator sees with `alphapanda users sessions` who ended it",
    ),
    "TOKEN_WRONG_TYPE": (
        "a refresh token was sent where an access token belongs, or the other way round",
        "send the access token with calls, the refresh token only to AuthService/Refresh",
    ),
    "TOKEN_INVALID": (
        "the token wasn't issued for this deployment: another key, issuer, audience or algorithm, or a changed token",
        "`alphapanda login` at this target; every process of a mesh needs the same `auth.secret`, `auth.issuer` and `auth.audience`",
    ),
    "VALIDATION": (
        "a field breaks a rule of the contract",
        "the message names field, value and rule; correct it",
    ),
    "INVALID_INPUT": (
        "a value isn't allowed, or a name isn't known",
        "the message names what is allowed, or the nearest name; correct it",
    ),
    "REQUEST_ID_REUSED": (
        "the request_id was used for another request",
        "choose a new request_id; for the answer to the first, send the first request again",
    ),
    "DEPENDENCY_AWAY": (
        "PostgreSQL, Redis, the log or another service doesn't answer",
        "wait and send the same request again; `alphapanda status` says what is away, `alphapanda doctor` what to do",
    ),
    "DEADLINE_EXCEEDED": (
        "there was no answer within the deadline; a command may still be carried out",
        "send it again with the same request_id: the answer is that of the first",
    ),
    "STOPPING": ("the process stopped before there was an answer", "send it again with the same request_id"),
    "INTERNAL": (
        "a defect",
        "the log has the traceback under the error_id of the message; report it, nothing was half done",
    ),
    "REVISION_GONE": (
        "a watch asked for changes that are no longer kept, or that aren't there yet",
        "begin again without after_revision: the first message is a snapshot",
    ),
    "PERMISSION_MISSING": (
        "the caller is known and lacks the permission that the call needs; the message names it",
        "have an admin give the user a role that has it; PERMISSIONS.md beside the contract lists what each call needs",
    ),
    "TOO_MANY_REQUESTS": (
        "the caller makes more requests a second than api.max_requests_per_second",
        "wait as RetryInfo says and ask less often; watches tell what changes without being asked",
    ),
    "TOO_MANY_QUERIES": (
        "as many queries as may be at once are being answered, on this connection or in all",
        "wait as RetryInfo says and send it again; the bounds are settings of `api`",
    ),
    "TOO_BUSY": (
        "so many calls are at work that this one had no turn in time; nothing of it was begun",
        "wait as RetryInfo says and send it again; make fewer calls at once",
    ),
    "TOO_MANY_ORDERS": (
        "the account has as many manual orders under way as may be at once",
        "wait as RetryInfo says and send it again; the bound is `trading.manual_orders_under_way`",
    ),
    "TOO_MANY_STRATEGIES": (
        "there are as many strategies as may be; deleted ones count, as their orders and positions stay",
        "create one by the name of a deleted one, or raise `strategy.most_strategies`",
    ),
    "TOO_MANY_COMMANDS": (
        "as many commands as may be at once are running",
        "wait as RetryInfo says and send it again; the bounds are settings of `api`",
    ),
    "TOO_MANY_WATCHES": (
        "as many watches as may be are open",
        "wait as RetryInfo says and send it again; the bounds are settings of `api`",
    ),
    "SEARCH_RUNNING": (
        "another search of the log is running; one runs at a time",
        "wait as RetryInfo says and send it again",
    ),
    "TOO_MANY_URGENT_CALLS": (
        "as many kill switches, cancels and square-offs as may be at once are running",
        "wait as RetryInfo says and send it again; the bounds are settings of `api`",
    ),
    "TOO_MANY_INTERNAL_CALLS": (
        "as many calls between services as may be at once are running",
        "wait as RetryInfo says and send it again; the bounds are settings of `api`",
    ),
    "INSTRUMENT_NOT_FOUND": (
        "no instrument has this symbol, token or id today",
        "the message names the nearest; `alphapanda call InstrumentService/SearchInstruments` finds others",
    ),
    "STRATEGY_NOT_FOUND": ("there is no such strategy", "`alphapanda strategies` lists them"),
    "STRATEGY_EXISTS": (
        "a strategy of this name exists",
        "choose another name, or change that one: `alphapanda strategies change`",
    ),
    "STRATEGY_RUNNING": ("a running strategy can't be deleted", "`alphapanda strategies stop` first"),
    "ORDER_UNKNOWN": ("there is no order of this id", "`alphapanda orders` lists them"),
    "VERDICT_NOT_FOUND": ("risk decided no signal of this id", "`alphapanda risk verdicts` lists them"),
    "NO_ACCOUNT": (
        "the account has no books: it opens with its first fill",
        "check the broker's and the account's name",
    ),
    "BROKER_OFF": (
        "the broker is active, but off: by the settings, or because a person has switched it off",
        "`alphapanda risk routing` says which; enable it in the settings and restart, or switch it on",
    ),
    "LIMITS_CHANGED": (
        "somebody else changed the limits since they were read",
        "read them again and decide anew",
    ),
    "LIMITS_MISSING": (
        "the live account has no largest order value, daily loss or orders a day",
        "`alphapanda risk set` for the account, or the settings of the broker",
    ),
    "OTHER_DAY": (
        "a live account is armed for the market's current day alone",
        "leave the day out, or name today",
    ),
    "DAY_UNKNOWN": (
        "market time is unknown, so nobody can say which day a live account would be armed for",
        "start the feed, or name the day: `alphapanda live arm --day`",
    ),
    "NAMES_UNREADABLE": (
        "the list of strategies can't be read just then, so it isn't known whether there is such a strategy",
        "wait and send it again; a kill switch that stops is set all the same",
    ),
    "MARKET_TIME_UNREADABLE": ("Redis, which holds market time, doesn't answer", "wait and try again"),
    "RECONCILIATION_DUE": (
        "the broker is halted since a repair or a restore, and its books weren't compared yet",
        "`alphapanda reconcile --broker BROKER` compares them and releases it",
    ),
    "NO_RECONCILIATION_DUE": (
        "the broker isn't halted for a repair or a restore",
        "`alphapanda risk kill-switch` shows and sets its switch",
    ),
    "BOOKS_UNREADABLE": (
        "trading or portfolio doesn't tell its books now",
        "`alphapanda status` says why; send it again when they serve",
    ),
    "BACKUP_REFUSED": (
        "the backup's folder can't be used, or database or disk don't allow a backup",
        "the message says which; name an empty folder on a disk with room",
    ),
    "BACKUP_RUNS": ("another backup is being written", "ask again when it is complete"),
    "NO_BACKUP_HERE": (
        "the process has no data directory",
        "back up Kafka and PostgreSQL of a mesh by their own tools",
    ),
    "LETTER_NOT_FOUND": ("there is no such dead letter", "`alphapanda dlq list` lists them"),
    "LETTER_NOT_KEPT": ("retention has deleted the dead letter", "nothing can be done with it any more"),
    "NEVER_REDRIVEN": ("market data is outdated as soon as it failed", "discard it"),
    "NOT_DISCARDABLE": ("the record says what has happened already", "redrive it, once its cause is mended"),
    "NOT_ITS_TURN": (
        "an earlier dead letter of the same key waits",
        "include that one, or redrive the key as a whole",
    ),
}

ORDERS: Final[Described] = {
    "NOT_ROUTED": (
        "the strategy's orders don't go to this broker any more, or the broker is off",
        "start the strategy for the broker, or enable the broker",
    ),
    "EXPIRED": (
        "the signal's time had passed before the order was sent",
        "`alphapanda status` says what was slow; the strategy's signal_ttl_seconds is the time",
    ),
    "MARKET_CLOSED": (
        "the exchange's session had ended",
        "none is needed: the next session's signal decides anew",
    ),
    "NO_PRICE": (
        "the instrument has had no price yet",
        "check that the feed has it: `alphapanda call MarketDataService/GetQuotes`",
    ),
    "STALE_PRICE": (
        "the last price is older than `trading.price_max_age_seconds`",
        "check the feed: `alphapanda status`",
    ),
    "MARKET_TIME_UNKNOWN": (
        "market time couldn't be read, or the real market's feed is silent",
        "check Redis and the feed: `alphapanda status`",
    ),
    "KILL_SWITCH": (
        "a kill switch forbids it",
        "`alphapanda risk kill-switch` says which, since when and why",
    ),
    "NOTHING_TO_EXIT": ("the position was flat already", "none is needed"),
    "BROKER_REJECTED": (
        "the broker refused it; the message quotes the broker",
        "as the broker says: margin, product, price band",
    ),
    "INSUFFICIENT_FUNDS": (
        "the price had moved when the order was to fill, and the account couldn't pay it any more",
        "none is needed: nothing of it was filled that has to be paid; trade smaller sizes to leave room for gaps",
    ),
    "ABSENT": (
        "the broker didn't answer, and the order never appeared there",
        "none is needed: an exit is decided anew, an entry by the next signal",
    ),
    "RISK_REJECTED": ("risk refused the manual order", "the verdict says which rule and what would pass"),
    "NOT_EXECUTABLE": (
        "the instrument isn't known today, or the quantity isn't a multiple of its lot",
        "correct the quantity or the instrument",
    ),
    "BROKER_NOT_READY": (
        "the broker isn't ready for orders: it didn't start, or doesn't answer",
        "the message says why; it is tried again, and exits wait for it",
    ),
    "DISCARDED": ("a person discarded its dead letter", "none is needed"),
}

LETTERS: Final[Described] = {
    "UNDECODABLE": ("the bytes are no event", "find who writes to the topic; discard it"),
    "UNKNOWN_TYPE": ("the event's kind is unknown to this version", "upgrade this service, then redrive"),
    "INVALID": ("the event breaks a rule of the contract", "find who made it; discard it"),
    "WRONG_TOPIC": ("the event belongs to another topic", "find who published it; discard it"),
    "WRONG_BROKER": ("the event's broker isn't the topic's", "find who published it; discard it"),
    "WRONG_KEY": ("the record's key isn't its event's", "find who published it; discard it"),
    "BUG": (
        "handling it failed again and again",
        "the detail and the log say why; mend that, then redrive the key",
    ),
    "PARKED": ("an earlier record of its key failed", "redrive the key from its first letter on"),
}

VERDICTS: Final[Described] = {
    "ALREADY_AT_TARGET": ("what the strategy wants is held already", "none is needed"),
    "SUPERSEDED": ("a later signal of the position replaced it while it waited", "none is needed"),
    "DISCARDED": ("a person discarded its dead letter", "none is needed"),
    "EXPIRED": ("the signal's time had passed", "`alphapanda status` says what was slow"),
    "NOT_ARMED": (
        "nobody has armed the live account for the exchange's day, or it lacks a required limit",
        "`alphapanda live` shows it, `alphapanda live arm` arms it",
    ),
}


LIMIT: Final = "the verdict's message says how much would pass; `alphapanda risk limits` shows the limit"
NO_LIMIT: Final = "the verdict's message says what stands in the way"


def raised_reasons() -> set[str]:
    """Every reason with which a servicer refuses, found in the source."""
    found = {reason for reason, _ in admission._REASONS.values()}  # noqa: SLF001 - chosen there at run time
    for path in PACKAGE.rglob("*.py"):
        found |= set(_reasons(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def _reasons(tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        name = _name(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and (name in RAISED or name in {"_refused", "__init__"}):
            for argument in node.args[:2]:
                value = (
                    constants.get(argument.id)
                    if isinstance(argument, ast.Name)
                    else getattr(argument, "value", None)
                )
                if isinstance(value, str) and value.isupper() and " " not in value:
                    yield value


def _name(function: ast.expr) -> str:
    return (
        function.id
        if isinstance(function, ast.Name)
        else function.attr
        if isinstance(function, ast.Attribute)
        else ""
    )


def undescribed() -> list[str]:
    """Reasons without a cause and a remedy, and descriptions of reasons that there aren't."""
    rules = {rule.reason for rule in RULES}
    known = (
        ("call", raised_reasons(), set(CALLS)),
        ("order", {reason.name for reason in FailureReason}, set(ORDERS)),
        ("dead letter", set(Reason), set(LETTERS)),
        ("verdict", set(VERDICTS) | rules, set(VERDICTS) | {rule.reason for rule in RULES}),
    )
    return [
        f"{kind}: {reason} {'has no description' if reason in there else 'does not exist'}"
        for kind, there, described in known
        for reason in sorted(there ^ described)
    ]


def table() -> str:
    """The page's part as it has to be."""
    rules = {rule.reason: (_first_sentence(rule), LIMIT if rule.limits else NO_LIMIT) for rule in RULES}
    parts = [
        ("Of a call (ErrorInfo.reason)", CALLS),
        ("Of a verdict (SignalRejected.reason)", {**rules, **VERDICTS}),
        ("Of an order (FailureReason)", ORDERS),
        ("Of a dead letter", LETTERS),
    ]
    lines = [BEGIN]
    for title, reasons in parts:
        lines += ["", f"### {title}", "", "| Reason | Cause | What to do |", "|---|---|---|"]
        lines += [
            f"| `{reason}` | {cause} | {remedy} |" for reason, (cause, remedy) in sorted(reasons.items())
        ]
    return "\n".join([*lines, "", END])


def _first_sentence(rule: object) -> str:
    text = import_module(f"alphapanda.risk.core.rules.{rule.name}").__doc__ or ""
    return " ".join(text.split()).rstrip(".")


def page() -> str:
    """The whole page with the table in its place."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + table() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
