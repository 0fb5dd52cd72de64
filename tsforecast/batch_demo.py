"""A scheduled job from its first run on: ``make batch-demo``.

500 stocks are forecast as of three run dates into SQLite, by the command line alone, as a scheduler
would; then the same three runs are made again, and their rows compared. Afterwards the folder
``batch-demo`` holds a job to play with.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

import pandas as pd

import tsforecast as tsf
from tsforecast.cli import main as tsforecast_command

N_DATES = 3
TOML = """\
[job]
name = "stocks"
part_size = 100              # series of one transaction

[source]
path = "prices.parquet"
series = "ticker"
time = "date"
columns = ["close"]
max_staleness = "4D"         # stocks without a newer row are late,
late = "skip"                # and stand among the rejects

[model]
estimator = "RecurrentForecaster"

[model.parameters]
target = "close"
horizon = 5
lookback = 20
transform = [{{class = "Log"}}]
hidden_sizes = [16]
training = {{class = "Training", max_epochs = {max_epochs}}}
random_state = 0

[fit]
every = "30D"                # `run` fits if the newest model is older
window = "2y"

[sink]
database = "sqlite:///forecasts.db"
"""


def prices(series: int) -> tuple[pd.DataFrame, str]:
    """Give closes of so many stocks, index (ticker, date), and a sentence on where they are from.

    Parameters
    ----------
    series : int

    Returns
    -------
    panel : DataFrame
        Column ``close``.
    source : str

    Examples
    --------
    >>> panel, source = prices(2)
    >>> list(panel.columns), panel.index.names
    (['close'], FrozenList(['ticker', 'date']))
    """
    if os.environ.get("TSFORECAST_DATA"):
        with contextlib.suppress(FileNotFoundError):
            panel = tsf.load_sp500_ohlcv()[["close"]]
            chosen = panel.index.get_level_values(0).unique()[:series]
            return panel.loc[chosen], "stocks of the S&P 500, 2013 to 2018 (TSFORECAST_DATA)"
    panel = tsf.make_prices(series, 750, random_state=0)[["close"]]
    return panel, "made-up stocks: no file of real ones under TSFORECAST_DATA"


def main(arguments: list[str] | None = None) -> None:
    """Run the demo and print what it does.

    Raises
    ------
    SystemExit
        If a command fails, with its exit code, or if a repeat has changed a row.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tsforecast.batch_demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--series", type=int, default=500, help="how many stocks (500)")
    parser.add_argument("--max-epochs", type=int, default=5, help="longest training (5)")
    parser.add_argument("--folder", type=Path, default=Path("batch-demo"), help="(batch-demo)")
    chosen = parser.parse_args(arguments)

    folder: Path = chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    panel, source = prices(chosen.series)
    panel.reset_index().to_parquet(folder / "prices.parquet", index=False)
    job = folder / "job.toml"
    job.write_text(TOML.format(max_epochs=chosen.max_epochs))
    print(f"{chosen.series} {source}.\n\n{job}:\n\n{job.read_text()}")

    config = ["-c", str(job)]
    dates = panel.index.get_level_values(1).unique().sort_values()[-N_DATES:]
    first = _runs(config, dates)
    before = _forecasts(config, folder)
    print("\n$ tsforecast " + shlex.join(["status", *config]), flush=True)
    _require(tsforecast_command(["status", *config]))

    print("\nThe same three run dates once more:\n")
    again = _runs(config, dates)
    after = _forecasts(config, folder)
    same = before.equals(after) and [run["run"] for run in first] == [run["run"] for run in again]
    if not same:
        raise SystemExit("The repeat has changed rows: this must not happen.")
    print(
        f"\nNothing has changed: {len(after):,} rows of {after['series'].nunique()} stocks and "
        f"{after['run_date'].nunique()} run dates, all values equal."
    )
    print(f"\nThe newest forecasts ({folder / 'forecasts.db'}, view `forecasts`):\n")
    shown = ["series", "time", "q0.1", "forecast", "q0.9", "source"]
    print(after.tail(5)[shown].to_string(index=False, float_format="%.2f"))


def _runs(config: list[str], dates: pd.Index) -> list[dict[str, Any]]:
    """Make a run for each date, and print a line of what it says."""
    found = []
    for date in dates:
        command = ["run", *config, "--run-date", f"{date:%Y-%m-%d}"]
        print("$ tsforecast " + shlex.join(command), flush=True)
        begun = time.perf_counter()
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            code = tsforecast_command([*command, "--json", "-q"])
        summary: dict[str, Any] = json.loads(written.getvalue())
        # a run that its monitor objects to is complete, and its rows are seen
        if "run" not in summary:
            _require(code)
        what = "nothing to do" if summary["nothing_new"] else "scored"
        what = f"fitted model {summary['version']}, {what}" if summary["fit"] else what
        monitor = summary["monitor"]
        print(
            f"  exit code {code}, {time.perf_counter() - begun:.1f} s: {what}; "
            f"{summary['rows']:,} rows, rejects {summary['rejects'] or 'none'}, "
            f"monitor {monitor['status']}"
        )
        for sentence in (*monitor.get("failures", ()), *monitor.get("warnings", ())):
            print(f"    {sentence}")
        found.append(summary)
    return found


def _forecasts(config: list[str], folder: Path) -> pd.DataFrame:
    """Export what can be seen."""
    file = folder / "forecasts.parquet"
    command = ["export", *config, "-o", str(file)]
    print("$ tsforecast " + shlex.join(command), flush=True)
    _require(tsforecast_command([*command, "-q"]))
    return pd.read_parquet(file).sort_values(["run_date", "series", "time"], ignore_index=True)


def _require(code: int) -> None:
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
