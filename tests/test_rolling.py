"""The run of a backtest, against a plain loop over series, cutoffs and steps."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import TimeSeriesSplit
from sklearn.preprocessing import StandardScaler

from tsforecast._checks import DataError
from tsforecast.backtesting import rolling
from tsforecast.backtesting.rolling import Backtest, backtest
from tsforecast.data.datasets import make_prices
from tsforecast.data.panel import as_panel, layout_of
from tsforecast.data.splits import RollingOrigin
from tsforecast.estimators.event_baselines import NEWS2

H = 3


class Mean(BaseEstimator):
    """The mean of the rows of fit, plus the last known value of the series; only predicts."""

    def __init__(self, target: str | None = "y", horizon: int = H) -> None:
        self.target = target
        self.horizon = horizon

    def fit(self, panel: pd.DataFrame) -> Mean:
        column = self.target or panel.columns[0]
        self.mean_ = panel[column].mean()
        self.column_ = column
        self.rows_ = panel.index
        self.cutoff_ = panel.index.get_level_values(-1).max()
        return self

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Time labels are made up: they do not count."""
        last = panel[self.column_].groupby(level=0).last()
        end = panel.groupby(level=0).tail(1)
        frame = end.loc[end.index.repeat(self.horizon), []]
        return frame.assign(
            target=self.column_,
            cutoff=frame.index.get_level_values(1),
            step=np.tile(np.arange(1, self.horizon + 1), len(end)),
            forecast=np.repeat(last.to_numpy(), self.horizon) + self.mean_,
        )


class Origins(Mean):
    """The same with the fast path, and quantiles."""

    is_baseline = True

    def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
        self.seen_ = panel
        time = panel.index.get_level_values(-1)
        frames = [self.predict(panel[time <= cutoff]).assign(cutoff=cutoff) for cutoff in cutoffs]
        frame = pd.concat(frames)
        return frame.assign(**{"q0.1": frame["forecast"] - 1, "q0.9": frame["forecast"] + 1})


