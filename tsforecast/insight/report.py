"""A page that says what was found: one file of HTML, with everything in it."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from tsforecast._checks import bad_parameter
from tsforecast._html import html_table
from tsforecast.backtesting.patients import EventBacktest
from tsforecast.backtesting.rolling import Backtest
from tsforecast.backtesting.strategy import Strategy
from tsforecast.backtesting.tearsheet import TearSheet
from tsforecast.insight._blocks import Block, Facts, Part, Section, Table
from tsforecast.insight._event_part import event_part
from tsforecast.insight._forecast_part import forecast_part
from tsforecast.insight._strategy_part import strategy_part

__all__ = ["report"]

_EXPECTED = "a Backtest, EventBacktest, Strategy, TearSheet, or a dict of strategies"
_PACKAGES = (
    "tsforecast",
    "torch",
    "pytorch-lightning",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "statsmodels",
)


def report(
    path: str | Path, *results: Any, title: str | None = None, names: bool | None = None
) -> Path:
    """Write what was found to one page of HTML.

    The page stands alone: pictures and tables are in it, it loads nothing, and opens from disk.
    Verdicts come first; tables of series can be sorted and filtered. It prints.

    Parameters
    ----------
    path : path
        Of the file, ``.html``. One that is there is replaced.
    *results : Backtest, EventBacktest, Strategy, TearSheet or dict of str to Strategy
        What it is about, in this order; a tear sheet belongs to the strategies beside it, which
        are drawn. Without one, `tearsheet` makes it.
    title : str, optional
        Default: what was done, in a few words.
    names : bool, optional
        Whether series are named: a table of them, and examples. Default: yes, but no stays of an
        `EventBacktest`, which are those of patients. Where they are not, tests of each series
        number them, and assets of strategies are left out.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        If a result is of another kind, two strategies have one name, or the place cannot be
        written to.
    ImportError
        If jinja2 or matplotlib is not installed: ``pip install tsforecast[report]``.

    Notes
    -----
    Whatever comes from the data is escaped, names of series and of columns among it, and the page
    forbids itself to load or run anything but its own script. Of more than 2,000 series the
    first 2,000 are listed.

    Examples
    --------
    >>> import tempfile
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 60, random_state=0)
    >>> result = tsf.backtest({"drift": tsf.Drift(target="close")}, panel, tsf.RollingOrigin(20))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = result.report(f"{folder}/report.html")
    ...     text = path.read_text(encoding="utf-8")
    >>> path.name, "All models are baselines" in text
    ('report.html', True)
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise bad_parameter("path", expected="a file in a folder that is there", found=str(path))
    parts = _parts(results, names)
    page = _page(parts, title)
    # a lone surrogate in a name cannot be encoded
    path.write_bytes(page.encode("utf-8", errors="xmlcharrefreplace"))
    return path


def _parts(results: Iterable[Any], names: bool | None) -> list[Part]:
    """One part for each backtest, and one for all strategies."""
    results = list(results)
    _check(results)
    strategies: dict[str, Strategy] = {}
    sheets = [each for each in results if isinstance(each, TearSheet)]
    parts: list[Part] = []
    for each in results:
        if isinstance(each, Backtest):
            parts.append(forecast_part(each, names=names is not False))
        elif isinstance(each, EventBacktest):
            parts.append(event_part(each, names=names is True))
        strategies |= _strategies(each)
    if strategies or sheets:
        sheet = sheets[0] if sheets else None
        parts.append(strategy_part(strategies, sheet, names=names is not False))
    return parts


def _strategies(each: Any) -> dict[str, Strategy]:
    """Strategies of a result by name; none of one of another kind."""
    if isinstance(each, Mapping):
        return {str(name): strategy for name, strategy in each.items()}
    return {each.name: each} if isinstance(each, Strategy) else {}


def _check(results: list[Any]) -> None:
    kinds = (Backtest, EventBacktest, Strategy, TearSheet)
    for each in results:
        named = isinstance(each, Mapping) and all(isinstance(s, Strategy) for s in each.values())
        if not (isinstance(each, kinds) or named):
            raise bad_parameter("results", expected=_EXPECTED, found=each)
    sheets = sum(isinstance(each, TearSheet) for each in results)
    if not results or sheets > 1:
        found = f"{sheets} tear sheets" if sheets else "nothing"
        raise bad_parameter("results", expected=f"{_EXPECTED}; one tear sheet at most", found=found)
    called = [name for each in results for name in _strategies(each)]
    if len(set(called)) < len(called):
        raise bad_parameter(
            "results",
            expected="strategies of different names",
            found=called,
            advice="Name them by a dict, e.g. {'cheap': first, 'dear': second}.",
        )


def _page(parts: list[Part], title: str | None) -> str:
    try:
        from jinja2 import Environment, PackageLoader
        from markupsafe import Markup
    except ImportError:
        raise ImportError(
            "a report needs jinja2: expected it to be installed, found it missing. Run pip install "
            '"tsforecast[report]".'
        ) from None

    def table(block: Table) -> Markup:
        kind = "long" if block.sortable else ""
        return Markup(html_table(block.frame, caption=block.caption, rows=None, kind=kind))

    environment = Environment(
        autoescape=True,
        loader=PackageLoader("tsforecast.insight"),
        trim_blocks=True,
    )
    style, script = (_text(f"report.{kind}") for kind in ("css", "js"))
    return environment.get_template("report.html").render(
        title=title or "; ".join(part.title for part in parts),
        subjects=[part.subject for part in parts],
        verdicts=[verdict for part in parts for verdict in part.verdicts],
        sections=[*(section for part in parts for section in part.sections), _again(parts)],
        table=table,
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        version=metadata.version("tsforecast"),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _text(name: str) -> str:
    return (files("tsforecast.insight") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name a text as a Content-Security-Policy does."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _again(parts: list[Part]) -> Section:
    """What it takes to do it again: settings, and versions."""
    blocks: list[Block] = [Facts(part.settings) for part in parts if part.settings]
    versions = {"Python": f"{platform.python_version()} on {platform.system()}"}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Section("To do it again", (*blocks, Facts(versions)))
