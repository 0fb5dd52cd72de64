"""Prices and patients to try things on: two generators, two bundled indices, five local sets.

Every frame is a valid panel as it comes: sorted unique index, float64 columns. What is known about
each data set, its dirt included, stands in the data cards of the folder ``datasets/``.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsforecast._checks import bad_parameter, choice, positive_int

__all__ = [
    "load_etth1",
    "load_exchange_rate",
    "load_m4",
    "load_nasdaq",
    "load_sp500",
    "load_sp500_ohlcv",
    "load_sp500_rv",
    "make_prices",
    "make_vitals",
]

Floats = NDArray[np.float64]
Seed = int | np.random.Generator | None

# ------------------------------------------------------------------------------------- generators

# make_prices: daily log returns, fractions
_DRIFT = 2e-4
_ALPHA, _BETA = 0.08, 0.90
_REGIME_SCALE = (0.7, 1.8)
_REGIME_LEAVE = (0.005, 0.02)
_COMMON = 0.4
_CRASH_RATE = 1 / 750
_CRASH_SIZE = (0.06, 0.14)
_RECOVERED, _RECOVERY_DECAY = 0.6, 0.95
_INTRADAY_STEPS = 78
_OVERNIGHT = 0.2


def make_prices(
    n_series: int = 5,
    n_rows: int = 2000,
    *,
    start: str | pd.Timestamp = "2015-01-01",
    volatility: Literal["garch", "constant"] = "garch",
    phi: float = 0.0,
    random_state: Seed = None,
) -> pd.DataFrame:
    r"""Simulate daily open, high, low, close and volume of several stocks.

    With i the series, t the day, all returns logarithmic and in fractions:

    .. math::
        r_{it} &= \mu + \phi (r_{i,t-1} - \mu) + e_{it} + c_t \\
        e_{it} &= \sigma_{it} z_{it}, \quad
            z_{it} = \sqrt{\rho}\, f_t + \sqrt{1 - \rho}\, u_{it}, \quad f, u \sim N(0, 1) \\
        \sigma_{it} &= \bar\sigma_i \, m_{s_t} \sqrt{h_{it}}, \quad
            h_{it} = (1 - \alpha - \beta) + (\alpha z_{i,t-1}^2 + \beta) h_{i,t-1}

    - GARCH(1,1) (Bollerslev 1986) of unit mean, :math:`\alpha = 0.08, \beta = 0.90`; daily level
      :math:`\bar\sigma_i` uniform in 0.8 % to 2 %; drift :math:`\mu = 0.0002`; common factor
      :math:`\rho = 0.4`.
    - Two regimes shared by all series, a Markov chain :math:`s_t`: calm (:math:`m = 0.7`, left with
      probability 0.005 a day) and turbulent (:math:`m = 1.8`, left with 0.02).
    - Crashes :math:`c_t`: on one day in 750 every series loses 6 % to 14 %, the regime turns
      turbulent, and 60 % of the loss comes back at 5 % of the remainder a day.
    - The day's path is Brownian given its two closes: a gap overnight (20 % of the variance), then
      78 steps (5 minutes each), of which open, high and low are read. The Garman-Klass variance
      of a bar is therefore an estimate of the session's :math:`0.8\, \sigma_{it}^2`, about a
      fifth low because 78 steps miss the extremes between them.
    - Volume follows volatility and the size of the move:
      :math:`\log V_{it} = b_i + 0.8 \log(\sigma_{it} / \bar\sigma_i)
      + 0.5 \log(1 + |e_{it} + c_t| / \sigma_{it}) + 0.25\, N(0, 1)`.

    Parameters
    ----------
    n_series, n_rows : int
        Number of series and of business days.
    start : str or Timestamp
        First day; the next business day if it is none.
    volatility : {"garch", "constant"}
        ``"constant"`` leaves out GARCH, regimes, crashes and drift: with ``phi=0`` the log close is
        a Gaussian random walk, on which nothing beats the last value.
    phi : float
        AR(1) coefficient of the returns, inside (-1, 1): the predictable part, if you want one.
    random_state : int, numpy.random.Generator or None
        Seed. No global random state is read or moved.

    Returns
    -------
    DataFrame
        Index ``(ticker, date)`` with tickers ``S00, S01, ...`` and business days; columns ``open,
        high, low, close`` (currency units, around 100 at the start) and ``volume`` (shares).

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> panel = make_prices(n_series=2, n_rows=250, random_state=0)
    >>> panel.shape
    (500, 5)
    >>> bool((panel["low"] <= panel[["open", "close"]].min(axis=1)).all())
    True
    """
    positive_int("n_series", n_series)
    positive_int("n_rows", n_rows)
    choice("volatility", volatility, ("garch", "constant"))
    if not -1 < phi < 1:
        raise bad_parameter("phi", expected="a number inside (-1, 1)", found=phi)
    rng = np.random.default_rng(random_state)

    level = rng.uniform(0.008, 0.020, n_series)
    first_log_price = np.log(100) + 0.4 * rng.standard_normal(n_series)
    common = rng.standard_normal((n_rows, 1))
    own = rng.standard_normal((n_rows, n_series))
    z = np.sqrt(_COMMON) * common + np.sqrt(1 - _COMMON) * own  # (T, N)

    if volatility == "garch":
        crash = rng.random(n_rows) < _CRASH_RATE
        sigma = level * _regime_scale(rng, crash)[:, None] * np.sqrt(_unit_garch(z))
        shock = sigma * z + _crash_returns(rng, crash)[:, None]
        drift = _DRIFT
    else:
        sigma = np.broadcast_to(level, z.shape)
        shock = sigma * z
        drift = 0.0
    log_close = first_log_price + np.cumsum(drift + _ar1(shock, phi), axis=0)

    size = np.log1p(np.abs(shock) / sigma)
    log_volume = (
        rng.normal(np.log(1e6), 0.5, n_series)
        + 0.8 * np.log(sigma / level)
        + 0.5 * size
        + 0.25 * rng.standard_normal(z.shape)
    )
    dates = pd.bdate_range(start, periods=n_rows, name="date")
    bars = {}
    for i, name in enumerate(_names("S", n_series)):
        frame = _bars(rng, first_log_price[i], log_close[:, i], sigma[:, i])
        frame["volume"] = np.round(np.exp(log_volume[:, i]))
        bars[name] = frame.set_axis(dates, axis=0)
    return pd.concat(bars, names=["ticker", "date"])


def _names(prefix: str, count: int, *, least_digits: int = 2) -> list[str]:
    """Name series so that they sort in the order they were made."""
    digits = max(least_digits, len(str(count - 1)))
    return [f"{prefix}{i:0{digits}d}" for i in range(count)]


def _ar1(shock: Floats, phi: float) -> Floats:
    """Return y with y_t = phi y_{t-1} + shock_t, y_{-1} = 0, along the first axis."""
    y = shock.copy()
    if phi:
        for t in range(1, len(y)):
            y[t] += phi * y[t - 1]
    return y


def _unit_garch(z: Floats) -> Floats:
    """Return GARCH(1,1) variances of mean one, started at one; z (T, N) are the unit shocks."""
    h = np.ones_like(z)
    for t in range(1, len(z)):
        h[t] = (1 - _ALPHA - _BETA) + (_ALPHA * z[t - 1] ** 2 + _BETA) * h[t - 1]
    return h


def _regime_scale(rng: np.random.Generator, crash: NDArray[np.bool_]) -> Floats:
    """Return the volatility multiplier of each day; a crash starts the turbulent regime."""
    switch = rng.random(len(crash))
    state = 0
    scale = np.empty(len(crash))
    for t in range(len(crash)):
        if switch[t] < _REGIME_LEAVE[state]:
            state = 1 - state
        if crash[t]:
            state = 1
        scale[t] = _REGIME_SCALE[state]
    return scale


def _crash_returns(rng: np.random.Generator, crash: NDArray[np.bool_]) -> Floats:
    """Return the common return of crashes and of the recoveries that follow them."""
    loss = np.where(crash, rng.uniform(*_CRASH_SIZE, len(crash)), 0.0)
    owed = 0.0
    returns = np.empty(len(crash))
    for t in range(len(crash)):
        back = (1 - _RECOVERY_DECAY) * owed
        owed += _RECOVERED * loss[t] - back
        returns[t] = back - loss[t]
    return returns


def _bars(
    rng: np.random.Generator, before: float, log_close: Floats, sigma: Floats
) -> pd.DataFrame:
    """Read open, high, low and close from a Brownian bridge between the closes of each day."""
    # clock 0 is yesterday's close, the session runs from _OVERNIGHT (the open) to 1 (the close)
    clock = np.linspace(_OVERNIGHT, 1, _INTRADAY_STEPS + 1)
    step = np.sqrt(np.diff(clock, prepend=0.0))
    walk = np.cumsum(step * rng.standard_normal((len(log_close), len(step))), axis=1)  # (T, 79)
    bridge = walk - clock * walk[:, -1:]
    previous = np.concatenate([[before], log_close[:-1]])
    path = previous[:, None] + clock * (log_close - previous)[:, None] + sigma[:, None] * bridge
    price = np.exp(path)
    return pd.DataFrame(
        {
            "open": price[:, 0],
            "high": price.max(axis=1),
            "low": price.min(axis=1),
            "close": price[:, -1],
        }
    )


# make_vitals, by column: mean and spread between patients, circadian amplitude (peak 16:00),
# drift per day, AR(1) noise, change at full deterioration, lowest and highest value shown
_AR_VITALS = 0.7
_PULSE_SHARE = 0.36  # of SBP: MAP = SBP - 2/3 pulse pressure
_RAMP_HOURS = (6, 12)
_SEVERITY = (0.5, 1.2)
_VITALS = pd.DataFrame(
    {
        "heart_rate": (80.0, 10.0, 3.0, 2.0, 4.0, 22.0, 30.0, 200.0),
        "resp_rate": (16.0, 2.0, 0.5, 0.4, 1.5, 7.0, 6.0, 50.0),
        "sbp": (125.0, 12.0, 4.0, 2.0, 6.0, -25.0, 50.0, 220.0),
        "spo2": (96.5, 1.0, 0.0, 0.2, 0.7, -5.0, 70.0, 100.0),
        "temperature": (36.8, 0.25, 0.25, 0.1, 0.12, 0.7, 34.0, 41.5),
    },
    index=["mean", "between", "circadian", "drift", "noise", "effect", "low", "high"],
).T


def make_vitals(
    n_patients: int = 50,
    n_hours: int = 72,
    *,
    deterioration: float = 0.2,
    missing: float = 0.0,
    random_state: Seed = None,
) -> pd.DataFrame:
    r"""Simulate hourly vital signs of hospital stays, some of which deteriorate.

    With i the patient, t the hours since admission and c the clock time:

    .. math::
        x_{it} = a_i + A \cos(2 \pi (c_{it} - 16) / 24) + d_i t / 24 + n_{it}
            + E\, s_i\, g_{it}, \quad n_{it} = 0.7\, n_{i,t-1} + \varepsilon_{it}

    where :math:`a_i` is the patient's own level, :math:`d_i` a slow drift per day, and
    :math:`g_{it}` rises linearly from 0 to 1 over the 6 to 12 hours before the onset and stays
    there; severity :math:`s_i` is uniform in 0.5 to 1.2. At :math:`s = 1` heart rate changes by
    +22, respiratory rate by +7, systolic pressure by -25, SpO2 by -5, temperature by +0.7. Mean
    arterial pressure is systolic pressure less two thirds of the pulse pressure (36 % of systolic),
    with noise. Nobody is treated or recovers: it is a toy to test code on, not a patient model.

    Parameters
    ----------
    n_patients : int
        Number of patients, one stay each.
    n_hours : int
        Longest stay in rows, at least 16. Lengths are uniform from half of it to all of it, drawn
        before and apart from the onset: the length of a record tells nothing about the event.
    deterioration : float
        Share of patients who deteriorate, in [0, 1], rounded to whole patients. The onset is
        uniform from hour 6 to the last row.
    missing : float
        Share of vital-sign cells set NaN at random, in [0, 1). The event column is complete.
    random_state : int, numpy.random.Generator or None
        Seed. No global random state is read or moved.

    Returns
    -------
    DataFrame
        Index ``(patient, hours)`` with patients ``P000, P001, ...`` and ``hours`` a Timedelta since
        admission; columns ``heart_rate`` and ``resp_rate`` (per minute), ``sbp`` and ``map``
        (mmHg), ``spo2`` (%), ``temperature`` (degrees C), and ``deterioration``: 0 before the
        onset, 1 from the onset row to the end of the stay. Values are rounded as a monitor shows
        them.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> panel = make_vitals(n_patients=10, n_hours=48, deterioration=0.3, random_state=0)
    >>> int(panel["deterioration"].groupby("patient").max().sum())
    3
    """
    positive_int("n_patients", n_patients)
    positive_int("n_hours", n_hours, least=16)
    if not 0 <= deterioration <= 1:
        raise bad_parameter("deterioration", expected="a share in [0, 1]", found=deterioration)
    if not 0 <= missing < 1:
        raise bad_parameter("missing", expected="a share in [0, 1)", found=missing)
    rng = np.random.default_rng(random_state)
    lengths = rng.integers(-(-n_hours // 2), n_hours, n_patients, endpoint=True)
    events = rng.permutation(n_patients) < round(deterioration * n_patients)

    stays = {}
    names = _names("P", n_patients, least_digits=3)
    for name, length, event in zip(names, lengths, events, strict=True):
        onset = int(rng.integers(_RAMP_HOURS[0], length)) if event else None
        stay = _stay(rng, int(length), onset)
        # drawn whatever the share is, so that one seed gives the same values under the holes
        stay = stay.mask(rng.random(stay.shape) < missing)
        stay["deterioration"] = 0.0 if onset is None else (np.arange(length) >= onset) * 1.0
        stays[name] = stay.set_axis(pd.to_timedelta(np.arange(length), unit="h"), axis=0)
    return pd.concat(stays, names=["patient", "hours"])


def _stay(rng: np.random.Generator, length: int, onset: int | None) -> pd.DataFrame:
    """Simulate one patient's vital signs; ``onset`` is the event's row, None without one."""
    hour = np.arange(length)
    clock = rng.uniform(0, 24) + hour
    ramp = rng.integers(*_RAMP_HOURS, endpoint=True)
    severity = rng.uniform(*_SEVERITY)
    course = np.zeros(length)
    if onset is not None:
        course = severity * np.clip((hour - (onset - ramp)) / ramp, 0, 1)

    columns: dict[str, Floats] = {}
    for name, sign in _VITALS.iterrows():
        noise = rng.standard_normal(length) * sign["noise"]
        noise[1:] *= np.sqrt(1 - _AR_VITALS**2)  # the first row already has the full spread
        columns[str(name)] = (
            sign["mean"]
            + sign["between"] * rng.standard_normal()
            + sign["circadian"] * np.cos(2 * np.pi * (clock - 16) / 24)
            + sign["drift"] * rng.standard_normal() * hour / 24
            + _ar1(noise, _AR_VITALS)
            + sign["effect"] * course
        ).clip(sign["low"], sign["high"])
    mean_pressure = columns["sbp"] * (1 - 2 / 3 * _PULSE_SHARE) + rng.normal(0, 1.5, length)
    frame = pd.DataFrame({**columns, "map": mean_pressure})
    order = ["heart_rate", "resp_rate", "sbp", "map", "spo2", "temperature"]
    return frame[order].round({name: int(name == "temperature") for name in order})


# --------------------------------------------------------------------------------- bundled indices


def load_sp500() -> pd.DataFrame:
    """Load the daily S&P 500 index, 1999-01-04 to 2018-12-31, from the arch package.

    Returns
    -------
    DataFrame
        5,031 rows, index ``date``; columns ``open, high, low, close, adj_close`` (index points) and
        ``volume`` (shares). ``open`` repeats the last close on 95 to 98 % of the days of 1999 to
        2005, on 43 % in 2006, 16 % in 2007, 2 % at most from 2008 to 2010, 9 % in 2011, 25 and 26 %
        in 2012 and 2013, on one day each in 2014 and 2015, and never after
        (``datasets/sp500.md``). Measures that need a true open, such as Garman-Klass, change their
        meaning with that: take the close before as the open on every day, or use `parkinson`.

    Raises
    ------
    ImportError
        If arch is not installed.

    Examples
    --------
    >>> load_sp500().shape  # doctest: +SKIP
    (5031, 6)
    """
    return _arch_index("sp500")


def load_nasdaq() -> pd.DataFrame:
    """Load the daily NASDAQ Composite index, 1999-01-04 to 2018-12-31, from the arch package.

    Returns
    -------
    DataFrame
        5,031 rows, index ``date``; columns ``open, high, low, close, adj_close`` (index points) and
        ``volume`` (shares).

    Raises
    ------
    ImportError
        If arch is not installed.

    Examples
    --------
    >>> load_nasdaq().shape  # doctest: +SKIP
    (5031, 6)
    """
    return _arch_index("nasdaq")


def _arch_index(name: str) -> pd.DataFrame:
    try:
        module = import_module(f"arch.data.{name}")
    except ImportError as error:
        raise ImportError(
            f"load_{name} reads the data that come with the package arch, which could not be "
            f'imported ({error}). Install it with: pip install "tsforecast[finance]"'
        ) from error
    frame: pd.DataFrame = module.load()
    frame.columns = frame.columns.str.lower().str.replace(" ", "_")
    return frame.rename_axis(index="date").astype("float64")


# ------------------------------------------------------------------------------------- local files

_VARIABLE = "TSFORECAST_DATA"
_CURRENCIES = (
    "australia",
    "united_kingdom",
    "canada",
    "switzerland",
    "china",
    "japan",
    "new_zealand",
    "singapore",
)
_M4_TIMES = {"Weekly": "week", "Hourly": "hour"}
_RV_NAMES = {
    "RV": "rv",
    "RQ": "rq",
    "RJ": "jump",
    "BPV": "bpv",
    "RVn": "rv_negative",
    "RVp": "rv_positive",
    "TPQ": "tpq",
    "MedRQ": "med_rq",
    "TrRQ": "truncated_rq",
    "RQ15Min": "rq_15min",
    "RQBoot": "rq_boot",
}


def load_exchange_rate(folder: str | Path | None = None) -> pd.DataFrame:
    """Read daily exchange rates of eight currencies against the US dollar (a local file).

    Parameters
    ----------
    folder : str or Path, optional
        Folder that holds ``finance/exchange_rate.txt.gz``; by default the one named by the
        environment variable ``TSFORECAST_DATA``.

    Returns
    -------
    DataFrame
        8 x 7,588 rows, index ``(currency, day)``, day 0 to 7587 (the file has no dates); column
        ``rate``. See ``datasets/exchange_rate.md`` for units and bad quotes.

    Raises
    ------
    FileNotFoundError
        If neither folder nor variable is given, or the file is not there.
    """
    path = _local_file(
        "finance/exchange_rate.txt.gz",
        folder,
        source="https://github.com/laiguokun/multivariate-time-series-data",
        card="exchange_rate",
    )
    wide = pd.read_csv(path, header=None, names=list(_CURRENCIES), dtype="float64")
    return pd.concat(
        {name: wide[[name]].set_axis(["rate"], axis=1) for name in sorted(_CURRENCIES)},
        names=["currency", "day"],
    )


def load_sp500_ohlcv(folder: str | Path | None = None) -> pd.DataFrame:
    """Read daily bars of 505 S&P 500 stocks, 2013-02-08 to 2018-02-07 (a local file).

    Parameters
    ----------
    folder : str or Path, optional
        Folder that holds ``finance/sp500_ohlcv_2013_2018.parquet``; by default the one named by the
        environment variable ``TSFORECAST_DATA``.

    Returns
    -------
    DataFrame
        619,040 rows, index ``(ticker, date)``; columns ``open, high, low, close`` (US dollars,
        adjusted for splits, not for dividends) and ``volume`` (shares); ``attrs`` say so, and who
        is missing. The dirt is left in, for `check_prices` to find: 27 NaN cells, 12 bars whose
        open or close lies outside low to high, spin-offs that look like crashes
        (``datasets/sp500_ohlcv.md``).

    Raises
    ------
    FileNotFoundError
        If neither folder nor variable is given, or the file is not there.
    ImportError
        If pyarrow is not installed.
    """
    path = _local_file(
        "finance/sp500_ohlcv_2013_2018.parquet",
        folder,
        source="https://github.com/CNuge/kaggle-code (folder stock_data)",
        card="sp500_ohlcv",
    )
    try:
        import_module("pyarrow")
    except ImportError as error:
        raise ImportError(
            f"load_sp500_ohlcv reads a parquet file with pyarrow, which could not be imported "
            f'({error}). Install it with: pip install "tsforecast[batch]"'
        ) from error
    frame = pd.read_parquet(path, engine="pyarrow")
    # the file has tickers as a category, whose codes would order the index
    frame = frame.astype({"ticker": "str"}).set_index(["ticker", "date"]).sort_index()
    frame = frame[["open", "high", "low", "close", "volume"]].astype("float64")
    frame.attrs = {
        "source": "S&P 500 stocks of github.com/CNuge/kaggle-code",
        "adjusted": "splits",
        "survivorship": "Survivorship: these are the members of February 2018, followed "
        "backwards. Firms that failed or were dropped before are missing, so returns are too high.",
    }
    return frame


def load_sp500_rv(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the daily realised variance of the S&P 500, 1997-04-08 to 2013-08-30 (a local file).

    The data of Bollerslev, Patton and Quaedvlieg (2016), "Exploiting the errors: a simple approach
    for improved volatility forecasting", Journal of Econometrics 192.

    Parameters
    ----------
    folder : str or Path, optional
        Folder that holds ``finance/rv_sp500_bpq2016_1997_2013.csv.gz``; by default the one named by
        the environment variable ``TSFORECAST_DATA``.

    Returns
    -------
    DataFrame
        4,096 rows, index ``date``. In percent squared per session (1.0 is a daily volatility of
        1 %): ``rv`` realised variance, ``bpv`` bipower variation, ``jump`` = max(rv - bpv, 0),
        ``rv_negative`` and ``rv_positive`` the semivariances, which add up to rv. Quarticities by
        six estimators, ``rq, tpq, med_rq, truncated_rq, rq_15min, rq_boot``: each is proportional
        to percent to the fourth by a constant of its own (``datasets/sp500_rv.md``), so use them
        scaled. Two rows, 2009-01-19 and 2011-02-21, are holidays of the exchange on which futures
        traded (`with_calendar` names them): drop them for a panel of sessions.

    Raises
    ------
    FileNotFoundError
        If neither folder nor variable is given, or the file is not there.
    """
    path = _local_file(
        "finance/rv_sp500_bpq2016_1997_2013.csv.gz",
        folder,
        source="the R package HARModel (its data set SP500RM)",
        card="sp500_rv",
    )
    frame = pd.read_csv(path, index_col="date", parse_dates=["date"])
    return frame[list(_RV_NAMES)].rename(columns=_RV_NAMES).astype("float64")


