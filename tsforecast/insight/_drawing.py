"""What all pictures have in common: axes, colours that need no colour, times, legends."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast._html import label, shown

__all__ = [
    "BAND",
    "GREY",
    "axes_of",
    "backtest_rows",
    "backtest_table",
    "coordinates",
    "dates",
    "legend",
    "lone",
    "marked",
    "model_styles",
    "named",
    "one_of",
    "one_per_time",
    "panels",
    "percent_axis",
    "plain",
    "rows_of_target",
    "styles",
    "table_of",
    "tidy",
    "time_axis",
    "told_apart",
]

# Okabe & Ito 2008, Color universal design; without yellow, which white paper swallows
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (9, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# what others are compared with stands back
_REFERENCES = ("naive", "buy and hold", "treat all", "treat none")
GREY = "0.45"
BAND = {"color": "0.5", "alpha": 0.18, "linewidth": 0}
_GREYS: tuple[tuple[str, Any], ...] = (("0.35", (0, (3, 1.5))), ("0.55", (0, (1, 1))))
_FEW = 60  # points up to which each is marked
_SHORT = pd.Timedelta(days=6)
_HOURS, _MOST_TICKS = (1, 2, 3, 4, 6, 12, 24, 48, 72, 168), 12  # between ticks
_SIZE = (8.0, 4.0)
_WIDE, _MOST_LINES = 28, 3  # characters of a line of a name, and lines
_SLOW = 20_000  # points among which matplotlib's search for a free corner takes long


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "plots need matplotlib: expected it to be installed, found it missing. Run pip install "
            '"tsforecast[plot]".'
        ) from None
    return plt


def axes_of(ax: Any, *, size: tuple[float, float] = _SIZE) -> Any:
    """Give the axes to draw on: those given, one in the figure given, or one in a new figure."""
    return panels(ax, 1, size=size)[0, 0]


def panels(
    ax: Any,
    n_rows: int,
    n_columns: int = 1,
    *,
    size: tuple[float, float] = _SIZE,
    share_x: bool = False,
    share_y: bool = False,
    heights: list[float] | None = None,
) -> npt.NDArray[Any]:
    """Give axes in rows and columns.

    Parameters
    ----------
    ax : Axes, array of Axes, Figure or None
        Axes to draw on, as many as are needed; a figure to be filled; None: a new figure.
    n_rows, n_columns : int
        How many.
    size : tuple of float
        Of a new figure, in inches.
    share_x, share_y : bool
        Whether axes made here share their limits.
    heights : list of float, optional
        Of the rows, relative to each other.

    Returns
    -------
    ndarray of Axes, shape (n_rows, n_columns)

    Raises
    ------
    ValueError
        If axes are given, but not as many.
    """
    options: dict[str, Any] = {
        "sharex": share_x,
        "sharey": share_y,
        "squeeze": False,
        "height_ratios": heights,
    }
    if ax is None:
        figure = _pyplot().figure(figsize=size, layout="constrained")
        return np.asarray(figure.subplots(n_rows, n_columns, **options))
    if hasattr(ax, "subplots"):
        return np.asarray(ax.subplots(n_rows, n_columns, **options))
    given = np.array(ax, dtype=object).reshape(-1)
    wanted = n_rows * n_columns
    if len(given) != wanted or not all(hasattr(one, "plot") for one in given):
        raise bad_parameter(
            "ax",
            expected=f"{wanted} Axes ({n_rows} x {n_columns}), a Figure, or None"
            if wanted > 1
            else "Axes, a Figure, or None",
            found=ax,
        )
    return np.asarray(given.reshape(n_rows, n_columns))


def styles(names: Iterable[Any]) -> dict[Any, dict[str, Any]]:
    """Give every name a colour, a kind of line and a marker, which tell up to thirty apart.

    What others are compared with (naive, buy and hold, ...) is grey.
    """
    found: dict[Any, dict[str, Any]] = {}
    number, greys = 0, 0
    for name in names:
        if name in _REFERENCES:
            shade, line = _GREYS[greys % len(_GREYS)]
            found[name] = {"color": shade, "linestyle": line, "marker": "x"}
            greys += 1
            continue
        found[name] = {
            "color": _COLOURS[number % len(_COLOURS)],
            "linestyle": _LINES[number % len(_LINES)],
            "marker": _MARKERS[number % len(_MARKERS)],
        }
        number += 1
    return found


def model_styles(names: Iterable[Any]) -> dict[Any, dict[str, Any]]:
    """Give models the styles of `styles`, by name: those of one backtest keep theirs."""
    names = list(names)
    by_name = styles(sorted(names, key=str))
    return {name: by_name[name] for name in names}


def marked(
    style: dict[str, Any], n_points: int, *, few: int = _FEW, values: Any = ()
) -> dict[str, Any]:
    """Give the options of a line of so many points: markers where they are few, or stand alone."""
    options = {key: value for key, value in style.items() if key != "marker"}
    marks = {"marker": style.get("marker", "o"), "markersize": 4.0 if n_points > 1 else 6}
    if n_points <= few:
        return {**options, **marks}
    alone = lone(values)
    return {**options, **marks, "markevery": alone} if alone else options


def lone(values: Any) -> list[int]:
    """Find the known values between two missing ones (or ends), through which no line is seen."""
    known = np.isfinite(np.asarray(values, dtype=float))
    beside = np.append(known[1:], False) | np.append(False, known[:-1])
    return [int(place) for place in np.flatnonzero(known & ~beside)]


def named(name: Any, *, lines: int = _MOST_LINES, wide: int = _WIDE) -> str:
    """Write a name for a legend: broken into lines, and a very long one without its middle.

    One that begins with an underscore, which matplotlib would leave out, gets a space in front.
    """
    text, most = str(name), wide * lines
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[5 - most // 2 :]}"
    text = plain(textwrap.fill(text, wide) if lines > 1 else text)
    return text if text and not text.startswith("_") else f" {text}"


def told_apart(names: Iterable[Any], *, lines: int = _MOST_LINES) -> dict[Any, str]:
    """Write the names of what is drawn together: shortened, no two are the same.

    Those that would be lose what they begin with in common instead of their middle, or nothing:
    four characters and a number before the first difference stay.
    """
    found = {name: named(name, lines=lines) for name in names}
    for words in [each for each, count in Counter(found.values()).items() if count > 1]:
        alike = [name for name in found if found[name] == words]
        ends = min(map(str, alike)), max(map(str, alike))  # all begin with what these two share
        shared = "".join(one for one, _ in takewhile(lambda pair: len({*pair}) == 1, zip(*ends)))
        start = max(len(shared.rstrip("0123456789")) - 4, 0)
        found |= {name: named(f"... {str(name)[start:]}", lines=lines) for name in alike}
        if len({found[name] for name in alike}) < len(alike):
            found |= {name: named(name, lines=lines, wide=len(str(name)) or 1) for name in alike}
    return found


def plain(text: Any) -> str:
    """Write a text whose dollars are dollars, and begin no mathematics."""
    return str(text).replace("$", r"\$")


def tidy(axes: Any, *, grid: str = "y") -> None:
    """Take away what holds no information, and lay a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def legend(axes: Any, *, title: str | None = None, columns: int = 1) -> None:
    """Name the lines, beside the axes: there it covers nothing.

    A figure that does not lay itself out would cut it off; there it stands in the emptiest corner.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    options: dict[str, Any] = {
        "fontsize": "small",
        "title": title,
        "title_fontsize": "small",
        "ncols": columns,
        "handlelength": 2.6,
    }
    if axes.figure.get_layout_engine() is not None:
        axes.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.3,
            frameon=False,
            **options,
        )
        return
    n_points = sum(len(line.get_xdata(orig=False)) for line in axes.get_lines())
    where = "best" if n_points < _SLOW else "upper left"
    axes.legend(handles, labels, loc=where, framealpha=0.7, edgecolor="none", **options)


def percent_axis(axis: Any) -> None:
    """Write fractions as percent, with no more digits than they have."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))


