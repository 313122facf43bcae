from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from click.testing import CliRunner
from kafka_server import free_ports
from running import until

from alphapanda.cli import main
from alphapanda.strategy.demo import demo_requests


def test_status_names_every_service_and_what_is_off(asked):
    """`status` has a line for each service, with its state, and says which broker is off."""
    shown = asked("status")
    for service in ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio"):
        assert re.search(rf"^{service} +● serving", shown, re.MULTILINE), shown
    assert "zerodha off" in shown
    assert "market time" in shown


def test_status_of_one_service_is_the_answer_as_json(asked):
    """`status --service risk --json` is GetStatus' own answer, for that service."""
    answer = json.loads(asked("status", "--service", "risk", "--json"))
    (service,) = answer["services"]
    assert service["service"] == "risk"
    assert service["state"] == "SERVICE_STATE_SERVING"


def test_no_dead_letters_is_said(asked):
    """Where nothing waits, `dlq list` says so rather than show a table without lines."""
    assert asked("dlq", "list").strip() == "no dead letters"


def test_strategies_are_stopped_and_started(asked):
    """`strategies stop` and `start` change what `strategies list --state` finds; a bare `strategies` lists all."""
    assert "● stopped" in asked("strategies", "stop", "demo.maruti")
    (stopped,) = json.loads(asked("strategies", "list", "--state", "stopped", "--json"))["strategies"]
    assert stopped["strategyId"] == "demo.maruti"
    assert "● running" in asked("strategies", "start", "demo.maruti")
    assert "stopped" not in asked("strategies")


def test_a_strategy_is_created_changed_and_deleted(asked):
    """`create --start`, `change`, `stop` and `delete`: `show` and `list` have what was asked for each time."""
    create = ("create", "rsi", "--instrument", "NSE:ITC", "-p", "period=7", "--quantity", "3", "--start")
    assert re.search(r"^rsi\.itc +rsi +NSE:ITC +3 +● running", asked("strategies", *create), re.MULTILINE)
    changed = json.loads(
        asked("strategies", "change", "rsi.itc", "-p", "period=9", "--quantity", "5", "--flatten", "--json")
    )["strategy"]
    assert (changed["parameters"]["period"], changed["quantity"], changed["symbols"]) == (
        "9",
        "5",
        ["NSE:ITC"],
    )
    assert "period 9" in asked("strategies", "show", "rsi.itc")
    asked("strategies", "stop", "rsi.itc")
    asked("strategies", "delete", "rsi.itc")
    assert "rsi.itc" not in asked("strategies")


def test_types_say_what_their_parameters_may_be(asked):
    """`strategies types TYPE` names the parameters with default and range; without TYPE all types are shown."""
    assert re.search(r"^fast +\d+ +integer, >= 1", asked("strategies", "types", "ema_cross"), re.MULTILINE)
    assert asked("strategies", "types").count("before its first signal") >= 7


def test_an_order_is_placed_shown_and_squared_off(asked):
    """`orders place` fills on paper; list, show and positions have it; `square-off` plans its exit."""
    placed = json.loads(asked("orders", "place", "buy", "NSE:SBIN", "10", "--json"))["order"]
    order_id = placed["state"]["orderId"]
    assert placed["state"]["status"] == "ORDER_STATUS_FILLED"
    assert order_id in asked("orders", "show", order_id)
    assert order_id in asked("orders", "--ids", "--strategy", "manual", "--status", "filled")
    assert order_id not in asked("orders", "--strategy", "manual")
    until(
        lambda: re.search(r"NSE:SBIN +MIS +\+10 ", asked("positions", "--strategy", "manual")),
        10,
        "the position",
    )
    assert "sell 10" in asked("orders", "square-off", "--symbol", "NSE:SBIN", "--reason", "test")


def test_a_resting_order_is_modified_and_cancelled(asked, refused):
    """`orders place --limit` answers once it rests; `modify` gives it other terms, `cancel` and `cancel-all` end it."""
    placed = json.loads(asked("orders", "place", "buy", "NSE:TCS", "10", "--limit", "1", "--json"))["order"]
    order_id = placed["state"]["orderId"]
    assert placed["state"]["status"] == "ORDER_STATUS_OPEN", placed["message"]
    told = asked("orders", "modify", order_id, "--limit", "1.05", "--quantity", "5", "--reason", "dearer")
    assert re.search(r"buy +5 .*1\.05 .* open .* done", told)
    assert "no order is working there" in asked("orders", "cancel-all", "--symbol", "NSE:ITC")
    assert re.search(r"cancelled .* done", asked("orders", "cancel-all", "--symbol", "NSE:TCS"))
    assert "done before" in asked("orders", "cancel", order_id)
    assert "is CANCELLED: nothing of it is left" in refused("orders", "modify", order_id, "--limit", "2")


