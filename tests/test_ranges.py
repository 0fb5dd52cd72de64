"""Volatility that has been, against plain loops over days and returns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.data.ranges import garman_klass, parkinson, realized_variance, rogers_satchell

BARS = ["open", "high", "low", "close"]


def days_of_a_walk(*, drift=0.0, sigma=0.02, n=1000, steps=2000, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(n, steps)) * sigma / np.sqrt(steps) + drift / steps
    path = np.concatenate([np.zeros((n, 1)), moves.cumsum(axis=1)], axis=1)
    prices = np.exp(np.stack([path[:, 0], path.max(1), path.min(1), path[:, -1]], axis=1))
    return pd.DataFrame(prices, columns=BARS)


def bars(**changes: tuple[int, float]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "open": [100.0, 101.0, 99.0],
            "high": [103.0, 102.0, 101.0],
            "low": [99.0, 98.0, 98.5],
            "close": [101.0, 99.0, 100.0],
        },
        index=pd.date_range("2024-01-01", periods=3, name="date"),
    )
    for column, (day, price) in changes.items():
        frame.iloc[day, frame.columns.get_loc(column)] = price
    return frame


def root_mean_square(volatility: pd.Series) -> float:
    return float(np.sqrt((volatility**2).mean()))


# ------------------------------------------------------------------------------------------- ranges


def test_parkinson_and_rogers_satchell_are_their_formulas_day_by_day():
    frame = bars()
    wide, without_drift = parkinson(frame), rogers_satchell(frame)
    for day, row in frame.iterrows():
        o, h, low, c = np.log(row[BARS])
        assert wide[day] == pytest.approx((h - low) / np.sqrt(4 * np.log(2)), rel=1e-12)
        variance = (h - o) * (h - c) + (low - o) * (low - c)
        assert without_drift[day] == pytest.approx(np.sqrt(variance), rel=1e-12)
    for found in (wide, without_drift):
        assert found.name == "volatility"
        pd.testing.assert_index_equal(found.index, frame.index)


@pytest.mark.parametrize("estimate", [garman_klass, parkinson, rogers_satchell])
def test_estimates_measure_a_brownian_day_in_any_currency(estimate):
    days = days_of_a_walk()
    assert root_mean_square(estimate(days)) == pytest.approx(0.02, rel=0.05)
    np.testing.assert_allclose(estimate(days * 7.3), estimate(days), rtol=1e-9)


def test_drift_widens_the_range_but_not_rogers_satchell():
    days = days_of_a_walk(drift=0.03)
    assert root_mean_square(parkinson(days)) > 0.023
    assert root_mean_square(rogers_satchell(days)) == pytest.approx(0.02, rel=0.06)


@pytest.mark.parametrize("estimate", [garman_klass, parkinson, rogers_satchell])
def test_days_without_range_or_price_have_no_volatility(estimate):
    flat = bars()
    flat.iloc[1] = 100.0
    assert estimate(flat).isna().tolist() == [False, True, False]
    assert estimate(bars(high=(2, np.nan))).isna().tolist() == [False, False, True]


def test_open_outside_the_range_never_makes_a_variance_negative():
    found = rogers_satchell(bars(open=(1, 104.0)))
    wider = rogers_satchell(bars(open=(1, 104.0), high=(1, 104.0)))
    pd.testing.assert_series_equal(found, wider)


@pytest.mark.parametrize("estimate", [garman_klass, parkinson, rogers_satchell])
def test_wrong_prices_are_refused_by_name(estimate):
    with pytest.raises(DataError, match="not positive .column 'low'; first rows: 2024-01-03"):
        estimate(bars(low=(2, 0.0)))
    with pytest.raises(DataError, match="low above high .*2024-01-02"):
        estimate(bars(low=(1, 102.5)))


@pytest.mark.parametrize("said", [True, "close"])
def test_an_adjusted_close_beside_raw_highs_is_refused(said):
    panel = bars()
    panel.attrs["adjusted"] = said
    for estimate in (garman_klass, rogers_satchell):
        with pytest.raises(DataError, match="adjusted closes beside raw prices .column 'close'"):
            estimate(panel)
    parkinson(panel)  # reads no close
    panel.attrs["adjusted"] = "splits"  # all four alike
    assert garman_klass(panel).notna().all()


# ---------------------------------------------------------------------------------------- intraday


def make_intraday(*, zone=None, missing=0.0, seed=0) -> pd.DataFrame:
    """Two series, three sessions, a price a minute."""
    rng = np.random.default_rng(seed)
    sessions = [
        pd.date_range(f"2024-03-{day:02d} 09:30", periods=60, freq="min", tz=zone)
        for day in (7, 8, 11)  # clocks go on over the weekend in New York
    ]
    time = sessions[0].append(sessions[1:])
    frames = {}
    for name in ("a", "b"):
        prices = 100 * np.exp(np.cumsum(rng.normal(size=len(time)) * 1e-3))
        prices[rng.random(len(prices)) < missing] = np.nan
        frames[name] = pd.DataFrame({"price": prices}, index=time.rename("time"))
    return pd.concat(frames, names=["ticker"])


def measures(prices: np.ndarray) -> dict[str, float]:
    """The formulas, one return after the other."""
    returns = [np.log(b / a) for a, b in zip(prices, prices[1:])]
    if len(returns) < 2:
        return dict.fromkeys(("rv", "rv_negative", "rv_positive", "bpv", "rq"), np.nan)
    found = dict.fromkeys(("rv", "rv_negative", "rv_positive", "bpv", "rq"), 0.0)
    for i, r in enumerate(returns):
        found["rv"] += r**2
        found["rv_negative" if r < 0 else "rv_positive"] += r**2
        found["bpv"] += np.pi / 2 * abs(r) * abs(returns[i - 1]) if i else 0.0
        found["rq"] += len(returns) / 3 * r**4
    return found


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_realized_measures_are_their_formulas(missing, zone):
    panel = make_intraday(zone=zone, missing=missing)
    found = realized_variance(panel)
    assert found.index.names == ["ticker", "time"]
    assert len(found) == 6
    for (ticker, day), row in found.iterrows():
        own = panel.loc[ticker, "price"]
        prices = own[own.index.strftime("%Y-%m-%d") == f"{day:%Y-%m-%d}"].dropna().to_numpy()
        for name, value in measures(prices).items():
            assert row[name] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(found["rv"], found["rv_negative"] + found["rv_positive"])


def test_sampling_takes_the_first_price_and_the_last_of_each_bar():
    panel = make_intraday().loc["a"]
    panel.iloc[3:6] = np.nan
    found = realized_variance(panel, every="5min")
    for day, row in found.iterrows():
        own = panel[panel.index.normalize() == day]["price"]
        last = own.resample("5min").last().dropna().to_numpy()
        prices = np.concatenate([own.dropna().to_numpy()[:1], last])
        assert row["rv"] == pytest.approx(measures(prices)["rv"], rel=1e-9)


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Kolkata"])
def test_bars_that_do_not_divide_a_day_begin_at_its_midnight(zone):
    panel = make_intraday(zone=zone).loc["a"]
    found = realized_variance(panel, every="7min")
    pd.testing.assert_frame_equal(realized_variance(panel, every=np.timedelta64(7, "m")), found)
    for day, row in found.iterrows():
        chosen, before = [], None
        for time, price in panel["price"].items():
            if time.strftime("%Y-%m-%d") != f"{day:%Y-%m-%d}" or np.isnan(price):
                continue
            bar = (60 * time.hour + time.minute) // 7
            if bar == before and len(chosen) > 1:
                chosen[-1] = price
            else:
                chosen.append(price)
                if before is None:  # the first of the day stands before its bar's last
                    chosen.append(price)
            before = bar
        assert row["rv"] == pytest.approx(np.square(np.diff(np.log(chosen))).sum(), rel=1e-9)
    assert len(found) == 3


def test_sampling_at_the_spacing_of_the_prices_changes_nothing():
    panel = make_intraday()
    whole, sampled = realized_variance(panel), realized_variance(panel, every="1min")
    pd.testing.assert_frame_equal(whole, sampled)


def test_the_night_is_left_out_and_the_day_is_that_of_the_zone():
    panel = make_intraday(zone="America/New_York").loc["a"]
    jumped = panel.copy()
    jumped.loc["2024-03-08":] *= 2
    pd.testing.assert_frame_equal(realized_variance(jumped), realized_variance(panel))
    tokyo = panel.tz_convert("Asia/Tokyo")  # 22:30 or 23:30 to half an hour later or past midnight
    assert realized_variance(tokyo).index.tz is None
    assert len(realized_variance(tokyo)) > len(realized_variance(panel))


def test_days_with_fewer_than_two_returns_are_nan():
    time = pd.to_datetime(["2024-01-02 10:00", "2024-01-02 11:00", "2024-01-03 10:00"])
    few = pd.DataFrame({"price": [100.0, 101.0, 102.0]}, index=time)
    found = realized_variance(few)
    assert found.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]
    assert found.isna().all(axis=None)
    assert realized_variance(few * np.nan).isna().all(axis=None)


def test_realized_variance_measures_a_brownian_day_and_bipower_passes_over_a_jump():
    rng = np.random.default_rng(0)
    time = pd.date_range("2024-01-02 09:30", periods=20_000, freq="s")
    moves = rng.normal(size=len(time)) * 0.02 / np.sqrt(len(time))
    moves[5000] += 0.03
    panel = pd.DataFrame({"price": np.exp(moves.cumsum())}, index=time)
    day = realized_variance(panel).iloc[0]
    assert day["bpv"] == pytest.approx(0.02**2, rel=0.1)
    assert day["rv"] == pytest.approx(0.02**2 + 0.03**2, rel=0.05)


def test_wrong_intraday_prices_are_refused():
    panel = make_intraday()
    with pytest.raises(DataError, match="not positive .column 'price'"):
        realized_variance(panel * 0.0)
    with pytest.raises(DataError, match="time without dates"):
        realized_variance(pd.DataFrame({"price": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="'price': expected one of the columns"):
        realized_variance(panel.assign(other=1.0))
    for every in (
        "no time",
        "-5min",
        0,
        "2D",
        [],
        5,
        5e9,
        "300000000000",
        np.int64(5),
        " 1.5 ",
        "+5",
    ):
        with pytest.raises(ValueError, match="'every': expected a length of time"):
            realized_variance(panel, every=every)


def test_realized_variance_feeds_the_model_of_its_logarithm():
    rng = np.random.default_rng(0)
    time = pd.date_range("2024-01-01", periods=40 * 24 * 4, freq="15min")
    prices = pd.DataFrame({"price": np.exp(rng.normal(size=len(time)).cumsum() * 1e-3)}, time)
    daily = realized_variance(prices)
    model = tsf.LogHAR(
        target="rv", semivariance=("rv_negative", "rv_positive"), quarticity="rq", lags=(1, 5)
    )
    assert 0 < model.fit(daily).predict()["forecast"].iloc[0] < 1e-3
