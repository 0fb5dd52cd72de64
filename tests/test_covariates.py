"""What stands beside the targets: columns known ahead, constants of a series, weights of rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small import NAN, H, assert_close, assert_equal, make_model, make_panel, numbers, untrained

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting.lookahead import check_no_lookahead
from tsforecast.data.calendars import infer_time_step
from tsforecast.data.covariates import StaticTable, aligned_weights, constants, rows_ahead
from tsforecast.data.panel import as_panel, layout_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def switched(n_series: int = 2, n: int = 80, *, seed: int = 0, after: int = H) -> pd.DataFrame:
    """y is 10 + 4 promo + noise, where promo is drawn anew every day; `after` days without y."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n + after, name="day")
    parts = {}
    for i in range(n_series):
        promo = rng.integers(0, 2, size=n + after).astype(float)
        y = 10 + 4 * promo + rng.normal(size=n + after) * 0.1
        y[n:] = NAN
        parts[f"s{i}"] = pd.DataFrame(
            {"promo": promo, "x": rng.normal(size=n + after), "y": y}, days
        )
    return pd.concat(parts, names=["store"])


def known(panel: pd.DataFrame) -> pd.DataFrame:
    return panel[panel["y"].notna()]


def ahead(panel: pd.DataFrame, columns: tuple[str, ...] = ("promo",)) -> pd.DataFrame:
    return panel.loc[panel["y"].isna(), list(columns)]


PANEL = switched()
KNOWN, AHEAD = known(PANEL), ahead(PANEL)


@pytest.fixture(scope="module")
def model() -> tsf.RecurrentForecaster:
    return make_model(future=["promo"]).fit(KNOWN)


# ------------------------------------------------------------------------------ columns known ahead


def test_a_column_known_ahead_tells_what_the_past_cannot():
    panel = switched(n=200, after=30)
    training = {"max_epochs": 30, "learning_rate": 0.02, "batch_size": 16, "baseline": None}
    days = panel.loc["s0"].index[200:225]

    def error(**options: Any) -> float:
        model = make_model(past=None, hidden_sizes=(8,), head="point", **training, **options)
        model.fit(known(panel))
        frame = model.forecast_origins(panel, days)
        return float(
            (frame["forecast"] - (10 + 4 * panel["promo"].reindex(frame.index))).abs().mean()
        )

    assert error(future=["promo"]) < 0.5 < 1.5 < error() < 3


def test_a_step_follows_its_own_row_ahead_alone(model):
    before = numbers(model.predict(future=AHEAD))
    for row in range(H):
        changed = AHEAD.copy()
        changed.iloc[H + row] += 5.0  # of the second series
        moved = np.abs(numbers(model.predict(future=changed)) - before).max(axis=1) > 1e-9
        assert moved.tolist() == [at == H + row for at in range(2 * H)]


def test_forecast_from_a_frame_of_the_future_equals_that_from_the_longer_panel(model):
    cutoff = KNOWN.index.get_level_values("day").max()
    longer = model.forecast_origins(PANEL, pd.DatetimeIndex([cutoff]))
    assert_close(model.predict(KNOWN, future=AHEAD), longer)
    assert_equal(model.predict(future=AHEAD), model.predict(KNOWN, future=AHEAD))
    assert np.isfinite(numbers(longer)).all()


@pytest.mark.parametrize(
    "transform",
    [tsf.SeriesScaler(), make_pipeline(tsf.Log(["y"]), tsf.LogReturn(["x"]), tsf.SeriesScaler())],
    ids=["scaler", "warm-up"],
)
def test_columns_ahead_pass_through_the_transform_like_those_of_the_panel(transform):
    panel = switched(3)
    panel["x"] = 5 + panel["x"].abs()
    panel = panel.drop(index=panel.loc[["s1"]].index[-1])  # unequal ends
    panel.loc[panel.loc[["s1"]].index[-H:], "y"] = NAN
    model = make_model(future=["promo"], past=["x"], transform=transform).fit(known(panel))
    frame = model.predict(known(panel), future=ahead(panel))
    for name, part in frame.groupby(level=0):
        cutoffs = pd.DatetimeIndex(part["cutoff"].unique())
        assert_close(part, model.forecast_origins(panel.loc[[name]], cutoffs))
    assert_equal(model.predict(future=ahead(panel)), frame)
    plain = make_model(future=["promo"], past=["x"]).fit(known(panel)).predict(future=ahead(panel))
    assert not np.allclose(numbers(plain), numbers(frame))


