"""Test configuration: where optional local data lie."""

import os
from pathlib import Path

from postgres import postgres as postgres  # a fixture for all files

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if "TSFORECAST_DATA" not in os.environ and _DATA.is_dir():
    os.environ["TSFORECAST_DATA"] = str(_DATA)
