"""A trail of commands in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from alphapanda.storage.audit import AuditEntry, Outcome


@dataclass
class Kept:
    """A trail in memory; `away` is what storing an entry raises."""

    begun: list[AuditEntry] = field(default_factory=list)
    ended: dict[str, Outcome] = field(default_factory=dict)
    refused: list[AuditEntry] = field(default_factory=list)
    away: Exception | None = None

    async def begin(self, entry: AuditEntry) -> None:
        if self.away is not None:
            raise self.away
        self.begun.append(entry)

    def end(self, entry_id: str, outcome: Outcome) -> None:
        self.ended[entry_id] = outcome

    def refuse(self, entry: AuditEntry) -> None:
        self.refused.append(entry)