def load_m4(
    group: Literal["Weekly", "Hourly"] = "Weekly", folder: str | Path | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the weekly or the hourly series of the M4 competition (local files).

    Makridakis, Spiliotis and Assimakopoulos (2020), "The M4 Competition: 100,000 time series and 61
    forecasting methods", International Journal of Forecasting 36.

    Parameters
    ----------
    group : {"Weekly", "Hourly"}
        359 series of 80 to 2,597 weeks, or 414 of 700 or 960 hours.
    folder : str or Path, optional
        Folder that holds ``finance/M4_Weekly_train.csv.gz`` and its like; by default the one named
        by the environment variable ``TSFORECAST_DATA``.

    Returns
    -------
    train, test : DataFrame
        Index ``(id, week)`` or ``(id, hour)``: ids as published (``W1``, ``H1``), sorted as text,
        and the row's number from 0 (the files have no dates). Column ``value``, above zero, in a
        unit of each series' own. `test` holds the next 13 weeks or 48 hours of every series and
        counts on where `train` ends.

    Raises
    ------
    FileNotFoundError
        If neither folder nor variable is given, or a file is not there.
    ValueError
        If `group` is neither of the two.

    Examples
    --------
    >>> train, test = load_m4("Hourly")  # doctest: +SKIP
    >>> len(train), len(test)  # doctest: +SKIP
    (353500, 19872)
    """
    choice("group", group, tuple(_M4_TIMES))
    train, test = (
        pd.read_csv(
            _local_file(
                f"finance/M4_{group}_{part}.csv.gz",
                folder,
                source="https://github.com/Mcompetitions/M4-methods (folder Dataset)",
                card="m4",
            ),
            index_col=0,
        ).sort_index()
        for part in ("train", "test")
    )
    lengths = train.notna().sum(axis=1)
    starts = np.zeros(len(train), dtype=np.int64)
    time = _M4_TIMES[group]
    return _rows_of(train, starts, time), _rows_of(test, lengths.to_numpy(), time)


def _rows_of(wide: pd.DataFrame, starts: NDArray[np.int64], time: str) -> pd.DataFrame:
    """Give a table of one series per line, padded with NaN behind, as a panel."""
    values = wide.to_numpy(dtype=np.float64)
    line, position = np.nonzero(~np.isnan(values))
    index = pd.MultiIndex.from_arrays(
        [wide.index.take(line), starts[line] + position], names=["id", time]
    )
    return pd.DataFrame({"value": values[line, position]}, index=index)


def load_etth1(folder: str | Path | None = None) -> pd.DataFrame:
    """Read two years of hourly measurements at an electricity transformer (a local file).

    Zhou and others (2021), "Informer: beyond efficient transformer for long sequence time-series
    forecasting", AAAI.

    Parameters
    ----------
    folder : str or Path, optional
        Folder that holds ``finance/ETTh1.csv.gz``; by default the one named by the environment
        variable ``TSFORECAST_DATA``.

    Returns
    -------
    DataFrame
        17,420 rows, 2016-07-01 00:00 to 2018-06-26 19:00, index ``date``; columns ``HUFL, HULL,
        MUFL, MULL, LUFL, LULL``, loads (high, middle and low; useful and useless), and ``OT``, the
        oil temperature. Papers train on the first 12 months of 30 days, validate on the next 4
        and test on the next 4: rows 0 to 8,639, to 11,519 and to 14,399.

    Raises
    ------
    FileNotFoundError
        If neither folder nor variable is given, or the file is not there.

    Examples
    --------
    >>> load_etth1().shape  # doctest: +SKIP
    (17420, 7)
    """
    path = _local_file(
        "finance/ETTh1.csv.gz",
        folder,
        source="https://github.com/zhouhaoyi/ETDataset (folder ETT-small)",
        card="etth1",
    )
    return pd.read_csv(path, index_col="date", parse_dates=["date"]).astype("float64")


def _local_file(name: str, folder: str | Path | None, *, source: str, card: str) -> Path:
    """Find an optional data file, or say what it is and where to put it."""
    root = folder or os.environ.get(_VARIABLE)
    looked = f"looked in {Path(root).expanduser()}" if root else f"{_VARIABLE} is not set"
    if root:
        path = Path(root).expanduser() / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"optional data file missing: expected {name} in the folder named by the environment "
        f"variable {_VARIABLE} (or by folder=), found none ({looked}). It is not shipped; it comes "
        f"from {source}, see datasets/{card}.md. Put it there and set {_VARIABLE} to the folder "
        f"above finance/."
    )
