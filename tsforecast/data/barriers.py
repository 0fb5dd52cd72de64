"""Labels of direction: which barrier a price reaches first, and how much labels overlap.

After Lopez de Prado (2018), Advances in Financial Machine Learning, chapters 3 and 4.  Labels look
ahead: that is what they are for.  They are read by training and evaluation alone and never stand
among the inputs of an estimator; `label_end` says when each of them became known.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_cutoffs,
    as_panel,
    forward_fill,
    gap_hours,
    is_category,
    layout_of,
    previous_rows,
    stretches,
    time_to_ints,
)
from tsforecast.data.ranges import check_bars, refuse_mixed, refuse_nonpositive, refuse_rows

__all__ = ["triple_barrier", "uniqueness"]

_BARRIERS = ["down", "vertical", "up"]


def triple_barrier(
    panel: pd.DataFrame,
    *,
    horizon: int,
    column: Hashable = "close",
    up: float | None = 2.0,
    down: float | None = 2.0,
    volatility: Any = "ewm",
    half_life: float = 35.0,
    vertical: Literal["zero", "sign"] = "zero",
    high: Hashable | None = None,
    low: Hashable | None = None,
    side: Hashable | None = None,
    min_return: float = 0.0,
    max_gap: Any = None,
) -> pd.DataFrame:
    r"""Label every row by the barrier that the price reaches first.

    From a row at time t with price p two barriers stand at :math:`p e^{u \sigma}` and
    :math:`p e^{-d \sigma}`, with the volatility :math:`\sigma` known at t, and a third one
    `horizon` rows on. (Lopez de Prado 2018, Advances in Financial Machine Learning, sections
    3.2-3.6, with returns in logarithms, so that both barriers can be reached however wide.)

    Parameters
    ----------
    panel : DataFrame
        A panel of prices, of one series or many, adjusted for splits.
    horizon : int
        Rows until the vertical barrier.
    column : hashable
        The price.
    up, down : float or None
        Width of the upper and the lower barrier in units of the volatility; None: no such barrier.
    volatility : "ewm", hashable or float
        ``"ewm"``: the standard deviation of log returns from one known price to the next,
        exponentially weighted, of the rows up to t; not known before `half_life` returns are.
        Or the name of a column that is known at t, such as one made by `garman_klass`; or one
        number for all rows (0.02 = 2 %).
    half_life : float
        Rows after which the weight of a return has halved, for ``"ewm"``. 35 is about the span of
        100 rows that the book takes.
    vertical : {"zero", "sign"}
        Label of a row that reaches neither barrier: 0, or the sign of its return.
    high, low : hashable, optional
        Columns of the highest and lowest price of a row. With them a barrier is reached within a
        row, by default by its `column` alone.
    side : hashable, optional
        A column with the side of a bet known at t: 1 long, -1 short, 0 or NaN none. Labels are
        then those of meta-labelling, 1 for a bet that won and 0 for one that did not, and `up` and
        `down` are widths with the bet and against it.
    min_return : float
        Rows whose volatility is not above it get no label (0.005 = 0.5 %).
    max_gap : number, str or Timedelta, optional
        A longer time between two rows (in steps, where time is a whole number) cuts a series: no
        label reaches across.

    Returns
    -------
    DataFrame
        On the panel's index:

        ``label``
            1 up, -1 down, 0 neither; with `side` 1 won, 0 not. NaN where it is not known.
        ``return``
            From the row to the barrier, as a fraction (with `side` times the side). At a barrier
            reached within a row that is the barrier, or, if the whole row lies beyond it, the
            nearest price of the row; else the price at the end of the label.
        ``barrier``
            Category ``"up"``, ``"down"`` or ``"vertical"``; with `side` up is with the bet.
        ``label_end``
            Time of the row at which the label became known: for `PurgedSplit` and `uniqueness`.
        ``volatility``
            The volatility used, per row, as a fraction.

    Raises
    ------
    DataError
        If a price is not positive, a volatility is negative, a low is above its high, or a side is
        another number than -1, 0 and 1.
    ValueError
        If a parameter cannot be used.

    See Also
    --------
    uniqueness : Weights of labels that overlap.
    PurgedSplit : Splits without labels that reach into the test part.

    Notes
    -----
    A row without a price has no label. Within a window it counts as a row and can reach nothing;
    if the price is missing at the vertical barrier itself, the label is not known. Nor is it where
    the volatility is missing or 0.

    Of the last `horizon` rows of a series those have a label that reached a barrier before its
    end, and the others, whose label might be 0, have none. They are few. A row that reaches both
    barriers within itself (`high` and `low`) counts as ``"down"``, the loss: which one came first
    is not known.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"close": [100.0, 101.0, 103.0, 102.0, 99.0, 99.5]})
    >>> triple_barrier(panel, horizon=2, up=2, down=2, volatility=0.01).iloc[:, :4].round(3)
          label  return   barrier  label_end
    time
    0       1.0   0.030        up          2
    1       0.0   0.010  vertical          3
    2      -1.0  -0.039      down          4
    3      -1.0  -0.029      down          4
    4       NaN     NaN       NaN       <NA>
    5       NaN     NaN       NaN       <NA>

    A classifier that learns them: returns of the past 20 days, the label in the newest row, and
    splits without a label that reaches into the test part.

    >>> import numpy as np
    >>> import tsforecast as tsf
    >>> prices = tsf.make_prices(1, 400, random_state=0)
    >>> labels = tsf.triple_barrier(prices, horizon=5, up=1, down=1, vertical="sign")
    >>> table = labels[["label"]].assign(move=np.log(prices["close"]).groupby(level=0).diff())
    >>> X, y, index = tsf.make_windows(table, 20, horizon=0, target="label", past=["move"])
    >>> splits = tsf.PurgedSplit(3, label_horizon=labels.loc[index, "label_end"])
    >>> model = tsf.RecurrentClassifier(
    ...     hidden_sizes=(4,), training=tsf.Training(max_epochs=2, validation=None), random_state=0
    ... )
    >>> accuracy = []
    >>> for train, test in splits.split(X):
    ...     weight = tsf.uniqueness(labels, among=index[train])  # of the training samples alone
    ...     model = model.fit(X[train], y[train], sample_weight=weight)
    ...     accuracy.append(model.score(X[test], y[test]))
    >>> len(accuracy)
    3
    """
    _check_parameters(horizon, up, down, half_life, vertical, min_return)
    if (high is None) != (low is None):
        raise bad_parameter(
            "high" if high is None else "low",
            expected="both high= and low=, or neither",
            found=None,
        )
    if high is not None:
        refuse_mixed(panel, column)
    panel = as_panel(panel)
    wanted = [column] if high is None else [column, high, low]
    _require(panel, wanted)
    prices = panel[wanted]
    refuse_nonpositive(prices) if high is None else check_bars(prices, high, low)
    layout = layout_of(panel)
    logs = np.log(prices.to_numpy(dtype=np.float64)).T
    close = logs[0]
    bet = np.ones(layout.n_rows) if side is None else _sides(panel, side)
    sigma = _volatilities(panel, close, layout, volatility, half_life)
    asked = np.flatnonzero(~np.isnan(close) & (sigma > min_return) & (bet != 0))
    end, barrier, gain = _reached(
        asked,
        close,
        np.fmax.reduce(logs),  # what is known of a row
        np.fmin.reduce(logs),
        np.full_like(sigma, np.inf) if up is None else up * sigma,
        np.full_like(sigma, np.inf) if down is None else down * sigma,
        begin=stretches(layout, layout.starts, gap_hours(max_gap, layout)),
        bet=bet,
        horizon=horizon,
    )
    label = barrier.astype(np.float64)
    if vertical == "sign":
        label = np.where(barrier == 0, np.sign(gain), label)
    if side is not None:
        label = (label > 0).astype(np.float64)
    label[end < 0] = np.nan
    codes: Ints = np.where(end < 0, -1, barrier + 1).astype(np.int64)
    return pd.DataFrame(
        {
            "label": label,
            "return": bet * np.expm1(bet * gain),  # a short bet earns what the price loses
            "barrier": pd.Categorical.from_codes(codes, categories=pd.Index(_BARRIERS)),
            "label_end": _times(layout, end),
            "volatility": sigma,
        },
        index=panel.index,
    )


def uniqueness(
    labels: pd.DataFrame,
    *,
    among: pd.Index | None = None,
    prices: pd.Series | None = None,
    oldest: float = 1.0,
) -> pd.Series:
    r"""Weigh labels that overlap by how much each has for itself.

    A label is a function of the returns from the row behind its own to the one at which it ends.
    Where :math:`c_t` labels share the return of row t, each has :math:`1 / c_t` of it; a label's
    average uniqueness is the mean of that over its rows (Lopez de Prado 2018, Advances in
    Financial Machine Learning, section 4.4).

    Parameters
    ----------
    labels : DataFrame
        As given by `triple_barrier`: on the index of a panel, with a column ``label_end``, missing
        where a row has no label. All rows of the series are there, because they are counted.
    among : Index, optional
        The rows that are used as samples, such as the third result of `make_windows`, in any
        order; only they count as sharing. Default: all that have a label. Before fitting, give
        the training samples alone: else their weights depend on labels that come later.
    prices : Series, optional
        Prices on the index of `labels`. Weights are then by return (section 4.6):
        :math:`|\sum_t r_t / c_t|` over the label's rows, with r the log return from one known
        price to the next.
    oldest : float
        Weights fall with age (section 4.7), in a line over the uniqueness summed from the oldest
        sample to the newest, which keeps the factor 1; this is the factor at its beginning, in
        (-1, 1]. Below 0 the oldest samples have none: so much of the sum is cut off. 1 leaves
        weights as they are. Samples of the same time, of all series, have one factor.

    Returns
    -------
    Series
        Named ``weight``: on `among`, in its order, or on the index of `labels`, NaN where a row has
        no label. Average uniqueness in (0, 1]; with `prices` or `oldest` a multiple of it, or of
        the return, whose mean is 1.

    Raises
    ------
    DataError
        If the index is no panel's, a label ends at no row of its series or not after its own, or a
        row in `among` has no label.
    ValueError
        If a parameter cannot be used.

    See Also
    --------
    triple_barrier : Labels.
    PurgedSplit : Splits without labels that reach into the test part.

    Notes
    -----
    Labels are counted within each series. Those of two assets on the same days share no return,
    though they share the market, which these weights say nothing of.

    The book's own programme (snippet 4.1) counts the row of the label, too, whose return is known
    by then and no part of it; its text and its example (section 4.5.3), which is that below, do
    not.

    Examples
    --------
    Three labels, of the returns of rows 1 to 3, 3 and 4, and 5 and 6:

    >>> import pandas as pd
    >>> labels = pd.DataFrame({"label_end": pd.array([3, None, 4, None, 6, None, None], "Int64")})
    >>> uniqueness(labels).dropna().round(4).to_dict()
    {0: 0.8333, 2: 0.75, 4: 1.0}
    """
    layout, start, end = _spans(labels)
    if among is not None:
        start, end = _chosen(labels.index, start, end, among)
    if not (_is_number(oldest) and -1 < float(oldest) <= 1):
        raise bad_parameter("oldest", expected="a number above -1 and up to 1", found=oldest)
    step = np.zeros(layout.n_rows + 1)
    np.add.at(step, start + 1, 1.0)
    np.add.at(step, end + 1, -1.0)
    count = np.cumsum(step[:-1])  # labels that share the return of each row
    share = np.divide(1.0, count, out=np.zeros_like(count), where=count > 0)
    weight = _over(share, start, end) / (end - start)
    unique = weight
    if prices is not None:
        moves = _log_returns(_prices_on(labels.index, prices), layout)
        weight = np.abs(_over(np.nan_to_num(moves) * share, start, end))
    if oldest != 1:
        weight = weight * _ageing(layout.when(start), unique, float(oldest))
    if prices is not None or oldest != 1:
        weight = _to_mean_one(weight)
    if among is not None:
        return pd.Series(weight, index=among, name="weight")
    result = np.full(layout.n_rows, np.nan)
    result[start] = weight
    return pd.Series(result, index=labels.index, name="weight")


# ------------------------------------------------------------------------------------- barriers


def _reached(
    asked: Ints,
    close: Floats,
    top: Floats,
    bottom: Floats,
    up: Floats,
    down: Floats,
    *,
    begin: Ints,
    bet: Floats,
    horizon: int,
) -> tuple[Ints, Ints, Floats]:
    """First barrier that is reached from each row: the row where, which, and the gain in logs.

    Parameters
    ----------
    asked : ndarray of int64, shape (n,)
        The rows to start from.
    close, top, bottom : ndarray, shape (N,)
        Log prices, of the row's end, and its highest and lowest.
    up, down : ndarray, shape (N,)
        Distances of the barriers.
    begin : ndarray of int64, shape (N,)
        First row of the stretch that each row lies in.
    bet : ndarray, shape (N,)
        1, or -1 for a row that sees the prices upside down.
    horizon : int

    Returns
    -------
    end : ndarray of int64, shape (N,)
        -1 where it is not known.
    barrier : ndarray of int64, shape (N,)
        1 up, -1 down, 0 vertical.
    gain : ndarray, shape (N,)
        NaN where it is not known.
    """
    n = len(close)
    end, barrier, gain = np.full(n, -1), np.zeros(n, dtype=np.int64), np.full(n, np.nan)
    still = asked
    for k in range(1, horizon + 1):
        still = still[still + k < n]
        still = still[begin[still + k] == begin[still]]
        at, level, side = still + k, close[still], bet[still]
        rise, fall = top[at] - level, bottom[at] - level
        highest, lowest = np.where(side > 0, rise, -fall), np.where(side > 0, fall, -rise)
        fell = lowest <= -down[still]  # NaN is neither
        rose = (highest >= up[still]) & ~fell
        # where the whole row lies beyond the barrier, nobody traded at it
        value = np.where(fell, np.minimum(-down[still], highest), np.maximum(up[still], lowest))
        if k == horizon:
            over = ~(fell | rose) & ~np.isnan(close[at])
            value = np.where(over, side * (close[at] - level), value)
        else:
            over = np.zeros_like(fell)
        done = fell | rose | over
        rows = still[done]
        end[rows], gain[rows] = at[done], value[done]
        barrier[rows] = rose[done].astype(np.int64) - fell[done]
        still = still[~done]
    return end, barrier, gain


def _volatilities(
    panel: pd.DataFrame, close: Floats, layout: Layout, volatility: Any, half_life: float
) -> Floats:
    """Volatility of every row, (N,), NaN where it is not known."""
    if _is_number(volatility):
        if not 0 < float(volatility) < math.inf:
            raise bad_parameter("volatility", expected="a number above 0", found=volatility)
        return np.full(layout.n_rows, float(volatility))
    if isinstance(volatility, str) and volatility == "ewm":
        return _ewm(_log_returns(close, layout), layout, half_life)
    if not isinstance(volatility, Hashable) or volatility not in panel.columns:
        raise bad_parameter(
            "volatility",
            expected=f"'ewm', a number, or one of the columns {list(panel.columns)}",
            found=volatility,
        )
    values: Floats = panel[volatility].to_numpy(dtype=np.float64)
    refuse_rows(
        panel,
        values < 0,
        problem="negative volatility",
        expected="a volatility of at least 0, or NaN where it is not known",
        advice="Is it a return, or a logarithm?",
        column=volatility,
    )
    return values


def _ewm(moves: Floats, layout: Layout, half_life: float) -> Floats:
    """Exponentially weighted standard deviation of the returns known at each row."""
    known = np.flatnonzero(~np.isnan(moves))
    result = np.full(layout.n_rows, np.nan)
    if len(known):
        by_series = pd.Series(moves[known]).groupby(layout.codes()[known])
        least = max(2, math.ceil(half_life))
        result[known] = by_series.ewm(halflife=half_life, min_periods=least).std().to_numpy()
    return result


def _log_returns(logs: Floats, layout: Layout) -> Floats:
    """Log return of each row from the last known price of its series, NaN where there is none."""
    before = forward_fill(logs, layout)[0][previous_rows(layout)]
    before[layout.starts] = np.nan
    result: Floats = logs - before
    return result


def _sides(panel: pd.DataFrame, side: Hashable) -> Floats:
    """Side of the bet at every row: 1, -1, or 0 where there is none."""
    _require(panel, [side])
    values = panel[side].to_numpy(dtype=np.float64)
    refuse_rows(
        panel,
        ~(np.isin(values, (-1, 0, 1)) | np.isnan(values)),
        problem="sides that are no sides",
        expected="1 long, -1 short, 0 or NaN none",
        advice="Give np.sign of a forecast.",
        column=side,
    )
    result: Floats = np.nan_to_num(values)
    return result


def _times(layout: Layout, rows: Ints) -> Any:
    """Times of some rows, missing where the row is -1."""
    time = layout.time
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        missing: Any = pd.NaT
        return time.take(rows, allow_fill=True, fill_value=missing)
    return pd.arrays.IntegerArray(time.to_numpy(dtype=np.int64)[rows], rows < 0)


def _require(panel: pd.DataFrame, names: list[Any]) -> None:
    """Raise unless all are columns of numbers."""
    for name in names:
        if not isinstance(name, Hashable) or name not in panel.columns or is_category(panel[name]):
            raise fail(
                "column not found",
                expected=f"a column of numbers {name!r}",
                found=f"{list(panel.columns)}",
                advice="Name the columns that hold what is asked for.",
                column=name,
            )


def _check_parameters(
    horizon: Any, up: Any, down: Any, half_life: Any, vertical: Any, min_return: Any
) -> None:
    positive_int("horizon", horizon)
    choice("vertical", vertical, ("zero", "sign"))
    for name, width in (("up", up), ("down", down)):
        if width is not None and not (_is_number(width) and 0 < float(width) < math.inf):
            raise bad_parameter(name, expected="a number above 0, or None", found=width)
    if up is None and down is None and vertical == "zero":
        raise bad_parameter(
            "vertical",
            expected="'sign' where there is no upper and no lower barrier",
            found=vertical,
            advice="Every label would be 0.",
        )
    if not (_is_number(half_life) and 0 < float(half_life) < math.inf):
        raise bad_parameter("half_life", expected="a number above 0", found=half_life)
    if not (_is_number(min_return) and 0 <= float(min_return) < math.inf):
        raise bad_parameter("min_return", expected="a number of at least 0", found=min_return)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


# ------------------------------------------------------------------------------------- overlaps


def _spans(labels: pd.DataFrame) -> tuple[Layout, Ints, Ints]:
    """Layout of the labels' index, the rows that have a label, and the row where each ends."""
    if not isinstance(labels, pd.DataFrame) or "label_end" not in labels.columns:
        raise fail(
            "labels without their ends",
            expected="a frame with a column 'label_end', as given by triple_barrier",
            found=f"columns {list(labels.columns)}"
            if isinstance(labels, pd.DataFrame)
            else type(labels).__name__,
            advice="Add the time of the row at which each label became known.",
        )
    panel = as_panel(pd.DataFrame({"label": 0.0}, index=labels.index))
    if not panel.index.equals(labels.index):
        raise fail(
            "rows are not in the panel's order",
            expected="labels sorted by series and time",
            found="another order",
            advice="Give the labels as triple_barrier gives them, or use labels.sort_index().",
        )
    layout = layout_of(panel)
    known = labels["label_end"].notna().to_numpy()
    start = np.flatnonzero(known)
    if not len(start):
        raise fail(
            "no labels",
            expected="rows with a label_end",
            found="none",
            advice="Is the horizon longer than the series?",
        )
    until = _in_unit_of(layout.labels, labels["label_end"][known])
    stamps = layout.stamps()
    # series and time as one number, in order
    place = layout.codes() * len(stamps) + np.searchsorted(stamps, layout.when())
    at = np.minimum(np.searchsorted(stamps, until), len(stamps) - 1)
    wanted = layout.codes()[start] * len(stamps) + at
    end = np.minimum(np.searchsorted(place, wanted), layout.n_rows - 1)
    wrong = (place[end] != wanted) | (stamps[at] != until) | (end <= start)
    if wrong.any():
        raise fail(
            "labels end where they cannot",
            expected="the time of a later row of the same series",
            found=f"{int(wrong.sum())} of {len(start)} that end elsewhere",
            advice="Keep all rows of the series, those without a label too; choose samples with "
            "among=.",
            column="label_end",
            rows=[str(label) for label in labels.index[start[wrong][:5]]],
        )
    return layout, start, end


