"""What the exchange is told to do wrong, and to which requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Final

NOT_DONE: Final = {
    "error": "refuses with status, error_type and message",
    "html": "answers an HTML page with the status, 502",
    "no_error_type": "refuses with JSON that has no error_type",
    "reset": "cuts the connection",
}
DONE: Final = {
    "timed_out": "does it, and says in a 400 that it timed out",
    "lost": "does it, and cuts the connection after some seconds without an answer",
    "html_done": "does it, and answers an HTML page with the status, 502",
    "slow": "does it, and answers after some seconds",
    "slow_body": "does it, and pauses in the middle of the answer",
    "cut": "does it, and cuts the connection in the middle of the answer",
    "no_content_type": "does it, and answers without Content-Type",
    "not_json": "does it, and answers bytes that are no JSON",
}
ORDERS: Final = {
    "hidden": "takes the order, which the order book shows only after some seconds",
    "stuck": "takes the order, which stays in PUT ORDER REQ RECEIVED for some seconds",
    "rejected": "takes the order, and its checks reject it with the message",
    "stop_lost": "takes the order, which is cancelled when it triggers, its price being out of the exchange's range",
    "quiet": "takes the order, of which no update is sent",
    "partial": "takes the order, of which `quantity` can be traded at each price",
}
KINDS: Final = {**NOT_DONE, **DONE, **ORDERS}


@dataclass(slots=True)
class Fault:
    """Something to do wrong.

    Attributes:
        kind: one of KINDS.
        method: HTTP method; "*" for all.
        path: path, with * for any characters.
        times: how many requests it befalls.
        after: how many matching requests go well before.
        status: HTTP status, where the kind has one.
        error_type: such as "NetworkException", where the kind has one.
        message: text, where the kind has one.
        seconds: how long, where the kind takes time.
        quantity: units, where the kind has them.
        hidden: how long the order book doesn't show an order that the kind spoils the answer to, in seconds.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    times: int = 1
    after: int = 0
    status: int = 0
    error_type: str = "GeneralException"
    message: str = "Something went wrong."
    seconds: float = 5.0
    quantity: int = 1
    hidden: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is none of {', '.join(KINDS)}")

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Fault:
        """Reads a fault of a script.

        Raises:
            ValueError: it has an unknown field or kind.
        """
        known = [each.name for each in fields(cls)]
        unknown = [name for name in told if name not in known]
        if unknown or "kind" not in told:
            raise ValueError(
                f"a fault has kind and some of {', '.join(known[1:])}; not {', '.join(unknown) or 'none'}"
            )
        return cls(**told)

    def befalls(self, method: str, path: str) -> bool:
        """Whether it is for this request and still has times left; counts the request."""
        if self.times <= 0 or self.method not in {"*", method} or not fnmatchcase(path, self.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Script:
    """The faults to come, and those that came.

    Attributes:
        faults: in order; a request meets the first that is for it.
        met: method, path and kind of each that befell a request.
    """

    faults: list[Fault] = field(default_factory=list)
    met: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, told: Iterable[Fault]) -> None:
        """Adds faults after those that are there."""
        self.faults.extend(told)

    def clear(self) -> None:
        """Everything goes well from now on."""
        self.faults.clear()

    def next_for(self, method: str, path: str) -> Fault | None:
        """The fault that befalls this request; None if all goes well."""
        for fault in self.faults:
            if fault.befalls(method, path):
                self.met.append((method, path, fault.kind))
                return fault
        return None
