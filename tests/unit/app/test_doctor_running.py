"""What the doctor finds on a running platform: what it says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from alphapanda.app.doctor_running import running_findings, status_findings
from alphapanda.app.findings import Outcome
from alphapanda.contract.wire import timestamp
from panda.ops.v1 import ops_pb2 as ops


def test_what_does_not_serve_fails_with_its_own_words() -> None:
    """A server that is being started again, and the services that need it, are failures; each says why."""
    status = ops.GetStatusResponse(
        servers=[
            ops.ServerStatus(
                server="PostgreSQL",
                state=ops.SERVICE_STATE_NOT_SERVING,
                last_error="it was killed by signal 9",
            ),
            ops.ServerStatus(
                server="Redis",
                state=ops.SERVICE_STATE_SERVING,
                restarts=2,
                last_error="it ended",
                last_error_at=timestamp(datetime(2026, 11, 30, 4, 0, 5, tzinfo=UTC)),
            ),
        ],
        services=[
            ops.ServiceStatus(service="risk", state=ops.SERVICE_STATE_NOT_SERVING, last_error="no database"),
            ops.ServiceStatus(service="marketdata", state=ops.SERVICE_STATE_SERVING),
        ],
    )
    found = [(one.name, one.outcome, one.reason) for one in status_findings(status)]
    assert found == [
        ("PostgreSQL", Outcome.FAIL, "it was killed by signal 9"),
        ("Redis", Outcome.WARN, "serves; was restarted 2 times, last at 30 Nov 04:00:05 UTC: it ended"),
        ("service risk", Outcome.FAIL, "not serving: no database"),
        ("service marketdata", Outcome.OK, "serves"),
    ]


def test_a_server_that_runs_and_does_not_answer_is_a_failure() -> None:
    """As one that is frozen: its process is there, and what the services find counts."""
    serving, not_serving = ops.SERVICE_STATE_SERVING, ops.SERVICE_STATE_NOT_SERVING
    status = ops.GetStatusResponse(
        servers=[ops.ServerStatus(server=name, state=serving) for name in ("PostgreSQL", "Redis")],
        services=[
            ops.ServiceStatus(service="risk", state=not_serving, last_error="redis: no answer within 5 s"),
        ],
    )
    postgres, redis, _ = status_findings(status)
    assert postgres.outcome is Outcome.OK
    assert redis.outcome is Outcome.FAIL
    assert redis.reason == "runs, but services say: no answer within 5 s"
    assert "may be killed" in redis.remedy


async def test_a_platform_that_does_not_answer_is_a_failure() -> None:
    """A process that holds the directory and answers nobody isn't well; the remedy names it."""
    (found,) = await running_findings("127.0.0.1", 1, 4711)
    assert found.outcome is Outcome.FAIL
    assert "process 4711" in found.remedy
