"""A small job for tests: prices of a few series in a CSV file, a naive model, SQLite."""

import datetime as dt
import json
from pathlib import Path

import pandas as pd

import tsforecast as tsf
from tsforecast.batch.config import load_config
from tsforecast.batch.sources import AsOf

TOML = """
[job]
name = "prices"
part_size = 3

[source]
path = "prices.csv"
series = "ticker"
time = "date"
columns = ["close"]

[model]
estimator = "Naive"

[model.parameters]
target = "close"
horizon = 2
levels = [0.1, 0.5, 0.9]

[sink]
database = "sqlite:///forecasts.db"
"""
DAY = dt.date(2015, 5, 29)  # a Friday
N_SERIES = 8


def prices(n_series=N_SERIES, n_rows=130):
    """Rows up to the first of July 2015, as a long table."""
    return tsf.make_prices(n_series, n_rows, random_state=0).reset_index()


def write_job(folder, table=None, name="job.toml", toml=TOML):
    """Write configuration and data; give the path of the configuration."""
    table = prices() if table is None else table
    table.to_csv(Path(folder) / "prices.csv", index=False)
    path = Path(folder) / name
    path.write_text(toml)
    return path


def config_of(path, **overrides):
    """Load a configuration; ``model__estimator="Drift"`` stands for ``model.estimator``."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(path, environ={}, overrides=dotted)


def at(day=DAY):
    """Give the cut of a run date."""
    return AsOf(day, "UTC")


def events(caplog, name=None):
    """Lines of JSON in the log, those of one event if it is named."""
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    return [line for line in lines if name is None or line["event"] == name]


def equal(a, b):
    """Whether two frames of a sink hold the same, in any order of rows."""
    keys = [name for name in ("run_date", "model", "series", "target", "time") if name in a]
    a, b = (each.sort_values(keys, ignore_index=True) for each in (a, b))
    pd.testing.assert_frame_equal(a, b)