def make_panel(seed: int = 0) -> pd.DataFrame:
    """Series that begin late, end early, have gaps in time and missing values."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=40, name="day")
    kept = {
        "a": np.arange(40),
        "b": np.arange(34),  # ends before the last cutoffs
        "c": np.setdiff1d(np.arange(20, 40), [24, 31, 33]),
        "late": np.arange(38, 40),
    }
    parts = {
        name: pd.DataFrame(
            {"x": rng.normal(size=len(rows)), "y": rng.normal(size=len(rows)).cumsum()},
            index=days[rows],
        )
        for name, rows in kept.items()
    }
    panel = pd.concat(parts, names=["series"])
    panel.loc[rng.random(len(panel)) < 0.2, "y"] = np.nan
    return panel


def plain_backtest(panel: pd.DataFrame, splitter: RollingOrigin, *, every: int) -> pd.DataFrame:
    """What `backtest` must give for `Mean` and the naive, one row after the other."""
    rows = []
    time = panel.index.get_level_values("day")
    splits = splitter.splits(panel, horizon=H)
    for number, split in enumerate(splits):
        fit = splits[number // every * every]
        mean = panel["y"][(time >= fit.fit_from) & (time <= fit.fit_until)].mean()
        for name, one in panel["y"].groupby(level=0):
            y = one.droplevel(0)
            for cutoff in split.cutoffs:
                past, coming = y[y.index <= cutoff], y[y.index > cutoff]
                if len(past) == 0:
                    continue
                known = past.dropna()
                last = known.iloc[-1] if len(known) else np.nan
                for step, (when, actual) in enumerate(coming.iloc[:H].items(), start=1):
                    key = (name, when, cutoff, step, "y")
                    rows.append(("mean", *key, last + mean, actual))
                    rows.append(("naive", *key, last, actual))
    columns = ["model", "series", "time", "cutoff", "step", "target", "forecast", "actual"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["model", "series", "cutoff", "step"], ignore_index=True)


def same(frame: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(frame, other, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize("refit, every", [(True, 1), (2, 2), (False, 4)])
@pytest.mark.parametrize(
    "splitter",
    [RollingOrigin(4, 2), RollingOrigin(4, 2, step=2, train_size=12, gap=3)],
    ids=["plain", "gap"],
)
def test_equals_a_plain_loop(splitter: RollingOrigin, refit: Any, every: int):
    panel = make_panel()
    plain = plain_backtest(panel, splitter, every=every)
    result = backtest({"mean": Mean()}, panel, splitter, refit=refit)
    same(result.frame, plain)
    fast = backtest({"mean": Origins()}, panel, splitter, refit=refit)
    same(fast.frame.drop(columns=["q0.1", "q0.9"]), plain)
    assert list(fast.frame.columns[-4:]) == ["forecast", "q0.1", "q0.9", "actual"]


def test_the_naive_is_the_last_value_known_at_the_cutoff():
    panel = pd.DataFrame({"y": [1.0, 2.0, np.nan, np.nan, 5.0, 6.0]})
    frame = backtest(Naive2(), panel, RollingOrigin(2)).frame
    naive = frame[frame["model"] == "naive"]
    assert naive["cutoff"].tolist() == [2, 2, 3, 3]
    assert naive["forecast"].tolist() == [2.0] * 4
    assert naive["actual"].isna().tolist() == [True, False, False, False]
    assert set(frame["series"]) == {0}


class Naive2(Mean):
    """A panel of one series, two steps, a model of no use."""

    def __init__(self, target: str | None = None, horizon: int = 2) -> None:
        super().__init__(target, horizon)

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        end = panel.iloc[[-1, -1]]
        return end.assign(target="y", cutoff=end.index, step=[1, 2], forecast=0.0)


def test_a_model_named_naive_is_used_as_the_naive():
    result = backtest({"naive": Mean()}, make_panel(), RollingOrigin(2))
    plain = plain_backtest(make_panel(), RollingOrigin(2), every=1)
    same(result.frame, plain[plain["model"] == "mean"].assign(model="naive").reset_index(drop=True))
    assert result.baselines == ("naive",)


def test_every_model_has_the_same_rows_and_nan_where_it_gives_no_forecast():
    class Picky(Origins):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
            frame = super().forecast_origins(panel, cutoffs)
            frame = frame.rename(columns={"q0.1": "q0.05"})
            return frame[(frame["step"] > 1) & (frame.index.get_level_values(0) != "c")]

    models = {"picky": Picky(), "fast": Origins(), "mean": Mean()}
    frame = backtest(models, make_panel(), RollingOrigin(3, 2)).frame
    assert list(frame["model"].unique()) == ["picky", "fast", "mean", "naive"]
    assert list(frame.columns[7:]) == ["q0.05", "q0.1", "q0.9", "actual"]
    key = ["series", "time", "cutoff", "step", "actual"]
    by_model = {name: rows[key].reset_index(drop=True) for name, rows in frame.groupby("model")}
    for rows in by_model.values():
        pd.testing.assert_frame_equal(rows, by_model["naive"])
    picky = frame[frame["model"] == "picky"]
    lacking = (picky["series"] == "c") | (picky["step"] == 1)
    assert (picky["forecast"].isna() == lacking).all()
    assert frame.loc[frame["model"] == "mean", ["q0.05", "q0.1"]].isna().to_numpy().all()


def test_models_are_cloned_and_the_panel_left_alone():
    model, panel = Mean(), make_panel()
    before = panel.copy()
    backtest(model, panel, RollingOrigin(2))
    assert not hasattr(model, "mean_")
    pd.testing.assert_frame_equal(panel, before)


def test_models_are_given_no_row_beyond_the_last_forecast_row():
    panel = make_panel()
    seen = []

    class Witness(Origins):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
            seen.append((panel, cutoffs))
            return super().forecast_origins(panel, cutoffs)

    backtest(Witness(), panel, RollingOrigin(3, 2))
    assert len(seen) == 3
    for given, cutoffs in seen:
        for name, rows in panel.groupby(level=0):
            time = rows.index.get_level_values(1)
            known = int((time <= cutoffs[-1]).sum())
            wanted = rows.iloc[: known + H if known else 0]
            assert given[given.index.get_level_values(0) == name].equals(wanted)


def test_scales_are_the_one_row_errors_of_the_naive_over_the_training_rows():
    panel = make_panel(seed=3)
    splitter = RollingOrigin(3, 2, train_size=15, gap=1)
    scales = backtest(Mean(), panel, splitter).scales.set_index(["series", "cutoff"])
    time = panel.index.get_level_values("day")
    for split in splitter.splits(panel, horizon=H):
        rows = panel["y"][(time >= split.fit_from) & (time <= split.fit_until)]
        change = rows - rows.groupby(level=0).ffill().groupby(level=0).shift()
        for cutoff in split.cutoffs:
            for name in scales.xs(cutoff, level="cutoff").index:
                known = change[change.index.get_level_values(0) == name].dropna()
                mae, mse = scales.loc[(name, cutoff), ["mae", "mse"]]
                assert mae == pytest.approx(known.abs().mean(), nan_ok=True)
                assert mse == pytest.approx((known**2).mean(), nan_ok=True)


def test_metrics_skill_and_verdicts_are_functions_of_the_frame():
    rng = np.random.default_rng(1)
    panel = pd.DataFrame({"y": rng.normal(size=120).cumsum()}, index=pd.RangeIndex(120))
    panel = pd.concat({"a": panel}, names=["series", "time"])
    result = backtest({"mean": Mean(), "fast": Origins()}, panel, RollingOrigin(2, 20))
    error = (result.frame["forecast"] - result.frame["actual"]).abs()
    mae = error.groupby(result.frame["model"]).mean()
    assert result.metrics()["mae"].to_dict() == pytest.approx(mae.to_dict())
    scale = result.frame.merge(result.scales, on=["series", "cutoff"], how="left")["mae"]
    mase = (error / scale).groupby(result.frame["model"]).mean()  # one series
    assert result.metrics()["mase"].to_dict() == pytest.approx(mase.to_dict())
    assert result.metrics(by="step")["n"].tolist() == [40] * 9
    assert result.baselines == ("fast", "naive")
    assert list(result.skill().index) == ["mean"]
    assert len(result.verdicts()) == 1
    assert result.verdicts()[0].startswith("mean: ")
    alone = backtest({"fast": Origins()}, panel, RollingOrigin(2, 20))
    assert alone.verdicts() == ["All models are baselines (fast, naive): none is judged."]
    assert repr(result) == (
        "Backtest(models=['mean', 'fast', 'naive'], horizon=3, series=1, cutoffs=40, rows=360)"
    )


def test_a_fitted_model_is_used_as_it_is():
    panel = make_panel()
    splitter = RollingOrigin(3, 2)
    first = splitter.splits(panel, horizon=H)[0]
    time = panel.index.get_level_values("day")
    model = Mean().fit(panel[time <= first.cutoffs[0]])
    frozen = backtest({"mean": FrozenEstimator(model)}, panel, splitter, refit=True)
    same(frozen.frame, backtest({"mean": Mean()}, panel, splitter, refit=False).frame)


def test_a_fitted_model_that_has_seen_later_rows_is_refused_with_both_dates():
    panel = make_panel()
    model = FrozenEstimator(Mean().fit(panel))
    message = r"'mean' trained on rows up to the first cutoff, 2024-02-05.*up to 2024-02-09"
    with pytest.raises(ValueError, match=message):
        backtest({"mean": model}, panel, RollingOrigin(2))
    del model.estimator.cutoff_
    with pytest.raises(ValueError, match="'mean' to tell its last training time as `cutoff_`"):
        backtest({"mean": model}, panel, RollingOrigin(2))


def test_models_must_agree_in_horizon_and_target():
    panel = make_panel()
    with pytest.raises(ValueError, match=r"one horizon for all, found \{'a': 3, 'b': 2\}"):
        backtest({"a": Mean(), "b": Mean(horizon=2)}, panel)
    with pytest.raises(ValueError, match=r"one target for all, found \{'a': 'y', 'b': 'x'\}"):
        backtest({"a": Mean(), "b": Mean("x")}, panel)
    with pytest.raises(ValueError, match=r"one target for all, found \{'Mean': None\}"):
        backtest(Mean(None), panel)
    with pytest.raises(DataError, match="expected a column 'z', found columns"):
        backtest(Mean("z"), panel)
    both = {"a": Mean(None), "b": Mean("y")}
    assert set(backtest(both, panel[["y"]], RollingOrigin(2)).frame["target"]) == {"y"}


def test_models_may_be_one_or_a_list_named_by_class():
    panel = make_panel()
    names = backtest([Mean(), Origins()], panel, RollingOrigin(2)).frame["model"].unique()
    assert list(names) == ["Mean", "Origins", "naive"]
    with pytest.raises(ValueError, match=r"different classes, or a dict, found \['Mean', 'Mean'\]"):
        backtest([Mean(), Mean()], panel)


def test_a_naive_in_a_list_is_the_naive():
    Naive = type("Naive", (Mean,), {})
    frame = backtest([Naive(), Origins()], make_panel(), RollingOrigin(2)).frame
    assert list(frame["model"].unique()) == ["naive", "Origins"]


@pytest.mark.parametrize(
    "model, advice",
    [
        (None, "found None. It has no fit, predict, target, horizon"),
        ("lstm", "found 'lstm'. It has no fit"),
        (StandardScaler(), r"found StandardScaler\(\). It has no predict, target, horizon"),
        (Origins, "Origins'>. It has no target, horizon"),
        (NEWS2(event="y", horizon=1), "no target. Risks of events are judged by backtest_events"),
        (type("Fixed", (Mean,), {"target": "y", "horizon": 1}), "Fixed'>. Make an instance"),
    ],
)
def test_models_that_are_no_estimators_are_refused(model: Any, advice: str):
    for models in (model, [model, model], {"good": Mean(), "bad": model}):
        with pytest.raises(ValueError, match=f"an estimator instance with fit, predict.*{advice}"):
            backtest(models, make_panel())


@pytest.mark.parametrize("splitter", [5, TimeSeriesSplit(3)])
def test_a_splitter_of_another_kind_is_refused(splitter: Any):
    with pytest.raises(
        ValueError, match=r"'splitter': expected a RollingOrigin, found.*RollingOrig"
    ):
        backtest(Mean(), make_panel(), splitter)


class Doubtful(Mean):
    """Warns in every fit, of its convergence in those on more than a number of rows."""

    def __init__(self, target: str = "y", horizon: int = H, limit: int = 0) -> None:
        super().__init__(target, horizon)
        self.limit = limit

    def fit(self, panel: pd.DataFrame) -> Any:
        warnings.warn("the weather is bad", stacklevel=2)
        if len(panel) > self.limit:
            warnings.warn(f"{len(panel)} rows are many", ConvergenceWarning, stacklevel=2)
            warnings.warn("and more", ConvergenceWarning, stacklevel=2)
        return super().fit(panel)


def test_doubts_about_convergence_come_once_per_model_and_other_warnings_as_they_are():
    panel, splitter = make_panel(), RollingOrigin(4, 2)
    time = panel.index.get_level_values("day")
    sizes = [int((time <= s.fit_until).sum()) for s in splitter.splits(panel, horizon=H)]
    models = {"some": Doubtful(limit=sizes[1]), "none": Doubtful(limit=999), "all": Doubtful()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        backtest(models, panel, splitter)
    doubts = [w for w in caught if w.category is ConvergenceWarning]
    told = "fits warn of their convergence, the first:"
    assert [str(w.message) for w in doubts] == [
        f"some: 2 of 4 {told} {sizes[2]} rows are many",
        f"all: 4 of 4 {told} {sizes[0]} rows are many",
    ]
    assert {w.filename for w in doubts} == {__file__}
    others = {str(w.message) for w in caught if w not in doubts}
    assert {w for w in others if not w.startswith("Only ")} == {"the weather is bad"}


def test_doubts_that_are_made_errors_stop_the_backtest_at_once():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="rows are many"):
            backtest(Doubtful(), make_panel(), RollingOrigin(2))


@pytest.mark.parametrize("refit", [0, -1, 1.5])
def test_refit_is_a_flag_or_a_whole_number(refit: Any):
    with pytest.raises(ValueError, match=f"refit.*at least 1, found {re.escape(repr(refit))}"):
        backtest(Mean(), make_panel(), RollingOrigin(2), refit=refit)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: f.drop(columns="forecast"), "columns step, forecast, found no column forec"),
        (lambda f: f.assign(step=f["step"] - 1), r"steps 1 to 3, found .* first at step 0"),
        (lambda f: f.assign(cutoff=f["cutoff"] + pd.Timedelta("1s")), "cutoffs as asked"),
        (lambda f: pd.concat([f, f.iloc[:2]]), "one row per series.*found 2 rows that repeat"),
        (lambda f: f.droplevel(0), r"an index \(series, time\), found index \['day'\]"),
    ],
)
def test_a_malformed_forecast_frame_is_refused(change: Any, message: str):
    class Bad(Origins):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
            return change(super().forecast_origins(panel, cutoffs))

    with pytest.raises(DataError, match=rf"model 'Bad' is malformed: expected .*{message}"):
        backtest(Bad(), make_panel(), RollingOrigin(2, 2))


class Fragile(Mean):
    """Fails at a given time; the switch is shared by its clones."""

    fails_from: Any = None
    error: type[BaseException] = RuntimeError

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        if self.fails_from is not None and panel.index.get_level_values(1).max() > self.fails_from:
            raise self.error("the cable was pulled")
        return super().predict(panel)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("refit", [True, False, 2, 3])
def test_an_interrupted_run_resumes_to_the_same_result(
    refit: Any, error: Any, monkeypatch: pytest.MonkeyPatch
):
    panel, splitter = make_panel(), RollingOrigin(5, 2)
    models = {"mean": Origins(), "fragile": Fragile()}
    whole = backtest(models, panel, splitter, refit=refit)
    third = splitter.splits(panel, horizon=H)[3]
    monkeypatch.setattr(Fragile, "fails_from", third.cutoffs[0])
    monkeypatch.setattr(Fragile, "error", error)
    with pytest.raises(error, match="cable") as caught:
        backtest(models, panel, splitter, refit=refit)
    partial = caught.value.result
    assert isinstance(partial, Backtest)
    assert partial.frame["cutoff"].max() < third.cutoffs[0]
    assert "3 of 5 splits are finished" in caught.value.__notes__[0]
    assert "resume=result" in caught.value.__notes__[0]
    partial.metrics()
    monkeypatch.undo()
    resumed = backtest(models, panel, splitter, refit=refit, resume=partial)
    pd.testing.assert_frame_equal(resumed.frame, whole.frame)
    pd.testing.assert_frame_equal(resumed.scales, whole.scales)
    assert resumed.baselines == whole.baselines


def test_resuming_twice_keeps_what_both_runs_finished(monkeypatch: pytest.MonkeyPatch):
    panel, splitter = make_panel(), RollingOrigin(5, 2)
    splits = splitter.splits(panel, horizon=H)
    whole, partial = backtest(Fragile(), panel, splitter), None
    for reached in (1, 3):
        monkeypatch.setattr(Fragile, "fails_from", splits[reached].cutoffs[0])
        with pytest.raises(RuntimeError) as caught:
            backtest(Fragile(), panel, splitter, resume=partial)
        partial = caught.value.result
    monkeypatch.undo()
    same(backtest(Fragile(), panel, splitter, resume=partial).frame, whole.frame)
    calls: list[int] = []
    monkeypatch.setattr(Fragile, "fit", lambda self, panel: calls.append(1))
    same(backtest(Fragile(), panel, splitter, resume=whole).frame, whole.frame)
    assert calls == []


def test_an_error_in_the_first_split_has_no_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Fragile, "fails_from", pd.Timestamp("2000-01-01"))
    with pytest.raises(RuntimeError) as caught:
        backtest(Fragile(), make_panel(), RollingOrigin(2))
    assert not hasattr(caught.value, "result")


def test_resume_refuses_another_run():
    panel = make_panel()
    with pytest.raises(ValueError, match="'resume': expected a Backtest, .*, found 3"):
        backtest(Mean(), panel, resume=3)
    done = backtest({"mean": Mean()}, panel, RollingOrigin(2, 2))
    with pytest.raises(ValueError, match=r"resume.*'models': \['naive', 'other'\].*found.*'mean'"):
        backtest({"other": Mean()}, panel, RollingOrigin(2, 2), resume=done)
    for splitter in (RollingOrigin(4, 2), RollingOrigin(2, 3), RollingOrigin(1, 1)):
        with pytest.raises(ValueError, match="resume.*the first splits of this splitter"):
            backtest({"mean": Mean()}, panel, splitter, resume=done)
    with pytest.raises(ValueError, match="resume.*on this panel"):
        backtest({"mean": Mean()}, panel * 2, RollingOrigin(2, 2), resume=done)


@pytest.mark.parametrize(
    "time",
    [
        pd.date_range("2024-01-01", periods=30, freq="h", tz="Europe/Berlin"),
        pd.timedelta_range("0h", periods=30, freq="h"),
        pd.RangeIndex(30),
    ],
    ids=["zoned", "timedelta", "whole"],
)
def test_times_and_cutoffs_keep_the_type_of_the_panel(time: pd.Index):
    panel = as_panel(pd.DataFrame({"y": np.arange(30.0)}, index=time))
    frame = backtest(Naive2(), panel, RollingOrigin(2, 2)).frame
    assert frame["time"].dtype == panel.index.dtype
    assert frame["cutoff"].dtype == panel.index.dtype
    naive = frame[frame["model"] == "naive"]
    assert (panel.index.get_indexer(naive["time"]) == naive["actual"]).all()
    assert (panel.index.get_indexer(naive["cutoff"]) == naive["forecast"]).all()


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]):
    backtest(clone(Mean()), make_panel(), RollingOrigin(2), verbose=1)
    assert capsys.readouterr() == ("", "")


def test_the_automatic_naive_has_the_quantiles_of_its_training_errors():
    from tsforecast.estimators.baselines import Drift, Naive

    panel = make_prices(3, 260, random_state=0)[["close"]]
    splitter = RollingOrigin(2, 5)
    same = {"target": "close", "horizon": 2}
    given = backtest({"drift": Drift(**same), "naive": Naive(**same)}, panel, splitter).frame
    automatic = backtest({"drift": Drift(**same)}, panel, splitter)
    pd.testing.assert_frame_equal(automatic.frame, given)
    assert automatic.baselines == ("drift", "naive")


def test_a_short_series_of_the_automatic_naive_gets_the_errors_of_all():
    from tsforecast.estimators.baselines import Drift, Naive

    panel = make_prices(3, 60, random_state=0)[["close"]]
    same = {"target": "close", "horizon": 2}
    models = {"drift": Drift(**same), "naive": Naive(**same)}
    given = backtest(models, panel, RollingOrigin(2, 5)).frame
    automatic = backtest(models["drift"], panel, RollingOrigin(2, 5)).frame
    columns = [column for column in given if column != "model"]
    pd.testing.assert_frame_equal(
        automatic.loc[automatic["model"] == "naive", columns].reset_index(drop=True),
        given.loc[given["model"] == "naive", columns].reset_index(drop=True),
    )


class Both(BaseEstimator):
    """Several targets: the last known value plus the training mean; with origins and a quantile."""

    def __init__(self, target: Any = ("y", "x"), horizon: int = H) -> None:
        self.target = target
        self.horizon = horizon

    def fit(self, panel: pd.DataFrame) -> Both:
        self.models_ = [Mean(name, self.horizon).fit(panel) for name in self.target]
        return self

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        """In an order of its own, as the target's name counts."""
        return pd.concat([model.predict(panel) for model in reversed(self.models_)])


