"""Transforms for vital signs: what each does, in time order, row by row, and behind an inverse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from small import make_model

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.transforms import LogReturn, RowNames, SeriesScaler
from tsforecast.data.vital_transforms import (
    FillNormal,
    ForwardFill,
    LogSkewed,
    Missingness,
    PlausibleRange,
)

NAN = np.nan
ALL: dict[str, Any] = {
    "range": PlausibleRange({"hr": (30.0, 120.0)}),
    "table": PlausibleRange(),
    "fill": ForwardFill(),
    "fill for hours": ForwardFill({"lab": 3.0}),
    "normal": FillNormal(),
    "mean": FillNormal("mean"),
    "log": LogSkewed(),
    "missingness": Missingness(),
    "counts": Missingness(["count"], columns=["lab"]),
}
STATEFUL = ["fill", "fill for hours", "missingness", "counts"]


def stays(seed: int = 0, lengths=(30, 18, 25), kind: str = "hours") -> pd.DataFrame:
    """Heart rate, a skewed laboratory value that is seldom measured, and a column never seen."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, n in enumerate(lengths):
        hours = np.cumsum(rng.integers(1, 9, size=n)) / 4
        time: pd.Index = pd.TimedeltaIndex(pd.to_timedelta(hours, unit="h"), name="time")
        if kind == "dates":
            time = pd.Timestamp("2024-01-01 08:00") + time
        if kind == "steps":
            time = pd.Index(np.cumsum(rng.integers(1, 4, size=n)), name="time")
        if kind == "grid":
            time = pd.RangeIndex(n, name="time")
        frame = pd.DataFrame(
            {"hr": rng.normal(80, 20, n), "lab": np.exp(rng.normal(size=n)), "never": NAN},
            index=time,
        )
        frame["lab"] = frame["lab"].where(rng.random(n) < 0.3)
        frame["hr"] = frame["hr"].where(rng.random(n) < 0.8)
        frames.append(pd.concat({f"p{number}": frame}, names=["stay"]))
    return tsf.as_panel(pd.concat(frames))


# ----------------------------------------------------------------------------- what each one does


def test_a_column_in_another_unit_draws_a_warning():
    panel = pd.DataFrame({"Temp": np.linspace(96, 103, 30), "HR": [0.0] * 14 + [80.0] * 16})
    with pytest.warns(UserWarning, match="More than half of the values of 'Temp' are out of range"):
        PlausibleRange().fit(panel)
    PlausibleRange().fit(tsf.plausible(panel))  # a warning would be an error


def test_values_out_of_range_become_missing_and_the_ends_stay():
    panel = pd.DataFrame({"hr": [29.9, 30.0, 75.0, 120.0, 120.1, NAN], "x": [0.0] * 6})
    result = PlausibleRange({"hr": (30, 120)}).fit_transform(panel)
    np.testing.assert_array_equal(result["hr"], [NAN, 30.0, 75.0, 120.0, NAN, NAN])
    pd.testing.assert_series_equal(result["x"], panel["x"])
    one_sided = PlausibleRange({"hr": (None, 100)}).fit_transform(panel)
    np.testing.assert_array_equal(one_sided["hr"], [29.9, 30.0, 75.0, NAN, NAN, NAN])


def test_without_ranges_the_table_of_vitals_holds_by_name_and_alias():
    from tsforecast.data.vitals import vital_of

    panel = pd.DataFrame({"HR": [0.0, 80.0], "pH": [735.0, 7.3], "my score": [1e9, -1e9]})
    result = PlausibleRange().fit_transform(panel)
    np.testing.assert_array_equal(result["HR"], [NAN, 80.0])
    np.testing.assert_array_equal(result["pH"], [NAN, 7.3])
    pd.testing.assert_series_equal(result["my score"], panel["my score"])
    hr = vital_of("HR")
    edges = pd.DataFrame({"HR": [hr.low, hr.high, hr.low - 1e-6, hr.high + 1e-6]})
    assert PlausibleRange().fit_transform(edges)["HR"].isna().tolist() == [False] * 2 + [True] * 2