def test_a_transform_that_looks_back_sees_the_row_before_the_first_one_ahead():
    panel = switched()
    rng = np.random.default_rng(5)
    panel["promo"] = np.exp(rng.normal(size=len(panel)).cumsum() * 0.1)
    model = make_model(future=["promo"], transform=tsf.LogReturn(["promo"])).fit(known(panel))
    frame = model.predict(future=ahead(panel))
    cutoffs = pd.DatetimeIndex(frame["cutoff"].unique())
    assert_close(frame, model.forecast_origins(panel, cutoffs))
    assert_equal(frame, model.predict(known(panel), future=ahead(panel)))
    flat = ahead(panel).assign(promo=panel["promo"].groupby(level=0).shift(H))
    assert not np.allclose(numbers(model.predict(future=flat)), numbers(frame))


class ChangeOverTwoRows(FunctionTransformer):
    """Of `promo`, NaN in the first two rows of each series."""

    def __init__(self):
        super().__init__(_change_over_two_rows, _unchanged, check_inverse=False)


def _change_over_two_rows(panel: pd.DataFrame) -> pd.DataFrame:
    return panel.assign(promo=panel["promo"].groupby(level=0).diff(2))


def _unchanged(panel: pd.DataFrame) -> pd.DataFrame:
    return panel


def test_a_transform_that_looks_back_two_rows_finds_both_in_the_rows_of_fit():
    panel = switched()
    model = make_model(future=["promo"], transform=ChangeOverTwoRows()).fit(known(panel))
    frame = model.predict(future=ahead(panel))
    assert_equal(frame, model.predict(known(panel), future=ahead(panel)))
    assert_close(frame, model.forecast_origins(panel, pd.DatetimeIndex(frame["cutoff"].unique())))


def test_steps_of_which_nothing_is_known_ahead_have_no_forecast(model):
    frame = model.forecast_origins(KNOWN, KNOWN.loc["s0"].index[-3:])
    missing = frame["forecast"].isna()
    last = KNOWN.loc["s0"].index[-1]
    beyond = frame.index.get_level_values("day") > last
    assert missing.tolist() == beyond.tolist()
    assert np.isnan(numbers(frame)[beyond]).all()
    assert np.isfinite(numbers(frame)[~beyond]).all()
    assert missing.groupby(frame["step"]).sum().tolist() == [2, 4, 6]


def test_rows_ahead_do_not_count_as_looking_ahead():
    check_no_lookahead(make_model(future=["promo"], transform=tsf.SeriesScaler()), KNOWN)


def test_the_past_of_a_column_known_ahead_is_an_input_too(model):
    changed = KNOWN.copy()
    changed.loc[changed.loc[["s0"]].index[-2], "promo"] += 3.0
    moved = numbers(model.predict(changed, future=AHEAD)) != numbers(model.predict(future=AHEAD))
    assert moved[:H].all() and not moved[H:].any()


def test_order_of_rows_and_other_columns_ahead_do_not_matter(model):
    shuffled = PANEL.loc[PANEL["y"].isna(), ["x", "promo"]].loc[["s1", "s0"]]
    assert_equal(model.predict(future=shuffled), model.predict(future=AHEAD))


def test_one_series_takes_rows_ahead_indexed_by_time_and_whole_steps_work():
    panel = switched(1).droplevel(0).reset_index(drop=True)
    model = make_model(future=["promo"]).fit(known(panel))
    frame = model.predict(future=ahead(panel))
    assert frame.index.tolist() == [80, 81, 82]
    assert_close(frame, model.forecast_origins(panel, pd.Index([79])))


def test_a_calendar_is_made_for_the_future_index(model):
    index = model.future_index()
    assert index.names == ["store", "day"]
    assert index.tolist() == AHEAD.index.tolist()
    assert model.future_index(KNOWN.loc[["s1"]]).tolist() == AHEAD.loc[["s1"]].index.tolist()
    panel = tsf.calendar_features(KNOWN)
    added = [name for name in panel if name not in KNOWN]
    calendar = make_model(past=None, future=added).fit(panel)
    future = tsf.calendar_features(pd.DataFrame(index=calendar.future_index(panel)))
    assert np.isfinite(numbers(calendar.predict(future=future))).all()