class BothOrigins(Both):
    forecast_origins = Origins.forecast_origins


@pytest.mark.parametrize("model", [Both(), BothOrigins(), Both(["y", "x"])])
def test_several_targets_equal_a_backtest_of_each(model: Any):
    panel, splitter = make_panel(), RollingOrigin(3, 2, gap=1)
    result = backtest({"both": model}, panel, splitter)
    metrics = result.metrics()
    assert list(metrics.index.names) == ["model", "target"]
    for target in ("y", "x"):
        alone = Origins(target) if hasattr(model, "forecast_origins") else Mean(target)
        single = backtest({"both": alone}, panel, splitter)
        for table, own in ((result.frame, single.frame), (result.scales, single.scales)):
            mine = table[table["target"] == target].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, own)
        pd.testing.assert_frame_equal(metrics.xs(target, level="target"), single.metrics())


def test_rows_of_several_targets_stand_in_the_order_given():
    frame = backtest({"both": Both(("y", "x"))}, make_panel(), RollingOrigin(2, 2)).frame
    first = frame[(frame["model"] == "both") & (frame["series"] == "a")].head(2 * H)
    assert first["target"].tolist() == ["y"] * H + ["x"] * H
    assert first["step"].tolist() == [1, 2, 3, 1, 2, 3]
    order = frame.assign(target=frame["target"].map({"y": 0, "x": 1}))
    order = order.assign(model=frame["model"].map({"both": 0, "naive": 1}))
    keys = ["model", "series", "cutoff", "target", "step"]
    assert order[keys].apply(tuple, axis=1).is_monotonic_increasing


