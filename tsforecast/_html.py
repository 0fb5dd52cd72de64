"""Forms for notebooks and pages: tables and sentences as HTML, everything in them escaped.

Nothing here has a style of its own: Jupyter and the report bring theirs. Nothing refers to
anything outside the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from html import escape
from numbers import Real
from typing import Any

import pandas as pd

__all__ = ["html_form", "html_list", "html_table", "label", "shown"]

_ROWS = 20
_LONG = 40  # characters of a text that may be broken
_FIGURE = re.compile(r"[-+<>]? ?[\d,.]+( %)?|")  # a number that is text already


def shown(value: Any) -> str:
    """Say a value of a table: four digits of a number, a date alone at midnight, nothing for NaN.

    Examples
    --------
    >>> [shown(value) for value in (0.123456, 12345.6, 7, True, float("nan"), "a < b")]
    ['0.1235', '12,346', '7', 'yes', '', 'a < b']
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
    return str(value).removesuffix(" 00:00:00")


def label(value: Any) -> str:
    """Say a name or a time: as `shown` does, but no whole number is grouped by thousands.

    Examples
    --------
    >>> [label(value) for value in (10107, 20240131.0, 0.25, "1,000", float("nan"))]
    ['10107', '20240131', '0.25', '1,000', '']
    """
    words = shown(value)
    return words.replace(",", "") if isinstance(value, Real) else words


def html_table(
    frame: pd.DataFrame, *, caption: str = "", rows: int | None = _ROWS, kind: str = ""
) -> str:
    """Write a frame as an HTML table, its index in front.

    Parameters
    ----------
    frame : DataFrame
        Its cells are escaped, and so are the names of its rows and columns.
    caption : str
        Above it.
    rows : int, optional
        Rows that are shown; the others are counted below. None: all.
    kind : str
        Class of the table.

    Returns
    -------
    str

    Examples
    --------
    >>> import pandas as pd
    >>> print(html_table(pd.DataFrame({"mae": [0.5]}, index=["<b>"])))
    <table><thead><tr><th scope="col" class="text"></th><th scope="col">mae</th></tr></thead>
    <tbody><tr><th scope="row">&lt;b&gt;</th><td>0.5</td></tr></tbody></table>
    """
    top = frame if rows is None else frame.iloc[:rows]
    levels = top.index.nlevels
    labels = [top.index.get_level_values(level) for level in range(levels)]
    columns = [top.iloc[:, i].tolist() for i in range(top.shape[1])]
    heads = [_head("" if name is None else name, text=True) for name in top.index.names]
    heads += [
        _head(name, text=any(map(_is_text, column))) for name, column in zip(top.columns, columns)
    ]
    lines = []
    for row in range(len(top)):
        cells = [_label(each[row]) for each in labels]
        cells += [_data(column[row]) for column in columns]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    name = f' class="{escape(kind)}"' if kind else ""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    more = len(frame) - len(top)
    rest = f"\n<p>and {more:,} more rows</p>" if more else ""
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    return f"<table{name}>{title}{head}\n<tbody>{body}</tbody></table>{rest}"


def _cell(value: Any, say: Callable[[Any], str] = shown) -> str:
    text = ", ".join(map(say, value)) if isinstance(value, tuple) else say(value)
    inset = len(text) - len(text.lstrip(" "))  # a browser would drop it
    return escape(inset * "\u00a0" + text[inset:])


def _head(name: Any, *, text: bool) -> str:
    return f'<th scope="col"{_kind(text=text)}>{_cell(name, label)}</th>'


def _label(name: Any) -> str:
    long = ' class="long"' if len(str(name)) > _LONG else ""
    return f'<th scope="row"{long}>{_cell(name, label)}</th>'


def _data(value: Any) -> str:
    text = _is_text(value)
    long = text and len(value) > _LONG
    return f"<td{_kind(text=text, long=long)}>{_cell(value)}</td>"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and _FIGURE.fullmatch(value) is None


def _kind(*, text: bool, long: bool = False) -> str:
    """Say what a cell holds; a page may set text to the left, and break long ones."""
    if not text:
        return ""
    return ' class="text long"' if long else ' class="text"'


def html_form(words: str, *parts: str, notes: Iterable[str] = ()) -> str:
    """Set a line above parts that are HTML already, and sentences below them.

    Examples
    --------
    >>> html_form("Backtest of <a>", "<hr>", notes=["1 < 2"])
    '<div><p><strong>Backtest of &lt;a&gt;</strong></p><hr><ul><li>1 &lt; 2</li></ul></div>'
    """
    return f"<div><p><strong>{escape(words)}</strong></p>{''.join(parts)}{html_list(notes)}</div>"


def html_list(sentences: Iterable[str]) -> str:
    """Write sentences as a list; nothing where there is none.

    Examples
    --------
    >>> html_list(["1 < 2"]), html_list([])
    ('<ul><li>1 &lt; 2</li></ul>', '')
    """
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{told}</ul>" if told else ""
