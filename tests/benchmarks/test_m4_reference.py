"""The competition's own rows, reproduced: no figure of ours counts before they are right."""

import m4
import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf


@pytest.fixture(scope="module")
def groups():
    try:
        return {group: tsf.load_m4(group) for group in m4.SEASONS}
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


def rows(values, start=0, names=("a",)):
    """The same values for every series."""
    index = pd.MultiIndex.from_product(
        [names, range(start, start + len(values))], names=["id", "week"]
    )
    return pd.DataFrame({"value": np.tile(np.asarray(values, dtype=float), len(names))}, index)


NAIVE2 = [("Weekly", 9.161, 2.777), ("Hourly", 18.383, 2.395)]
SEASONAL = [("Weekly", 9.161, 2.777, 1.0), ("Hourly", 13.912, 1.193, 0.627)]


@pytest.mark.parametrize("group, smape, mase", NAIVE2)
def test_naive2_has_the_official_figures(groups, group, smape, mase):
    (train, test), season = groups[group], m4.SEASONS[group]
    horizon = test.groupby("id").size().iloc[0]
    scores = m4.owa(train, test, m4.naive2(train, horizon, season), season)
    print(f"\n{group}: {scores}")
    assert scores.owa == pytest.approx(1.0, abs=1e-12)
    assert round(scores.smape, 3) == smape
    assert round(scores.mase, 3) == mase


@pytest.mark.parametrize("group, smape, mase, owa", SEASONAL)
def test_seasonal_naive_has_the_official_figures(groups, group, smape, mase, owa):
    (train, test), season = groups[group], m4.SEASONS[group]
    horizon = test.groupby("id").size().iloc[0]
    scores = m4.owa(train, test, m4.seasonal_naive(train, horizon, season), season)
    print(f"\n{group}: {scores}")
    assert round(scores.smape, 3) == smape
    assert round(scores.mase, 3) == mase
    assert scores.owa == pytest.approx(owa, abs=6e-4)  # hourly .62750, from rounded parts .62745


def test_73_weekly_series_resemble_another_ones_training_part(groups):
    found = m4.resembled(*groups["Weekly"])
    assert len(found) == len(set(found)) == 73


def test_errors_are_the_formulas_of_the_competition():
    train = rows([1.0, 3.0, 2.0, 6.0])
    test = rows([4.0, 8.0], start=4)
    forecast = pd.Series([6.0, 8.0], index=test.index)
    found = m4.errors(train, test, forecast, season=2).loc["a"]
    assert found["smape"] == pytest.approx((200 * 2 / 10 + 0) / 2)
    assert found["mase"] == pytest.approx(1.0 / np.mean([1.0, 3.0]))
    assert m4.errors(train, test, forecast.to_frame("forecast")[::-1], 2).loc["a"].equals(found)


@pytest.mark.parametrize("season", [4, 5])
def test_naive2_continues_a_multiplicative_season_exactly(season):
    pattern = np.arange(1.0, season + 1)
    y = rows(np.resize(10 * pattern / pattern.mean(), 8 * season - 1))
    found = m4.naive2(y, 2 * season, season)
    expected = np.resize(10 * pattern / pattern.mean(), 10 * season - 1)[8 * season - 1 :]
    np.testing.assert_allclose(found, expected)
    assert found.index[0] == ("a", 8 * season - 1)


def test_naive2_is_the_last_value_without_a_season():
    y = rows(np.random.default_rng(0).uniform(1, 2, 40))
    for frame, season in ((y, 1), (y, 13), (rows([3.0] * 40), 4)):
        assert (m4.naive2(frame, 3, season) == frame["value"].iloc[-1]).all()  # 13: too short


def test_a_series_resembles_another_one_that_holds_its_test_stretch():
    rng = np.random.default_rng(0)
    long = np.exp(rng.normal(size=300).cumsum() / 10)
    train = pd.concat(
        [
            rows(long, names=["whole"]),
            rows(7 * long[100:150], names=["part"]),  # another level, an earlier end
            rows(np.exp(rng.normal(size=200).cumsum() / 10), names=["other"]),
        ]
    )
    test = pd.concat(
        [
            rows(np.exp(rng.normal(size=13)), 300, names=["whole"]),
            rows(7 * long[150:163], 50, names=["part"]),
            rows(np.exp(rng.normal(size=13)), 200, names=["other"]),
        ]
    )
    assert m4.resembled(train, test) == ["part"]


@pytest.mark.parametrize(
    "forecast, message",
    [
        (rows([1.0, 2.0], start=5)["value"], "expected forecasts of the 2 rows of test"),
        (rows([1.0], start=4)["value"], "expected forecasts of the 2 rows of test"),
        (rows([1.0, np.nan], start=4)["value"], "found 1 missing"),
    ],
)
def test_forecasts_of_other_rows_are_refused(forecast, message):
    with pytest.raises(ValueError, match=message):
        m4.errors(rows([1.0, 3.0]), rows([4.0, 8.0], start=4), forecast, season=1)
