"""Generators, the bundled indices and the optional local files."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from tsforecast import DataError, with_calendar
from tsforecast.data.datasets import (
    load_etth1,
    load_exchange_rate,
    load_m4,
    load_nasdaq,
    load_sp500,
    load_sp500_ohlcv,
    load_sp500_rv,
    make_prices,
    make_vitals,
)

HOUR = pd.Timedelta(hours=1)
CARDS = Path(__file__).parents[1] / "datasets"

needs_files = pytest.mark.skipif(
    not os.environ.get("TSFORECAST_DATA"),
    reason="the optional data files are looked for in TSFORECAST_DATA, which is not set",
)


def assert_valid_panel(panel: pd.DataFrame) -> None:
    assert panel.index.is_monotonic_increasing
    assert panel.index.is_unique
    assert set(panel.dtypes) == {np.dtype("float64")}


def log_returns(panel: pd.DataFrame) -> pd.DataFrame:
    prices = panel["close"].unstack("ticker")
    return prices.apply(np.log).diff().dropna()


def assert_bars_are_consistent(panel: pd.DataFrame) -> None:
    assert (panel["low"] > 0).all()
    assert (panel["low"] <= panel[["open", "close"]].min(axis=1)).all()
    assert (panel["high"] >= panel[["open", "close"]].max(axis=1)).all()


@pytest.mark.parametrize("make", [make_prices, make_vitals])
def test_generator_repeats_itself_by_seed(make: Callable[..., pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(make(3, 40, random_state=7), make(3, 40, random_state=7))
    generator = np.random.default_rng(7)
    pd.testing.assert_frame_equal(make(3, 40, random_state=7), make(3, 40, random_state=generator))
    assert not make(3, 40, random_state=7).equals(make(3, 40, random_state=8))


@pytest.mark.parametrize("make", [make_prices, make_vitals])
def test_generator_neither_reads_nor_moves_the_global_random_state(
    make: Callable[..., pd.DataFrame],
) -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first = make(3, 40, random_state=7)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]
    np.random.seed(2)
    pd.testing.assert_frame_equal(first, make(3, 40, random_state=7))


def test_prices_are_a_panel_of_business_days() -> None:
    panel = make_prices(12, 30, start="2020-02-29", random_state=0)
    assert_valid_panel(panel)
    assert panel.index.names == ["ticker", "date"]
    assert list(panel.columns) == ["open", "high", "low", "close", "volume"]
    assert list(panel.index.unique("ticker")) == [f"S{i:02d}" for i in range(12)]
    dates = panel.index.unique("date")
    assert len(panel) == 12 * 30
    assert dates[0] == pd.Timestamp("2020-03-02")  # the Monday after that Saturday
    assert isinstance(dates, pd.DatetimeIndex)
    assert (dates.day_of_week < 5).all()


def test_more_than_a_hundred_tickers_still_sort() -> None:
    panel = make_prices(101, 2, random_state=0)
    assert_valid_panel(panel)
    assert panel.index.unique("ticker")[-1] == "S100"


@pytest.mark.parametrize("volatility", ["garch", "constant"])
def test_bars_hold_their_open_and_close(volatility: Literal["garch", "constant"]) -> None:
    panel = make_prices(4, 800, volatility=volatility, random_state=1)
    assert_bars_are_consistent(panel)
    assert (panel["high"] > panel["low"]).all()
    assert (panel["volume"] >= 1).all()
    assert (panel["volume"] == panel["volume"].round()).all()


def test_garch_prices_cluster_and_constant_ones_do_not() -> None:
    def clustering(panel: pd.DataFrame) -> float:
        squared = log_returns(panel) ** 2
        return float(squared.apply(lambda column: column.autocorr(1)).mean())

    for seed in range(3):
        noise = 1 / np.sqrt(2000)  # of one series' autocorrelation if there is none
        assert clustering(make_prices(random_state=seed)) > 3 * noise
        constant = make_prices(volatility="constant", random_state=seed)
        assert abs(clustering(constant)) < 2 * noise


def test_garch_prices_have_crashes_that_constant_ones_lack() -> None:
    garch = log_returns(make_prices(4, 4000, random_state=0))
    constant = log_returns(make_prices(4, 4000, volatility="constant", random_state=0))
    market = garch.mean(axis=1)
    assert (market < -0.06).sum() >= 2
    assert constant.mean(axis=1).min() > -0.06
    assert (garch.kurt() > 1).all()
    assert (constant.kurt().abs() < 0.5).all()


def test_series_share_a_common_factor() -> None:
    returns = log_returns(make_prices(4, 4000, volatility="constant", random_state=0))
    pairs = returns.corr().to_numpy()[np.triu_indices(4, k=1)]
    np.testing.assert_allclose(pairs, 0.4, atol=4 / np.sqrt(4000))


def test_garman_klass_measures_the_variance_of_the_session() -> None:
    # Garman and Klass (1980), eq. 20 without the cross term; 78 steps miss part of the range
    panel = make_prices(4, 2000, volatility="constant", random_state=0)
    logs = panel[["open", "high", "low", "close"]].apply(np.log)
    body = (logs["close"] - logs["open"]) ** 2
    garman_klass = 0.5 * (logs["high"] - logs["low"]) ** 2 - (2 * np.log(2) - 1) * body
    day = logs["close"].groupby("ticker").diff() ** 2
    variance = pd.DataFrame({"body": body, "gk": garman_klass, "day": day})
    mean = variance.groupby("ticker").mean()
    assert (mean["gk"] / mean["body"]).between(0.7, 1.0).all()
    assert variance["gk"].std() < 0.7 * variance["body"].std()  # the better estimate of the two
    np.testing.assert_allclose(mean["body"] / mean["day"], 0.8, atol=0.08)


def test_volume_follows_volatility() -> None:
    panel = make_prices(4, 2000, random_state=0)
    spread = np.log(panel["high"] / panel["low"])
    logs = pd.DataFrame({"volume": np.log(panel["volume"]), "spread": np.log(spread)})
    for _, series in logs.groupby("ticker"):
        assert series.corr().to_numpy()[0, 1] > 0.4


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.5])
def test_phi_is_the_autocorrelation_of_the_returns(phi: float) -> None:
    panel = make_prices(4, 3000, volatility="constant", phi=phi, random_state=0)
    measured = log_returns(panel).apply(lambda column: column.autocorr(1))
    np.testing.assert_allclose(measured, phi, atol=4 / np.sqrt(3000))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_series": 0}, "'n_series': expected a whole number of at least 1, found 0"),
        ({"n_rows": 2.5}, "'n_rows': expected a whole number"),
        ({"phi": 1.0}, r"'phi': expected a number inside \(-1, 1\), found 1.0"),
        ({"volatility": "heston"}, "'volatility': expected one of .*found 'heston'"),
    ],
)
def test_prices_name_the_parameter_that_is_wrong(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_prices(**parameters)  # type: ignore[arg-type]


def test_vitals_are_a_panel_of_hours_since_admission() -> None:
    panel = make_vitals(30, 49, random_state=0)
    assert_valid_panel(panel)
    assert panel.index.names == ["patient", "hours"]
    assert list(panel.columns) == [
        "heart_rate",
        "resp_rate",
        "sbp",
        "map",
        "spo2",
        "temperature",
        "deterioration",
    ]
    assert panel.index.unique("patient")[-1] == "P029"
    lengths = panel.groupby("patient").size()
    assert lengths.between(25, 49).all()
    assert lengths.nunique() > 5
    hours = pd.TimedeltaIndex(panel.index.get_level_values("hours"))
    np.testing.assert_array_equal(hours / HOUR, panel.groupby("patient").cumcount())


def test_vitals_stay_in_the_range_of_a_monitor() -> None:
    panel = make_vitals(100, 72, deterioration=1.0, random_state=0)
    assert panel["heart_rate"].between(30, 200).all()
    assert panel["resp_rate"].between(6, 50).all()
    assert panel["spo2"].between(70, 100).all()
    assert panel["temperature"].between(34, 41.5).all()
    assert (panel["map"] < panel["sbp"]).all()


@pytest.mark.parametrize(("share", "patients"), [(0.0, 0), (0.25, 10), (1.0, 40)])
def test_deterioration_is_the_share_of_patients_with_an_onset(share: float, patients: int) -> None:
    event = make_vitals(40, 48, deterioration=share, random_state=0)["deterioration"]
    assert set(event.unique()) <= {0.0, 1.0}
    assert event.groupby("patient").max().sum() == patients
    assert (event.groupby("patient").diff().dropna() >= 0).all()  # once on, on to the end
    assert (event.groupby("patient").head(6) == 0).all()


def test_deterioration_shows_before_the_onset() -> None:
    panel = make_vitals(200, 72, deterioration=0.5, random_state=0)
    event = panel["deterioration"]
    row = panel.groupby("patient").cumcount()
    onset = row.where(event == 1).groupby("patient").transform("min")
    to_onset = onset - row  # hours

    def shift(column: str, lead: int) -> float:
        """Median change within a patient from 13 hours or more before to `lead` hours before."""
        early = panel.loc[to_onset >= 13, column].groupby("patient").mean()
        late = panel.loc[to_onset == lead, column].droplevel("hours")
        return float((late - early).median())

    for column, sign in [("heart_rate", 1), ("resp_rate", 1), ("sbp", -1), ("spo2", -1)]:
        assert sign * shift(column, 1) > sign * shift(column, 4) > 0
    assert 10 < shift("heart_rate", 1) < 25
    assert abs(shift("heart_rate", 12)) < 3


def test_length_of_stay_tells_nothing_about_the_event() -> None:
    panel = make_vitals(400, 48, deterioration=0.5, random_state=0)
    stays = panel["deterioration"].groupby("patient").agg(["size", "max"])
    mean = stays.groupby("max")["size"].mean()
    assert abs(mean[1.0] - mean[0.0]) < 3 * 7.2 * np.sqrt(2 / 200)  # 3 standard errors


def test_heart_rate_has_its_circadian_peak_once_a_day() -> None:
    panel = make_vitals(300, 96, deterioration=0.0, random_state=0)
    rate = panel["heart_rate"].unstack("patient").iloc[:48]
    rate = rate - rate.mean()
    angle = 2 * np.pi * np.arange(48) / 24
    amplitude = np.hypot(rate.T @ np.cos(angle), rate.T @ np.sin(angle)) / 24
    other = 2 * np.pi * np.arange(48) / 8  # a period nothing was given to
    beside = np.hypot(rate.T @ np.cos(other), rate.T @ np.sin(other)) / 24
    assert 2.5 < amplitude.mean() < 4.5
    assert amplitude.mean() > 2 * beside.mean()


def test_missing_is_the_share_of_empty_cells_and_changes_no_other() -> None:
    whole = make_vitals(50, 60, random_state=0)
    holes = make_vitals(50, 60, missing=0.3, random_state=0)
    vitals = whole.columns.drop("deterioration")
    assert not whole.isna().any(axis=None)
    assert abs(holes[vitals].isna().to_numpy().mean() - 0.3) < 0.02
    assert holes["deterioration"].notna().all()
    pd.testing.assert_frame_equal(holes, whole.where(holes.notna()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_hours": 15}, "'n_hours': expected a whole number of at least 16, found 15"),
        ({"deterioration": 1.5}, r"'deterioration': expected a share in \[0, 1\], found 1.5"),
        ({"missing": 1.0}, r"'missing': expected a share in \[0, 1\), found 1.0"),
    ],
)
def test_vitals_name_the_parameter_that_is_wrong(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_vitals(**parameters)  # type: ignore[arg-type]


def test_shortest_stays_can_still_deteriorate() -> None:
    event = make_vitals(20, 16, deterioration=1.0, random_state=0)["deterioration"]
    assert (event.groupby("patient").max() == 1).all()


@pytest.mark.parametrize("load", [load_sp500, load_nasdaq])
def test_index_is_daily_from_1999_to_2018(load: Callable[[], pd.DataFrame]) -> None:
    pytest.importorskip("arch")
    frame = load()
    assert_valid_panel(frame)
    assert list(frame.columns) == ["open", "high", "low", "close", "adj_close", "volume"]
    assert frame.index.name == "date"
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert len(frame) == 5031
    assert frame.index[0] == pd.Timestamp("1999-01-04")
    assert frame.index[-1] == pd.Timestamp("2018-12-31")
    assert_bars_are_consistent(frame)


def test_opens_of_the_index_are_copies_in_the_years_of_its_card() -> None:
    pytest.importorskip("arch")
    frame = load_sp500()
    copied = frame["open"].eq(frame["close"].shift()).iloc[1:]
    share = copied.groupby(copied.index.year).mean().round(2)
    wanted = [0.97, 0.96, 0.95, 0.95, 0.98, 0.98, 0.96, 0.43, 0.16, 0.01, 0.02, 0.01, 0.09]
    assert share.loc[1999:2011].tolist() == wanted
    assert share.loc[2012:2013].tolist() == [0.25, 0.26]
    assert copied[copied.index.year >= 2014].sum() == 2
    assert copied.index[copied][-1] == pd.Timestamp("2015-01-02")


@pytest.mark.parametrize(("load", "name"), [(load_sp500, "sp500"), (load_nasdaq, "nasdaq")])
def test_index_without_arch_says_what_to_install(
    load: Callable[[], pd.DataFrame], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"arch.data.{name}", None)
    with pytest.raises(ImportError, match=r'pip install "tsforecast\[finance\]"'):
        load()


LOCAL = [
    (load_m4, "finance/M4_Weekly_train.csv.gz", "Mcompetitions/M4-methods"),
    (load_etth1, "finance/ETTh1.csv.gz", "zhouhaoyi/ETDataset"),
    (load_exchange_rate, "finance/exchange_rate.txt.gz", "laiguokun/"),
    (load_sp500_ohlcv, "finance/sp500_ohlcv_2013_2018.parquet", "CNuge/kaggle-code"),
    (load_sp500_rv, "finance/rv_sp500_bpq2016_1997_2013.csv.gz", "HARModel"),
]


@pytest.mark.parametrize(("load", "name", "source"), LOCAL)
def test_local_file_without_variable_says_what_to_do(
    load: Callable[..., pd.DataFrame], name: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TSFORECAST_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="TSFORECAST_DATA is not set") as error:
        load()
    assert name in str(error.value)
    assert source in str(error.value)


@pytest.mark.parametrize(("load", "name", "source"), LOCAL)
def test_local_file_that_is_not_there_says_where_it_looked(
    load: Callable[..., pd.DataFrame],
    name: str,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TSFORECAST_DATA", str(tmp_path / "variable"))
    with pytest.raises(FileNotFoundError) as error:
        load()
    assert f"looked in {tmp_path / 'variable'}" in str(error.value)
    with pytest.raises(FileNotFoundError) as error:
        load(folder=tmp_path)  # the argument goes before the variable
    assert f"looked in {tmp_path})" in str(error.value)
    card = str(error.value).split("datasets/")[1].split(".md")[0]
    assert (CARDS / f"{card}.md").is_file()


def test_stocks_without_pyarrow_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "finance" / "sp500_ohlcv_2013_2018.parquet"
    path.parent.mkdir()
    path.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "tsforecast\[batch\]"'):
        load_sp500_ohlcv(tmp_path)


def test_exchange_rates_name_the_columns_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "finance").mkdir()
    values = pd.DataFrame(np.arange(16.0).reshape(2, 8))
    values.to_csv(tmp_path / "finance" / "exchange_rate.txt.gz", header=False, index=False)
    rate = load_exchange_rate(tmp_path)["rate"]
    assert rate.loc[("australia", 0)] == 0
    assert rate.loc[("united_kingdom", 1)] == 9
    assert rate.loc[("canada", 0)] == 2
    assert rate.loc[("singapore", 1)] == 15


@needs_files
def test_exchange_rates_are_eight_currencies_of_7588_days() -> None:
    panel = load_exchange_rate()
    assert_valid_panel(panel)
    assert panel.index.names == ["currency", "day"]
    assert list(panel.columns) == ["rate"]
    rates = panel["rate"].unstack("currency")
    assert rates.shape == (7588, 8)
    np.testing.assert_array_equal(rates.index, np.arange(7588))
    assert rates.notna().all(axis=None)
    assert rates["japan"].between(0.005, 0.015).all()
    assert rates["united_kingdom"].between(1.2, 2.2).all()
    assert np.log(rates["china"]).diff().autocorr(1) == pytest.approx(-0.334, abs=0.001)


@needs_files
def test_stocks_are_505_tickers_with_the_dirt_left_in() -> None:
    pytest.importorskip("pyarrow")
    panel = load_sp500_ohlcv()
    assert_valid_panel(panel)
    assert panel.index.names == ["ticker", "date"]
    assert list(panel.columns) == ["open", "high", "low", "close", "volume"]
    assert len(panel) == 619_040
    assert panel.index.unique("ticker").size == 505
    dates = panel.index.unique("date")
    assert len(dates) == 1259
    assert (dates.min(), dates.max()) == (pd.Timestamp("2013-02-08"), pd.Timestamp("2018-02-07"))
    assert panel.isna().sum().sum() == 27
    body = panel[["open", "close"]]
    outside = body.lt(panel["low"], axis=0) | body.gt(panel["high"], axis=0)
    assert outside.any(axis=1).sum() == 12
    ebay = panel["close"].xs("EBAY", level="ticker")
    assert ebay.pct_change()["2015-07-20"] == pytest.approx(-0.569, abs=0.001)


@needs_files
def test_realised_variance_is_in_percent_squared() -> None:
    frame = load_sp500_rv()
    assert_valid_panel(frame)
    assert frame.index.name == "date"
    assert len(frame) == 4096
    assert frame.index[0] == pd.Timestamp("1997-04-08")
    assert frame.index[-1] == pd.Timestamp("2013-08-30")
    assert frame["rv"].mean() == pytest.approx(1.175, abs=0.001)
    pytest.importorskip("exchange_calendars")
    with pytest.raises(DataError, match="Mon 2009-01-19, Mon 2011-02-21.*found 2 others"):
        with_calendar(frame, "XNYS")
    np.testing.assert_allclose(frame["rv_negative"] + frame["rv_positive"], frame["rv"], atol=1e-6)
    jump = (frame["rv"] - frame["bpv"]).clip(lower=0)
    np.testing.assert_allclose(frame["jump"], jump, atol=1e-5)


def test_test_rows_of_m4_count_on_where_the_training_rows_end(tmp_path: Path) -> None:
    (tmp_path / "finance").mkdir()
    for part, lines in {
        "train": ["W1,1.5,2.5,3.5", "W10,7.0,,", "W2,4.0,5.0,"],
        "test": ["W2,6.0,7.0", "W1,4.5,5.5", "W10,8.0,9.0"],
    }.items():
        width = lines[0].count(",")
        header = ",".join(f'"V{i + 1}"' for i in range(width + 1))
        table = pd.Series([header, *lines]).str.cat(sep="\n")
        with gzip.open(tmp_path / "finance" / f"M4_Weekly_{part}.csv.gz", "wt") as file:
            file.write(table)
    train, test = load_m4("Weekly", tmp_path)
    for panel in (train, test):
        assert_valid_panel(panel)
        assert panel.index.names == ["id", "week"]
    assert train["value"].loc["W1"].to_dict() == {0: 1.5, 1: 2.5, 2: 3.5}
    assert test["value"].loc["W1"].to_dict() == {3: 4.5, 4: 5.5}
    assert train["value"].loc["W2"].to_dict() == {0: 4.0, 1: 5.0}
    assert test["value"].loc["W2"].to_dict() == {2: 6.0, 3: 7.0}
    assert test["value"].loc["W10"].to_dict() == {1: 8.0, 2: 9.0}


def test_groups_of_m4_that_are_not_offered_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'group': expected one of \['Weekly', 'Hourly'\]"):
        load_m4("Daily")  # type: ignore[arg-type]


M4 = [("Weekly", 359, 366_912, 13, (80, 2597)), ("Hourly", 414, 353_500, 48, (700, 960))]


@needs_files
@pytest.mark.parametrize(("group", "series", "rows", "horizon", "lengths"), M4)
def test_m4_has_the_published_size(
    group: Literal["Weekly", "Hourly"],
    series: int,
    rows: int,
    horizon: int,
    lengths: tuple[int, int],
) -> None:
    train, test = load_m4(group)
    for panel in (train, test):
        assert_valid_panel(panel)
        assert list(panel.columns) == ["value"]
        assert (panel["value"] >= 10).all()
        assert panel.index.unique("id").size == series
    assert len(train) == rows
    sizes = train.groupby("id").size()
    assert (sizes.min(), sizes.max()) == lengths
    assert (test.groupby("id").size() == horizon).all()
    whole = pd.concat([train, test]).sort_index()
    np.testing.assert_array_equal(
        whole.index.get_level_values(1), whole.groupby("id").cumcount().to_numpy()
    )


@needs_files
def test_transformer_is_hourly_without_a_gap() -> None:
    panel = load_etth1()
    assert_valid_panel(panel)
    assert panel.index.name == "date"
    assert list(panel.columns) == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    expected = pd.date_range("2016-07-01", "2018-06-26 19:00", freq="h")
    np.testing.assert_array_equal(panel.index, expected)
    assert panel.notna().all(axis=None)
    assert panel["OT"].iloc[0] == pytest.approx(30.531, abs=1e-6)
    assert (panel == 0).sum()["HULL"] == 410


def test_every_local_file_has_a_checksum() -> None:
    names = {line.split()[1] for line in (CARDS / "SHA256SUMS").read_text().splitlines()}
    assert {name for _, name, _ in LOCAL} <= names
    assert {
        f"finance/M4_{g}_{p}.csv.gz" for g in ("Weekly", "Hourly") for p in ("train", "test")
    } <= names


@needs_files
def test_local_files_have_the_checksums_of_the_cards() -> None:
    lines = (CARDS / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == len(LOCAL) + 3  # M4 has four files
    for line in lines:
        expected, name = line.split()
        content = (Path(os.environ["TSFORECAST_DATA"]) / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected, name