def test_future_index_names_the_rows_of_predict():
    panel = known(switched(1)).droplevel(0)
    model = untrained(past=None).fit(panel)
    assert model.future_index().equals(model.predict().index)
    assert model.future_index(panel.iloc[:50]).equals(model.predict(panel.iloc[:50]).index)


def test_quantiles_and_samples_take_the_rows_ahead_too(model):
    frame = model.predict_quantiles(KNOWN, levels=[0.5], future=AHEAD)
    np.testing.assert_allclose(frame["q0.5"], model.predict(future=AHEAD)["q0.5"])
    assert np.isfinite(model.sample(3, future=AHEAD, random_state=0)["value"]).all()
    with pytest.raises(ValueError, match="'future': expected a frame"):
        model.predict_quantiles(KNOWN, levels=[0.5])


def test_training_with_validation_takes_the_rows_ahead_from_the_panel():
    frame = make_model(future=["promo"], validation="time", max_epochs=3).fit(KNOWN).history_
    assert np.isfinite(frame["val_loss"]).all()


# ------------------------------------------------------------------------ rows ahead that are wrong


def late(future: pd.DataFrame) -> pd.DataFrame:
    store, day = (future.index.get_level_values(level) for level in (0, 1))
    return future.set_axis(pd.MultiIndex.from_arrays([store, day + pd.Timedelta(days=1)]))


def early(future: pd.DataFrame) -> pd.DataFrame:
    store, day = (future.index.get_level_values(level) for level in (0, 1))
    return future.set_axis(pd.MultiIndex.from_arrays([store, day - pd.Timedelta(days=1)]))


def abroad(future: pd.DataFrame) -> pd.DataFrame:
    return future.tz_localize("Europe/Vienna", level=1)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: f.iloc[:-1], r"series 's1'\): expected exactly horizon=3 rows.*found 2\."),
        (lambda f: f.iloc[1:], r"series 's0'\): expected exactly horizon=3 rows.*found 2\."),
        (late, r"series 's0'\): expected the rows next after 2024-03-20.*found 2024-03-22"),
        (early, r"series 's0'\): expected rows after the panel's last one, 2024-03-20"),
        (lambda f: f.loc[["s0"]], r"series 's1'\): expected rows of the panel's 2 series.*none"),
        (
            lambda f: pd.concat([f, f.loc[["s0"]].rename(index={"s0": "s9"})]),
            r"series 's9'\).*found rows of unknown 's9'",
        ),
        (lambda f: f.loc["s0"], r"expected an index like the panel's"),
        (
            lambda f: f.where(np.arange(6)[:, None] != 4),
            r"column 'promo'; first rows: .*found 1 NaN",
        ),
        (lambda f: f.rename(columns={"promo": "z"}), r"column 'promo'\): expected columns"),
        (abroad, "expected times like the panel's"),
    ],
    ids=[
        "short",
        "short first",
        "late",
        "early",
        "series missing",
        "series unknown",
        "one level",
        "NaN",
        "column",
        "zone",
    ],
)
def test_rows_ahead_that_do_not_fit_are_refused(model, spoil, message):
    for panel in (None, KNOWN):
        with pytest.raises(DataError, match=f"future= does not fit the panel.*{message}"):
            model.predict(panel, future=spoil(AHEAD))


def test_more_rows_ahead_than_the_horizon_are_refused(model):
    longer = ahead(switched(after=H + 1))
    with pytest.raises(DataError, match=r"exactly horizon=3 rows of every series, found 4"):
        model.predict(future=longer)


def test_rows_ahead_are_wanted_where_declared_and_refused_where_not(model):
    with pytest.raises(ValueError, match=r"'future': expected a frame of \['promo'\].*found None"):
        model.predict()
    plain = make_model().fit(KNOWN)
    with pytest.raises(ValueError, match=r"'future': expected None.*no future-known columns"):
        plain.predict(future=AHEAD)


