"""What a replay's figures rest on, as lines of a name and a value."""

from __future__ import annotations

from alphapanda.settings.model import Settings


def assumptions(settings: Settings) -> list[tuple[str, str]]:
    """The assumptions behind the figures: when orders fill and at what price, charges, funds, square-off."""
    paper = settings.paper_trading
    return [
        ("fills", "at the last price when the order is decided, whole, whatever was traded"),
        ("slippage", f"{paper.slippage_percent}% of the price, always against you"),
        ("charges", f"{paper.commission_percent}% of the turnover"),
        ("funds", f"starting cash of {paper.starting_cash} rupees"),
        ("square-off of MIS", f"at {paper.square_off_time:%H:%M}"),
    ]
