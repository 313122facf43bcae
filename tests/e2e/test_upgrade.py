"""A platform goes on with what a platform of an earlier revision left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from evidence import check_books, read_evidence
from running import IMPATIENT, Platform, until
from tests.kept_data import REVISIONS, make_data_directory

from panda.trading.v1.trading_pb2 import ListOrdersRequest


def orders(platform: Platform) -> int:
    return len(platform.trading.ListOrders(ListOrdersRequest(page_size=500)).orders)


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgraded_platform_trades_on(revision: str) -> None:
    """Its strategies run on and trade, nothing of the old orders is sent again, and old and new books agree to the paisa."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        data_dir = Path(folder, "data")
        make_data_directory(revision, data_dir)
        with Platform(data_dir, environment=IMPATIENT) as platform:
            platform.start()
            before = orders(platform)
            assert before >= 5
            until(lambda: orders(platform) > before, 60, "an order of a strategy that ran before")
            platform.come_to_rest()
            platform.stop()
        evidence = read_evidence(data_dir)
    check_books(evidence)
    tags = [row["tag"] for row in evidence.rows("calls") if row["what"] == "place"]
    assert len(tags) == len({*tags}) > before