def test_uneven_times_ahead_are_taken_where_the_spacing_is_not_known():
    rng = np.random.default_rng(0)
    hours = pd.to_timedelta(rng.integers(1, 9, size=40).cumsum(), unit="h")
    panel = pd.DataFrame({"y": rng.normal(size=40)}, pd.Timestamp("2024-01-01") + hours)
    layout = layout_of(as_panel(panel.iloc[:37]))
    step = infer_time_step(layout)
    found = rows_ahead(panel.iloc[37:], layout, ["y"], horizon=3, time_step=step)
    np.testing.assert_array_equal(found["y"], panel["y"].iloc[37:])
    assert found.index.equals(panel.index[37:])


@pytest.mark.parametrize(
    "roles, found",
    [
        ({"future": ["y"]}, "future"),
        ({"future": ["x"], "past": ["x"]}, "future"),
        ({"static": ["x"], "past": ["x"]}, "static"),
        ({"static": ["promo"], "future": ["promo"], "past": None}, "static"),
        ({"static": ["y"], "past": None}, "static"),
    ],
    ids=str,
)
def test_a_column_has_one_role(roles, found):
    with pytest.raises(ValueError, match=f"'{found}': expected columns"):
        make_model(**roles).fit(KNOWN)


# ---------------------------------------------------------------------------- constants of a series


def levels_by_kind(n_series: int = 12, n: int = 20) -> pd.DataFrame:
    """After a common first half, series of kind "up" rise and those of kind "down" fall."""
    rng = np.random.default_rng(0)
    parts = {}
    for i in range(n_series):
        kind = "up" if i % 2 else "down"
        y = rng.normal(size=n) * 0.1 + np.arange(n) * (0.5 if i % 2 else -0.5)
        part = pd.DataFrame({"y": y, "age": 20.0 + 40 * (i % 2), "kind": kind})
        parts[f"s{i:02}"] = part
    panel = pd.concat(parts, names=["series", "t"])
    return panel.astype({"kind": pd.CategoricalDtype(["down", "up", "flat"])})


@pytest.mark.parametrize("column", ["kind", "age"])
def test_a_constant_tells_series_apart_that_look_the_same(column):
    panel = levels_by_kind()
    options = {"past": None, "max_epochs": 15, "lookback": 1, "head": "point", "horizon": 3}
    model = make_model(static=[column], **options).fit(panel)
    begins = panel.groupby(level=0).head(1).assign(y=0.0)  # nothing but the constant differs
    frame = model.predict(begins)["forecast"].unstack()[3].to_numpy()
    np.testing.assert_allclose(frame[1::2], 1.5, atol=0.5)
    np.testing.assert_allclose(frame[::2], -1.5, atol=0.5)
    blind = make_model(**options).fit(panel).predict(begins)["forecast"]
    assert blind.unstack()[3].nunique() == 1


def test_an_unseen_category_shares_the_code_of_unknown_ones_with_a_warning():
    panel = levels_by_kind()
    model = make_model(past=None, static=["kind"]).fit(panel)

    def forecast(kind: Any) -> pd.DataFrame:
        dtype = pd.CategoricalDtype(["down", "up", "flat", "strange"])
        kinds = pd.Categorical([kind] * len(panel), dtype=dtype)
        return model.predict(panel.assign(kind=kinds))

    with pytest.warns(UserWarning, match=r"static column 'kind'.*not seen, 'flat': they share"):
        flat = forecast("flat")
    with pytest.warns(UserWarning, match="'strange'"):
        strange = forecast("strange")
    assert_equal(flat, strange)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        missing, up, down = forecast(None), forecast("up"), forecast("down")
    assert_equal(missing, flat)  # a missing one is unknown, but not new
    assert not np.allclose(numbers(up), numbers(flat))
    assert not np.allclose(numbers(up), numbers(down))
    assert np.isfinite(numbers(flat)).all()


def test_the_order_of_categories_does_not_matter():
    panel = levels_by_kind()
    turned = panel.assign(kind=panel["kind"].cat.reorder_categories(["flat", "up", "down"]))
    model = make_model(past=None, static=["kind"]).fit(panel)
    assert_equal(model.predict(turned), model.predict())
    assert_equal(make_model(past=None, static=["kind"]).fit(turned).predict(), model.predict())


