"""The first five minutes: a forecast of a table, and whether there is skill in it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tsforecast.batch.exits import SourceError
from tsforecast.batch.template import Guess, as_numbers, as_times

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OneShot", "forecast_once"]

_LEAST = 20  # rows of the longest series


@dataclass(frozen=True)
class OneShot:
    """A forecast and what to think of it.

    Attributes
    ----------
    forecast : pandas.DataFrame
        As of `RecurrentForecaster.predict`.
    verdict : str
        One sentence: skill over the naive forecast and the random walk, or none, or why it could
        not be judged.
    rows, series : int
        Of the panel.
    first, last : pandas.Timestamp
        Its times.
    """

    forecast: pd.DataFrame
    verdict: str
    rows: int
    series: int
    first: pd.Timestamp
    last: pd.Timestamp


def forecast_once(
    table: pd.DataFrame,
    what: Guess,
    *,
    horizon: int = 1,
    quick: bool = False,
    random_state: int = 0,
) -> OneShot:
    """Fit a recurrent forecaster, judge it beside simple ones, and forecast from the last row.

    Parameters
    ----------
    table : pandas.DataFrame
    what : Guess
        Which columns are series, time and target.
    horizon : int
        In rows.
    quick : bool
        A smaller network, fewer epochs, and fewer forecasts to judge by.
    random_state : int

    Returns
    -------
    OneShot

    Raises
    ------
    SourceError
        If the rows do not make a panel, or are too few.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=40).astype(str)
    >>> table = pd.DataFrame({"date": days, "close": [100.0 + day % 7 for day in range(40)]})
    >>> found = forecast_once(table, Guess(time="date", target="close"), horizon=2, quick=True)
    >>> found.forecast.shape[0], found.rows
    (2, 40)
    """
    panel = _panel(table, what)
    try:
        lengths = panel.groupby(level=0).size() if panel.index.nlevels == 2 else [len(panel)]
        longest, times = int(max(lengths)), panel.index.get_level_values(-1)
        if longest < _LEAST + 2 * horizon:
            raise SourceError.of(
                f"column {what.target!r}",
                expected=f"a series of at least {_LEAST + 2 * horizon} rows for horizon {horizon}",
                found=f"{longest} in the longest",
                advice="Give more rows, or a shorter horizon.",
            )
        model = _model(what, longest, horizon, quick, random_state)
        with warnings.catch_warnings():  # so few epochs are meant for a first look
            warnings.filterwarnings("ignore", message=".*(convergence|have converged)")
            verdict = _verdict(model, panel, what, longest, quick)
            forecast = model.fit(panel).predict()
    except ValueError as error:
        raise _unusable(error) from error
    return OneShot(
        forecast,
        verdict,
        len(panel),
        len(lengths),
        times.min(),
        times.max(),
    )


def _as_names(column: pd.Series[Any]) -> pd.Series[Any]:
    """Names as text, as a job writes them: the number 101.0 is called 101."""
    import pandas as pd
    import pyarrow as pa

    if column.dtype.kind == "f":
        return pd.Series(pa.array(column).cast(pa.string()).to_pylist(), index=column.index)
    return column.astype("str")


def _panel(table: pd.DataFrame, what: Guess) -> pd.DataFrame:
    from tsforecast.data.panel import as_panel

    named = [name for name in (what.series, what.time, what.target) if name is not None]
    rows = table[named].copy()
    rows[what.time], rows[what.target] = as_times(rows[what.time]), as_numbers(rows[what.target])
    if what.series is not None:  # names are text, as in a job
        rows[what.series] = _as_names(rows[what.series])
    try:
        return as_panel(rows, series=what.series, time=what.time)
    except (ValueError, TypeError) as error:
        raise _unusable(error) from error


def _model(what: Guess, longest: int, horizon: int, quick: bool, random_state: int) -> Any:
    from tsforecast.data.transforms import Log
    from tsforecast.estimators.forecaster import RecurrentForecaster
    from tsforecast.nn.training import Training

    return RecurrentForecaster(
        target=what.target,
        horizon=horizon,
        lookback=min(20 if quick else 60, max(2, longest // 8)),
        transform=Log() if what.positive else None,
        hidden_sizes=(16,) if quick else (32,),
        training=Training(max_epochs=5 if quick else 20),
        random_state=random_state,
    )


def _verdict(model: Any, panel: pd.DataFrame, what: Guess, longest: int, quick: bool) -> str:
    """Judge on the last rows by a model that was fitted on those before."""
    from tsforecast.backtesting.rolling import backtest
    from tsforecast.data.splits import RollingOrigin
    from tsforecast.estimators.baselines import Naive, RandomWalk

    same: dict[str, Any] = {"target": what.target, "horizon": model.horizon}
    # the random walk's width follows volatility: a width that moves is no skill of the network
    models = {"recurrent": model, "naive": Naive(**same), "random walk": RandomWalk(**same)}
    origins = min(60 if quick else 250, longest // 5)
    try:
        result = backtest(models, panel, RollingOrigin(1, origins), refit=False)
        return str(result.verdicts()[0])
    except ValueError as error:
        return f"recurrent: skill over baselines cannot be judged ({error})"


def _unusable(error: Exception) -> SourceError:
    return SourceError.of(
        "the table",
        expected="rows that make a panel: one time per row and series, numbers to forecast",
        found=str(error).rstrip("."),
        advice="Name other columns with --series, --time and --target, or mend the rows.",
    )
