"""Says what of a replay's data was not used; a run that used almost nothing of it ends with an error."""

from __future__ import annotations

from alphapanda.app.replay import ReplayRun
from alphapanda.commands.console import warn
from alphapanda.marketdata.core.data_account import DataNotUsed


def tell_of_data(run: ReplayRun, *, allow_drops: bool) -> None:
    """Warns of rows that were not used, a line for each reason, and of what their length makes of the strategies' product.

    Args:
        run: a run that has ended.
        allow_drops: whether a run that used almost nothing is only a warning.

    Raises:
        DataNotUsed: too little of the data was used.
    """
    if (daily := run.squared_off_at_once()) is not None:
        warn(daily)
    problem = run.problem()
    if problem is not None:
        if not allow_drops:
            raise DataNotUsed(problem)
        warn(problem)
    for line in run.data.lines():
        if problem is None or line not in problem:
            warn(line)