@pytest.mark.parametrize(
    "ranges",
    [{"hr": (120, 30)}, {"hr": 3}, {"hr": ("a", "b")}, {"hr": (30, 30)}, {"hr": (1, 2, 3)}],
)
def test_what_is_no_range_is_refused(ranges):
    with pytest.raises(ValueError, match="'ranges': expected .low, high. with low below high"):
        PlausibleRange(ranges).fit(stays())


def test_ranges_are_a_dict_of_columns_that_are_there():
    with pytest.raises(ValueError, match="'ranges': expected a dict of name"):
        PlausibleRange([(30, 120)]).fit(stays())
    with pytest.raises(DataError, match=r"PlausibleRange misses columns.*Missing: \['pulse'\]"):
        PlausibleRange({"pulse": (30, 120)}).fit(stays())


def by_hand(panel: pd.DataFrame, name: str, limit: float) -> list[float]:
    """Fill one column row by row."""
    filled = []
    for _, part in panel[name].groupby(level=0, sort=False):
        last, since = NAN, None
        for (_, at), value in part.items():
            if not np.isnan(value):
                last, since = value, at
            age = 0.0 if since is None else at - since
            age = age / pd.Timedelta("1h") if isinstance(age, pd.Timedelta) else age
            filled.append(last if age <= limit else NAN)
    return filled


@pytest.mark.parametrize("kind", ["hours", "dates", "steps"])
@pytest.mark.parametrize("limit", [None, 2.25, 4])
def test_a_value_is_carried_forward_for_so_many_hours(kind, limit):
    panel = stays(kind=kind)
    result = ForwardFill(limit).fit_transform(panel)
    for name in ("hr", "lab"):
        expected = by_hand(panel, name, np.inf if limit is None else limit)
        np.testing.assert_array_equal(result[name], expected)
    assert result["never"].isna().all()
    each = ForwardFill({"lab": 1.0}).fit_transform(panel)
    np.testing.assert_array_equal(each["lab"], by_hand(panel, "lab", 1.0))
    np.testing.assert_array_equal(each["hr"], by_hand(panel, "hr", np.inf))