def test_a_missing_number_is_the_mean_of_the_training_series():
    panel = levels_by_kind()
    model = make_model(past=None, static=["age"]).fit(panel)
    assert_equal(model.predict(panel.assign(age=NAN)), model.predict(panel.assign(age=40.0)))
    assert not np.allclose(numbers(model.predict(panel.assign(age=20.0))), numbers(model.predict()))


@pytest.mark.parametrize("column", ["kind", "age"])
def test_a_static_column_that_varies_is_refused(column):
    panel = levels_by_kind()
    row = ("s03", 4)
    panel.loc[row, column] = {"kind": "down", "age": 61.0}[column]
    with pytest.raises(
        DataError,
        match=rf"static column varies \(column '{column}'; series 's03'; first rows: \('s03', 4\)",
    ):
        make_model(past=None, static=[column]).fit(panel)
    model = make_model(past=None, static=[column]).fit(levels_by_kind())
    panel.loc[row, column] = None
    with pytest.raises(DataError, match=r"static column varies.*found .*nan"):
        model.predict(panel)


def test_constants_are_one_row_per_series():
    panel = as_panel(levels_by_kind(4))
    table = constants(panel, layout_of(panel), ["kind", "age"])
    assert table["kind"].tolist() == ["down", "up", "down", "up"]
    assert table["age"].tolist() == [20.0, 60.0, 20.0, 60.0]
    assert constants(panel, layout_of(panel), []).shape == (4, 0)


def test_a_static_table_gives_numbers_and_codes():
    table = pd.DataFrame(
        {
            "kind": pd.Categorical(["b", "a", None, "b"], categories=["a", "b", "never"]),
            "age": [1.0, NAN, 3.0, 5.0],
            "empty": [NAN] * 4,
        }
    )
    static = StaticTable.of(table)
    numbers, codes, unknown = static.arrays(table)
    np.testing.assert_array_equal(numbers, [[1, 0], [3, 0], [3, 0], [5, 0]])
    assert codes.tolist() == [[1], [2], [0], [1]]
    assert len(static.categories["kind"]) == 2  # one that never occurs is not known
    assert unknown == {}
    other = table.assign(kind=pd.Categorical(["never", "new", "new", "a"]))
    _, codes, unknown = static.arrays(other)
    assert codes.tolist() == [[0], [0], [0], [2]]
    assert unknown == {"kind": ["never", "new"]}


def test_a_constant_of_another_kind_than_in_fit_is_refused_or_unknown():
    panel = levels_by_kind()
    model = make_model(past=None, static=["age"]).fit(panel)
    with pytest.raises(DataError, match=r"another kind than in fit \(column 'age'\).*dtype categ"):
        model.predict(panel.assign(age=panel["kind"]))
    model = make_model(past=None, static=["kind"]).fit(panel)
    with pytest.warns(UserWarning, match=r"static column 'kind'.*not seen, 1\.0"):
        model.predict(panel.assign(kind=1.0))


def test_categories_may_be_numbers():
    table = pd.DataFrame({"ward": pd.Categorical([7, 3, 7])})
    _, codes, _ = StaticTable.of(table).arrays(table)
    assert codes.tolist() == [[1], [2], [1]]


# ---------------------------------------------------------------------------- groups and validation


