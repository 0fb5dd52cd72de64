"""Monitoring: drift, matured forecasts and risks, staleness; what is said of them, and how."""

import datetime as dt
import json
import logging

import numpy as np
import pandas as pd
import pytest
from jobs import DAY, N_SERIES, TOML, at, config_of, equal, events, prices, write_job
from sklearn.metrics import roc_auc_score

import tsforecast as tsf
from tsforecast.batch import job, monitor
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import SinkConfig
from tsforecast.batch.drift import added_rows, drift_of, effective_rows, psi_by_chance
from tsforecast.batch.exits import ModelError, SourceError, StaleError
from tsforecast.batch.ledger import RunKey
from tsforecast.batch.matured import (
    errors_of,
    interval_of,
    matured_forecasts,
    matured_risks,
    on_clock_of,
    overlap_of,
    risk_errors_of,
    sampled,
    worse,
)
from tsforecast.batch.profile import bin_shares, psi, training_profile
from tsforecast.batch.sinks import open_sink
from tsforecast.cli import main
from tsforecast.data.labels import EventTask

QUIET = {"monitor__psi_warn": 9, "monitor__psi_fail": 9}
DAYS = pd.bdate_range(end=DAY, periods=16)  # the run date is the last one


def panel_of(values, columns=("x",), start="2015-01-01"):
    """(T, S) or (T, S, C) as a panel of daily rows."""
    values = np.asarray(values, dtype=float)
    values = values.reshape(*values.shape[:2], -1)
    n_rows, n_series, n_columns = values.shape
    names = [f"S{number:03d}" for number in range(n_series)]
    index = pd.MultiIndex.from_product(
        [names, pd.date_range(start, periods=n_rows)], names=["series", "time"]
    )
    flat = values.transpose(1, 0, 2).reshape(-1, n_columns)
    return tsf.as_panel(pd.DataFrame(flat, index=index, columns=list(columns)))


# ---------------------------------------------------------------------------------- drift of inputs


def test_psi_is_the_symmetrised_divergence_of_shares():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.25, 0.35, 0.4])
    plain = (q * np.log(q / p)).sum() + (p * np.log(p / q)).sum()
    assert psi(q, p, 10**9) == pytest.approx(plain, rel=1e-6)
    counts = q * 40 + p * 1.5
    smooth = counts / counts.sum()
    assert psi(q, p, 40) == pytest.approx(((smooth - p) * np.log(smooth / p)).sum())
    assert np.isfinite(psi([0.0, 0.0, 1.0], p, 40)) and psi(p, p, 7) == pytest.approx(0.0)


def _draws(kind, rng, n_rows, n_series):
    """A panel whose rows come from one population, dependent in one of several ways."""
    own = rng.standard_normal((n_rows, n_series))
    if kind == "persistent":
        for row in range(1, n_rows):
            own[row] = 0.9 * own[row - 1] + np.sqrt(1 - 0.81) * own[row]
    if kind == "common":
        own = np.sqrt(0.5) * own + np.sqrt(0.5) * rng.standard_normal((n_rows, 1))
    return own


@pytest.mark.parametrize(
    ("kind", "rows", "new"), [("independent", 100, 20), ("persistent", 400, 10), ("common", 200, 4)]
)
def test_a_column_that_has_not_drifted_is_rarely_said_to_have(kind, rows, new):
    rng = np.random.default_rng(0)
    beyond, naively, outside = [], [], []
    for _ in range(150):
        values = _draws(kind, rng, rows + 60 + new, 20)
        known = training_profile(panel_of(values[:rows]))["x"]
        now = panel_of(values[rows + 60 :])
        found = drift_of(now, known)
        beyond.append(found["psi"] > found["psi_chance"])
        naively.append(found["psi"] > psi_by_chance(10, 20 * new, 20 * rows))
        outside.append(found["outside_chance"] < 0.01)
    assert np.mean(beyond) <= 0.04 and np.mean(outside) <= 0.05
    if kind != "independent":  # what taking rows for independent would do
        assert np.mean(naively) > 0.25


def test_a_drifted_column_is_found_and_the_one_beside_it_is_not():
    rng = np.random.default_rng(0)
    known = training_profile(panel_of(rng.standard_normal((200, 10, 2)), ("a", "b")))
    now = rng.standard_normal((40, 10, 2))
    now[..., 1] += 1.0
    panel = panel_of(now, ("a", "b"))
    a, b = (drift_of(panel[[name]], known[name]) for name in "ab")
    assert a["psi"] < a["psi_chance"] < 0.1 and b["psi"] > 0.25 > b["psi_chance"]
    shares = bin_shares(now[..., 1].ravel(), known["b"]["edges"])
    assert b["psi"] == pytest.approx(psi(shares, known["b"]["shares"], 400))


