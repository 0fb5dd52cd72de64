"""What a report says of strategies: what would have been earned after costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tsforecast._checks import first
from tsforecast._html import label
from tsforecast.backtesting._sheet import told, told_overfitting, worded
from tsforecast.backtesting.strategy import Strategy
from tsforecast.backtesting.tearsheet import TearSheet, tearsheet
from tsforecast.insight._blocks import Block, Facts, Part, Section, Sentences, Table, picture
from tsforecast.insight.strategy_plots import (
    equity_curve,
    plot_cost_curve,
    plot_drawdown,
    plot_equity,
)

__all__ = ["strategy_part"]

_MOST_ASSETS = 2000


def strategy_part(
    strategies: Mapping[str, Strategy], sheet: TearSheet | None, *, names: bool = True
) -> Part:
    """Say what strategies would have earned; without a tear sheet one is made."""
    sheet = tearsheet(strategies) if sheet is None else sheet
    judged = [str(name) for name in sheet.table]
    subject = f"Strategies after costs: {first(judged)}."
    blocks: list[Block] = [
        Table(
            worded(sheet.table),
            "Measures, of net returns unless they say otherwise",
            "A Sharpe ratio of one year has an error of about 1.",
        ),
        *_curves(strategies),
    ]
    if sheet.overfitting is not None:
        blocks.append(Sentences((told_overfitting(sheet.overfitting),)))
    if len(sheet.drawdowns):
        blocks.append(Sentences(tuple(told(sheet.drawdowns)), listed=True))
    if len(sheet.sub_periods):
        parts = sheet.sub_periods.set_index("strategy")
        blocks.append(Table(parts, "Parts of the time", "Returns and drawdowns are fractions."))
    if len(sheet.cost_curve):
        curve = sheet.cost_curve.pivot(index="cost_bps", columns="strategy")
        said = {"annual_return": "annual return", "sharpe": "Sharpe ratio"}
        pairs: Any = curve.columns.to_list()
        heads = [f"{said[what]} of {name}" for what, name in pairs]
        curve.columns = pd.Index(heads)
        blocks.append(
            picture(
                lambda ax: plot_cost_curve(sheet, ax=ax),
                alt=f"Annual return by cost per side, of {first(judged)}",
                caption="What would be left at other costs, all else equal.",
            )
        )
        blocks.append(Table(curve, "Other costs per side, in basis points"))
    sections = [Section("Strategies after costs", tuple(blocks))]
    if sheet.notes:
        notes = Sentences(tuple(sheet.notes), listed=True)
        sections.append(Section("How it was traded", (*_terms(strategies), notes)))
    sections += _assets(strategies) if names else []
    return Part("Strategies after costs", subject, tuple(sheet.verdicts()), tuple(sections))


def _curves(strategies: Mapping[str, Strategy]) -> list[Block]:
    """Capital and drawdown over time, with buy and hold of the first strategy beside them."""
    if not strategies:
        return []
    curves = equity_curve(strategies)
    names = first(strategies)
    return [
        picture(
            lambda ax: plot_equity(curves, ax=ax),
            alt=f"Capital over time, before and after costs, of {names} and buy and hold",
            caption="Capital over time, on a logarithmic scale, before and after costs.",
        ),
        picture(
            lambda ax: plot_drawdown(curves, ax=ax),
            alt=f"Drawdown over time, of {names} and buy and hold",
            caption="How far the capital is below its highest value so far, after costs.",
            size=(8.0, 3.0),
        ),
    ]


def _terms(strategies: Mapping[str, Strategy]) -> list[Block]:
    if not strategies:
        return []
    return [
        Facts(
            {
                name: f"{one.rule}; {one.weights.shape[1]:,} series, {len(one.returns):,} sessions "
                f"from {label(one.returns.index[0])} to {label(one.returns.index[-1])}; filled at "
                f"the {one.fill}, lag {one.lag}; {one.costs.bps:g} bps per side"
                for name, one in strategies.items()
            }
        )
    ]


def _assets(strategies: Mapping[str, Strategy]) -> list[Section]:
    blocks: list[Block] = []
    for name, one in strategies.items():
        table = one.attribution()
        order = table["net"].abs().sort_values(ascending=False).index
        note = "Sums of returns, as fractions of the equity. share: of the net sum."
        if len(table) > _MOST_ASSETS:
            note += f" The {_MOST_ASSETS:,} largest of {len(table):,}."
        shown_rows = table.loc[order].head(_MOST_ASSETS)
        blocks.append(Table(shown_rows, f"{name}: what each asset added", note, sortable=True))
    return [Section("Assets", tuple(blocks))] if blocks else []
