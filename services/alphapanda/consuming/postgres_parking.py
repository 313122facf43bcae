"""The parking store in a service's PostgreSQL schema (rule 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.consuming.parking import MOST_AT_ONCE, ParkedKey, Parking
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord


class PostgresParking(Parking):
    """Stores parked keys and their records in a service's schema.

    Args:
        engine: the database.
        schema: the service's schema.
    """

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self._engine = engine
        self._keys = text(
            f"SELECT topic, partition, key FROM {schema}.parked_keys WHERE consumer = :consumer"
            " AND topic = ANY(CAST(:topics AS text[]))"
        )
        self._park_key = text(
            f"INSERT INTO {schema}.parked_keys (consumer, topic, partition, key)"
            " VALUES (:consumer, :topic, :partition, :key) ON CONFLICT DO NOTHING"
        )
        self._park_record = text(
            f"INSERT INTO {schema}.parked_records"
            " (consumer, topic, partition, log_offset, key, value, header_names, header_values, appended_at_ns)"
            " VALUES (:consumer, :topic, :partition, :offset, :key, :value, CAST(:names AS text[]),"
            " CAST(:values AS bytea[]), :appended_at_ns) ON CONFLICT DO NOTHING"
        )
        self._records = text(
            "SELECT topic, partition, log_offset, key, value, header_names, header_values, appended_at_ns"
            f" FROM {schema}.parked_records WHERE consumer = :consumer AND topic = :topic"
            " AND partition = :partition AND key = :key AND log_offset > :after ORDER BY log_offset LIMIT :most"
        )
        self._take_record = text(
            f"DELETE FROM {schema}.parked_records WHERE consumer = :consumer AND topic = :topic"
            " AND partition = :partition AND key = :key AND log_offset = :offset"
        )
        # The largest offset, not any: records go in order, and a search from the smallest passes all that went before.
        self._free_key = text(
            f"DELETE FROM {schema}.parked_keys AS k WHERE consumer = :consumer AND topic = :topic"
            " AND partition = :partition AND key = :key AND (SELECT max(log_offset)"
            f" FROM {schema}.parked_records AS r WHERE r.consumer = :consumer AND r.topic = :topic"
            " AND r.partition = :partition AND r.key = :key) IS NULL"
        )
        self._is_parked = text(
            f"SELECT 1 FROM {schema}.parked_keys WHERE consumer = :consumer AND topic = :topic"
            " AND partition = :partition AND key = :key"
        )

    @override
    async def parked(self, consumer: str, partitions: Sequence[TopicPartition]) -> Collection[ParkedKey]:
        asked = {"consumer": consumer, "topics": sorted({at.topic for at in partitions})}
        async with self._engine.connect() as connection:
            found = (await connection.execute(self._keys, asked)).all()
        keys = [ParkedKey(TopicPartition(row.topic, row.partition), bytes(row.key)) for row in found]
        return [key for key in keys if key.at in partitions]

    @override
    async def park(self, consumer: str, record: StoredRecord) -> None:
        place = {
            "consumer": consumer,
            "topic": record.topic,
            "partition": record.partition,
            "key": record.key,
        }
        values = place | {
            "offset": record.offset,
            "value": record.value,
            "names": [name for name, _ in record.headers],
            "values": [value for _, value in record.headers],
            "appended_at_ns": record.appended_at_ns,
        }
        async with self._engine.begin() as connection:
            await connection.execute(self._park_key, place)
            await connection.execute(self._park_record, values)

    @override
    async def records(
        self, consumer: str, parked: ParkedKey, after: int = -1, most: int = MOST_AT_ONCE
    ) -> Sequence[StoredRecord]:
        asked = {
            "consumer": consumer,
            "topic": parked.at.topic,
            "partition": parked.at.partition,
            "key": parked.key,
            "after": after,
            "most": most,
        }
        async with self._engine.connect() as connection:
            found = (await connection.execute(self._records, asked)).all()
        return [
            StoredRecord(
                row.topic,
                row.partition,
                row.log_offset,
                bytes(row.key),
                bytes(row.value),
                tuple(zip(row.header_names, map(bytes, row.header_values), strict=True)),
                row.appended_at_ns,
            )
            for row in found
        ]

    @override
    async def release(self, consumer: str, record: StoredRecord) -> bool:
        place = {
            "consumer": consumer,
            "topic": record.topic,
            "partition": record.partition,
            "key": record.key,
        }
        async with self._engine.begin() as connection:
            await connection.execute(self._take_record, place | {"offset": record.offset})
            await connection.execute(self._free_key, place)
            return (await connection.execute(self._is_parked, place)).first() is None


async def parked_ends(connection: AsyncConnection, schema: str) -> Mapping[TopicPartition, int]:
    """Returns, by partition, the lowest offset that a new record may have beside the parked ones of a schema."""
    found = await connection.execute(
        text(
            f"SELECT topic, partition, max(log_offset) + 1 AS next FROM {schema}.parked_records"
            " GROUP BY topic, partition"
        )
    )
    return {TopicPartition(row.topic, row.partition): int(row.next) for row in found}