def test_shares_that_are_missing_or_outside_are_those_of_plain_pandas():
    rng = np.random.default_rng(0)
    before, now = rng.standard_normal((100, 4)), rng.standard_normal((50, 4)) * 3
    before[:20] = np.nan
    now[rng.random(now.shape) < 0.3] = np.nan
    known = training_profile(panel_of(before))["x"]
    found = drift_of(panel_of(now), known)
    flat = pd.Series(now.ravel())
    outside = (flat < np.nanmin(before)) | (flat > np.nanmax(before))
    assert found["missing"] == pytest.approx(flat.isna().mean())
    assert found["missing_training"] == pytest.approx(0.2)
    assert found["outside"] == pytest.approx(outside[flat.notna()].mean())
    assert found["outside_chance"] < 0.01
    assert not {known["min"], known["max"]} & set(found.values())


def test_a_price_that_has_left_its_range_is_no_drift_but_a_wrong_unit_is():
    walk = 100 + np.cumsum(np.random.default_rng(0).standard_normal((600, 30)), axis=0)
    walk[500:] += np.linspace(0, 60, 100)[:, None]
    one = training_profile(panel_of(walk[:500, :1]))["x"]
    found = drift_of(panel_of(walk[580:, :1]), one)
    assert found["outside"] == 1.0 and found["outside_chance"] > 0.05
    assert found["psi"] > 0.25 and found["psi"] < found["psi_chance"]
    many = training_profile(panel_of(walk[:500]))["x"]
    assert drift_of(panel_of(walk[500:510] * 100), many)["outside_chance"] < 0.01


def test_what_is_usual_is_how_far_the_later_fifths_of_the_training_lie_from_what_was_before():
    walks = 100 + np.cumsum(np.random.default_rng(0).standard_normal((500, 40)), axis=0)
    known = training_profile(panel_of(walks))["x"]
    outside, drift = [], []
    for begin in (200, 300, 400):
        now, then = walks[begin : begin + 100], walks[:begin]
        outside.append(((now < then.min()) | (now > then.max())).mean())
        counts = bin_shares(then.ravel(), known["edges"]) * then.size + 0.5
        shares = bin_shares(now.ravel(), known["edges"])
        drift.append(psi(shares, counts / counts.sum(), now.size))
    assert known["usual"] == pytest.approx({"psi": max(drift), "outside": max(outside)})
    assert known["usual"]["psi"] > 0.1
    still = training_profile(panel_of(np.random.default_rng(0).standard_normal((500, 40))))["x"]
    assert still["usual"]["psi"] < 0.02 and still["usual"]["outside"] < 0.01


def test_a_drift_that_is_usual_is_not_said(path, table, tmp_path, monkeypatch):
    monkeypatch.setattr("tsforecast.batch.drift.psi_by_chance", lambda *args: 0.0)
    spread = np.exp(0.002 * table.groupby("ticker").cumcount() * (table["ticker"] > "S03"))
    table["close"] = table["close"] * spread
    write_job(tmp_path, table)
    config = config_of(path, fit__every="never", monitor__psi_warn=0.0, monitor__least=8)
    job.run(config, at(DAYS[-2].date()))
    found = monitored(config)
    assert found["inputs"]["close"]["psi_usual"] > found["inputs"]["close"]["psi"] > 0
    assert found["inputs"]["close"]["state"] == "ok"


def test_a_flag_that_was_never_set_is_found_when_it_is():
    known = training_profile(panel_of(np.zeros((100, 5))))["x"]
    assert drift_of(panel_of(np.zeros((10, 5))), known)["outside"] == 0.0
    found = drift_of(panel_of(np.ones((10, 5))), known)
    assert found["outside"] == 1.0 and found["outside_chance"] < 0.01 and found["psi"] == 0.0


def test_nothing_to_compare_is_none():
    known = training_profile(panel_of(np.full((10, 2), np.nan)))["x"]
    assert drift_of(panel_of(np.ones((5, 2))), known)["psi"] is None
    known = training_profile(panel_of(np.arange(20.0).reshape(10, 2)))["x"]
    found = drift_of(panel_of(np.full((5, 2), np.nan)), known)
    assert found["psi"] is None and found["missing"] == 1.0


def test_dependence_is_that_of_the_rows():
    rng = np.random.default_rng(0)
    for kind, low, high in (("persistent", "common", "persistence"), ("common",) * 3):
        found = training_profile(panel_of(_draws(kind, rng, 800, 20)))["x"]
        assert found[high] > 0.4
        if low != high:
            assert found[low] < 0.05
    assert effective_rows(800, 20, persistence=0.0, common=0.5) == pytest.approx(40 * 20 / 10.5)
    one = training_profile(panel_of(rng.standard_normal((300, 1))).droplevel(0))["x"]
    assert one["common"] == 0.0 and one["persistence"] < 0.15 and one["series"] == 1


