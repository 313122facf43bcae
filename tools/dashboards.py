"""Writes the Grafana dashboards of deploy/observability/dashboards: `make dashboards`. The same source gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "deploy/observability/dashboards"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 24
HEIGHT: Final = 8
ON: Final = 'job=~"$job", broker=~"$broker"'
JOB: Final = 'job=~"$job"'
PER_MINUTE: Final = "[$__rate_interval])) * 60"
STAGES: Final = ("tick_to_signal", "signal_to_verdict", "verdict_to_order", "order_to_fill", "fill_to_booked")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        title: its title.
        queries: expressions by legend.
        unit: Grafana's name of the unit.
        kind: "timeseries" or "stat".
        about: what it says, for its tool tip.
        width: columns of 24.
        exemplars: whether its queries show exemplars.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    about: str = ""
    width: int = 8
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels under a title."""

    title: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def quantiles(metric: str, where: str = JOB) -> Mapping[str, str]:
    """Median and 99th percentile of a histogram."""
    rate = f"sum by (le) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    return {"p50": f"histogram_quantile(0.5, {rate})", "p99": f"histogram_quantile(0.99, {rate})"}


TRADING: Final = (
    Row(
        "Money",
        (
            Panel("Equity", {"{{broker}}": f"alphapanda_portfolio_equity_INR{{{ON}}}"}, "currencyINR"),
            Panel(
                "P&L of the day", {"{{broker}}": f"alphapanda_portfolio_day_pnl_INR{{{ON}}}"}, "currencyINR"
            ),
            Panel(
                "P&L so far",
                {
                    "realised {{broker}}": f"alphapanda_portfolio_realised_INR{{{ON}}}",
                    "unrealised {{broker}}": f"alphapanda_portfolio_unrealised_INR{{{ON}}}",
                    "charges {{broker}}": f"-alphapanda_portfolio_charges_INR{{{ON}}}",
                },
                "currencyINR",
            ),
            Panel(
                "Exposure",
                {
                    "gross {{broker}}": f"alphapanda_portfolio_gross_exposure_INR{{{ON}}}",
                    "net {{broker}}": f"alphapanda_portfolio_net_exposure_INR{{{ON}}}",
                },
                "currencyINR",
            ),
            Panel("Cash", {"{{broker}}": f"alphapanda_portfolio_cash_INR{{{ON}}}"}, "currencyINR"),
            Panel(
                "Positions",
                {
                    "open {{broker}}": f"alphapanda_portfolio_open_positions{{{ON}}}",
                    "without a price {{broker}}": f"alphapanda_portfolio_unpriced_positions{{{ON}}}",
                },
            ),
        ),
    ),
    Row(
        "Orders",
        (
            Panel(
                "Orders ended a minute",
                {
                    "{{status}} {{broker}}": f"sum by (broker, status) (rate(alphapanda_orders_ended_total{{{ON}}}{PER_MINUTE}"
                },
            ),
            Panel(
                "Failed orders by reason, last hour",
                {
                    "{{reason}}": f'sum by (reason) (increase(alphapanda_orders_ended_total{{{ON}, status="failed"}}[1h]))'
                },
                about="A reason without orders shows 0.",
            ),
            Panel("Open orders", {"{{status}} {{broker}}": f"alphapanda_orders_open{{{ON}}}"}),
            Panel(
                "Orders without a clear answer",
                {"{{broker}}": f"alphapanda_orders_unknown{{{ON}}}"},
                kind="stat",
                about="They may be at the exchange and are looked up by their tags.",
            ),
            Panel(
                "Order to fill",
                quantiles("alphapanda_stage_order_to_fill_seconds", ON),
                "s",
                exemplars=True,
            ),
            Panel(
                "Broker's answer",
                quantiles("alphapanda_order_latency_seconds", ON),
                "s",
                about="From the decision to send to the commit of the broker's answer.",
            ),
        ),
    ),
    Row(
        "Risk",
        (
            Panel(
                "Verdicts a minute",
                {
                    "{{outcome}} {{broker}}": f"sum by (broker, outcome) (rate(alphapanda_risk_verdicts_total{{{ON}}}{PER_MINUTE}"
                },
            ),
            Panel(
                "Rejections by rule, last hour",
                {
                    "{{reason}}": f'sum by (reason) (increase(alphapanda_risk_verdicts_total{{{ON}, outcome="refused"}}[1h]))'
                },
                about="A rule that refused nothing shows 0.",
            ),
            Panel(
                "Signals a minute",
                {
                    "signals": f'sum by (job) (rate(alphapanda_service_count_total{{{JOB}, service="strategy", name="signals"}}{PER_MINUTE}'
                },
            ),
            Panel(
                "Kill switch",
                {"{{broker}}": f"alphapanda_kill_switch_state{{{ON}}}"},
                kind="stat",
                about="0 active, 1 only what reduces, 2 nothing but cancels.",
            ),
            Panel(
                "Accounts stopped by the daily loss",
                {"{{broker}}": f"alphapanda_risk_daily_loss_tripped{{{ON}}}"},
                kind="stat",
            ),
            Panel(
                "Strategies", {"{{state}}": f"sum by (state) (alphapanda_strategies{{{JOB}}})"}, kind="stat"
            ),
        ),
    ),
)