def test_a_list_of_one_target_equals_its_name():
    panel, splitter = make_panel(), RollingOrigin(2)
    listed = backtest({"mean": Both(["y"]), "other": Mean()}, panel, splitter).frame
    same(listed, backtest({"mean": Mean(), "other": Mean()}, panel, splitter).frame)


def test_models_must_agree_in_all_targets():
    panel = make_panel()
    with pytest.raises(
        ValueError, match=r"one target for all, found \{'a': \('y', 'x'\), 'b': 'y'"
    ):
        backtest({"a": Both(), "b": Mean()}, panel)
    with pytest.raises(ValueError, match=r"targets, each once, found \['y', 'y'\]"):
        backtest(Both(["y", "y"]), panel)
    with pytest.raises(ValueError, match=r"targets, each once, found \[\]"):
        backtest(Both([]), panel)
    with pytest.raises(DataError, match="target is not a column.*a column 'z'"):
        backtest(Both(["y", "z"]), panel)
    kinds = panel.assign(x=pd.Categorical(["low"] * len(panel)))
    with pytest.raises(DataError, match="target is a category.*'x'.*as static= or group= alone"):
        backtest(Both(), kinds)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda f: f.drop(columns="target"),
            "columns step, forecast, target, found no column targ",
        ),
        (lambda f: f.replace({"target": {"x": "z"}}), "the targets y, x, found .* first of 'z'"),
        (lambda f: f.assign(target="y"), "one row per series, cutoff, target and step, found"),
    ],
)
def test_a_malformed_frame_of_several_targets_is_refused(change: Any, message: str):
    class Bad(BothOrigins):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
            return change(super().forecast_origins(panel, cutoffs))

    with pytest.raises(DataError, match=rf"model 'Bad' is malformed: expected .*{message}"):
        backtest(Bad(), make_panel(), RollingOrigin(2, 2))