def _in_unit_of(time: pd.Index, label_end: pd.Series) -> Ints:
    """Ends of labels as whole numbers in the unit of the panel's time."""
    given = pd.Index(label_end.array).infer_objects()
    if given.dtype.kind == "f" and time.dtype.kind == "i" and (given % 1 == 0).all():
        given = given.astype(np.int64)  # beside a missing value whole numbers are floats
    try:
        return time_to_ints(as_cutoffs(given, time))
    except ValueError:
        raise fail(
            "labels and their ends have different kinds of time",
            expected=f"{time.dtype}, as the time of the rows",
            found=f"{given.dtype}",
            advice="Give the times of rows.",
            column="label_end",
        ) from None


def _chosen(index: pd.Index, start: Ints, end: Ints, among: Any) -> tuple[Ints, Ints]:
    """Rows of the samples, in their order, and where their labels end."""
    if not isinstance(among, pd.Index) or not among.is_unique or not len(among):
        raise bad_parameter(
            "among", expected="an Index of rows of the labels, each named once", found=among
        )
    rows = index.get_indexer(among)
    ends = np.full(len(index) + 1, -1)
    ends[start] = end
    unknown = np.flatnonzero(ends[rows] < 0)  # -1, no row at all, finds the last place
    if len(unknown):
        raise fail(
            "samples without a label",
            expected="rows whose label_end is known",
            found=f"{len(unknown)} of {len(among)} without",
            advice="Keep index[labels.loc[index, 'label_end'].notna()].",
            rows=[str(label) for label in among[unknown[:5]]],
        )
    return rows.astype(np.int64), ends[rows]


