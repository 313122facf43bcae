"""Health as the outside sees it: what is away is found by asking, named, and found again."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc
from running import ALPHAPANDA, Platform, servers_of, until

from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, GetStatusRequest

IMPATIENT_CHECKS = {
    "ALPHAPANDA_HEALTH_CHECKS__INTERVAL_SECONDS": "0.2",
    "ALPHAPANDA_HEALTH_CHECKS__REDIS_TIMEOUT_SECONDS": "0.5",
    "ALPHAPANDA_HEALTH_CHECKS__TIMEOUT_SECONDS": "0.5",
    "ALPHAPANDA_HEALTH_CHECKS__GRACE_SECONDS": "0",
    "ALPHAPANDA_HEALTH_CHECKS__TICK_MAX_AGE_SECONDS": "1",
}
RISK = "panda.risk.v1.RiskService"
INSTRUMENTS = "panda.instruments.v1.InstrumentService"
SERVING = health_pb2.HealthCheckResponse.SERVING


def test_redis_that_hangs_is_named_and_found_again(up):
    """Who needs Redis is NOT_SERVING while it hangs and says why, others serve; each change is one line of the log."""
    platform = up(environment=IMPATIENT_CHECKS)
    health = health_pb2_grpc.HealthStub(platform.channel)

    def serves(service: str) -> bool:
        return health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING

    def last_error(service: str) -> str:
        return platform.ops.GetStatus(GetStatusRequest(service=service)).services[0].last_error

    until(lambda: serves(RISK), 10, "health")
    (redis,) = [p for p in servers_of(platform.data_dir) if Path(p.exe()).name.startswith("redis")]
    redis.send_signal(signal.SIGSTOP)
    try:
        until(lambda: not serves(RISK), 10, "NOT_SERVING")
        assert last_error("risk") == "redis: no answer within 0.5 s"
        assert serves(INSTRUMENTS)
        until(lambda: last_error("marketdata"), 10, "a reason of marketdata")
        found = doctor(platform)
        assert found["service risk"] == ("fail", "not serving: redis: no answer within 0.5 s")
        assert found["service instruments"][0] == found["PostgreSQL"][0] == "ok"
    finally:
        redis.send_signal(signal.SIGCONT)
    until(lambda: serves(RISK) and serves(""), 20, "SERVING again")
    until(
        lambda: all(
            service.state == SERVICE_STATE_SERVING
            for service in platform.ops.GetStatus(GetStatusRequest()).services
        ),
        20,
        "SERVING again in GetStatus",
    )
    failed = [line["check"] for line in platform.logged("check.failed")]
    assert failed.count("redis") == 1
    assert "risk" in "".join(line["service"] for line in platform.logged("service.stopped_serving"))
    assert [line["check"] for line in platform.logged("check.recovered")].count("redis") == 1
    platform.stop()


def doctor(platform: Platform) -> dict[str, tuple[str, str]]:
    """What the doctor finds on a running platform: outcome and reason by name."""
    command = [ALPHAPANDA[0], "doctor", "--json", "--data-dir", str(platform.data_dir)]
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=platform.data_dir.parent
    )
    assert told.returncode == 1, told.stderr
    return {one["name"]: (one["outcome"], one["reason"]) for one in json.loads(told.stdout)}
