"""The summary at the end of `alphapanda up`: what was traded, where the data lies, how to go on."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from alphapanda.commands.wording import amount, count, money
from alphapanda.contract.wire import moment
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from panda.portfolio.v1.portfolio_pb2 import GetPortfolioRequest
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.trading.v1.trading_pb2 import ListOrdersRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

PAGE: Final = 500
MOST_PAGES: Final = 20
ANSWER_SECONDS: Final = 2.0
SERVICES: Final = ("panda.portfolio.v1.PortfolioService", "panda.trading.v1.TradingService")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Attributes:
        account: broker and account, such as "paper/default"; they have the amounts.
        orders: stored since the start, of all accounts.
        counted_all: whether `orders` are all of them; false where there were too many to count.
        day_pnl: the trading day's profit or loss, rupees; None where unknown, like the amounts below.
        net_pnl: profit or loss since the account was opened.
        equity: cash and positions at last prices.
    """

    account: str
    orders: int
    counted_all: bool
    day_pnl: Decimal | None
    net_pnl: Decimal | None
    equity: Decimal | None


async def summary_of(
    target: str, account: str, since: datetime, security: ChannelSecurity = PLAINTEXT
) -> Summary:
    """Asks a running platform for the summary of an account, within ANSWER_SECONDS a call.

    Raises:
        AioRpcError: there is no answer.
    """
    async with open_channel(target, SERVICES, security=security) as channel:
        asked = GetPortfolioRequest(account=account)
        portfolio = (
            await PortfolioServiceStub(channel).GetPortfolio(asked, timeout=ANSWER_SECONDS)
        ).portfolio
        trading = TradingServiceStub(channel)
        orders, token, more = 0, "", True
        for _ in range(MOST_PAGES):
            page = await trading.ListOrders(
                ListOrdersRequest(page_size=PAGE, page_token=token), timeout=ANSWER_SECONDS
            )
            new = sum(moment(order.created_at) >= since for order in page.orders)
            orders, token = orders + new, page.next_page_token
            more = bool(token) and new == len(page.orders)
            if not more:
                break
    return Summary(
        f"{portfolio.broker}/{portfolio.account}",
        orders,
        not more,
        amount(portfolio, "day_pnl"),
        amount(portfolio.profit, "net_pnl"),
        amount(portfolio, "equity"),
    )


def summary_lines(
    summary: Summary | None,
    fills: int,
    ran: timedelta,
    data_dir: str,
    given: Path | None,
    data: str = "",
) -> list[str]:
    """The summary for people.

    Args:
        summary: None where the platform didn't answer any more.
        fills: of the run.
        ran: how long.
        data_dir: where everything is kept, shortened for people.
        given: the data directory, where another than the default was chosen.
        data: counts of rows that were dropped, not used or changed; empty where there were none.
    """
    seconds = round(ran.total_seconds())
    lasted = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    orders = ""
    if summary is not None:
        counted = count(summary.orders) if summary.counted_all else f"more than {count(summary.orders)}"
        orders = f"{counted} {'order' if counted == '1' else 'orders'}, "
    lines = [f"ran for {lasted}: {orders}{count(fills)} {'fill' if fills == 1 else 'fills'}"]
    if summary is None:
        lines.append("profit and loss are not known: the services did not answer any more")
    else:
        lines.append(
            f"{summary.account}: day's P&L {money(summary.day_pnl)}, net P&L {money(summary.net_pnl)},"
            f" equity {money(summary.equity)}"
        )
    if data:
        lines.append(f"rows of the data: {data}")
    lines.append(f"data and logs are in {data_dir}")
    again = "alphapanda up" if given is None else f"alphapanda up --data-dir {shlex.quote(str(given))}"
    lines.append(f"`{again}` goes on where this run ended; with --fresh it starts over")
    return lines