def test_nothing_is_carried_into_the_next_series():
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["stay", "step"])
    panel = pd.DataFrame({"x": [NAN, 1.0, NAN, NAN]}, index=index)
    np.testing.assert_array_equal(ForwardFill().fit_transform(panel)["x"], [NAN, 1.0, NAN, NAN])
    added = Missingness().fit_transform(panel)
    np.testing.assert_array_equal(added["x_hours"], [NAN, 0.0, NAN, NAN])
    np.testing.assert_array_equal(added["x_count"], [0.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize("limit", [0, -1.0, "6h", True, {"hr": "6h"}])
def test_a_limit_that_is_no_number_of_hours_is_refused(limit):
    with pytest.raises(ValueError, match=r"'limit': expected hours \(steps\) above 0"):
        ForwardFill(limit).fit(stays())


def test_a_limit_of_a_column_that_is_not_there_is_refused():
    with pytest.raises(DataError, match=r"ForwardFill misses columns.*Missing: \['lactate'\]"):
        ForwardFill({"lactate": 6.0}).fit(stays())


def test_what_is_missing_is_filled_with_what_was_usual_in_training():
    train, test = stays(0), stays(1)
    for statistic in ("median", "mean"):
        expected = test.fillna(getattr(train, statistic)())
        pd.testing.assert_frame_equal(FillNormal(statistic).fit(train).transform(test), expected)
    assert FillNormal().fit_transform(train)["never"].isna().all()  # nothing is usual there
    with pytest.raises(ValueError, match="'statistic': expected one of .* found 'mode'"):
        FillNormal("mode").fit(train)


def test_skewed_positive_columns_are_chosen_on_training_rows():
    rng = np.random.default_rng(0)
    panel = pd.DataFrame(
        {
            "normal": rng.normal(80, 10, 500),
            "lognormal": np.exp(rng.normal(0, 0.8, 500)),
            "signed": np.exp(rng.normal(0, 0.8, 500)) - 1.0,
            "left": 100 - np.exp(rng.normal(0, 0.8, 500)),
            "constant": 3.0,
            "short": np.where(np.arange(500) < 10, np.exp(3 * rng.normal(size=500)), NAN),
        }
    )
    log = LogSkewed().fit(panel)
    assert log.skewed_ == ["lognormal"]
    result = log.transform(panel)
    np.testing.assert_allclose(result["lognormal"], np.log(panel["lognormal"]))
    others = ["normal", "signed", "left", "constant", "short"]
    pd.testing.assert_frame_equal(result[others], panel[others])
    assert LogSkewed(skew=0.9).fit(panel).skewed_ == []
    assert LogSkewed(columns=["normal"]).fit(panel).skewed_ == []


def test_the_skew_of_a_lognormal_is_as_documented():
    from scipy.stats import norm

    low, middle, high = np.exp(0.3 * norm.ppf([0.1, 0.5, 0.9]))
    assert (high - 2 * middle + low) / (high - low) == pytest.approx(0.2, abs=0.02)


def test_values_that_are_not_positive_are_taken_to_a_floor_of_training():
    rng = np.random.default_rng(0)
    panel = pd.DataFrame({"lab": np.exp(rng.normal(size=400))})
    panel.iloc[3] = 0.0  # dirt
    log = LogSkewed().fit(panel)
    assert log.skewed_ == ["lab"]
    floor = panel["lab"][panel["lab"] > 0].min() / 2
    later = pd.DataFrame({"lab": [0.0, -5.0, floor / 3, floor, 2 * floor, NAN]})
    expected = np.log([floor, floor, floor, floor, 2 * floor, NAN])
    np.testing.assert_allclose(log.transform(later)["lab"], expected)
    np.testing.assert_allclose(log.inverse_transform(log.transform(later))["lab"][4], 2 * floor)


@pytest.mark.parametrize("skew", [2, "a", None, True, NAN])
def test_a_skew_out_of_its_range_is_refused(skew):
    with pytest.raises(ValueError, match=r"'skew': expected a number in \[-1, 1\]"):
        LogSkewed(skew=skew).fit(stays())


@pytest.mark.parametrize("kind", ["hours", "dates", "steps"])
def test_missingness_says_what_was_measured_when_and_how_often(kind):
    panel = stays(kind=kind)
    result = Missingness().fit_transform(panel)
    known = panel["lab"].notna()
    groups = known.groupby(level=0, sort=False)
    np.testing.assert_array_equal(result["lab_observed"], known)
    np.testing.assert_array_equal(result["lab_count"], groups.cumsum())
    when = panel.index.get_level_values(1).to_series(index=panel.index)
    last = when.where(known).groupby(level=0, sort=False).ffill()
    hours = (when - last) if kind == "steps" else (when - last) / pd.Timedelta("1h")
    np.testing.assert_allclose(result["lab_hours"], hours.astype(float))
    assert result["never_hours"].isna().all() and (result["never_count"] == 0).all()
    assert list(Missingness().fit(panel).get_feature_names_out()) == list(result.columns)
    pd.testing.assert_frame_equal(result[panel.columns], panel)


@pytest.mark.parametrize("what", [[], "mask", ["masks"], ["mask", "mask"]])
def test_other_parts_of_missingness_are_refused(what):
    with pytest.raises(ValueError, match="'what': expected some of"):
        Missingness(what).fit(stays())


def test_a_panel_that_has_the_new_columns_is_refused():
    panel = Missingness().fit_transform(stays())
    with pytest.raises(DataError, match="a new column has the name of one that is there"):
        Missingness(columns=["hr"]).fit(panel).transform(panel)


# ------------------------------------------------------------------- what every transform promises


@pytest.mark.parametrize("name", ALL)
def test_a_row_depends_on_no_later_row_and_on_no_other_series(name):
    panel = stays()
    transform = clone(ALL[name]).fit(panel)
    expected = transform.transform(panel)
    altered = panel.copy()
    altered.loc["p0"] = 90.0
    altered.iloc[38:48] = NAN  # the later part of p1
    altered.iloc[40, 1] = 900.0
    changed = transform.transform(altered)
    pd.testing.assert_frame_equal(changed.iloc[30:38], expected.iloc[30:38], check_exact=True)
    pd.testing.assert_frame_equal(changed.loc[["p2"]], expected.loc[["p2"]], check_exact=True)
    short = transform.transform(panel.iloc[:38])
    pd.testing.assert_frame_equal(short, expected.iloc[:38], check_exact=True)


@pytest.mark.parametrize("name", ALL)
def test_transforms_do_not_look_ahead(name):
    tsf.check_no_lookahead(clone(ALL[name]), stays(lengths=(30, 30, 30), kind="grid"))


@pytest.mark.parametrize("kind", ["hours", "dates", "steps"])
@pytest.mark.parametrize("name", STATEFUL)
def test_row_by_row_a_transform_gives_what_it_gives_of_all_rows(name, kind):
    """From no row at all, and from the state that the first rows leave."""
    panel = stays(3, lengths=(20, 20), kind=kind)
    transform = clone(ALL[name]).fit(stays(kind=kind))
    expected = transform.transform(panel)
    nth = panel.groupby(level=0, sort=False).cumcount().to_numpy()
    width = transform.state_of(panel.iloc[:1]).shape[1]
    for begin in (0, 9):
        state = transform.state_of(panel[nth < begin]) if begin else np.full((2, width), NAN)
        for at in range(begin, 20):
            found, state = transform.step(state, panel[nth == at])
            pd.testing.assert_frame_equal(found, expected[nth == at])
        np.testing.assert_allclose(np.nan_to_num(state), np.nan_to_num(transform.state_of(panel)))


@pytest.mark.parametrize("name", STATEFUL)
def test_a_step_changes_neither_state_nor_rows_that_it_is_given(name):
    panel = stays()
    transform = clone(ALL[name]).fit(panel)
    early, late = panel.groupby(level=0).head(10), panel.groupby(level=0).tail(1)
    state = transform.state_of(early)
    before = state.copy(), late.copy()
    transform.step(state, late)
    np.testing.assert_array_equal(state, before[0])
    pd.testing.assert_frame_equal(late, before[1])


def test_what_has_no_state_says_so():
    for name, transform in ALL.items():
        assert transform.row_local == (name not in STATEFUL)
        assert hasattr(transform, "step") == (name in STATEFUL)


@pytest.mark.parametrize("name", ALL)
def test_the_input_stays_as_it_is_and_copies_say_the_same(name):
    panel = stays()
    before = panel.copy()
    transform = clone(ALL[name]).fit(panel)
    result = transform.transform(panel)
    pd.testing.assert_frame_equal(panel, before)
    pd.testing.assert_index_equal(result.index, panel.index)
    again = pickle.loads(pickle.dumps(transform)).transform(panel)
    pd.testing.assert_frame_equal(result, again)
    assert not [key for key in vars(clone(transform)) if key.endswith("_")]
    with pytest.raises(sklearn.exceptions.NotFittedError):
        clone(transform).transform(panel)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("missingness", "counts")])
