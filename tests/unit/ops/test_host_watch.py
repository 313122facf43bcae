"""A machine that runs short is an alarm, processors only when it lasts; and what a container may use counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alphapanda.ops.host_watch import HostWatch
from alphapanda.telemetry.host import HostReader, HostUse, ProcessReader, container_share

ALLOWED = {"memory": 0.9, "cpu": 0.8, "disk": 0.9}


async def test_alarms_begin_and_end() -> None:
    """Memory and disk at once, processors after a minute; each is logged when it begins and ends, and told meanwhile."""
    uses = [HostUse(0.5, 0.99, 0.91), HostUse(0.95, 0.99, 0.91), HostUse(0.9, None, 0.2)]
    watch = HostWatch(iter(uses).__next__, ALLOWED, 30.0, iter((0.0, 60.0, 90.0)).__next__)
    with capture_logs() as lines:
        await watch.look()
        first = watch.alarms
        await watch.look()
        (about_disk,) = [notice for notice in watch.notices() if "disk" in notice]
        second = sorted(watch.alarms)
        await watch.look()
    assert (first, second, watch.alarms) == (("disk",), ["cpu", "disk", "memory"], ("cpu",))
    assert about_disk.startswith("91% of the machine's disk is used, 90% is allowed: ")
    assert [(line["event"], line["resource"]) for line in lines] == [
        ("host.resource_ran_short", "disk"),
        ("host.resource_ran_short", "cpu"),
        ("host.resource_ran_short", "memory"),
        ("host.resource_recovered", "disk"),
        ("host.resource_recovered", "memory"),
    ]


def test_this_machine_and_this_process_are_read(tmp_path: Path) -> None:
    """Shares lie between 0 and 1; processors are known from the second reading on."""
    reader, process = HostReader(tmp_path), ProcessReader()
    first, second = reader.read(), reader.read()
    assert first.by_resource.keys() == {"memory", "disk"}
    assert all(0 <= share <= 1 for share in second.by_resource.values())
    used = process.read()
    assert used.memory > 1_000_000
    assert min(used.descriptors, used.threads) > 0


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 1\ninactive_file 100\n"}, 0.8),
        ({"memory.max": "max", "memory.current": "900", "memory.stat": ""}, 0.0),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "total_inactive_file 0\n",
            },
            0.5,
        ),
        ({}, 0.0),
        ({"memory.max": "0", "memory.current": "1", "memory.stat": ""}, 0.0),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, files: dict[str, str], share: float) -> None:
    """Of both kinds of control groups; without a limit, or where it can't be read, the machine's memory counts alone."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_share(tmp_path) == pytest.approx(share)
