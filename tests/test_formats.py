"""Folders that earlier versions have saved are loaded for ever.

``python tests/test_formats.py 1`` has written the folders of format 1, once. They are never
written again: a change of the format adds a folder beside them.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline

import tsforecast as tsf

PLACE = Path(__file__).parent / "formats"
# Quantiles of two members were read off a grid of 399, up to 2e-4 beside those of the mixture, of
# which `test_quantiles_of_a_mixture_are_those_of_its_distribution_function` is an exact test.
MIXED = {"lstm": [f"q0.{tenth}" for tenth in (1, 2, 3, 7, 8, 9)]}
FORMATS = sorted(path.name for path in PLACE.iterdir()) if PLACE.is_dir() else []


def panel_of(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "panel.csv", parse_dates=["day"])
    return tsf.as_panel(table.astype({"ward": "category"}), series="id", time="day")


def samples(panel):
    X, y, _ = tsf.make_windows(panel[["y", "x"]].ffill().bfill(), 5, target="y", past=["x"])
    return X, np.where(y > X[:, -1, 0], "up", "down")


def said(model, panel: pd.DataFrame) -> pd.DataFrame:
    """What a model says of the panel, as plain numbers."""
    if isinstance(model, tsf.RecurrentClassifier):
        return pd.DataFrame(model.predict_proba(samples(panel)[0]), columns=list(model.classes_))
    if isinstance(model, tsf.Stream):
        frame = model.forecast()
    elif hasattr(model, "forecast_origins"):
        frame = model.predict(panel)
    else:
        return model.transform(panel[["y", "x"]]).reset_index(drop=True)
    return frame.drop(columns=["target", "cutoff"]).reset_index(drop=True)


@pytest.mark.parametrize("number", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_folder_of_an_older_format_says_what_it_said(number):
    panel = panel_of(PLACE / number)
    names = sorted(path.name for path in (PLACE / number).iterdir() if path.is_dir())
    assert len(names) >= 8
    for name in names:
        wanted = pd.read_csv(PLACE / number / f"{name}.csv")
        found = said(tsf.load(PLACE / number / name), panel)
        # another version of torch may round another way
        np.testing.assert_allclose(
            found.drop(columns=MIXED.get(name, [])),
            wanted.drop(columns=MIXED.get(name, [])),
            rtol=1e-4, atol=1e-5, err_msg=name,
        )  # fmt: skip
        for column in MIXED.get(name, []):
            np.testing.assert_allclose(found[column], wanted[column], rtol=3e-4, err_msg=name)
        assert list(found.columns) == list(wanted.columns)


def test_there_is_a_folder_of_the_format_of_today():
    from tsforecast.serving.persist import FORMAT

    assert str(FORMAT) in FORMATS


def write(number: str) -> None:
    """Write what is to be loaded for ever."""
    folder = PLACE / number
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    parts = []
    for i, n in enumerate((60, 55, 40)):
        y = (20 * (i + 1) * np.exp(np.cumsum(0.05 * rng.normal(size=n)))).round(4)
        x = rng.normal(5, size=n).round(4)
        days = pd.bdate_range("2024-01-01", periods=n)
        part = pd.DataFrame({"id": f"s{i}", "day": days, "y": y, "x": x})
        part.loc[rng.random(n) < 0.05, "x"] = np.nan
        parts.append(part.assign(ward="ab"[i % 2], age=40.0 + i))
    pd.concat(parts).to_csv(folder / "panel.csv", index=False)
    panel = panel_of(folder)
    short = {
        "target": "y",
        "horizon": 3,
        "lookback": 6,
        "random_state": 0,
        "training": tsf.Training(max_epochs=2, validation=None),
    }
    scaled = make_pipeline(tsf.Log(), tsf.SeriesScaler())
    lags = tsf.LagRegressor(
        target="y",
        horizon=2,
        lags=4,
        columns=["x"],
        estimator=HistGradientBoostingRegressor(max_iter=5),
        transform=tsf.Log(),
    )
    live = tsf.RecurrentForecaster(
        **short, context="history", hidden_sizes=(4,), normalize="ewm", transform=tsf.Log()
    )
    models = {
        "lstm": tsf.RecurrentForecaster(
            **short, past=["x"], hidden_sizes=(6, 4), transform=scaled, head="studentt", n_members=2
        ),
        "gru": tsf.RecurrentForecaster(
            **short,
            cell="gru",
            hidden_sizes=(5,),
            layer_norm=True,
            static=["ward", "age"],
            normalize=tsf.RunningScale(10),
            season=(5,),
            baseline="seasonal",
            max_gap="10D",
        ),
        "rnn over har": tsf.RecurrentForecaster(
            **short,
            cell="rnn",
            hidden_sizes=(4,),
            context="history",
            baseline=tsf.HAR(lags=(1, 3, 5)),
            head=tsf.Quantiles((0.1, 0.5, 0.9)),
        ),
        "boosted lags": lags,
        "ewma of two": tsf.EWMA(target=["y", "x"], horizon=2),
        "random walk": tsf.RandomWalk(target="y", horizon=2),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = {name: model.fit(panel) for name, model in models.items()}
        stream = tsf.Stream(live.fit(panel), panel)
    X, y = samples(panel)
    fitted["classifier"] = tsf.RecurrentClassifier(
        hidden_sizes=(6, 4), training=short["training"], random_state=0
    ).fit(X, y)
    fitted["chain"] = scaled.fit(panel[["y", "x"]], panel[["y"]])
    fitted["stream"] = stream
    for name, model in fitted.items():
        tsf.save(model, folder / name)
        said(model, panel).to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    write(sys.argv[1])