def test_the_inverse_gives_back_what_was_not_mended(name):
    panel = stays()
    transform = clone(ALL[name]).fit(panel)
    there = transform.transform(panel)
    back = transform.inverse_transform(there)
    kept = panel.notna() & there.notna()
    np.testing.assert_allclose(back.to_numpy()[kept], panel.to_numpy()[kept])


def test_the_inverse_of_missingness_takes_the_new_columns_away():
    panel = stays()
    transform = Missingness().fit(panel)
    pd.testing.assert_frame_equal(transform.inverse_transform(transform.transform(panel)), panel)


@pytest.mark.parametrize("name", ALL)
def test_categories_pass_and_names_of_columns_are_checked(name):
    panel = stays()
    unit = pd.Series(["a", "b"] * len(panel), dtype="category").iloc[: len(panel)]
    result = clone(ALL[name]).fit_transform(panel.assign(unit=unit.array))
    assert result["unit"].dtype == "category"
    with pytest.raises(ValueError, match="'columns': expected a list of names, found 'hr'"):
        clone(ALL[name]).set_params(columns="hr").fit(panel)
    with pytest.raises(DataError, match=r"misses columns.*Missing: \['z'\]"):
        clone(ALL[name]).set_params(columns=["z"]).fit(panel)
    with pytest.raises(DataError, match="a DataFrame .*, found list"):
        clone(ALL[name]).fit([1.0])


