"""Where records go that can't be handled: the topic's dead-letter topic, bytes, key and headers as they came."""

from __future__ import annotations

from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Record, StoredRecord
from alphapanda.eventlog.topics import dead_letter_topic

REASON = "dlq_reason"
DETAIL = "dlq_detail"
GROUP = "dlq_group"
TOPIC = "dlq_topic"
PARTITION = "dlq_partition"
OFFSET = "dlq_offset"


class DeadLetters:
    """Writes dead letters.

    Args:
        log: the log they came from.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def send(self, record: StoredRecord, *, group: str, reason: Reason, detail: str) -> None:
        """Stores a record as a dead letter, durably.

        Args:
            record: as it was read.
            group: the consumer group that gives it up; only there it may be redriven.
            reason: why.
            detail: one line, without secrets.

        Raises:
            LogUnavailable: the log can't be written now.
        """
        why = (
            (REASON, reason.value.encode()),
            (DETAIL, detail.encode()),
            (GROUP, group.encode()),
            (TOPIC, record.topic.encode()),
            (PARTITION, str(record.partition).encode()),
            (OFFSET, str(record.offset).encode()),
        )
        topic = dead_letter_topic(record.topic)
        await self._log.publish(
            [Record(topic, record.partition, record.key, record.value, record.headers + why)]
        )