def test_a_bracket_is_placed_by_one_command_and_shown_and_ended(asked, refused):
    """`--stop-loss` and `--take-profit`: a stop rests, `protections` shows both, `unprotect` ends them; the stop isn't cancelled alone."""
    first = json.loads(asked("orders", "place", "buy", "NSE:HDFCBANK", "1", "--json"))["order"]["state"]
    price = float(first["averagePrice"]["value"])
    levels = ("--stop-loss", f"{round(price * 0.98)}", "--take-profit", f"{round(price * 1.05)}")
    placed = json.loads(asked("orders", "place", "buy", "NSE:HDFCBANK", "2", *levels, "--json"))["order"]
    order_id = placed["state"]["orderId"]
    (shown,) = json.loads(asked("orders", "protections", "--symbol", "NSE:HDFCBANK", "--json"))["protections"]
    assert (shown["orderId"], shown["state"]) == (order_id, "PROTECTION_STATE_ACTIVE")
    assert f"{round(price * 0.98):,}.00" in asked("orders", "protections")
    assert "protects a position" in refused("orders", "cancel", shown["stopOrderId"])
    assert "cancelled" in asked("orders", "unprotect", order_id)
    assert "nothing is protected" in asked("orders", "protections", "--symbol", "NSE:HDFCBANK")
    wrong = asked("orders", "place", "buy", "NSE:HDFCBANK", "1", "--stop-loss", f"{round(price * 2)}")
    assert "failed" in wrong


def test_the_same_request_id_places_one_order(asked):
    """`orders place --request-id R` twice is one order."""
    ids = {
        json.loads(asked("orders", "place", "buy", "NSE:ITC", "1", "--request-id", "once", "--json"))[
            "order"
        ]["state"]["orderId"]
        for _ in range(2)
    }
    assert len(ids) == 1


def test_a_refused_order_says_why(asked):
    """An order that risk refuses is an answer, with the reason, and its verdict lists the rules."""
    refusal = json.loads(asked("orders", "place", "sell", "NSE:ITC", "1", "--product", "CNC", "--json"))[
        "order"
    ]
    assert refusal["failureReason"] == "FAILURE_REASON_RISK_REJECTED"
    verdict = asked("risk", "verdict", refusal["state"]["signalId"])
    assert verdict.startswith("refused: CNC is never short")
    assert re.search(r"^product +failed", verdict, re.MULTILINE), verdict


def test_verdicts_are_listed_and_exposure_is_shown(asked):
    """`risk verdicts --refused` names the signal and why; `--approved` has none of them; `risk exposure` adds up."""
    order = json.loads(asked("orders", "place", "sell", "NSE:ITC", "2", "--product", "CNC", "--json"))[
        "order"
    ]
    signal = order["state"]["signalId"]
    found = asked("risk", "verdicts", "--strategy", "manual", "--refused")
    assert re.search(rf"NSE:ITC +manual +{signal} +refused: CNC is never short", found), found
    assert signal not in asked("risk", "verdicts", "--strategy", "manual", "--approved")
    exposure = asked("risk", "exposure")
    rows = re.findall(
        r"^NSE:\w+ +(?:0|[+-]\d+) +(?:0|[+-]\d+) +\d+ +\S+ +([\d,.]+) +-?[\d,.]+$", exposure, re.MULTILINE
    )
    assert rows, exposure
    total = sum(Decimal(row.replace(",", "")) for row in rows)
    assert exposure.startswith(f"gross {total:,.2f} "), exposure


def test_the_next_page_is_named_and_found(asked):
    """A list that has more ends with the token that gets the rest."""
    shown = asked("strategies", "--page-size", "5")
    (token,) = re.findall(r"more: --page-token (\S+)", shown)
    rest = asked("strategies", "--page-size", "5", "--page-token", token)
    assert "more:" not in rest
    names = re.findall(r"^demo\.\S+", shown + rest, re.MULTILINE)
    assert len(names) == len(set(names)) == len(demo_requests())


def test_the_kill_switch_is_set_and_shown(asked):
    """`risk kill-switch set` changes what `risk kill-switch` shows, with the reason."""
    assert "● active" in asked("risk", "kill-switch")
    assert "● reducing" in asked("risk", "kill-switch", "set", "REDUCING", "--reason", "a [bold]test[/bold]")
    assert "a [bold]test[/bold]" in asked("risk", "kill-switch")
    asked("risk", "kill-switch", "set", "active", "--reason", "done")
    assert json.loads(asked("risk", "kill-switch", "show", "--json"))["killSwitch"]["revision"] == "2"


def test_limits_are_set_and_refuse(asked):
    """`risk set` sets one where it is said; an order over it is refused naming rule, limit and what was seen."""
    told = asked("risk", "set", "max_order_value=1", "--instrument", "NSE:ITC", "--reason", "drill")
    assert re.search(r"^order_value +max_order_value +1 +rupees +NSE:ITC", told, re.MULTILINE), told
    assert "NSE:ITC" in asked("risk", "limits", "--instrument", "NSE:ITC")
    assert "NSE:ITC" not in asked("risk", "limits")
    order = json.loads(asked("orders", "place", "buy", "NSE:ITC", "1", "--json"))["order"]
    verdict = asked("risk", "verdict", order["state"]["signalId"])
    assert re.search(r"^refused: an order of \d+\.\d+ rupees is over the limit of 1", verdict), verdict
    assert re.search(r"^order_value +failed +<= 1\.00 +\d+\.\d+", verdict, re.MULTILINE), verdict
    asked("risk", "set", "--clear", "max_order_value", "--instrument", "NSE:ITC", "--reason", "done")
    assert "NSE:ITC" not in asked("risk", "limits", "--instrument", "NSE:ITC")