PLATFORM: Final = (
    Row(
        "From tick to rupee",
        (
            *(
                Panel(
                    stage.replace("_", " ").capitalize(),
                    quantiles(f"alphapanda_stage_{stage}_seconds"),
                    "s",
                    exemplars=True,
                )
                for stage in STAGES
            ),
            Panel(
                "Handlers, p99",
                {
                    "{{consumer}}": "histogram_quantile(0.99, sum by (le, consumer)"
                    f" (rate(alphapanda_consumer_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))"
                },
                "s",
            ),
        ),
    ),
    Row(
        "Market data",
        (
            Panel(
                "Age of the newest frame",
                {
                    "age": f"max by (job) (alphapanda_market_data_age_seconds{{{JOB}}})",
                    "allowed": f'max by (job) (alphapanda_alarm_threshold{{{JOB}, alarm="tick_age"}})',
                },
                "s",
            ),
            Panel(
                "Slowest frame",
                {
                    "latency": f"max by (job) (alphapanda_market_data_latency_seconds{{{JOB}}})",
                    "allowed": f'max by (job) (alphapanda_alarm_threshold{{{JOB}, alarm="market_data_latency"}})',
                },
                "s",
            ),
            Panel(
                "Session, and days left in the calendar",
                {
                    "in session": f"max by (job) (alphapanda_market_data_in_session{{{JOB}}})",
                    "days left": f"min by (job) (alphapanda_calendar_days_left_days{{{JOB}}})",
                },
                kind="stat",
            ),
        ),
    ),
    Row(
        "Flow",
        (
            Panel(
                "Lag of consumer groups",
                {"{{group}} {{topic}}": f"sum by (group, topic) (alphapanda_group_lag{{{JOB}}})"},
            ),
            Panel(
                "Records handled a second",
                {
                    "{{consumer}}": f"sum by (consumer) (rate(alphapanda_consumer_processed_total{{{JOB}}}[$__rate_interval]))"
                },
            ),
            Panel("Events not published", {"{{service}}": f"alphapanda_outbox_unpublished{{{JOB}}}"}),
            Panel(
                "Dead letters and parked keys",
                {
                    "letters {{topic}}": f"alphapanda_dead_letters_waiting{{{JOB}}}",
                    "parked {{consumer}} {{broker}}": f"alphapanda_consumer_parked{{{JOB}}}",
                },
            ),
            Panel(
                "Failed and repeated attempts a minute",
                {
                    "failed {{consumer}}": f"sum by (consumer) (rate(alphapanda_consumer_failed_total{{{JOB}}}{PER_MINUTE}",
                    "repeated {{consumer}}": f"sum by (consumer) (rate(alphapanda_consumer_retried_total{{{JOB}}}{PER_MINUTE}",
                },
            ),
            Panel(
                "Duplicates absorbed a minute",
                {
                    "{{service}} {{broker}}": f"sum by (service, broker) (rate(alphapanda_duplicates_total{{{JOB}}}{PER_MINUTE}"
                },
            ),
        ),
    ),
    Row(
        "Health",
        (
            Panel(
                "Serving",
                {"{{service}}": f"min by (service) (alphapanda_service_serving{{{JOB}}})"},
                kind="stat",
            ),
            Panel(
                "Open breakers",
                {
                    "{{consumer}} {{dependency}}": f"sum by (consumer, dependency) (alphapanda_breaker_open{{{JOB}}})"
                },
            ),
            Panel(
                "Errors in the log a minute",
                {"{{channel}}": f"sum by (channel) (rate(alphapanda_errors_total{{{JOB}}}{PER_MINUTE}"},
            ),
            Panel(
                "Age of the snapshots, market time",
                {
                    "age": f"max by (job) (alphapanda_portfolio_snapshot_age_seconds{{{JOB}}})",
                    "allowed": f'max by (job) (alphapanda_alarm_threshold{{{JOB}, alarm="snapshot_age"}})',
                },
                "s",
            ),
            Panel(
                "PostgreSQL and Redis of `up`",
                {
                    "{{server}} serves": f"alphapanda_server_serving{{{JOB}}}",
                    "{{server}} restarts": f"alphapanda_server_restarts_total{{{JOB}}}",
                },
                kind="stat",
            ),
            Panel(
                "Days until certificates end",
                {"{{instance}}": f"alphapanda_tls_certificate_days_left_days{{{JOB}}}"},
                kind="stat",
                about="Empty without TLS.",
            ),
        ),
    ),
    Row(
        "Calls and limiters",
        (
            Panel("Calls at work", {"{{kind}}": f"sum by (kind) (alphapanda_calls_running{{{JOB}}})"}),
            Panel(
                "Calls refused a minute",
                {"{{reason}}": f"sum by (reason) (rate(alphapanda_calls_refused_total{{{JOB}}}{PER_MINUTE}"},
                about="Empty while none was ever refused.",
            ),
            Panel(
                "Headroom of limiters",
                {
                    "{{limiter}} {{broker}}": f"alphapanda_limiter_headroom{{{JOB}}} / alphapanda_limiter_limit{{{JOB}}}"
                },
                "percentunit",
            ),
        ),
    ),
    Row(
        "Resources",
        (
            Panel("Memory", {"{{instance}}": f"alphapanda_process_memory_bytes{{{JOB}}}"}, "bytes"),
            Panel("Processors used", {"{{instance}}": f"alphapanda_process_cpu{{{JOB}}}"}),
            Panel(
                "Descriptors and threads",
                {
                    "descriptors {{instance}}": f"alphapanda_process_descriptors{{{JOB}}}",
                    "threads {{instance}}": f"alphapanda_process_threads{{{JOB}}}",
                },
            ),
            Panel(
                "Machine: used share",
                {
                    "{{resource}}": f"max by (resource) (alphapanda_host_used{{{JOB}}})",
                    "allowed {{alarm}}": f'max by (alarm) (alphapanda_alarm_threshold{{{JOB}, alarm=~"memory|cpu|disk"}})',
                },
                "percentunit",
                width=WIDTH,
            ),
        ),
    ),
)

DASHBOARDS: Final = {"trading": ("Trading", TRADING, True), "platform": ("Platform", PLATFORM, False)}
"""By the file's name: title, rows, and whether it can be narrowed to brokers."""


def _variable(name: str, label: str) -> dict[str, Any]:
    query = (
        f"label_values(alphapanda_{'portfolio_cash_INR' if name == 'broker' else 'service_serving'}, {name})"
    )
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "exemplar": panel.exemplars,
            }
            for at, (legend, expression) in enumerate(panel.queries.items())
        ],
    }
    if panel.kind == "timeseries":
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        }
    else:
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}
    return made


def dashboard(name: str) -> dict[str, Any]:
    """Builds a dashboard as Grafana imports it."""
    title, rows, by_broker = DASHBOARDS[name]
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            panels.append(_panel(panel, len(panels) + 1, x, y))
            x += panel.width
        y += HEIGHT
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    variables = [source, _variable("job", "Job"), *([_variable("broker", "Broker")] if by_broker else [])]
    return {
        "uid": f"alphapanda-{name}",
        "title": f"Alpha Panda: {title}",
        "tags": ["alphapanda"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }


def text_of(name: str) -> str:
    """A dashboard's file."""
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text_of(name), encoding="utf-8")