def test_new_rows_are_those_after_a_date_and_never_fewer_than_wanted():
    panel = panel_of(np.arange(40.0).reshape(10, 4))
    days = pd.date_range("2015-01-01", periods=10)
    for since, least, wanted in ((days[7], 1, 3), (days[7], 17, 5), (None, 1, 1), (None, 99, 10)):
        rows = added_rows(panel, since, least)
        expected = panel[panel.index.get_level_values(1) >= days[-wanted]]
        pd.testing.assert_frame_equal(rows, expected)
    one = panel.xs("S000")
    assert len(added_rows(one, None, 3)) == 3 and len(added_rows(one.iloc[:0], None, 3)) == 0


# ------------------------------------------------------------------------------- matured forecasts


def forecasts_of(panel, days, horizon=2, bias=0.0, width=3.0, rng=None, column="x"):
    """The naive forecast of several run dates, as a sink gives it, wrong by a bias."""
    rng = rng or np.random.default_rng(1)
    frames = []
    for day in days:
        known = panel[panel.index.get_level_values(1) <= day]
        last = known[column].groupby(level=0).last()
        cutoff = pd.Series(known.index.get_level_values(1), index=known.index).groupby(level=0)
        for step in range(1, horizon + 1):
            made = last.to_numpy() + bias + 0.01 * rng.standard_normal(len(last))
            frames.append(
                pd.DataFrame(
                    {
                        "run_date": day.date(),
                        "model": "m/0001",
                        "series": last.index,
                        "target": column,
                        "time": day + pd.Timedelta(days=step),
                        "cutoff": cutoff.last().to_numpy(),
                        "step": step,
                        "source": "model",
                        "forecast": made,
                        "q0.1": made - width,
                        "q0.5": made,
                        "q0.9": made + width,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def walk():
    values = 50 + np.cumsum(np.random.default_rng(0).standard_normal((60, 12)), axis=0)
    values[5:9, 3] = np.nan
    return panel_of(values)


def test_matured_forecasts_are_those_of_a_plain_merge(walk):
    days = pd.date_range("2015-01-07", periods=54)
    given = forecasts_of(walk, days)
    given.loc[::7, "source"] = "fallback_naive"
    found = matured_forecasts(walk, given)
    plain = given[given["source"] == "model"].merge(
        walk["x"].rename("actual").reset_index(), on=["series", "time"]
    )
    known = walk["x"].dropna().reset_index().sort_values("time")
    plain = pd.merge_asof(
        plain.sort_values("cutoff"),
        known.rename(columns={"time": "cutoff", "x": "naive"}),
        on="cutoff",
        by="series",
    ).dropna(subset=["actual", "naive"])
    order = ["series", "run_date", "step"]
    ours, theirs = (each.sort_values(order).reset_index(drop=True) for each in (found, plain))
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs, check_dtype=False)
    assert (found["time"] <= walk.index.get_level_values(1).max()).all()
    told = errors_of(found)
    error, naive = (found["forecast"] - found["actual"]).abs(), (found["naive"] - found["actual"])
    assert told["ratio"] == pytest.approx(error.mean() / naive.abs().mean())
    two = found["step"] == 2
    assert told["by_step"]["2"]["n"] == two.sum() and told["n"] == len(found)
    assert told["by_step"]["2"]["ratio"] == pytest.approx(
        error[two].mean() / naive[two].abs().mean()
    )


def test_what_cannot_be_matched_has_not_matured(walk):
    days = pd.date_range("2015-02-20", periods=3)
    given = forecasts_of(walk, days)
    assert len(matured_forecasts(walk, given.assign(target="y"))) == 0
    assert len(matured_forecasts(walk, given.assign(series="T" + given["series"]))) == 0
    zoned = given.assign(time=given["time"].dt.tz_localize("UTC"))
    assert len(matured_forecasts(walk, zoned)) == 0
    assert len(matured_forecasts(walk, given.iloc[:0])) == 0
    late = walk[walk.index.get_level_values(1) <= days[0]]
    assert len(matured_forecasts(late, given)) == 0


def test_one_series_without_a_name_has_matured_forecasts(walk):
    given = forecasts_of(walk, pd.date_range("2015-02-20", periods=3))
    one = given[given["series"] == "S000"].assign(series="0")
    assert len(matured_forecasts(walk.xs("S000"), one)) == 6


def test_zones_and_units_of_time_do_not_matter(walk):
    given = forecasts_of(walk, pd.date_range("2015-02-01", periods=5))
    plain = matured_forecasts(walk, given)
    zoned = walk.reset_index()
    zoned["time"] = zoned["time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    zoned = tsf.as_panel(zoned, series="series", time="time")
    moved = given.assign(**{name: given[name].dt.tz_localize("UTC") for name in ("time", "cutoff")})
    found = matured_forecasts(zoned, moved)
    assert found["actual"].to_numpy() == pytest.approx(plain["actual"].to_numpy())
    coarse = walk.reset_index()
    coarse["time"] = coarse["time"].astype("datetime64[s]")
    coarse = tsf.as_panel(coarse, series="series", time="time")
    assert len(matured_forecasts(coarse, given)) == len(plain)


def test_rows_of_earlier_runs_are_brought_to_the_clock_of_the_panel(walk):
    rows = forecasts_of(walk, pd.date_range("2015-02-01", periods=1))
    berlin, utc = (
        rows.assign(**{name: rows[name].dt.tz_localize(zone) for name in ("time", "cutoff")})
        for zone in ("Europe/Berlin", "UTC")
    )
    zoned = walk.reset_index()
    zoned["time"] = zoned["time"].dt.tz_localize("Asia/Tokyo")
    zoned = tsf.as_panel(zoned, series="series", time="time")
    for panel, kept in ((walk, [rows]), (zoned, [berlin, utc])):
        found = on_clock_of(panel, [berlin, rows, utc])
        assert [each["time"].tolist() for each in found] == [each["time"].tolist() for each in kept]
        assert len({each[name].dtype for each in found for name in ("time", "cutoff")}) == 1
    without = on_clock_of(zoned, [utc.drop(columns="cutoff")])  # as risks are
    assert str(without[0]["time"].dt.tz) == "Asia/Tokyo"


def test_the_widest_symmetric_interval_of_the_newest_run_is_taken(walk):
    given = forecasts_of(walk, pd.date_range("2015-02-01", periods=2))
    assert interval_of(given) == ("q0.1", "q0.9", 0.8)
    old = given["run_date"] == given["run_date"].min()
    given["q0.05"] = given["q0.95"] = np.where(old, 0.0, np.nan)
    given["q0.99"] = 1.0
    assert interval_of(given) == ("q0.1", "q0.9", 0.8)
    assert interval_of(given.drop(columns="q0.9")) is None


def test_run_dates_are_the_origins_of_the_test(walk):
    rows = pd.DataFrame({"run_date": np.repeat(pd.date_range("2015-01-01", periods=12), 50)})
    rng = np.random.default_rng(0)
    for_all = np.repeat(rng.standard_normal(12), 50)  # a date hits or misses as a whole
    p = worse(rows, 1 + for_all, np.ones(600), overlap=1)
    assert 0.05 < p < 0.95
    assert worse(rows, 1.5 + 0.1 * for_all, np.ones(600), overlap=1) < 0.01
    assert worse(rows, np.ones(600), np.ones(600), overlap=1) == 1.0
    assert worse(rows, np.ones(600), np.zeros(600), overlap=7) is None


def test_run_dates_overlap_by_what_lies_between_them(walk):
    for every, horizon, wanted in ((1, 5, 5), (2, 5, 3), (7, 5, 1), (1, "6h", 1), (1, "3D", 3)):
        days = pd.date_range("2015-01-10", periods=6, freq=f"{every}D")
        rows = pd.DataFrame({"run_date": days.date, "origin": days})
        assert overlap_of(walk, rows, horizon) == wanted
    assert overlap_of(walk, rows.iloc[:1], 5) == 1


def test_the_same_series_are_always_drawn(walk):
    some, names = sampled(walk, 5)
    assert len(names) == 5 and set(some.index.get_level_values(0)) == set(names)
    assert sampled(walk, 12)[1] is None
    assert sampled(walk[walk.index.get_level_values(1) > "2015-02-01"], 5)[1] == names
    pd.testing.assert_frame_equal(some, walk.loc[names])


# ------------------------------------------------------------------------------------ matured risks


@pytest.fixture(scope="module")
def stays():
    """Hourly rows of 60 patients, admitted over two weeks; the event comes in half of them."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(60):
        hours = int(rng.integers(30, 90))
        begin = pd.Timestamp("2024-03-01") + pd.Timedelta(hours=int(rng.integers(0, 14 * 24)))
        comes = rng.integers(5, hours) if rng.random() < 0.5 else hours
        frames.append(
            pd.DataFrame(
                {
                    "patient": f"p{number:02d}",
                    "time": begin + pd.to_timedelta(np.arange(hours), unit="h"),
                    "pulse": 80 + 10 * rng.standard_normal(hours),
                    "event": (np.arange(hours) >= comes).astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def risks_of(panel, dates, rng):
    frames = []
    for date in dates:
        known = panel[panel.index.get_level_values(1) < date + pd.Timedelta(days=1)]
        last = known.reset_index().groupby(panel.index.names[0]).tail(1)
        frames.append(
            pd.DataFrame(
                {
                    "run_date": date.date(),
                    "model": "m",
                    "series": last.iloc[:, 0].to_numpy(),
                    "time": last.iloc[:, 1].to_numpy(),
                    "source": "model",
                    "risk": rng.random(len(last)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_matured_risks_are_judged_by_what_came_of_them(stays):
    panel = tsf.as_panel(stays, series="patient", time="time")
    dates = pd.date_range("2024-03-03", "2024-03-14")
    given = risks_of(panel, dates, np.random.default_rng(0))
    task = EventTask("event", horizon="6h", step="1h")

    def end_of(date):
        return pd.Timestamp(date) + pd.Timedelta(days=1)

    found = matured_risks(panel, given, task, end_of)
    labels = tsf.event_within(panel, "event", "6h", step="1h")
    last = panel.index.get_level_values(1).max()
    expected = []
    for row in given.drop_duplicates(["series", "time"]).itertuples():
        label = labels.loc[(row.series, row.time)]
        if label["eligible"] and row.time + pd.Timedelta(hours=6) <= last:
            before = panel[panel.index.get_level_values(1) < end_of(row.run_date)]
            then = tsf.event_within(before, "event", "6h", step="1h")
            come = then.index.get_level_values(1) <= before.index.get_level_values(
                1
            ).max() - pd.Timedelta(hours=6)
            base = then["event"][then["eligible"] & come].mean()
            expected.append((row.series, row.risk, label["event"], base))
    expected = pd.DataFrame(expected, columns=["series", "risk", "event", "base"])
    assert len(found) == len(expected) > 20
    assert list(found["series"]) == list(expected["series"])
    for name in ("risk", "event", "base"):
        assert found[name].to_numpy() == pytest.approx(expected[name].to_numpy(), nan_ok=True)
    told = risk_errors_of(found)
    brier = ((expected["risk"] - expected["event"]) ** 2).mean()
    assert told["brier"] == pytest.approx(brier)
    assert told["ratio"] == pytest.approx(
        brier / ((expected["base"] - expected["event"]) ** 2).mean()
    )
    assert told["auroc"] == pytest.approx(roc_auc_score(expected["event"], expected["risk"]))
    assert told["event_rate"] == pytest.approx(expected["event"].mean())
    assert told["mean_risk"] == pytest.approx(expected["risk"].mean())


def test_rows_to_come_do_not_change_what_is_known_of_risks(stays):
    panel = tsf.as_panel(stays, series="patient", time="time")
    dates = pd.date_range("2024-03-03", "2024-03-08")
    given = risks_of(panel, dates, np.random.default_rng(0))
    task = EventTask("event", horizon=6)
    cut = panel[panel.index.get_level_values(1) < "2024-03-09"]
    other = panel.copy()
    other.loc[other.index.get_level_values(1) >= "2024-03-09", "event"] = 1.0

    def end_of(date):
        return pd.Timestamp(date) + pd.Timedelta(days=1)

    found = matured_risks(cut, given, task, end_of)
    later = matured_risks(other, given, task, end_of)
    base = later.set_index(["series", "time"])["base"]
    assert len(found) > 5
    assert found["base"].to_numpy() == pytest.approx(
        base.loc[list(zip(found["series"], found["time"]))].to_numpy(), nan_ok=True
    )


def test_of_an_outcome_the_base_rate_is_that_of_stays_that_had_ended(stays):
    died = stays["patient"].isin(stays["patient"].unique()[::3]).astype(float)
    panel = tsf.as_panel(stays.assign(event=died), series="patient", time="time")
    given = risks_of(panel, pd.date_range("2024-03-10", "2024-03-11"), np.random.default_rng(0))

    def end_of(date):
        return pd.Timestamp(date) + pd.Timedelta(days=1)

    found = matured_risks(panel, given, EventTask("event", label="outcome"), end_of)
    ends = stays.assign(event=died).groupby("patient").agg({"time": "max", "event": "last"})
    for date, rows in found.groupby("run_date"):
        assert rows["base"].unique() == pytest.approx(
            [ends.loc[ends["time"] < end_of(date), "event"].mean()]
        )


# ------------------------------------------------------------------------------------------ the job


def put(config, frames, *, kind="prices", digest="c0ffee"):
    """Write forecasts of earlier run dates into the sink of a job."""
    with open_sink(config.sink, kind) as sink:
        for date, rows in frames.groupby("run_date"):
            key = RunKey(kind, date, rows["model"].iloc[0], digest)
            attempt = sink.begin(key, data_digest="d", parts=1)
            sink.write_part(attempt, 0, rows.drop(columns=["run_date", "model"]))
            sink.finish(attempt, "ok")


@pytest.fixture
def table():
    found = prices()
    return found[found["date"] <= pd.Timestamp(DAY)]


@pytest.fixture
def path(tmp_path, table):
    return write_job(tmp_path, table)


def earlier(table, **options):
    """Forecasts of the fifteen run dates before the run date."""
    panel = tsf.as_panel(table[["ticker", "date", "close"]], series="ticker", time="date")
    given = forecasts_of(panel, DAYS[:-1], column="close", **options)
    step = given["step"].to_numpy()
    days = pd.DatetimeIndex(given["cutoff"])
    given["time"] = [day + pd.offsets.BDay(n) for day, n in zip(days, step)]
    return given


def monitored(config, day=DAY, verb=job.run):
    return verb(config, at(day))["monitor"]


def test_where_nothing_has_matured_nothing_is_said(path):
    found = monitored(config_of(path))
    assert found["status"] == "ok" and found["forecasts"] == {} and found["exit_code"] == 0
    assert found["inputs"]["close"]["rows"] >= 100
    few = monitored(config_of(path, monitor__least=10_000))
    assert few["inputs"] == {"close": {"rows": 856, "state": "unknown"}}


@pytest.mark.parametrize("place", ["database", "path"])
def test_errors_and_coverage_of_earlier_runs_are_in_the_summary(path, table, place, tmp_path):
    config = config_of(path)
    if place == "path":
        config = config.model_copy(update={"sink": SinkConfig(path=tmp_path / "out")})
    given = earlier(table)
    put(config, given)
    found = monitored(config)
    panel = tsf.as_panel(table[["ticker", "date", "close"]], series="ticker", time="date")
    plain = given.merge(panel["close"].rename("actual").reset_index(), left_on=["series", "time"],
                        right_on=["ticker", "date"])  # fmt: skip
    told = found["forecasts"]["close"]
    assert told["n"] == len(plain) == (14 + 15) * N_SERIES and told["run_dates"] == 15
    assert told["ratio"] == pytest.approx(1.0, abs=0.05)
    inside = plain["actual"].between(plain["q0.1"], plain["q0.9"])
    assert told["coverage"]["coverage"] == pytest.approx(inside.mean(), abs=1e-6)
    assert told["coverage"]["level"] == 0.8
    assert told["coverage"]["low"] < 0.8 < told["coverage"]["high"]
    assert found["exit_code"] == 0
    with open_sink(config.sink, "prices") as sink:
        last = sink.runs().iloc[-1]
    assert last["summary"]["monitor"] == json.loads(json.dumps(found))


def test_forecasts_worse_than_naive_fail_with_6_and_are_seen_all_the_same(path, table, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    config = config_of(path)
    put(config, earlier(table, bias=8.0, width=0.1))
    with pytest.raises(ModelError, match="the monitor: expected .* error over that of the") as told:
        job.run(config, at())
    assert told.value.code == 6 and "forecasts are written, and seen" in str(told.value)
    found = told.value.summary["monitor"]
    assert found["status"] == "fail" and found["exit_code"] == 6
    assert found["forecasts"]["close"]["ratio"] > 2
    assert found["forecasts"]["close"]["state"] == "fail"
    assert found["forecasts"]["close"]["coverage"]["state"] == "fail"
    assert len(found["failures"]) == 2 and found["warnings"] == []
    with open_sink(config.sink, "prices") as sink:
        assert len(sink.forecasts(DAY)) == 2 * N_SERIES
        assert sink.runs().iloc[-1]["status"] == "ok"
    lines = events(caplog, "monitor")
    assert {(line["check"], line["state"]) for line in lines} == {
        ("error", "fail"), ("coverage", "fail")
    }  # fmt: skip
    status = job.status(config)
    assert status["monitor"]["status"] == "fail" and status["runs"][-1]["monitor"] == "fail"
    with pytest.raises(ModelError) as again:  # until something changes
        job.run(config, at())
    assert again.value.summary["nothing_new"] and again.value.summary["monitor"] == found


def test_between_the_thresholds_a_run_warns(path, table):
    config = config_of(path, monitor__error_fail=50.0, monitor__coverage_fail=1.0)
    put(config, earlier(table, bias=8.0, width=0.1))
    found = monitored(config)
    assert found["status"] == "warn" and found["exit_code"] == 0 and len(found["warnings"]) == 2
    assert found["forecasts"]["close"]["state"] == "warn"
    config = config_of(path, monitor__error_warn=50.0, monitor__error_fail=50.0,
                       monitor__coverage_warn=1.0, monitor__coverage_fail=1.0)  # fmt: skip
    assert monitored(config)["status"] == "ok"


def test_with_few_run_dates_it_cannot_be_told(path, table):
    config = config_of(path, monitor__least=20, monitor__window=9)
    put(config, earlier(table, bias=8.0))
    found = monitored(config)
    told = found["forecasts"]["close"]
    assert told["run_dates"] == 9 and told["ratio"] > 2
    assert told["state"] == "unknown" and told["beyond_chance"] is None
    assert told["coverage"]["state"] == "unknown" and found["status"] == "ok"


def test_a_repeat_finds_the_same_and_later_rows_change_nothing(path, table, tmp_path):
    config = config_of(path)
    put(config, earlier(table))
    found = monitored(config)
    assert monitored(config) == found
    assert monitored(config, verb=job.score) == found
    more = prices()
    more.loc[more["date"] > pd.Timestamp(DAY), "close"] *= 100
    write_job(tmp_path, more)
    assert monitored(config) == found
    late = earlier(table, bias=9.0)  # of run dates after this one
    late["run_date"] = [date + dt.timedelta(days=60) for date in late["run_date"]]
    put(config, late)
    assert monitored(config) == found


def test_each_run_date_counts_once(path, table):
    config = config_of(path)
    put(config, earlier(table))
    found = monitored(config)
    other = earlier(table, rng=np.random.default_rng(5)).assign(model="m/0002")
    put(config, other, digest="0ther")
    again = monitored(config)
    assert again["forecasts"]["close"]["n"] == found["forecasts"]["close"]["n"]
    assert again["forecasts"]["close"]["ratio"] != found["forecasts"]["close"]["ratio"]


@pytest.mark.parametrize("place", ["database", "path"])
def test_forecasts_of_other_zones_are_judged_and_those_of_another_kind_of_clock_left_out(
    path, table, place, tmp_path, caplog
):
    def on(zone):
        config = config_of(path, fit__every="1D", job__timezone=zone)
        if place == "path":
            config = config.model_copy(update={"sink": SinkConfig(path=tmp_path / "out")})
        return config, lambda day: AsOf(day.date(), zone)

    zoned = table.assign(date=table["date"].dt.tz_localize("America/New_York"))
    days = DAYS[-5:]
    found = []
    for day, zone, rows in zip(
        days, ["UTC", "UTC", "America/New_York", "America/New_York", "UTC"], [zoned] * 4 + [table]
    ):
        write_job(tmp_path, rows)
        config, at_its = on(zone)
        caplog.clear()
        found.append(job.run(config, at_its(day))["monitor"])
    assert [each["left_out"] for each in found] == [0, 0, 0, 0, 4]
    told = [each["forecasts"].get("close", {"n": 0})["n"] for each in found]
    assert told == [0, N_SERIES, 3 * N_SERIES, 5 * N_SERIES, 0]
    (line,) = events(caplog, "left out")
    assert line["run_dates"] == 4 and "zone" in line["why"]


@pytest.mark.parametrize("place", ["database", "path"])
def test_a_sink_gives_the_forecasts_of_some_series(path, table, place, tmp_path):
    config = config_of(path)
    if place == "path":
        config = config.model_copy(update={"sink": SinkConfig(path=tmp_path / "out")})
    put(config, earlier(table))
    with open_sink(config.sink, "prices") as sink:
        every, some = sink.forecasts(), sink.forecasts(series=["S01", "S03", "none"])
        equal(some, every[every["series"].isin(["S01", "S03"])])
        assert len(sink.forecasts(series=[])) == 0


def test_of_many_series_some_are_judged(path, table, monkeypatch):
    monkeypatch.setattr(monitor, "_MOST_SERIES", 5)
    config = config_of(path)
    put(config, earlier(table))
    told = monitored(config)["forecasts"]["close"]
    assert told["series"] == 5 and told["n"] == 29 * 5


def test_a_wrong_unit_ends_a_run_with_3(path, table, tmp_path):
    config = config_of(path, fit__every="never", monitor__least=8)
    job.run(config, at(DAYS[-2].date()))
    table.loc[table["date"] == pd.Timestamp(DAY), "close"] *= 100
    write_job(tmp_path, table)
    with pytest.raises(SourceError, match="outside the range of the training, of input 'close'"):
        job.run(config, at())
    found = job.status(config)["monitor"]
    assert found["status"] == "fail"


def test_missing_values_are_compared_with_their_share_in_training(path, table, tmp_path):
    config = config_of(path, fit__every="never", monitor__least=8, **QUIET)
    job.run(config, at(DAYS[-2].date()))
    gone = (table["date"] == pd.Timestamp(DAY)) & table["ticker"].isin(["S00", "S01"])
    table.loc[gone, "close"] = np.nan
    write_job(tmp_path, table)
    found = monitored(config)
    assert found["inputs"]["close"]["missing"] == 0.25 and found["inputs"]["close"]["rows"] == 8
    assert found["warnings"] == [
        "missing values above those of the training, of input 'close': 0.25, limit 0.1"
    ]


def test_stale_data_end_a_run_with_4_and_an_old_model_with_6(path):
    late, later = DAY + dt.timedelta(days=3), DAY + dt.timedelta(days=9)
    spans = {"monitor__staleness_warn": "2D", "monitor__staleness_fail": "5D"}
    config = config_of(path, fit__every="never", **spans)
    assert monitored(config)["staleness"]["age_days"] == 1.0
    found = monitored(config, late)
    assert found["staleness"]["state"] == found["status"] == "warn"
    with pytest.raises(StaleError, match="age of the newest row: 10 days .*, limit 5D"):
        job.run(config, at(later))
    old = config_of(path, fit__every="never", monitor__model_age_fail="5D")
    with pytest.raises(ModelError, match="row that the model was trained on: 10 days"):
        job.score(old, at(later))
    both = config_of(path, fit__every="never", monitor__model_age_fail="5D", **spans)
    with pytest.raises(StaleError) as told:
        job.run(both, at(later))
    assert len(told.value.summary["monitor"]["failures"]) == 2


def test_a_dry_run_looks_too_and_writes_nothing(path, table):
    config = config_of(path)
    job.fit(config, at())
    put(config, earlier(table))
    summary = job.run(config, at(), dry_run=True)
    assert summary["monitor"]["forecasts"]["close"]["n"] == 29 * N_SERIES
    with open_sink(config.sink, "prices") as sink:
        assert len(sink.forecasts(DAY)) == 0
    strict = config_of(path, monitor__staleness_fail="1h")
    with pytest.raises(StaleError, match="Nothing was written"):
        job.run(strict, at(), dry_run=True)


def test_a_monitor_that_breaks_does_not_hold_forecasts_back(path, monkeypatch):
    from tsforecast.batch import scoring

    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(scoring, "monitor", broken)
    config = config_of(path)
    with pytest.raises(ZeroDivisionError):
        job.run(config, at())
    with open_sink(config.sink, "prices") as sink:
        assert len(sink.forecasts(DAY)) == 2 * N_SERIES
    assert job.status(config)["runs"][-1]["monitor"] == "broken"


def test_a_model_of_an_older_release_has_no_drift(path, monkeypatch):
    def without(panel):
        return {"close": {"rows": 1, "missing": 0.0, "shares": [], "edges": []}}

    monkeypatch.setattr("tsforecast.batch.fitting.training_profile", without)
    assert monitored(config_of(path))["inputs"] == {}


def test_the_command_prints_the_summary_and_leaves_with_the_code(path, table, capsys, caplog):
    put(config_of(path), earlier(table, bias=8.0, width=0.1))
    arguments = ["run", "-c", str(path), "--run-date", str(DAY)]
    assert main([*arguments, "--json"]) == 6
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 6 and found["monitor"]["status"] == "fail" and found["rows"] == 16
    assert main(arguments) == 6
    out = capsys.readouterr()
    assert "monitor.status" in out.out and "forecasts are written, and seen" in out.err


# --------------------------------------------------------------------------------- risks, and words


RISKS = """
[job]
name = "risk"
hash_ids = true
[source]
path = "prices.csv"
series = "patient"
time = "time"
[model]
estimator = "LogisticBaseline"
[model.parameters]
event = "event"
horizon = "6h"
step = "1h"
[fit]
every = "never"
[monitor]
least = 10
[sink]
database = "sqlite:///risks.db"
"""


def test_risks_are_judged_and_no_name_or_value_is_said(tmp_path, stays, caplog, capsys):
    stays = stays.assign(patient="Mary " + stays["patient"])
    caplog.set_level(logging.DEBUG, logger="tsforecast")
    path = write_job(tmp_path, stays, toml=RISKS)
    config = config_of(path)
    dates = pd.date_range("2024-03-05", "2024-03-15")
    job.fit(config, at(dates[0].date()))
    panel = tsf.as_panel(stays, series="patient", time="time")
    put(config, risks_of(panel, dates[:-1], np.random.default_rng(0)), kind="risk")
    with pytest.raises(ModelError) as told:
        job.run(config, at(dates[-1].date()))
    found = told.value.summary["monitor"]
    assert found["risks"]["n"] >= 10 and found["risks"]["state"] == "fail"
    assert found["risks"]["ratio"] > 1.5 and 0 < found["risks"]["auroc"] < 1
    assert set(found["inputs"]) == {"pulse"}
    assert main(["run", "-c", str(path), "--run-date", "2024-03-15", "--json"]) == 6
    out = capsys.readouterr()
    text = out.out + out.err + "\n".join(record.getMessage() for record in caplog.records)
    assert "monitored" in text and "Mary" not in text and "p07" not in text
    values = [f"{value:.4f}"[:7] for value in stays["pulse"]]
    assert not [value for value in values if value in text]


def test_no_price_is_said_in_the_log_or_the_summary(path, table, caplog):
    caplog.set_level(logging.DEBUG, logger="tsforecast")
    config = config_of(path, monitor__psi_warn=0.0, monitor__range_warn=0.0)
    put(config, earlier(table))
    summary = job.run(config, at())
    text = json.dumps(summary) + "\n".join(record.getMessage() for record in caplog.records)
    assert not [value for value in table["close"] if f"{value:.4f}" in text]
    assert not [name for name in table["ticker"].unique() if name in text]


def test_a_source_without_the_event_judges_nothing(tmp_path, stays):
    config = config_of(write_job(tmp_path, stays, toml=RISKS))
    dates = pd.date_range("2024-03-10", "2024-03-15")
    job.fit(config, at(dates[0].date()))
    panel = tsf.as_panel(stays, series="patient", time="time")
    put(config, risks_of(panel, dates[:-1], np.random.default_rng(0)), kind="risk")
    only = config_of(tmp_path / "job.toml", source__columns=["pulse"])
    found = monitored(only, dates[-1].date(), job.score)
    assert found["risks"] == {"n": 0, "state": "unknown", "why": "the source lacks ['event']"}


def test_the_file_that_init_writes_names_every_limit():
    from tsforecast.batch.config import MonitorConfig
    from tsforecast.batch.template import render

    text = render("prices")
    assert [name for name in MonitorConfig.model_fields if f"{name} = " not in text] == []
    assert TOML
