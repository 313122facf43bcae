"""Risk knows each account's funds: cash and profit less charges, and what positions and orders block.

Accounts that exist take them from portfolio's books, and positions block their cost, or a fifth of it if they are intraday.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_ACCOUNT = "p.broker = a.broker AND p.account = a.account"
_MIS = 1


def upgrade() -> None:
    op.execute("ALTER TABLE trading.orders ADD COLUMN charges numeric NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE risk.orders ADD COLUMN charges numeric(24, 4) NOT NULL DEFAULT 0")
    op.execute(
        "ALTER TABLE risk.positions ADD COLUMN margin numeric(24, 4) NOT NULL DEFAULT 0,"
        " ADD COLUMN blocked numeric(24, 4) NOT NULL DEFAULT 0"
    )
    op.execute(
        "ALTER TABLE risk.accounts ADD COLUMN starting_cash numeric(24, 4),"
        " ADD COLUMN realised numeric(24, 4) NOT NULL DEFAULT 0,"
        " ADD COLUMN margin numeric(24, 4) NOT NULL DEFAULT 0,"
        " ADD COLUMN blocked numeric(24, 4) NOT NULL DEFAULT 0"
    )
    op.execute(
        "UPDATE risk.positions SET margin ="
        f" round(CASE WHEN product = {_MIS} THEN abs(cost) / 5 ELSE abs(cost) END, 2)"
    )
    op.execute(
        "UPDATE risk.accounts a SET starting_cash = p.starting_cash, realised = p.cash - p.starting_cash"
        " + (SELECT coalesce(sum(q.cost), 0) FROM portfolio.positions q WHERE q.broker = a.broker AND q.account = a.account),"
        f" margin = (SELECT coalesce(sum(p.margin), 0) FROM risk.positions p WHERE {_ACCOUNT})"
        f" FROM portfolio.accounts p WHERE {_ACCOUNT} AND p.starting_cash > 0"
    )