def _over(values: Floats, start: Ints, end: Ints) -> Floats:
    """Sum over the rows behind each start, up to the end."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    result: Floats = total[end + 1] - total[start + 1]
    return result


def _prices_on(index: pd.Index, prices: Any) -> Floats:
    """Logarithms of the prices of every row."""
    if not isinstance(prices, pd.Series) or not prices.index.equals(index):
        raise bad_parameter(
            "prices", expected="a Series on the index of the labels", found=type(prices).__name__
        )
    table = prices.astype(np.float64).to_frame("price" if prices.name is None else prices.name)
    refuse_nonpositive(table)
    result: Floats = np.log(table.iloc[:, 0].to_numpy())
    return result


def _ageing(when: Ints, unique: Floats, oldest: float) -> Floats:
    """Factors by age: in a line over summed uniqueness, 1 at the newest time."""
    order = np.argsort(when, kind="stable")
    times = when[order]
    last = np.searchsorted(times, times, side="right") - 1
    age = np.empty(len(when))
    age[order] = np.cumsum(unique[order])[last]
    age /= age.max()
    if oldest >= 0:
        falls: Floats = oldest + (1 - oldest) * age
    else:
        falls = np.maximum(1 - (1 - age) / (1 + oldest), 0.0)
    return falls


def _to_mean_one(weight: Floats) -> Floats:
    mean = weight.mean()
    return weight / mean if mean > 0 else weight