# Times


def coordinates(time: pd.Index) -> Any:
    """Give times that matplotlib can draw: elapsed time in hours, of a zone its own clock."""
    if isinstance(time, pd.TimedeltaIndex):
        return time / pd.Timedelta(hours=1)
    if isinstance(time, pd.DatetimeIndex) and time.tz is not None:
        return time.tz_localize(None)
    return time


def time_axis(axes: Any, time: pd.Index, *, name: str = "") -> None:
    """Label the axis of times, of which all that are drawn are given."""
    if isinstance(time, pd.DatetimeIndex):
        dates(axes.xaxis, time)
        name = f"{name or 'time'} ({time.tz})" if time.tz is not None else name
    elif isinstance(time, pd.TimedeltaIndex):
        name = f"{name} (hours)" if name else "hours"
        hours(axes.xaxis, coordinates(time))
    elif pd.api.types.is_integer_dtype(time.dtype):
        _whole(axes.xaxis, time)
    if name:
        axes.set_xlabel(plain(name))


def dates(axis: Any, time: pd.DatetimeIndex) -> None:
    """Write dates short, the year once; of a few days no hours."""
    from matplotlib import dates as written

    few_days = (
        len(time) > 0
        and time.max() - time.min() <= _SHORT
        and bool((time == time.normalize()).all())
    )
    of: Any = written  # its classes have no types
    if len(time) > 0 and time.min() == time.max():  # the years around it say nothing
        (only,) = coordinates(time[:1])
        axis.set_ticks([of.date2num(only)], [shown(only)])
        return
    locator = of.AutoDateLocator(minticks=1 if few_days else 3, maxticks=8)
    axis.set_major_locator(locator)
    axis.set_major_formatter(of.ConciseDateFormatter(locator))