def test_a_run_of_several_targets_resumes(monkeypatch: pytest.MonkeyPatch):
    panel, splitter = make_panel(), RollingOrigin(3, 2)
    whole = backtest(Both(), panel, splitter)
    last, predict = splitter.splits(panel, horizon=H)[2].cutoffs[0], Both.predict

    def fragile(self: Both, panel: pd.DataFrame) -> pd.DataFrame:
        if panel.index.get_level_values(1).max() >= last:
            raise RuntimeError
        return predict(self, panel)

    monkeypatch.setattr(Both, "predict", fragile)
    with pytest.raises(RuntimeError) as caught:
        backtest(Both(), panel, splitter)
    monkeypatch.undo()
    resumed = backtest(Both(), panel, splitter, resume=caught.value.result)
    pd.testing.assert_frame_equal(resumed.frame, whole.frame)
    with pytest.raises(ValueError, match="resume.*on this panel"):
        backtest(Both(["x", "y"]), panel, splitter, resume=whole)


class Told(Mean):
    """Forecasts what the column x will be; checks what it is told."""

    future: Any = "x"

    def predict(self, panel: pd.DataFrame, *, future: pd.DataFrame) -> pd.DataFrame:
        assert list(future.columns) == ["x"]
        ends, counts = panel.groupby(level=0).tail(1), future.groupby(level=0).size()
        assert list(counts.index) == list(ends.index.get_level_values(0))
        assert (counts == self.horizon).all()
        frame = super().predict(panel)
        return frame.assign(forecast=future["x"].to_numpy())