def held_out_of(panel: pd.DataFrame, **options: Any) -> set[int]:
    """Numbers of the series held out, read from the mean of the training rows, series i at 4^i."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = untrained(baseline=None, past=None, validation="series", **options).fit(panel)
    n_series = panel.index.get_level_values(0).nunique()
    mean = model.predict()["forecast"].iloc[0]
    for n_trained in range(1, n_series):
        total = round(mean * n_trained, 6)
        trained = [i for i in range(n_series) if round(total) >> (2 * i) & 3]
        if len(trained) == n_trained and abs(sum(4.0**i for i in trained) - total) < 0.2:
            return set(range(n_series)) - set(trained)
    raise AssertionError(mean)


def labelled(n_series: int = 10) -> pd.DataFrame:
    wiggle = 0.01 * np.resize([1.0, -1.0], 20)
    parts = {
        f"s{i}": pd.DataFrame({"y": 4.0**i + wiggle, "ward": float(i // 2)})
        for i in range(n_series)
    }
    return pd.concat(parts, names=["series", "t"])


def test_series_held_out_are_no_part_of_training():
    panel = labelled()
    seen = set()
    for seed in range(5):
        held = held_out_of(panel, random_state=seed)
        assert len(held) == 2  # a fifth of ten
        seen |= held
    assert len(seen) > 3
    assert len(held_out_of(panel, validation_size=0.5)) == 5


@pytest.mark.parametrize("kind", ["number", "category"])
def test_series_of_a_group_stand_on_the_same_side(kind):
    panel = labelled()
    if kind == "category":
        panel["ward"] = panel["ward"].map(lambda ward: f"w{ward:g}").astype("category")
    for seed in range(5):
        held = held_out_of(panel, random_state=seed, group="ward")
        assert {i // 2 * 2 for i in held} | {i // 2 * 2 + 1 for i in held} == held
        assert len(held) == 2


def test_a_group_must_be_a_constant_column():
    panel = labelled()
    with pytest.raises(DataError, match=r"group is not a column \(column 'clinic'\)"):
        make_model(past=None, group="clinic", validation="series").fit(panel)
    panel.iloc[3, 1] = 9.0
    with pytest.raises(DataError, match=r"static column varies \(column 'ward'; series 's0'"):
        make_model(past=None, group="ward", validation="series").fit(panel)


def test_series_without_a_group_are_no_error():
    panel = labelled()
    panel["ward"] = panel["ward"].where(panel["ward"] > 0)
    assert len(held_out_of(panel, group="ward")) >= 1


def test_a_group_is_needed_in_fit_alone():
    panel = labelled()
    model = make_model(past=None, group="ward", validation="series").fit(panel)
    assert_equal(model.predict(panel[["y"]]), model.predict())


def test_a_column_that_looks_like_a_group_draws_a_warning():
    panel = labelled().rename(columns={"ward": "subject_id"})
    with pytest.warns(
        UserWarning, match=r"'subject_id' looks as if it named groups.*group= is not"
    ):
        make_model(past=None, validation="series").fit(panel)
    for quiet in ({"validation": "time"}, {"validation": "series", "group": "subject_id"}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_model(past=None, **quiet).fit(panel)
        assert not [w for w in caught if "looks as if" in str(w.message)]


@pytest.mark.parametrize(
    "n_series, group, found",
    [(1, None, "1 series in one group"), (2, "ward", "2 series in one group")],
)
def test_a_single_group_leaves_nothing_to_validate_on(n_series, group, found):
    with pytest.raises(DataError, match=f"no series to hold out: .*two groups.*found {found}"):
        make_model(past=None, validation="series", group=group).fit(labelled(n_series))


# ---------------------------------------------------------------------------------- weights of rows


def two_rules() -> pd.DataFrame:
    """Series "a" turn their sign at every step, series "b" keep it for good."""
    rng = np.random.default_rng(0)
    parts = {}
    for i in range(4):
        sign = rng.choice([-1.0, 1.0], size=60)
        turning = np.resize([1.0, -1.0], 60) * (1 + 0.2 * rng.normal(size=60))
        keeping = np.repeat(sign[::10], 10) * (1 + 0.2 * rng.normal(size=60))
        parts[f"a{i}"] = pd.DataFrame({"y": turning})
        parts[f"b{i}"] = pd.DataFrame({"y": keeping})
    return pd.concat(parts, names=["series", "t"])


def test_rows_of_weight_zero_are_not_learned_from():
    panel = two_rules()
    is_a = panel.index.get_level_values(0).str.startswith("a")
    newest = pd.DataFrame({"y": [1.0]})

    def follows_one(weights: np.ndarray) -> float:
        model = make_model(
            past=None, lookback=1, horizon=1, baseline=None, max_epochs=20, head="point"
        )
        model.fit(panel, sample_weight=pd.Series(weights, panel.index))
        return float(model.predict(newest)["forecast"].iloc[0])

    assert follows_one(np.where(is_a, 1.0, 0.0)) < -0.6
    assert follows_one(np.where(is_a, 0.0, 1.0)) > 0.6


def fitted_numbers(panel: pd.DataFrame, weights: pd.Series | None, **options: Any) -> np.ndarray:
    model = make_model(past=None, **options)
    return numbers(model.fit(panel, sample_weight=weights).predict())


@pytest.mark.parametrize("validation", ["time", None])
def test_weights_of_one_are_no_weights_and_only_their_ratios_count(validation):
    panel = two_rules()
    ones = pd.Series(1.0, panel.index)
    plain = fitted_numbers(panel, None, validation=validation)
    np.testing.assert_array_equal(fitted_numbers(panel, ones, validation=validation), plain)
    np.testing.assert_allclose(
        fitted_numbers(panel, 4 * ones, validation=validation), plain, rtol=1e-4, atol=1e-5
    )
    uneven = ones.where(ones.index.get_level_values(1) > 20, 3.0)
    assert not np.allclose(fitted_numbers(panel, uneven, validation=validation), plain, atol=1e-3)


def test_weights_may_come_in_another_order_and_as_whole_numbers():
    panel = two_rules()
    weights = pd.Series(np.arange(len(panel)) % 5, panel.index)
    expected = fitted_numbers(panel, weights)
    np.testing.assert_array_equal(
        fitted_numbers(panel, weights.sample(frac=1, random_state=0)), expected
    )
    np.testing.assert_array_equal(
        fitted_numbers(panel.sort_index(ascending=True), weights), expected
    )


def test_weights_count_in_validation_too():
    panel = two_rules()
    weights = pd.Series(1.0, panel.index)
    weights[panel.index.get_level_values(0).str.startswith("b")] = 1e-9
    options = {"past": None, "validation": "time", "max_epochs": 1, "learning_rate": 1e-30}
    a_alone = make_model(**options).fit(panel, sample_weight=weights).history_["val_loss"][0]
    both = make_model(**options).fit(panel).history_["val_loss"][0]
    b_alone = (
        make_model(**options).fit(panel, sample_weight=1 + 1e-9 - weights).history_["val_loss"][0]
    )
    assert both == pytest.approx((a_alone + b_alone) / 2, rel=1e-4)
    assert a_alone > 1.2 * b_alone
    uneven = make_model(**options).fit(panel, sample_weight=1 + 2 * weights).history_
    assert uneven["val_loss"][0] == pytest.approx((3 * a_alone + b_alone) / 4, rel=1e-4)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda w: w.to_numpy(),
            "expected a Series of numbers indexed as the panel, found ndarray",
        ),
        (lambda w: 2.0, "expected a Series of numbers indexed as the panel, found float"),
        (lambda w: w.astype(str), "expected a Series of numbers.*found one of dtype str"),
        (lambda w: w.iloc[:-2], r"one weight for each of the panel's 480 rows, found 478"),
        (lambda w: w.reset_index(drop=True), r"each of the panel's 480 rows, found 480, and 480 "),
        (lambda w: w.rename(index={"a0": "zz"}), r"found 480, and 60 rows without one"),
        (lambda w: pd.concat([w.iloc[:-1], w.iloc[:1]]), "found 480, and \\d+ rows without one"),
        (
            lambda w: w - 1.5,
            r"first rows: .*'a0'.*expected finite weights of at least 0.*480 other",
        ),
        (lambda w: w.where(np.arange(480) != 7), r"first rows: \('a0', .*7\)* = nan\).*found 1 o"),
        (lambda w: w * np.inf, "finite weights of at least 0"),
        (lambda w: 0 * w, r"not all of them 0, found zeros only"),
    ],
    ids=[
        "array",
        "number",
        "text",
        "short",
        "numbers",
        "names",
        "twice",
        "below",
        "nan",
        "inf",
        "zero",
    ],
)
def test_weights_that_do_not_fit_are_refused(spoil, message):
    panel = two_rules()
    weights = spoil(pd.Series(1.0, panel.index))
    with pytest.raises(DataError, match=f"sample_weight .*{message}"):
        make_model(past=None).fit(panel, sample_weight=weights)


def test_weights_follow_the_order_of_the_panel():
    panel = as_panel(two_rules())
    weights = pd.Series(np.arange(480.0), panel.index)
    np.testing.assert_array_equal(
        aligned_weights(weights.sample(frac=1, random_state=3), panel), np.arange(480.0)
    )


def test_weights_do_not_stay_with_the_model():
    panel = two_rules()
    model = make_model(past=None)
    weights = pd.Series(np.arange(480.0) % 7, panel.index)
    weighted = numbers(model.fit(panel, sample_weight=weights).predict())
    plain = numbers(model.fit(panel).predict())
    np.testing.assert_array_equal(plain, fitted_numbers(panel, None))
    assert not np.allclose(plain, weighted)


def test_weights_that_are_zero_wherever_training_could_start_are_refused():
    panel = two_rules()
    late = panel.index.get_level_values(1) >= panel.index.get_level_values(1).max()
    weights = pd.Series(np.where(late, 1.0, 0.0), panel.index)
    with pytest.raises(DataError, match="nothing to learn from: expected a weight above 0"):
        make_model(past=None, validation=None).fit(panel, sample_weight=weights)


def test_a_baseline_that_wants_rows_ahead_is_refused():
    inner = make_model(past=None, future=["x"])
    with pytest.raises(ValueError, match="'baseline': expected a forecaster without `future`"):
        make_model(past=None, future=["x"], baseline=inner).fit(two_rules())


@pytest.mark.parametrize("name", ["past", "future", "static"])
@pytest.mark.parametrize("value", ["x", pd.DataFrame({"x": [1.0]}), 3])
def test_roles_want_lists_of_columns(name, value):
    with pytest.raises(ValueError, match=f"'{name}': expected a list of columns"):
        make_model(**{"past": None, name: value}).fit(two_rules())


@pytest.mark.parametrize("days", [[1, 2, 4], [1, 5, 9]])
def test_a_hole_in_the_rows_ahead_of_a_constant_spacing_is_refused(days):
    index = pd.date_range("2024-01-01", periods=40)
    known = pd.DataFrame({"y": np.arange(40.0), "x": np.arange(40.0) % 3}, index=index)
    model = untrained(past=None, future=["x"]).fit(known)
    ahead = pd.DataFrame({"x": 1.0}, index=index[-1] + pd.to_timedelta(days, "D"))
    with pytest.raises(DataError, match="expected the rows next after 2024-02-09"):
        model.predict(future=ahead)


def test_rows_ahead_of_weekdays_may_skip_holidays_but_not_a_month():
    index = pd.bdate_range("2024-01-01", periods=40).delete([7])  # a holiday
    known = pd.DataFrame({"y": np.arange(39.0), "x": np.arange(39.0) % 3}, index=list(index))
    model = untrained(past=None, future=["x"]).fit(known)
    days = pd.bdate_range(index[-1] + pd.offsets.BDay(3), periods=H)
    forecast = model.predict(future=pd.DataFrame({"x": 1.0}, index=days))
    assert list(forecast.index) == list(days)
    late = pd.DataFrame({"x": 1.0}, index=days + pd.offsets.BDay(20))
    with pytest.raises(DataError, match="expected the rows next after"):
        model.predict(future=late)


def test_rows_ahead_may_name_the_same_moments_in_another_zone():
    index = pd.date_range("2024-01-01", periods=40, freq="h", tz="UTC")
    known = pd.DataFrame({"y": np.arange(40.0), "x": np.arange(40.0) % 3}, index=index)
    model = untrained(past=None, future=["x"]).fit(known)
    ahead = pd.DataFrame({"x": [1.0] * H}, index=model.future_index())
    other = ahead.set_axis(ahead.index.tz_convert("America/New_York"))
    assert_equal(model.predict(future=ahead), model.predict(future=other))


@pytest.mark.parametrize(
    "kinds", [["a", "b", None, "a"], [1, 2, None, 1], [True, False, None, True]]
)
def test_categories_beside_missing_ones_keep_their_codes(kinds, recwarn):
    panel = make_panel(4, 40)
    which = panel.index.get_level_values(0).str[1:].astype(int)
    panel["kind"] = pd.Categorical([kinds[i] for i in which])
    model = make_model(max_epochs=1, static=["kind"]).fit(panel)
    assert model._tail.codes[:, 0].tolist() == [1, 2, 0, 1]
    model.predict(panel)
    assert not [w for w in recwarn if "categories that fit has not seen" in str(w.message)]
