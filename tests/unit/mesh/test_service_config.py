"""Retries of a channel are the contract's; keepalive and limits of both sides fit together."""

from __future__ import annotations

import json

import grpc
import structlog

from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import service_policies
from alphapanda.mesh import channel, server
from alphapanda.mesh.channel import service_config


def test_every_rpc_may_be_sent_again_where_nobody_answered() -> None:
    """Each RPC of the contract, all being safe or remembered, has a retry policy on UNAVAILABLE alone."""
    policies = [policy for service in service_descriptors() for policy in service_policies(service).values()]
    (config,) = json.loads(service_config(policies))["methodConfig"]
    named = {f"/{name['service']}/{name['method']}" for name in config["name"]}
    assert named == {policy.method for policy in policies}
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]


def test_a_channel_notices_a_dead_peer_and_comes_back_soon() -> None:
    """Pings after 30 s of silence with 10 s to answer; reconnects within 5 s; a page of 16 MiB fits; retries are on."""
    assert dict(channel.OPTIONS) == {
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.max_receive_message_length": 16 * 1024 * 1024,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 5_000,
        "grpc.enable_retries": 1,
    }


def test_a_server_bears_its_channels_pings_and_takes_no_more_than_they_send() -> None:
    """Channels ping less often than the server allows, and receive all that it may send; nobody shares its port."""
    server_options, channel_options = dict(server.OPTIONS), dict(channel.OPTIONS)
    assert server_options == {
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": 4 * 1024 * 1024,
        "grpc.max_send_message_length": 16 * 1024 * 1024,
        "grpc.max_metadata_size": 16 * 1024,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000,
        "grpc.keepalive_permit_without_calls": 1,
    }
    allowed = server_options["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert channel_options["grpc.keepalive_time_ms"] > allowed
    sent, received = "grpc.max_send_message_length", "grpc.max_receive_message_length"
    assert channel_options[received] >= server_options[sent]


async def test_both_sides_are_made_with_their_options(monkeypatch) -> None:
    """A channel and a server get exactly these options; a channel's service config takes turns among addresses."""
    made: dict[str, tuple[tuple[str, object], ...]] = {}
    make_channel, make_server = grpc.aio.insecure_channel, grpc.aio.server

    def record_channel(target, options, **more):
        made["channel"] = options
        return make_channel(target, options=options, **more)

    def record_server(options):
        made["server"] = options
        return make_server(options=options)

    monkeypatch.setattr(grpc.aio, "insecure_channel", record_channel)
    monkeypatch.setattr(grpc.aio, "server", record_server)
    await channel.open_channel("127.0.0.1:1", ["panda.risk.v1.RiskService"]).close()
    listening = server.MeshServer("127.0.0.1", 0, [], structlog.get_logger())
    await listening.start()
    await listening.stop(0)
    config = json.loads(dict(made["channel"])["grpc.service_config"])
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert made["channel"][:-1] == channel.OPTIONS
    bounds = (("grpc.max_concurrent_streams", 1248), ("grpc.max_allowed_incoming_connections", 1000))
    assert made["server"] == (*server.OPTIONS, *bounds)