# ---------------------------------------------------------------------- around targets and networks


def test_nothing_is_invented_in_a_target():
    panel = stays()
    for transform in (ForwardFill(), FillNormal()):
        result = transform.fit(panel, panel[["hr"]]).transform(panel)
        pd.testing.assert_series_equal(result["hr"], panel["hr"])
        assert result["lab"].isna().sum() < panel["lab"].isna().sum()
        with pytest.raises(ValueError, match="'columns': expected input columns only, found"):
            transform.set_params(columns=["hr"]).fit(panel, panel[["hr"]])


def test_a_target_is_mended_and_may_be_logged_by_name():
    panel = stays(lengths=(90, 90))
    ranged = PlausibleRange({"hr": (60, 100)}).fit(panel, panel[["hr"]]).transform(panel)
    assert ranged["hr"].min() >= 60
    target = panel[["lab"]]
    assert LogSkewed().fit(panel, target).skewed_ == []
    assert LogSkewed(columns=["lab"]).fit(panel, target).skewed_ == ["lab"]


def test_a_chain_without_targets_reaches_every_column():
    panel = stays().drop(columns="never")
    steps = make_pipeline(PlausibleRange(), ForwardFill(6.0), LogSkewed(), FillNormal())
    chain = TargetTransform(steps, panel, n_targets=0)
    assert chain.fitted[-1].columns_ == ["hr", "lab"]
    assert chain(panel).notna().all(axis=None)
    assert TargetTransform(LogReturn(), panel.abs(), n_targets=0).fitted.columns_ == ["hr", "lab"]


def test_a_chain_steps_as_it_transforms():
    panel = stays(3, lengths=(20, 20)).drop(columns="never")
    steps = make_pipeline(
        PlausibleRange(), ForwardFill({"lab": 3.0}), LogSkewed(), SeriesScaler(by="all"),
        FillNormal(),
    )  # fmt: skip
    chain = TargetTransform(steps, stays().drop(columns="never"), n_targets=0)
    expected = chain(panel).to_numpy()
    nth = panel.groupby(level=0, sort=False).cumcount().to_numpy()
    state = chain.state_of(panel[nth < 7])
    assert state.shape == (2, chain.state_size)
    for at in range(7, 20):
        now = panel[nth == at]
        values, state = chain.step(state, now.to_numpy(), RowNames.of(now.index))
        np.testing.assert_allclose(values, expected[nth == at], rtol=1e-12)


def test_a_network_and_its_stream_take_the_chain_and_not_what_adds_columns():
    panel = stays(lengths=(60, 50), kind="grid").drop(columns="never")
    options = {"target": "hr", "past": ["lab"], "horizon": 2, "lookback": 4, "max_epochs": 1}
    chain = make_pipeline(PlausibleRange(), ForwardFill(), LogSkewed(), FillNormal())
    model = make_model(**options, transform=chain).fit(panel)
    assert np.isfinite(model.predict(panel)["forecast"]).all()
    tsf.check_no_lookahead(make_model(**options, transform=chain), panel)
    step = panel.index.get_level_values("time")
    stream = tsf.Stream(model, panel[step < 45])
    for at in range(45, 50):
        stream.update(panel[step == at])
    known = model.predict(panel[step < 50])
    pd.testing.assert_frame_equal(stream.forecast(), known, rtol=1e-6, atol=1e-6)
    with pytest.raises(DataError, match="transform changed the shape of the panel"):
        make_model(**options, transform=Missingness()).fit(panel)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_transform_comes_back(name, tmp_path):
    panel = stays()
    fitted = clone(ALL[name]).fit(panel)
    tsf.save(fitted, tmp_path / "transform")
    again = tsf.load(tmp_path / "transform")
    pd.testing.assert_frame_equal(again.transform(panel), fitted.transform(panel))
    assert again.get_params() == fitted.get_params()
