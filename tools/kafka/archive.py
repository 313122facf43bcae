"""`make kafka`: keeps Kafka's classes as a JVM has them once it runs, so that each later start costs half."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kafka_server import CLASSES, KafkaServer


def main() -> int:
    """Starts a Kafka once and keeps what it loaded. Returns 1 where the JVM made no archive."""
    CLASSES.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        server = KafkaServer(Path(folder), keep_classes=True)
        server.start()
        server.stop()
    return 0 if CLASSES.exists() else 1


if __name__ == "__main__":
    sys.exit(main())