def test_models_that_only_predict_are_told_the_future_columns():
    panel = make_panel()
    frame = backtest({"told": Told()}, panel, RollingOrigin(3, 2)).frame
    told = frame[frame["model"] == "told"].set_index(["series", "time"])
    whole = told.groupby(["series", "cutoff"])["step"].transform("size") == H
    known = panel["x"].reindex(pd.MultiIndex.from_tuples(told.index))
    assert whole.any() and not whole.all()
    np.testing.assert_array_equal(told["forecast"], np.where(whole, known, np.nan))


def test_a_single_series_is_told_the_future_too():
    class Alone(Naive2):
        future = ("x",)

        def predict(self, panel: pd.DataFrame, *, future: pd.DataFrame) -> pd.DataFrame:
            return super().predict(panel).assign(forecast=future["x"].to_numpy())

    panel = pd.DataFrame({"y": np.zeros(9), "x": np.arange(9.0)})
    fitted = Alone("y")
    fitted.cutoff_ = 3
    for model in (Alone("y"), FrozenEstimator(fitted)):
        frame = backtest({"told": model}, panel, RollingOrigin(2)).frame
        told = frame[frame["model"] == "told"]
        assert (told["forecast"] == told["time"]).all()


def test_a_cutoff_without_any_series_that_goes_on_is_all_missing():
    panel = pd.concat(
        {
            "a": pd.DataFrame({"y": 1.0, "x": 2.0}, index=range(0, 20, 2)),
            "b": pd.DataFrame({"y": 1.0, "x": 2.0}, index=range(1, 20, 2)),
        },
        names=["series", "time"],
    )
    frame = backtest({"told": Told()}, panel, RollingOrigin(1)).frame
    assert len(frame) and frame.loc[frame["model"] == "told", "forecast"].isna().all()


def test_a_future_column_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="`future` column of 'Told' is not a column.*'x'"):
        backtest(Told(), make_panel()[["y"]])


class EveryRow(Origins):
    """As `Origins`, and from every row where no cutoffs are named."""

    def forecast_origins(self, panel: pd.DataFrame, cutoffs: Any) -> pd.DataFrame:
        if cutoffs is not None:
            return super().forecast_origins(panel, cutoffs)
        frames = []
        for _, rows in panel.groupby(level=0):
            for stop in range(1, len(rows) + 1):
                last = self.predict(rows.iloc[:stop])
                frames.append(last)
        frame = pd.concat(frames)
        return frame.assign(**{"q0.1": frame["forecast"] - 1, "q0.9": frame["forecast"] + 1})


