"""Where commands find the services when no `--target` says so: two servers, as in a mesh."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from alphapanda.cli import main
from alphapanda.commands.finding import SERVICES

CLOSED = "127.0.0.1:1"


@pytest.fixture
def said(monkeypatch, tmp_path):
    """Runs a command with these settings: [api] at an address, [mesh] by service, nobody at the others."""
    monkeypatch.chdir(tmp_path)

    def run(first: str, *arguments: str, **mesh: str):
        monkeypatch.setenv("ALPHAPANDA_API__PORT", first.rpartition(":")[2])
        for service in SERVICES:
            if service != "ops":
                monkeypatch.setenv(f"ALPHAPANDA_MESH__{service.upper()}", mesh.get(service, CLOSED))
        return CliRunner().invoke(main, arguments)

    return run


def test_a_service_is_asked_where_everything_answers(fakes, said):
    """With `alphapanda up` where [api] says, its services are asked there, whatever [mesh] says."""
    result = said(fakes.start("strategy", "ops"), "strategies", "--json")
    assert json.loads(result.stdout)["strategies"][0]["strategyId"] == "found"


def test_a_service_of_the_mesh_is_asked_at_its_own_address(fakes, said):
    """With only ops where [api] says, strategies are asked where [mesh] says, by `call` too."""
    ops, strategy = fakes.start("ops"), fakes.start("strategy", "ops")
    result = said(ops, "strategies", "--json", strategy=strategy)
    assert json.loads(result.stdout)["strategies"][0]["strategyId"] == "found"
    result = said(ops, "call", "ListStrategies", strategy=strategy)
    assert json.loads(result.stdout)["strategies"][0]["strategyId"] == "found"


def test_status_without_ops_asks_every_service(fakes, said, nobody):
    """Where the mesh's ops is away, each service says itself how it is, and who doesn't answer is NOT_SERVING."""
    result = said(nobody, "status", "--json", strategy=fakes.start("strategy", "ops"))
    states = {one["service"]: one["state"] for one in json.loads(result.stdout)["services"]}
    assert states.pop("strategy") == "SERVICE_STATE_SERVING"
    assert states == dict.fromkeys(
        ("instruments", "marketdata", "risk", "trading", "portfolio"), "SERVICE_STATE_NOT_SERVING"
    )


def test_a_named_target_is_the_only_one_asked(fakes, said):
    """`--target` overrides [api] and [mesh]: what isn't served there is not looked for elsewhere."""
    ops = fakes.start("ops")
    strategy = fakes.start("strategy")
    result = said(ops, "strategies", "--target", ops, strategy=strategy)
    assert result.exit_code == 1
    assert f"what answers on {ops} doesn't serve this" in result.stderr


def test_where_nobody_answers_both_addresses_are_named(said, nobody):
    """Without any server the one line names where `up` and where the mesh were looked for."""
    result = said(nobody, "strategies")
    assert result.exit_code == 1
    assert f"nothing answers this on {nobody} (up), nor on {CLOSED} (mesh); start it with" in result.stderr


def test_settings_that_are_wrong_are_told(said, monkeypatch, nobody):
    """A setting that can't be used is one line, exit code 2, before anybody is asked."""
    monkeypatch.setenv("ALPHAPANDA_MESH__STRATEGI", "x")
    result = said(nobody, "strategies")
    assert result.exit_code == 2
    assert "ALPHAPANDA_MESH__STRATEGI" in result.stderr
