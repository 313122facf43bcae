"""Replays clients/scenarios.json against a platform and prints a line for each scenario.

alphapanda-scenarios 127.0.0.1:50051 clients/scenarios.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory

from alphapanda_client.client import Client
from alphapanda_client.connection import from_environment
from alphapanda_client.errors import PlatformError
from alphapanda_client.policy import new_request_id

PATIENCE_SECONDS = 60.0
"""A call's deadline: scenarios are about answers, not about how soon they come."""
Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


class NotAsExpected(Exception):
    """What an answer should have been, and what it is."""


def main() -> None:
    """Ends with 1 where a scenario fails."""
    try:
        target, file = sys.argv[1:]
    except ValueError:
        sys.exit("alphapanda-scenarios TARGET FILE; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read")
    scenarios = json.loads(Path(file).read_text())["scenarios"]
    failed = False
    with Client(from_environment(target)) as client:
        client.ready()
        for scenario in scenarios:
            outcome = replay(scenario, asking(client))
            failed = failed or outcome != "passed"
            sys.stdout.write(f"{scenario['name']}: {outcome}\n")
    sys.exit(int(failed))


def asking(client: Client) -> Ask:
    """Calls "package.Service/Method" with a request in JSON's form; the answer has the same form."""

    def ask(rpc: str, request: dict[str, Any]) -> dict[str, Any]:
        service, _, name = rpc.partition("/")
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        sent = json_format.ParseDict(request, message_factory.GetMessageClass(method.input_type)())
        answer: Any = message_factory.GetMessageClass(method.output_type)
        return json_format.MessageToDict(client.call(f"/{rpc}", sent, answer.FromString, PATIENCE_SECONDS))

    return ask


def replay(scenario: dict[str, Any], ask: Ask) -> str:
    """A scenario's outcome: "passed", or "FAILED at step N: …"."""
    known = {"run": new_request_id()[:8]}
    for number, step in enumerate(scenario["steps"], 1):
        try:
            _take(step, ask, known)
        except NotAsExpected as why:
            return f"FAILED at step {number}: {why}"
    return "passed"


def _take(step: dict[str, Any], ask: Ask, known: dict[str, str]) -> None:
    expected = step["expect"]
    request = json.loads(_filled(json.dumps(step["request"]), known))
    try:
        answer = ask(step["rpc"], request)
    except PlatformError as told:
        _check_refusal(expected, told)
        return
    if expected["code"] != "OK":
        raise NotAsExpected(f"answered, where {expected['code']} was expected")
    for fact in expected.get("facts", ()):
        _check(fact, _at(answer, fact["path"]), known)


def _check_refusal(expected: dict[str, Any], told: PlatformError) -> None:
    if told.code.name != expected["code"]:
        raise NotAsExpected(f"expected {expected['code']}, was told {told}")
    if expected.get("reason", told.reason) != told.reason:
        raise NotAsExpected(f"expected the reason {expected['reason']}, was told {told.reason}")
    if "field" in expected and expected["field"] not in told.fields:
        raise NotAsExpected(f"expected the field {expected['field']}, was told of {sorted(told.fields)}")


def _check(fact: dict[str, Any], value: Any, known: dict[str, str]) -> None:
    path = fact["path"]
    if "atLeast" in fact and (not isinstance(value, list) or len(value) < fact["atLeast"]):
        raise NotAsExpected(f"{path} is {value}, expected at least {fact['atLeast']} items")
    if "equals" in fact and value != _filled(fact["equals"], known):
        raise NotAsExpected(f"{path} is {value}, expected {_filled(fact['equals'], known)}")
    if "decimal" in fact and _decimal(value) != Decimal(fact["decimal"]):
        raise NotAsExpected(f"{path} is {value}, expected {fact['decimal']}")
    if "saveAs" in fact:
        if not isinstance(value, str) or not value:
            raise NotAsExpected(f"{path} is {value}, expected a text")
        known[fact["saveAs"]] = value


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None


def _at(value: Any, path: str) -> Any:
    """The value of a path such as "order.intents.0.tag"; None where there is none."""
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: known.get(found[1], found[0]), text)


if __name__ == "__main__":
    main()