@pytest.mark.parametrize("refit, fits", [(True, [0, 1, 2, 3]), (3, [0, 3]), (False, [0])])
def test_fitted_values_are_kept_once_for_each_fit(refit: Any, fits: list[int]):
    panel, splitter = make_panel(), RollingOrigin(4, 2, train_size=25)
    plain = backtest({"every": EveryRow()}, panel, splitter, refit=refit)
    result = backtest({"every": EveryRow()}, panel, splitter, refit=refit, fitted=True)
    assert list(result.frame.columns[-3:]) == ["actual", "fit_until", "in_sample"]
    outside = result.frame[~result.frame["in_sample"]]
    pd.testing.assert_frame_equal(outside.drop(columns=["fit_until", "in_sample"]), plain.frame)
    inside = result.frame[result.frame["in_sample"]]
    assert result.frame["in_sample"].is_monotonic_increasing
    splits = splitter.splits(panel, horizon=H)
    time = panel.index.get_level_values("day")
    expected: list[Any] = []
    for number in fits:
        split = splits[number]
        rows = panel["y"][(time >= split.fit_from) & (time <= split.fit_until)]
        for name, one in rows.groupby(level=0):
            y = one.droplevel(0)
            last = y.ffill()
            for origin in range(len(y) - H):
                for step in range(1, H + 1):
                    key = (name, y.index[origin + step], y.index[origin], step, "y")
                    values = (y.iloc[origin + step], split.fit_until)
                    if not np.isnan(last.iloc[origin]):
                        expected.append(("naive", *key, last.iloc[origin], *values))
                        expected.append(("every", *key, last.iloc[origin] + rows.mean(), *values))
    columns = ["model", "series", "time", "cutoff", "step", "target", "forecast", "actual"]
    table = pd.DataFrame(expected, columns=[*columns, "fit_until"])
    table = table.sort_values(["model", "series", "cutoff", "step", "fit_until"], ignore_index=True)
    keys = ["model", "series", "cutoff", "step", "fit_until"]
    same(inside[[*columns, "fit_until"]].sort_values(keys, ignore_index=True), table)
    # the naive has quantiles at the levels of the model, also in the sample
    assert inside[["q0.1", "q0.9"]].notna().to_numpy().all()


def test_in_sample_rows_are_out_of_every_score_unless_asked_for():
    panel, splitter = make_panel(), RollingOrigin(3, 2)
    plain = backtest({"every": EveryRow()}, panel, splitter)
    result = backtest({"every": EveryRow()}, panel, splitter, fitted=True)
    pd.testing.assert_frame_equal(result.metrics(), plain.metrics())
    pd.testing.assert_frame_equal(result.skill(), plain.skill())
    assert result.verdicts() == plain.verdicts()
    pd.testing.assert_frame_equal(result.residuals(), plain.residuals())
    assert repr(result).startswith(repr(plain)[:-1] + ", in_sample=")
    inside = result.frame[result.frame["in_sample"]].dropna(subset=["actual"])
    mae = (inside["actual"] - inside["forecast"]).abs().groupby(inside["model"]).mean()
    scored = result.metrics(in_sample=True)
    assert scored["mae"].to_dict() == pytest.approx(mae.to_dict())
    assert scored["mase"].isna().all() and scored["n"].sum() == len(inside)
    with pytest.raises(ValueError, match="'scales'.*in-sample rows have none"):
        result.metrics(metrics="mase", in_sample=True)
    with pytest.raises(DataError, match="no in-sample rows.*fitted=True"):
        plain.metrics(in_sample=True)


def test_models_that_give_no_fitted_values_are_named_in_a_warning():
    panel, splitter = make_panel(), RollingOrigin(2)
    known = panel[panel.index.get_level_values(1) <= splitter.splits(panel, horizon=H)[0].fit_until]
    frozen = FrozenEstimator(EveryRow().fit(known))
    models = {"every": EveryRow(), "mean": Mean(), "frozen": frozen}
    with pytest.warns(UserWarning, match="no in-sample forecasts of mean, frozen: .*fitted here"):
        frame = backtest(models, panel, splitter, fitted=True).frame
    assert set(frame.loc[frame["in_sample"], "model"]) == {"every", "naive"}
    until = frame.loc[frame["model"] == "frozen", "fit_until"]
    assert set(until) == {frozen.cutoff_}


@pytest.mark.parametrize("refit", [True, 2])
def test_a_run_with_fitted_values_resumes_to_the_same_result(
    refit: Any, monkeypatch: pytest.MonkeyPatch
):
    panel, splitter = make_panel(), RollingOrigin(5, 2)
    models = {"every": EveryRow(), "fragile": Fragile()}
    options = {"refit": refit, "fitted": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        whole = backtest(models, panel, splitter, **options)
        third = splitter.splits(panel, horizon=H)[3]
        monkeypatch.setattr(Fragile, "fails_from", third.cutoffs[0])
        with pytest.raises(RuntimeError) as caught:
            backtest(models, panel, splitter, **options)
        monkeypatch.undo()
        resumed = backtest(models, panel, splitter, **options, resume=caught.value.result)
        pd.testing.assert_frame_equal(resumed.frame, whole.frame)
        with pytest.raises(ValueError, match="resume.*'fitted': False.*found.*'fitted': True"):
            backtest(models, panel, splitter, refit=refit, resume=caught.value.result)


def test_fitted_values_of_several_targets_and_of_one_series():
    class One(BothOrigins):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: Any) -> pd.DataFrame:
            every = pd.DataFrame({"cutoff": panel.index if cutoffs is None else cutoffs})
            parts = [
                every.assign(target=name, step=step, forecast=float(k))
                for k, name in enumerate(self.target)
                for step in range(1, self.horizon + 1)
            ]
            return pd.concat(parts, ignore_index=True)

        def fit(self, panel: pd.DataFrame) -> Any:
            return self

    panel = pd.DataFrame({"x": np.arange(12.0), "y": -np.arange(12.0)})
    frame = backtest({"one": One()}, panel, RollingOrigin(2), fitted=True).frame
    inside = frame[frame["in_sample"] & (frame["model"] == "one")]
    assert inside.groupby("fit_until")["cutoff"].max().to_dict() == {7: 4, 8: 5}
    assert (inside["forecast"] == (inside["target"] == "x")).all()
    assert (inside["actual"].abs() == inside["time"]).all()
    assert ((inside["actual"] <= 0) == (inside["target"] == "y")).all()