def hours(axis: Any, at: Any) -> None:
    """Count hours as a ward does, in parts of a day or in days; of less than two as they come."""
    from matplotlib.ticker import MultipleLocator

    span = float(max(at) - min(at)) if len(at) else 0.0
    steps = [step for step in _HOURS if span / step <= _MOST_TICKS]
    if span >= 2 and steps:
        axis.set_major_locator(MultipleLocator(steps[0]))


def _whole(axis: Any, time: pd.Index) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    if time.nunique() == 1:  # the numbers around it say nothing
        axis.set_ticks([time[0]], [label(time[0])])
        return
    axis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    written = ScalarFormatter(useOffset=False)  # 20240131, not 31 + 2.0241e7
    written.set_scientific(False)
    axis.set_major_formatter(written)


# Rows


def backtest_rows(frame: Any, target: Any) -> pd.DataFrame:
    """Give the rows of a target of a Backtest, or of its frame."""
    return rows_of_target(backtest_table(frame), target)


def backtest_table(frame: Any) -> pd.DataFrame:
    """Give the frame of a Backtest, or check that this is one."""
    needed = ["model", "series", "time", "cutoff", "step", "target", "forecast", "actual"]
    return table_of(getattr(frame, "frame", frame), needed, "backtest(models, panel)")


def rows_of_target(frame: pd.DataFrame, target: Any) -> pd.DataFrame:
    """Keep the rows of a target; without a name there must be one."""
    return one_of(frame, "target", target)


def one_of(
    frame: pd.DataFrame, column: str, wanted: Any, *, first_one: bool = False
) -> pd.DataFrame:
    """Keep the rows with one value of a column; without a name the only one, or the first one."""
    known = frame[column].unique().tolist()
    if wanted is None and (len(known) == 1 or (first_one and known)):
        wanted = known[0]
    if wanted not in known:
        several = f"{column[:-1]}ies" if column.endswith("y") else f"{column}s"
        several = "series" if column == "series" else several
        raise bad_parameter(
            column,
            expected=f"one of the {several} {known}"
            if len(known) <= 12
            else f"one of the {several}, such as {first(map(repr, known), shown=3)}",
            found=wanted,
            advice=f"Draw one at a time, e.g. {column}={known[0]!r}." if known else None,
        )
    rows: pd.DataFrame = frame[frame[column] == wanted]
    return rows


def table_of(frame: Any, needed: Iterable[str], maker: str) -> pd.DataFrame:
    """Check that a table has the columns (or levels) that are drawn."""
    needed = list(needed)
    found = []
    if isinstance(frame, pd.DataFrame):
        found = [*frame.columns, *frame.index.names]
    if not isinstance(frame, pd.DataFrame) or any(name not in found for name in needed):
        raise fail(
            "this table cannot be drawn",
            expected=f"one with {', '.join(needed)}",
            found=f"{first(found, shown=12) or type(frame).__name__}",
            advice=f"Make it by {maker}.",
        )
    if len(frame) == 0:
        raise fail(
            "nothing to draw",
            expected="a table with rows",
            found="none",
            advice="Look at what selected them.",
        )
    return frame


def one_per_time(name: str, time: pd.Index) -> None:
    """Raise if a time is repeated: what is drawn is one line."""
    if time.has_duplicates:
        raise fail(
            f"{name} repeats times",
            expected="one row per time, of one series, target, model and cutoff",
            found=f"{time[time.duplicated()][0]} more than once",
            advice=f"Choose a series with {name}.loc[series], a target with "
            f"{name}[{name}['target'] == 'close'], or rows of a backtest frame.",
        )