def test_limits_are_shown_by_rule(asked):
    """`risk` shows every limit with its rule, value and unit."""
    assert re.search(r"^order_quantity +max_order_quantity +100000 +units", asked("risk"), re.MULTILINE)


UNKNOWN = "63850c56-f8b2-4d5c-b4d8-42e1ed1e295b"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("strategies", "start", "nobody"), "there is no strategy 'nobody'"),
        (("strategies", "stop", "nobody"), "there is no strategy 'nobody'"),
        (("strategies", "show", "nobody"), "there is no strategy 'nobody'"),
        (("strategies", "delete", "demo.infy"), "demo.infy"),
        (("strategies", "change", "demo.infy", "-p", "fats=3"), "did you mean 'fast'"),
        (("strategies", "create", "rsy", "--instrument", "NSE:ITC", "--quantity", "1"), "did you mean 'rsi'"),
        (
            ("strategies", "create", "rsi", "--instrument", "ITC", "--quantity", "0"),
            "symbols[0]: 'ITC' is not allowed",
        ),
        (("orders", "show", UNKNOWN), UNKNOWN),
        (("orders", "show", "x"), "order_id: 'x' is not allowed"),
        (("orders", "place", "buy", "NSE:INFI", "1"), "did you mean"),
        (("orders", "place", "buy", "INFY", "1"), "symbol: 'INFY' is not allowed"),
        (("orders", "square-off"), "at least one of strategy_id, symbol and broker"),
        (("orders", "--page-token", "abc"), "page_token: 'abc' is not allowed"),
        (("strategies", "--page-token", "abc"), "page_token: 'abc' is not allowed"),
        (("positions", "--page-token", "abc"), "page_token: 'abc' is not allowed"),
        (("positions", "--page-size", "1001"), "page_size"),
        (("risk", "verdict", UNKNOWN), f"signal {UNKNOWN} was not judged"),
        (("risk", "set", "max_ordr_value=1", "--reason", "x"), "did you mean 'max_order_value'"),
        (("risk", "limits", "--broker", "Paper"), "broker: 'Paper' is not allowed"),
        (("status", "--service", "nobody"), "nobody"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else None,
)
def test_what_the_platform_refuses_is_one_line(refused, arguments, said):
    """Input that the platform refuses is one line that names the field, the value and what is allowed."""
    assert said in refused(*arguments)


@pytest.mark.parametrize("command", ["status", "strategies", "orders", "positions", "risk"])
def test_without_a_platform_one_line_says_how_to_start_it(command):
    """Where nobody listens, the command says so, and how to start one."""
    (port,) = free_ports(1)
    result = CliRunner().invoke(main, [command, "--target", f"127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"alphapanda: nothing answers on 127.0.0.1:{port}; start it with `alphapanda up`, "
        "or say with --target where it runs\n"
    )


@pytest.mark.parametrize(
    "target", ["", "localhost", "localhost:", "localhost:99999", "http://localhost:50051", "a b:1"]
)
def test_a_target_that_is_none_is_refused_before_it_is_asked(target):
    """A target that isn't host:port is refused with what is allowed, exit code 2."""
    result = CliRunner().invoke(main, ["status", "--target", target])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert (
        line
        == f"alphapanda: --target: {target!r} is not allowed; allowed: host:port, such as 127.0.0.1:50051"
    )


def test_json_that_is_no_request_is_refused(target):
    """`call` refuses JSON that isn't the method's request in one line, exit code 2, before it is sent."""
    for body in ("{", '{"brokr": "paper"}'):
        result = CliRunner().invoke(main, ["call", "PortfolioService/GetPortfolio", body, "--target", target])
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith(f"alphapanda: JSON: {body!r} is not allowed; a GetPortfolioRequest")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("change", "demo.infy"), "nothing to change: name -p, --instrument,"),
        (("change", "demo.infy", "-p", "fast"), "-p: 'fast' is not allowed; allowed: name=value"),
        (("types", "rsy"), "TYPE: 'rsy' is not allowed; allowed: dip_buyer, ema_cross,"),
    ],
)
def test_what_can_be_seen_here_is_refused_here(refused, arguments, said):
    """What the command itself can't make sense of is one line and exit code 2."""
    assert said in refused("strategies", *arguments, code=2)


def test_an_unknown_command_of_a_group_is_named():
    """A word that is no command is not taken for the default one."""
    result = CliRunner().invoke(main, ["orders", "strat"])
    assert result.exit_code == 2
    assert "No such command 'strat'" in result.stderr


def test_a_word_somebody_may_try_first_is_answered_with_the_command():
    """`alphapanda buy` isn't there twice: it says how an order is placed."""
    result = CliRunner().invoke(main, ["buy", "NSE:INFY", "10"])
    assert result.exit_code == 2
    assert "No such command 'buy'; it is `alphapanda orders place buy`." in result.stderr
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