def test_series_that_end_before_the_last_cutoffs_are_counted_in_a_warning():
    import tsforecast as tsf

    stays = pd.concat(
        {name: pd.DataFrame({"y": np.arange(n) % 7.0}) for name, n in (("a", 60), ("b", 30))}
    )
    with pytest.warns(UserWarning, match="Only 1 of 2 series have rows at the last cutoffs"):
        backtest(tsf.Naive(target="y"), stays, RollingOrigin(2, 3))


# ---------------------------------------------------------------------- fast ways and slow ones


class InOrder(Origins):
    """Its frame has the rows of the grid, in its order, or shuffled."""

    def __init__(self, target: Any = "y", horizon: int = H, shuffled: bool = False) -> None:
        self.target = target
        self.horizon = horizon
        self.shuffled = shuffled

    def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
        frame = super().forecast_origins(panel, cutoffs)
        order = np.lexsort((frame["step"], frame["cutoff"], frame.index.codes[0]))
        frame = frame.iloc[order]
        return frame.sample(frac=1.0, random_state=0) if self.shuffled else frame


@pytest.mark.parametrize("splitter", [RollingOrigin(1, 6), RollingOrigin(3, 2)])
def test_rows_in_order_and_shuffled_ones_give_the_same_backtest(splitter, monkeypatch):
    seen = []
    plain = rolling._is_laid_out
    monkeypatch.setattr(
        rolling, "_is_laid_out", lambda *given: seen.append(plain(*given)) or seen[-1]
    )
    panel = as_panel(make_panel())
    ways = {"in order": InOrder(), "shuffled": InOrder(shuffled=True)}
    frame = backtest(ways, panel, splitter).frame
    assert seen == [True, False] * len(splitter.splits(panel, horizon=H))
    one, two = (
        frame[frame["model"] == name].drop(columns="model").reset_index(drop=True) for name in ways
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    keys = ["series", "cutoff", "step"]
    pd.testing.assert_frame_equal(one, one.sort_values(keys, ignore_index=True))


def test_rows_that_only_seem_in_order_are_told_apart():
    panel = as_panel(make_panel())
    truth = rolling._Truth.of(panel, ("y",))
    cutoffs = RollingOrigin(1, 4).splits(panel, horizon=H)[0].cutoffs
    grid = rolling._Grid.of(truth.layout, cutoffs, H)
    frame = InOrder().fit(panel).forecast_origins(panel, cutoffs)
    assert rolling._is_laid_out(frame, truth, grid)
    swapped = frame.iloc[[1, 0, *range(2, len(frame))]]
    other = frame.assign(cutoff=frame["cutoff"] + pd.Timedelta(days=1))
    renamed = frame.set_axis(frame.index.set_levels(["b", "a", "c", "late"], level=0))
    for wrong in (swapped, other, renamed, frame.iloc[:-1], frame.iloc[::-1]):
        assert not rolling._is_laid_out(wrong, truth, grid)


@pytest.mark.parametrize("equal", [True, False])
def test_quantiles_of_runs_are_those_of_groups_in_pandas(equal):
    rng = np.random.default_rng(0)
    counts = np.full(5, 120) if equal else np.array([100, 1, 7, 130, 2])
    values = rng.normal(size=counts.sum())
    levels = [0.1, 0.25, 0.5, 0.9]
    groups = pd.Series(values).groupby(np.repeat(np.arange(5), counts))
    expected = groups.quantile(np.array(levels)).to_numpy().reshape(5, -1)
    np.testing.assert_array_equal(rolling._quantiles_of_runs(values, counts, levels), expected)


@pytest.mark.parametrize("seed", range(3))
def test_needed_rows_end_with_the_last_forecast_row_of_each_series(seed):
    layout = layout_of(as_panel(make_panel(seed)))
    cutoffs = RollingOrigin(4, 2).splits(make_panel(seed), horizon=H)[0].cutoffs
    grid = rolling._Grid.of(layout, cutoffs, H)
    expected = np.zeros(layout.n_rows, dtype=bool)
    for start, stop in zip(layout.starts, layout.stops):
        for row in range(start, stop):
            if layout.time[row] <= cutoffs[-1]:
                expected[start : min(row + H + 1, stop)] = True
    np.testing.assert_array_equal(grid.needed(layout), expected)
