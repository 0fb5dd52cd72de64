"""Pictures of what networks have learned: training, gates, memory, attribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first, positive_int
from tsforecast.insight._drawing import (
    axes_of,
    coordinates,
    dates,
    legend,
    marked,
    named,
    one_of,
    panels,
    percent_axis,
    plain,
    styles,
    table_of,
    tidy,
    time_axis,
    told_apart,
)

__all__ = ["plot_attribution", "plot_gates", "plot_memory_profile", "plot_training"]

_SIGMOIDS = ("forget", "input", "output", "reset", "update")
_KEEPS = ("forget", "update")  # the gate by which units are put in order
_LONG = 300  # rows back from which on they are drawn by orders of size
_MOST_COLUMNS = 1000  # of a heat map: more than a screen shows
_DAY = 86_400_000_000  # microseconds

Measure = Literal["occlusion", "gradient"]
_MEASURES: tuple[Measure, ...] = ("occlusion", "gradient")


def plot_training(model: Any, *, ax: Any = None) -> Any:
    """Draw the losses of a fit by epoch, and mark the epoch whose weights are in use.

    Parameters
    ----------
    model : estimator or DataFrame
        A fitted network, or its `history_`, which is the frame that is drawn; the best epochs are
        marked of an estimator alone.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If there is no history.

    Notes
    -----
    Epoch 0 is the network before training: of a forecaster its baseline. Where epoch 0 is marked,
    nothing was learned that validation confirms. The losses of training and validation are of
    different rows: it is their courses that compare.

    Examples
    --------
    >>> history = pd.DataFrame({"train_loss": [1.0, 0.8], "val_loss": [1.0, 0.9]},
    ...                        index=pd.Index([0, 1], name="epoch"))
    >>> axes = plot_training(history)
    >>> axes.get_legend_handles_labels()[1]
    ['validation', 'training']
    """
    history = getattr(model, "history_", model)
    history = table_of(history, ["epoch", "train_loss"], "fitting a network: model.history_")
    flat = history.reset_index()
    if "member" not in flat:
        flat["member"] = 0
    best = list(getattr(model, "best_epochs_", []))
    if not best and hasattr(model, "best_epoch_"):
        best = [model.best_epoch_]
    axes = axes_of(ax)
    tidy(axes)
    kinds = [
        (column, words, style)
        for (column, words), style in zip(
            {"val_loss": "validation", "train_loss": "training"}.items(),
            styles(["validation", "training"]).values(),
        )
        if column in flat and flat[column].notna().any()
    ]
    for column, words, style in kinds:
        for member, part in flat.groupby("member", sort=False):
            axes.plot(
                part["epoch"],
                part[column],
                label=words if member == flat["member"].iloc[0] else None,
                linewidth=1.4 if flat["member"].nunique() == 1 else 0.9,
                **marked(style, len(part), few=8),
            )
    judged = kinds[0][0] if kinds else "train_loss"
    for number, ((_, part), epoch) in enumerate(zip(flat.groupby("member", sort=False), best)):
        at = part[part["epoch"] == epoch]
        axes.plot(
            at["epoch"],
            at[judged],
            linestyle="none",
            marker="*",
            markersize=11,
            color="black",
            markeredgecolor="white",
            label="weights in use" if number == 0 else None,
            zorder=5,
        )
    time_axis(axes, pd.Index(flat["epoch"].astype(np.int64)), name="epoch (0: before training)")
    axes.set_ylabel("loss")
    legend(axes)
    return axes


def plot_gates(
    frame: pd.DataFrame,
    *,
    series: Any = None,
    gates: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """Draw `gates` of one series: heat maps of all units over time, or lines of their means.

    Parameters
    ----------
    frame : DataFrame
        From `gates`; with ``units="each"`` a heat map for each gate and layer, with
        ``units="mean"`` a panel of lines for each layer.
    series : label, optional
        Which of several series (on arrays: samples).
    gates : sequence of str, optional
        Which gates and states. Default: all.
    ax : array of Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    ndarray of Axes
        Shape (n_gates, n_layers) of heat maps, (n_layers,) of lines.

    Raises
    ------
    DataError
        If the frame is none of `gates`.
    ValueError
        If there is no such series or gate, or several series and none is named.

    Notes
    -----
    Bright is open: of a forget gate (a GRU's update gate), what was known is kept. Of cell,
    candidate and hidden state dark is negative and bright positive. Units of a layer stand in one
    order in all its panels, those that keep longest on top. Of more than a thousand rows
    neighbours are averaged.

    Examples
    --------
    >>> columns = pd.MultiIndex.from_product(
    ...     [[0], ["forget", "hidden"], [0, 1]], names=["layer", "gate", "unit"])
    >>> frame = pd.DataFrame([[0.5, 0.99, 0.2, 0.0]] * 3, columns=columns)
    >>> axes = plot_gates(frame)
    >>> axes.shape, axes[0, 0].get_ylabel()
    ((2, 1), 'forget')
    """
    levels = list(frame.columns.names) if isinstance(frame, pd.DataFrame) else []
    if levels[:2] != ["layer", "gate"] or len(frame) == 0:
        raise fail(
            "this table cannot be drawn",
            expected="a frame of gates, with columns layer, gate (and unit), and rows",
            found=f"columns {levels}" if levels else type(frame).__name__,
            advice="Make it by gates(model, panel, series=...).",
        )
    rows, time = _of_series(frame, series)
    known = list(dict.fromkeys(frame.columns.get_level_values("gate")))
    chosen = known if gates is None else list(gates)
    if isinstance(gates, str) or not chosen or any(gate not in known for gate in chosen):
        raise bad_parameter("gates", expected=f"some of {known}", found=gates)
    layers = list(dict.fromkeys(frame.columns.get_level_values("layer")))
    draw = _draw_maps if "unit" in levels else _draw_means
    return draw(rows, time, layers, chosen, ax)


def _of_series(frame: pd.DataFrame, series: Any) -> tuple[pd.DataFrame, pd.Index]:
    """The rows of a series, and their times."""
    if not isinstance(frame.index, pd.MultiIndex):
        return frame, frame.index
    names = frame.index.get_level_values(0)
    known = list(names.unique())
    if series is None and len(known) == 1:
        series = known[0]
    if series not in known:
        raise bad_parameter(
            "series",
            expected=f"one of the series, such as {first(map(repr, known), shown=3)}",
            found=series,
            advice=f"Draw one at a time, e.g. series={known[0]!r}.",
        )
    rows = frame[names == series]
    return rows, rows.index.get_level_values(-1)


def _draw_maps(
    rows: pd.DataFrame, time: pd.Index, layers: list[Any], chosen: list[str], ax: Any
) -> Any:
    size = (1.6 + 6.4 * len(layers) ** 0.6, 0.9 + 1.15 * len(chosen))
    drawn = panels(ax, len(chosen), len(layers), size=size, share_x=True)
    edges, groups = _columns_of(coordinates(time))
    for column, layer in enumerate(layers):
        order = _order(rows[layer])
        for row, gate in enumerate(chosen):
            axes = drawn[row, column]
            values = rows[layer][gate].to_numpy(dtype=float)[:, order]  # (n, H)
            if len(groups) < len(values):
                counts = np.diff(np.append(groups, len(values)))[:, None]
                values = np.add.reduceat(values, groups) / counts
            most = 1.0 if gate in _SIGMOIDS else max(float(np.nanmax(np.abs(values))), 1e-12)
            least = 0.0 if gate in _SIGMOIDS else -most
            image = axes.pcolormesh(
                edges,
                np.arange(values.shape[1] + 1),
                values.T[::-1],
                cmap="cividis",
                vmin=least,
                vmax=most,
                rasterized=True,
            )
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if column == 0:
                axes.set_ylabel(gate)
            if row == 0 and len(layers) > 1:
                axes.set_title(f"layer {layer}", fontsize="medium")
            bar = axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.04, ticks=[least, most])
            bar.ax.set_yticklabels([f"{least:.2g}", f"{most:.2g}"], fontsize="small")
            bar.outline.set_visible(False)
            last = row == len(chosen) - 1
            if isinstance(time, pd.DatetimeIndex):
                dates(axes.xaxis, time)
            if last:
                time_axis(axes, time, name=str(time.name or "time"))
            else:
                axes.tick_params(labelbottom=False)
    return drawn


def _order(of_layer: pd.DataFrame) -> Any:
    """Units of a layer, those that keep longest first."""
    gates = of_layer.columns.get_level_values(0)
    keeping = [gate for gate in _KEEPS if gate in gates]
    n_units = int((gates == gates[0]).sum())
    if not keeping:
        return np.arange(n_units)
    return np.argsort(-of_layer[keeping[0]].to_numpy(dtype=float).mean(axis=0), kind="stable")


def _columns_of(at: Any) -> tuple[Any, Any]:
    """Edges of the columns of a heat map, and the first row of each."""
    if isinstance(at, pd.DatetimeIndex):
        at = at.to_numpy().astype("datetime64[us]").astype(np.int64) / _DAY  # as matplotlib counts
    at = np.asarray(at, dtype=float)
    each = -(-len(at) // _MOST_COLUMNS)
    groups = np.arange(0, len(at), each)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5]), groups
    between = (at[1:] + at[:-1]) / 2
    ends = [at[0] - (at[1] - at[0]) / 2, at[-1] + (at[-1] - at[-2]) / 2]
    edges = np.concatenate([ends[:1], between, ends[1:]])
    return np.append(edges[groups], edges[-1]), groups


def _draw_means(
    rows: pd.DataFrame, time: pd.Index, layers: list[Any], chosen: list[str], ax: Any
) -> Any:
    size = (8.0, 0.8 + 2.4 * len(layers))
    drawn = panels(ax, len(layers), size=size, share_x=True)[:, 0]
    at = coordinates(time)
    for axes, layer in zip(drawn, layers):
        tidy(axes)
        for gate, style in styles(chosen).items():
            line = marked(style, len(rows), few=12)
            axes.plot(at, rows[layer, gate], label=gate, linewidth=1.2, **line)
        axes.set_ylabel(
            "mean over units" if len(layers) == 1 else f"layer {layer},\nmean over units"
        )
    time_axis(drawn[-1], time, name=str(time.name or "time"))
    legend(drawn[0])
    return drawn


def plot_memory_profile(
    profile: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    measures: Sequence[Measure] = _MEASURES,
    share: bool = True,
    ax: Any = None,
) -> Any:
    """Draw `memory_profile`: how much the answer depends on the row so many steps ago.

    Parameters
    ----------
    profile : DataFrame or mapping of str to DataFrame
        From `memory_profile`, or one for each of several models.
    measures : sequence of {"occlusion", "gradient"}
        A line for each.
    share : bool
        Shares of all rows shown, which compare between models; or the sizes themselves.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If a table is none of `memory_profile`, or nothing in it is known: a network that has kept
        its baseline depends on no row.
    ValueError
        If there is no such measure.

    Examples
    --------
    >>> profile = pd.DataFrame(
    ...     {"occlusion": [2.0, 1.0], "gradient": [3.0, 1.0], "occlusion_share": [2 / 3, 1 / 3],
    ...      "gradient_share": [0.75, 0.25]}, index=pd.Index([0, 1], name="back"))
    >>> axes = plot_memory_profile(profile)
    >>> axes.get_legend_handles_labels()[1]
    ['occlusion', 'gradient']
    """
    profiles = dict(profile) if isinstance(profile, Mapping) else {"": profile}
    if isinstance(measures, str) or not len(measures):
        raise bad_parameter("measures", expected=f"some of {list(_MEASURES)}", found=measures)
    for measure in measures:
        choice("measures", measure, _MEASURES)
    columns = [f"{measure}_share" if share else measure for measure in measures]
    lines: dict[str, pd.Series] = {}
    for name, table in profiles.items():
        table = table_of(table, ["back", *columns], "memory_profile(model, panel)")
        for measure, column in zip(measures, columns):
            several = [name] if len(measures) == 1 and name else [name, measure]
            lines[", ".join(filter(None, several))] = table[column].dropna()
    if not any(len(line) for line in lines.values()):
        raise fail(
            "nothing to draw",
            expected="a profile with numbers",
            found="missing values alone",
            advice="A network that has kept its baseline (best_epochs_ of 0) depends on no row.",
        )
    axes = axes_of(ax)
    tidy(axes)
    longest = max(len(line) for line in lines.values())
    called = told_apart(lines)
    for label, style in styles(lines).items():
        values = lines[label]
        line = marked(style, longest)
        axes.plot(values.index, values, label=called[label], linewidth=1.3, **line)
    axes.set_ylim(bottom=0.0)
    time_axis(axes, pd.Index(np.arange(longest)), name="rows back from the newest")
    if longest > _LONG:
        _far_back(axes, longest)
    if share:
        percent_axis(axes.yaxis)
    axes.set_ylabel("share of the dependence" if share else "dependence of the answer")
    legend(axes)
    return axes


def _far_back(axes: Any, longest: int) -> None:
    """The newest ten rows as they are, further back by orders of size."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("symlog", linthresh=10)
    at = [0, 5, 10, 20, 50, *(10**k for k in range(2, 10))]
    axes.xaxis.set_major_locator(FixedLocator([place for place in at if place <= longest]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.5, longest)


def plot_attribution(table: pd.DataFrame, *, series: Any = None, n: int = 8, ax: Any = None) -> Any:
    """Draw `attribute` of one series: which column, over which last rows, moved the answer.

    Parameters
    ----------
    table : DataFrame
        From `attribute`.
    series : label, optional
        Which of several series.
    n : int
        Bars at most, the largest effects.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `attribute`, or has no known effect.
    ValueError
        If there is no such series, or several and none is named.

    Notes
    -----
    Bars to the right have raised the answer. They do not add up to it, and are no causes; stretches
    of one column lie in each other.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 60, random_state=0)[["close"]]
    >>> table = tsf.attribute(tsf.Naive(target="close").fit(panel), panel, stretches=[3])
    >>> axes = plot_attribution(table)
    >>> axes.get_yticklabels()[0].get_text()
    'close over the last 3 rows: 100 -> 103'
    """
    needed = ["series", "column", "rows", "level", "recent", "answer", "effect", "sentence"]
    table = table_of(table, needed, "attribute(model, panel)")
    positive_int("n", n)
    rows = one_of(table, "series", series)
    rows = rows[rows["effect"].notna()]
    rows = rows.loc[rows["effect"].abs().sort_values(ascending=False, kind="stable").index[:n]]
    if len(rows) == 0:
        raise fail(
            "nothing to draw",
            expected="effects that are known",
            found="missing values alone",
            advice="Ask for longer stretches=: nothing was measured in these.",
        )
    told = [_told(row) for _, row in rows.iterrows()]
    what = told[0][1]
    axes = axes_of(ax, size=(8.0, 1.1 + 0.34 * len(rows)))
    tidy(axes, grid="x")
    place = np.arange(len(rows))[::-1]
    effect = rows["effect"].to_numpy(dtype=float)
    rising, falling = (style["color"] for style in styles(["up", "down"]).values())
    up = effect >= 0
    bars = axes.barh(place, effect, height=0.66, color=np.where(up, falling, rising))
    for bar, raised in zip(bars, up):
        if not raised:
            bar.set_hatch("///")
            bar.set_edgecolor("white")
    axes.bar_label(bars, [f"{value:+.3g}" for value in effect], padding=3, fontsize="small")
    axes.margins(x=0.16)
    axes.axvline(0.0, color="0.2", linewidth=0.9)
    axes.set_yticks(place, [named(words, lines=2, wide=48) for words, _ in told], fontsize="small")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    answer = float(rows["answer"].iloc[0])
    axes.set_xlabel(f"effect on {plain(what) or 'the answer'}, which is {answer:.4g}")
    return axes


def _told(row: pd.Series) -> tuple[str, str]:
    """The sentence of an effect without the effect, and what the effect is on, if it says so.

    Names may hold any sign: it is cut at the numbers of its row, as `attribute` writes them.
    """
    change = f"{row['level']:.4g} -> {row['recent']:.4g}"
    said, found, what = str(row["sentence"]).rpartition(f"{change}, {row['effect']:+.3g} ")
    return (f"{said}{change}", what) if found else (what, "")
