"""Figures of a running platform: told to Prometheus and a collector, and to nobody where they are switched off."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import psutil
from kafka_server import free_ports
from running import Platform, servers_of, until

from panda.common.v1.common_pb2 import PRODUCT_CNC, SIDE_BUY
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.trading.v1.trading_pb2 import PlaceOrderRequest


def ports_of(platform: Platform) -> set[int]:
    """The TCP ports that the platform's own process listens on."""
    assert platform.process is not None
    connections = psutil.Process(platform.process.pid).net_connections(kind="tcp")
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}


def api_port(platform: Platform) -> int:
    return int(platform.target.rpartition(":")[2])


def test_figures_of_a_running_platform(up, collector):
    """Prometheus finds consumers, services, market data and the latency of an order; a port in use is named.

    Switched off, no port but the API's is open and a collector that is named hears nothing, at the end neither.
    """
    servicer, endpoint = collector
    (port,) = free_ports(1)
    figures = {
        "ALPHAPANDA_MONITORING__PROMETHEUS_PORT": str(port),
        "ALPHAPANDA_MONITORING__METRICS_INTERVAL_SECONDS": "0.2",
        "ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": endpoint,
    }
    platform = up(environment=figures)
    until(lambda: platform.market.GetMarketStatus(GetMarketStatusRequest()).ticks, 10, "ticks")
    platform.trading.PlaceOrder(
        PlaceOrderRequest(request_id="one", symbol="NSE:INFY", side=SIDE_BUY, quantity=1, product=PRODUCT_CNC)
    )

    def told(beginning: str) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return [line for line in answer.read().decode().splitlines() if line.startswith(beginning)]

    until(lambda: told("alphapanda_order_latency_seconds_count"), 10, "the latency of an order")
    until(lambda: told("alphapanda_market_data_age_seconds"), 10, "the age of market data")
    until(lambda: told("alphapanda_group_lag{"), 10, "the lag of the groups")
    until(lambda: told('alphapanda_calls_running{kind="query"'), 10, "the calls at work")
    until(
        lambda: any(
            'service="risk"' in line and line.endswith(" 1.0") for line in told("alphapanda_service_serving")
        ),
        10,
        "risk at work",
    )
    (redis,) = [one for one in servers_of(platform.data_dir) if Path(one.exe()).name.startswith("redis")]
    redis.kill()
    until(
        lambda: any(
            'server="Redis"' in line and line.endswith(" 1.0") for line in told("alphapanda_server_restarts")
        ),
        10,
        "the restart of Redis",
    )
    assert servicer.taken.get(timeout=30).resource_metrics
    assert ports_of(platform) == {api_port(platform), port}
    platform.stop()
    with socket.create_server(("127.0.0.1", port)):
        platform.launch()
        assert platform.process.wait(30) == 1
    assert f"monitoring.prometheus_port: '{port}' is not allowed" in platform.complaints

    while not servicer.taken.empty():
        servicer.taken.get()
    off = up(data_dir=platform.data_dir, environment=figures | {"ALPHAPANDA_MONITORING__METRICS": "false"})
    until(lambda: off.market.GetMarketStatus(GetMarketStatusRequest()).ticks, 10, "ticks")
    assert ports_of(off) == {api_port(off)}
    off.stop()
    assert servicer.taken.empty()
