"""A tear sheet in words: verdicts, and tables as text."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from tsforecast.backtesting._shared import chance, percent
from tsforecast.backtesting.sharpe import LEAST, Overfitting

__all__ = [
    "BUY_AND_HOLD",
    "CURVE",
    "MEASURES",
    "OF_A_PART",
    "day",
    "printed",
    "printed_curve",
    "printed_parts",
    "told",
    "told_overfitting",
    "verdict",
    "worded",
]

BUY_AND_HOLD = "buy and hold"
CURVE = range(11)  # basis points per side
_MUCH = 100  # basis points per side at which nobody trades

# name, words, how it is printed
MEASURES = (
    ("annual_return", "annual return, net", "%"),
    ("annual_return_gross", "annual return, gross", "%"),
    ("volatility", "volatility, annual", "%"),
    ("sharpe", "Sharpe ratio, net", "."),
    ("sharpe_se", "  its HAC standard error", "."),
    ("sharpe_p", "  p of a ratio above zero", "p"),
    ("sharpe_gross", "Sharpe ratio, gross", "."),
    ("sharpe_gross_se", "  its HAC standard error", "."),
    ("psr", "probabilistic Sharpe ratio", "."),
    ("dsr", "deflated Sharpe ratio", "."),
    ("trials", "  trials counted", "n"),
    ("expected_maximum", "  best of as many worthless ones", "."),
    ("scored", "test block scored, times", "n"),
    ("benchmark_p", "p of a ratio above buy and hold", "p"),
    ("sortino", "Sortino ratio", "."),
    ("calmar", "Calmar ratio", "."),
    ("max_drawdown", "maximum drawdown", "%"),
    ("drawdown_length", "  its length, periods", "n"),
    ("value_at_risk", "value at risk of a period, 5 %", "%"),
    ("expected_shortfall", "expected shortfall, 5 %", "%"),
    ("tail_ratio", "tail ratio, 95 % to 5 %", "."),
    ("hit_rate_periods", "hit rate of periods", "%"),
    ("hit_rate_positions", "hit rate of positions", "%"),
    ("accuracy", "accuracy of direction", "%"),
    ("base_rate", "  base rate, of rises", "%"),
    ("calls", "  calls, but for flat ones", "n"),
    ("share_long", "  calls long", "%"),
    ("share_flat", "  calls flat", "%"),
    ("share_short", "  calls short", "%"),
    ("gross_exposure", "gross exposure", "%"),
    ("net_exposure", "net exposure", "%"),
    ("held", "assets held", "."),
    ("turnover", "turnover of a period", "%"),
    ("annual_cost", "costs of a year", "%"),
    ("cost_bps", "costs per side, bps", "."),
    ("breakeven_bps", "  net total is zero at, bps", "."),
    ("n_periods", "periods", "n"),
)
OF_A_PART = [
    "n_periods",
    "annual_return",
    "volatility",
    "sharpe",
    "sharpe_se",
    "sharpe_gross",
    "max_drawdown",
    "turnover",
]


def verdict(name: str, row: pd.Series, beside: pd.Series | None, alpha: float) -> str:
    """One strategy, in the words that its evidence allows."""
    if not row["gross_exposure"] > 0:
        return f"{name}: holds no position, so that there is nothing to judge."
    n = int(row["n_periods"])
    if n == 1:
        return f"{name}: 1 period of returns is too little to judge."
    if math.isnan(row["sharpe_p"]):
        if n < LEAST:
            return f"{name}: {n} periods of returns are too few to judge."
        return f"{name}: net returns that never move leave nothing to judge."
    after = "after costs" if row["cost_bps"] > 0 else "before costs (none are counted)"
    p = row["sharpe_p"]
    claim = f"no evidence of profit {after}"
    if p < alpha and row["dsr"] > 1 - alpha:
        claim = f"profit {after}"
    elif p < alpha and row["trials"] > 1:
        claim += f" beyond the luck of the best of {row['trials']:,.0f} trials"
    elif 1 - p < alpha:
        claim, p = f"a loss {after}", 1 - p
    sentences = [f"{name}: {claim} ({'; '.join(_evidence(row, p))})."]
    return " ".join(sentences + _against(row, beside, alpha) + _calls(row))


def _evidence(row: pd.Series, p: float) -> list[str]:
    said = [
        f"net Sharpe {row['sharpe']:.2f} with a HAC error of {row['sharpe_se']:.2f}, {chance(p)}",
        f"PSR {_probability(row['psr'])}",
    ]
    if row["trials"] > 1:
        said.append(f"deflated for {row['trials']:,.0f} trials {_probability(row['dsr'])}")
    bps = row["breakeven_bps"]
    if bps > _MUCH:
        said.append(f"breaks even above {_MUCH} bps per side")
    elif bps > 0:
        said.append(f"breaks even at {bps:.1f} bps per side")
    elif bps <= 0:
        said.append("no gain before costs either")
    return said


def _against(row: pd.Series, beside: pd.Series | None, alpha: float) -> list[str]:
    p = row["benchmark_p"]
    if beside is None or math.isnan(p):
        return []
    word = "Not told apart from"
    if min(p, 1 - p) < alpha:
        word = "Better than" if p < alpha else "Worse than"
    return [f"{word} buy and hold (net Sharpe {beside['sharpe']:.2f}, {chance(min(p, 1 - p))})."]


def _calls(row: pd.Series) -> list[str]:
    """How often the direction was right never stands without what makes that easy."""
    if math.isnan(row["accuracy"]):
        return []
    long = row["share_long"] / (row["share_long"] + row["share_short"])
    calls = int(row["calls"])
    if calls < LEAST:
        ones = "call of a direction is" if calls == 1 else "calls of a direction are"
        return [f"{calls} {ones} too few to say how many are right."]
    return [
        f"Direction right in {percent(row['accuracy'])} of its calls, {percent(long)} of them "
        f"long; {percent(row['base_rate'])} of all outcomes are rises."
    ]


def _probability(value: float) -> str:
    """Say a probability, never as a certainty."""
    return "above 0.999" if value > 0.999 else "below 0.001" if value < 0.001 else f"{value:.2g}"


def _number(value: float, kind: str) -> str:
    if math.isnan(value):
        return ""
    if kind == "%":
        return f"{100 * value:.2f} %"
    if kind == "n":
        return f"{value:,.0f}"
    if kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:.2f}"


def printed(table: pd.DataFrame) -> str:
    """The table in words, as text."""
    return _lines(worded(table))


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """The table in words, without rows that hold nothing."""
    rows = [
        (words, [_number(value, kind) for value in table.loc[[name]].to_numpy()[0]])
        for name, words, kind in MEASURES
    ]
    shown = [row for row in rows if any(row[1])]  # two of them may have the same words
    index = [words for words, _ in shown]
    return pd.DataFrame([cells for _, cells in shown], index, list(table))


def _lines(cells: pd.DataFrame) -> str:
    """Text with the first column flush left and the others right; own rows, as pandas trims."""
    columns = [["", *map(str, cells.index)]]
    columns += [[str(name), *map(str, cells.iloc[:, i])] for i, name in enumerate(cells)]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in zip(*columns)
    )


def told(drawdowns: pd.DataFrame) -> list[str]:
    """The largest drawdown of each strategy, in words."""
    said = []
    for name, row in drawdowns.iterrows():
        if not row["length"]:
            said.append(f"{name}: none")
            continue
        since = day(row["peak"]) or "the beginning"
        until = day(row["recovered"])
        end = f"made good on {until}" if until else "not made good by the end"
        said.append(
            f"{name}: {percent(-row['depth'])} from {since} to {day(row['trough'])}, {end} "
            f"({int(row['length']):,} periods)"
        )
    return said


def told_overfitting(found: Overfitting) -> str:
    """What became of the best trials, in words."""
    return (
        f"Of {found.n_trials:,} trials, the best on half of the time was in the lower half of them "
        f"on the other half in {percent(found.probability)} of {len(found.splits):,} splits (the "
        f"probability of backtest overfitting), and lost in {percent(found.probability_of_loss)}."
    )


def printed_parts(parts: pd.DataFrame) -> str:
    """The parts of the time, a row for each strategy and part."""
    kinds = {name: kind for name, _, kind in MEASURES}
    cells = pd.DataFrame(
        {
            "from": parts["start"].map(day),
            "to": parts["end"].map(day),
            **{
                name.replace("_", " "): [
                    _number(float(value), kinds[name]) for value in parts[name]
                ]
                for name in OF_A_PART
            },
        }
    )
    cells.index = pd.Index(parts["strategy"].astype(str))
    return _lines(cells)


def printed_curve(curve: pd.DataFrame) -> str:
    """A row for each cost, annual return and Sharpe ratio of each strategy beside each other."""
    names = list(dict.fromkeys(curve["strategy"]))
    columns = {}
    for name in names:
        rows = curve[curve["strategy"] == name]
        columns[f"{name}: return"] = [_number(value, "%") for value in rows["annual_return"]]
        columns[f"{name}: Sharpe"] = [_number(value, ".") for value in rows["sharpe"]]
    cells = pd.DataFrame(columns, index=[str(bps) for bps in CURVE])
    return _lines(cells)


def day(time: Any) -> str:
    """Say a time: a date alone at midnight."""
    if pd.isna(time):
        return ""
    if isinstance(time, pd.Timestamp) and time == time.normalize():
        return str(time.date())
    return str(time)
