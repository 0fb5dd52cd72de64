"""``python -m tsforecast``: the command line."""

from __future__ import annotations

from tsforecast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
