"""A sweep for programs: JSON and CSV with plain numbers. replay/README.md describes the form."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

from alphapanda.replay.as_json import Document, money, plain
from alphapanda.replay.performance import DEFINITIONS, OF_A_STRATEGY
from alphapanda.replay.sweep.ranking import SetResult
from alphapanda.replay.sweep.trial import OutOfSample, Tried


def sweep_json(ranking: Sequence[SetResult], measure: str, tried: OutOfSample | None) -> Document:
    """The entries of `replay --grid … --json` about the sets, the best first."""
    return {
        "ranked_by": measure,
        "definitions": {
            name: {"unit": of.unit.value, "definition": of.text} for name, of in DEFINITIONS.items()
        },
        "sets": [_set(rank, each) for rank, each in enumerate(ranking, 1)],
        "walk_forward": None if tried is None else _walk_forward(tried, measure),
    }


def sweep_csv(ranking: Sequence[SetResult]) -> str:
    """The sets as CSV, the best first: rank, strategy, each parameter, each figure; empty where there is no value."""
    names = list(dict.fromkeys(name for each in ranking for name in each.parameters))
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["rank", "strategy", *names, *DEFINITIONS])
    for rank, each in enumerate(ranking, 1):
        values = (plain(each.figures.value(name)) for name in DEFINITIONS)
        rows.writerow([rank, each.strategy_type, *(each.parameters.get(name, "") for name in names), *values])
    return text.getvalue()


def _set(rank: int, result: SetResult) -> Document:
    return {
        "rank": rank,
        "strategy": result.strategy_type,
        "parameters": dict(result.parameters),
        "figures": {figure.name: plain(figure.value) for figure in result.figures},
        "reasons": {figure.name: figure.reason for figure in result.figures if figure.reason},
        "charges_by_line": {line.name: money(line.amount) for line in result.charges.lines},
        "failures": list(result.failures),
    }


def _walk_forward(found: OutOfSample, measure: str) -> Document:
    return {
        "chosen_by": measure,
        "windows": [_window(each) for each in found.tried],
        "out_of_sample": {name: plain(found.figures.value(name)) for name in OF_A_STRATEGY},
        "reasons": {figure.name: figure.reason for figure in found.figures if figure.reason},
        "days": [{"day": end.day.isoformat(), "equity": money(end.equity)} for end in found.ends],
    }


def _window(tried: Tried) -> Document:
    trial = tried.trial
    value: Any = plain(trial.measured)
    return {
        "train_from": trial.first.isoformat(),
        "train_to": trial.trained.isoformat(),
        "test_from": trial.test.isoformat(),
        "test_to": trial.last.isoformat(),
        "strategy": trial.chosen.strategy_type,
        "parameters": dict(trial.chosen.parameters),
        "measured": value,
        "net_pnl": money(tried.net_pnl),
        "return": tried.return_,
        "round_trips": tried.round_trips,
        "charges": money(tried.charges),
    }
