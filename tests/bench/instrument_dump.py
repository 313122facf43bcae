"""A dump of 120,000 instruments in Kite's form: stocks, indices, futures, options, odd names, re-used tokens."""

from __future__ import annotations

import csv
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from alphapanda.instruments.core import KITE_COLUMNS

ROWS: Final = 120_000
STOCKS: Final = (("NSE", 1, 2_600), ("BSE", 4, 6_000))
INDICES: Final = 140
LEFT_OUT: Final = 4_000
FIRST_EXCHANGE_TOKEN: Final = 100_000
_ODD: Final = ("M&M", "L&T FINANCE, LTD", 'THE "BEST" CO', "O'NEIL & SONS", "ÉCLAIR FOODS", "")
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_dump(file: Path, day: date, rows: int = ROWS) -> None:
    """Writes the dump as of a day; a later day's has newer contracts under the tokens of expired ones."""
    chosen = random.Random(7)
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(KITE_COLUMNS)
        written = 0
        names: list[str] = []
        for exchange, segment, count in STOCKS:
            for number in range(count):
                symbol = "".join(chosen.choices(_LETTERS, k=chosen.randint(3, 9))) + str(number)
                name = _ODD[number % 1000] if number % 1000 < len(_ODD) else f"{symbol.title()} INDUSTRIES"
                token = FIRST_EXCHANGE_TOKEN + number
                tick = "0.01" if number % 2 else "0.05"
                writer.writerow(
                    (token * 256 + segment, token, symbol, name, 0, "", 0, tick, 1, "EQ", exchange, exchange)
                )
                names.append(symbol)
                written += 1
        for number in range(INDICES):
            writer.writerow(
                (
                    number * 256 + 9,
                    number,
                    f"NIFTY X{number}",
                    f"NIFTY X{number}",
                    0,
                    "",
                    0,
                    0,
                    0,
                    "EQ",
                    "INDICES",
                    "NSE",
                )
                if number
                else (256265, 1001, "NIFTY 50", "NIFTY 50", 0, "", 0, 0, 0, "EQ", "INDICES", "NSE")
            )
            written += 1
        for number in range(LEFT_OUT):
            writer.writerow(
                (
                    number * 256 + 7,
                    number,
                    f"GOLD{number}",
                    "GOLD",
                    0,
                    "2027-02-05",
                    0,
                    1,
                    1,
                    "FUT",
                    "MCX-FUT",
                    "MCX",
                )
            )
            written += 1
        token = 0
        underlyings = ["NIFTY", "BANKNIFTY", *names[:220]]
        while written < rows:
            underlying = underlyings[token % len(underlyings)]
            exchange, segment = ("BFO", 5) if token % 5 == 0 else ("NFO", 2)
            series = token // len(underlyings)
            expiry = day + timedelta(days=7 * (series % 12 + 1))
            strike = 100 * (series // 24 + 1)
            kind = "FUT" if strike == 100 else ("CE" if series % 2 else "PE")
            symbol = (
                f"{underlying}{expiry:%y%b%d}".upper()
                + ("FUT" if kind == "FUT" else f"{strike}{kind}")
                + str(series)
            )
            place = f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}"
            number = FIRST_EXCHANGE_TOKEN + token
            writer.writerow(
                (
                    number * 256 + segment,
                    number,
                    symbol,
                    underlying,
                    0,
                    expiry,
                    strike,
                    "0.05",
                    75,
                    kind,
                    place,
                    exchange,
                )
            )
            token += 1
            written += 1
