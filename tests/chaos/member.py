"""`alphapanda serve` that can be told to die or freeze at a step: `member.py SPELLS serve SERVICE [options]`.

SPELLS is a folder. A file in it named after the service, "STEP ACTION N" (ACTION: SIGKILL or SIGSTOP), is carried out
in the N-th coming to that step since it was laid, by whichever process of the service comes first; it is gone then.
While a file "dialects" is in it, events are published as two versions of the contract and a later one write them:
see dialects.py.

Steps of an order in trading: received, decided, stored, submitting_committed, called, answered, committed. Of every
service's records: publishing and published (by the outbox relay, the row not yet marked), handled and offset_committed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dialects import translated

from alphapanda.app import serve
from alphapanda.cli import main
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.readers import KafkaGroupReader
from alphapanda.eventlog.port import Record
from alphapanda.storage.relay import OutboxRelay

FRAMES = "market.ticks"
IMPATIENT = {"poll_seconds": 0.5, "silence_seconds": 4.0}


class Spell:
    """What a service is to suffer, if anything."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._laid = ""
        self._seen = 0

    def at(self, step: str) -> None:
        """A step is reached."""
        try:
            laid = self._file.read_text()
        except FileNotFoundError:
            return
        if laid != self._laid:
            self._laid, self._seen = laid, 0
        wanted, action, nth, _ = laid.split()
        if step != wanted:
            return
        self._seen += 1
        if self._seen < int(nth):
            return
        try:
            self._file.unlink()
        except FileNotFoundError:
            return  # another member was first
        os.kill(os.getpid(), signal.Signals[action])


def cast(spell: Spell, dialects: Path) -> None:
    """Puts the steps where they belong."""
    serve.no_step = spell.at
    OutboxRelay.__init__.__kwdefaults__.update(IMPATIENT)
    publish, commit = KafkaEventLog.publish, KafkaGroupReader.commit

    def written(records: Sequence[Record]) -> Sequence[Record]:
        return [*map(translated, records)] if dialects.exists() else records

    async def publish_told(self: KafkaEventLog, records: Sequence[Record]) -> Any:
        money = any(record.topic != FRAMES for record in records)
        if money:
            spell.at("publishing")
        offsets = await publish(self, written(records))
        if money:
            spell.at("published")
        return offsets

    async def commit_told(self: KafkaGroupReader, offsets: Mapping[TopicPartition, int]) -> None:
        money = any(at.topic != FRAMES for at in offsets)
        if money:
            spell.at("handled")
        await commit(self, offsets)
        if money:
            spell.at("offset_committed")

    KafkaEventLog.publish = publish_told
    KafkaGroupReader.commit = commit_told


if __name__ == "__main__":
    folder, *arguments = sys.argv[1:]
    cast(Spell(Path(folder, arguments[1])), Path(folder, "dialects"))
    main(arguments)
