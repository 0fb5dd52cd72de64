"""The page of a result and the forms of a notebook: what they say, and what they must not do."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import tempfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from event_frames import random_frame
from sklearn.base import BaseEstimator

from tsforecast._checks import DataError
from tsforecast._html import html_form, html_table
from tsforecast.backtesting._settings import in_words
from tsforecast.backtesting.patients import EventBacktest, backtest_events
from tsforecast.backtesting.rolling import Backtest, backtest
from tsforecast.backtesting.search import Tuning
from tsforecast.backtesting.strategy import Costs, backtest_strategy
from tsforecast.backtesting.tearsheet import tearsheet
from tsforecast.data.datasets import make_prices
from tsforecast.data.labels import event_within
from tsforecast.data.panel import as_panel
from tsforecast.data.splits import RollingOrigin, SeriesSplit
from tsforecast.data.transforms import Clip, Log
from tsforecast.estimators.baselines import EWMA, Drift, Naive, RandomWalk
from tsforecast.insight import _forecast_part
from tsforecast.insight._blocks import Part, Section, Table
from tsforecast.insight.report import _page, report

SCRIPT = "<script>window.hit = 1</script>"
BROKEN_OUT = '"><img src=x onerror="window.hit = 2">'
HOSTILE = [SCRIPT, BROKEN_OUT, "O'Neil & Söhne", "$x_{"]
NO_SCALES = pd.DataFrame(columns=["series", "cutoff", "target", "mae", "mse"])
VOID = {"meta", "img", "input", "br", "hr"}


class Judged(EWMA):
    """A model that is no baseline, so that there is something to judge."""

    is_baseline = False


def prices(n_series=8, n_rows=160, names=()):
    panel = make_prices(n_series, n_rows, random_state=0)
    own = panel.index.levels[0].tolist()
    table = panel.reset_index()
    first = table.columns[0]
    table[first] = table[first].map(dict(zip(own, [*names, *own[len(names) :]])))
    return as_panel(table.set_index([first, table.columns[1]]))


def run(panel, **models):
    same = {"target": "close", "horizon": 3}
    models = {"judged": Judged, "walk": RandomWalk, **models}
    named = {name: model(**same) for name, model in models.items()}
    return backtest(named, panel, RollingOrigin(3, 15))


class Page(HTMLParser):
    """Reads a page: tags that are open, texts by tag, attributes by tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open:
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def said(self, *tags):
        return [text for tag, text in self.texts if tag in tags and text]


@pytest.fixture(scope="module")
def panel():
    return prices(names=HOSTILE)


@pytest.fixture(scope="module")
def result(panel):
    return run(panel, drift=Drift)


@pytest.fixture(scope="module")
def strategy(panel, result):
    return backtest_strategy(result.frame, panel, model="judged")


@pytest.fixture(scope="module")
def path(result, strategy, tmp_path_factory):
    pytest.importorskip("empyrical")
    return result.report(tmp_path_factory.mktemp("report") / "report.html", strategy)


@pytest.fixture(scope="module")
def text(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def events():
    frame = random_frame(90, seed=1)
    frame["fold"] = frame["series"].str[1:].astype(int) % 3
    frame["series"] = frame["series"].replace({"s7": SCRIPT})
    return EventBacktest(frame)


# What it says


def test_verdicts_come_first_and_are_those_of_the_result(result, strategy, page):
    found = page.said("li")
    verdicts = result.verdicts()
    assert len(verdicts) == 1
    assert page.said("a")[:3] == ["To what was found", "What was forecast", "Scores"]
    assert found[: len(verdicts)] == verdicts
    assert found[len(verdicts)].startswith("judged: ")
    assert page.said("h2")[0] == "What was found"


def test_the_scores_are_those_of_the_result_with_the_baselines_marked(result, text):
    scores = result.metrics()
    for name in result.frame["model"].unique():
        row = re.search(rf'<tr><th scope="row">{name}</th>(.*?)</tr>', text).group(1)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        assert cells[0] == ("model" if name == "judged" else "baseline")
        assert float(cells[1]) == pytest.approx(scores.loc[name, "mae"], rel=1e-3)


def test_it_says_what_was_forecast_with_spans_and_splits(result, page):
    facts = dict(zip(page.said("dt"), page.said("dd")))
    assert facts["Target"] == "close" and facts["Horizon"] == "3 rows ahead"
    assert facts["Models"] == "judged, walk (baseline), drift (baseline), naive (baseline)"
    first, last = result.frame["cutoff"].min().date(), result.frame["cutoff"].max().date()
    assert facts["Cutoffs"] == f"45, {first} to {last}"
    assert "8 series, 1,280 rows from" in facts["Data"]
    assert str(result.splits["fit_until"].iloc[1].date()) in page.said("td")


def test_settings_and_versions_to_do_it_again(page):
    facts = dict(zip(page.said("dt"), page.said("dd")))
    assert facts["model judged"] == "Judged(horizon=3, target='close')"
    assert facts["splitter"] == "RollingOrigin(n_splits=3, origins_per_split=15, step=1, " + (
        "train_size=None, gap=0)"
    )
    assert facts["pandas"] == pd.__version__ and facts["numpy"] == np.__version__


def test_every_series_has_its_row_with_its_own_score(result, text):
    table = text[text.index("MASE by series") :]
    table = table[: table.index("</table>")]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', table)
    scores = result.metrics(by="series", metrics="mase")["mase"]["judged"]
    assert len(rows) == 8
    assert {name: float(score) for name, _, score in rows}["S05"] == pytest.approx(
        scores["S05"], rel=1e-3
    )


def test_pictures_are_inside_and_have_words(page):
    pictures = page.of("img")
    assert len(pictures) >= 9
    for each in pictures:
        data = base64.b64decode(each["src"].removeprefix("data:image/png;base64,"))
        assert data.startswith(b"\x89PNG")
        assert len(each["alt"]) > 20
    assert len(page.said("figcaption")) == len(pictures)
    assert not any("Not drawn" in said for said in page.said("p"))


def test_a_strategy_has_its_tear_sheet_and_assets(strategy, page):
    assert "Strategies after costs" in page.said("h2")
    assert "Sharpe ratio, net" in page.said("th")
    assert "judged: what each asset added" in page.said("caption")
    notes = tearsheet(strategy).notes
    assert set(notes) <= set(page.said("li"))


def test_a_tear_sheet_stands_alone(strategy, tmp_path):
    pytest.importorskip("empyrical")
    sheet = tearsheet(strategy, trials=7)
    text = sheet.report(tmp_path / "sheet.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.said("h1") == ["Strategies after costs"]
    assert "deflated for 7 trials" in text
    assert page.said("li")[: len(sheet.verdicts())] != [] and sheet.verdicts()[0] in page.said("li")


def test_a_result_without_quantiles_or_judged_models_is_written_too(panel, tmp_path):
    models = {
        name: kind(target="close", levels=())
        for name, kind in {"drift": Drift, "naive": Naive}.items()
    }
    result = backtest(models, panel, RollingOrigin(12))
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.said("li")[:1] != [] and "All models are baselines (drift, naive)" in text
    assert "wql" not in page.said("th")


def test_several_targets_are_drawn_and_scored_one_by_one(panel, tmp_path):
    both = {"target": ["close", "open"], "horizon": 2}
    result = backtest({"judged": Judged(**both)}, panel, RollingOrigin(2, 12))
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.said("h1") == ["Forecasts of close, open"]
    captions = page.said("figcaption")
    for target in ("close", "open"):
        assert sum(f" of {target}" in caption for caption in captions) >= 3


def test_positions_are_not_judged_as_forecasts(tmp_path):
    days = pd.bdate_range("2024-01-01", periods=4)
    frame = pd.DataFrame(
        {
            "model": "held",
            "series": 0,
            "time": days[1:],
            "cutoff": days[:3],
            "step": 1,
            "target": "position",
            "forecast": 0.5,
            "actual": np.nan,
        }
    )
    result = Backtest(frame, 1, NO_SCALES, ())
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "No outcome is known, so that nothing can be judged." in text


def test_what_is_lacking_is_said(result, tmp_path):
    frame = result.frame.copy()
    some = (frame["model"] == "judged") & (frame["cutoff"] == frame["cutoff"].min())
    frame.loc[some, [name for name in frame if name.startswith("q")] + ["forecast"]] = np.nan
    lacking = Backtest(frame, 3, result.scales, result.baselines)
    text = lacking.report(tmp_path / "a.html").read_text(encoding="utf-8")
    found = Page(text)
    assert dict(zip(found.said("dt"), found.said("dd")))["Without a forecast"] == "judged: 24"
    assert any("lacks" in said and "Nothing is filled in" in said for said in found.said("li"))


def test_a_model_that_failed_is_said_to_be_and_the_rest_are_judged(result, tmp_path):
    frame = result.frame.copy()
    values = [name for name in frame if name.startswith("q")] + ["forecast"]
    frame.loc[frame["model"] == "drift", values] = np.nan
    one = Backtest(frame, 3, result.scales, result.baselines)
    page = Page(one.report(tmp_path / "a.html").read_text(encoding="utf-8"))
    found = page.said("li")
    assert "drift: no forecast of a known outcome, and so left out below." in found
    rest = replace(one, frame=frame[frame["model"] != "drift"], baselines=("walk", "naive"))
    assert rest.verdicts()[0] in found and len(page.of("img")) >= 6
    assert not any("Not drawn" in said or "Not judged" in said for said in page.said("p", "li"))


def test_without_anybody_to_compare_with_there_is_a_page_all_the_same(result, tmp_path):
    frame = result.frame.copy()
    values = [name for name in frame if name.startswith("q")] + ["forecast"]
    middle = frame["cutoff"].unique()[20]
    frame.loc[(frame["model"] == "judged") == (frame["cutoff"] < middle), values] = np.nan
    apart = Backtest(frame, 3, result.scales, result.baselines)
    page = Page(apart.report(tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.said("li")[0].startswith("Not judged: the models cannot be compared")
    assert any("Not drawn: there is nothing to compare with 'naive'" in p for p in page.said("p"))


def test_every_picture_and_verdict_has_one_loss(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product(
        [["a", "b", "naive"], range(40), ["up", "y"]], names=["model", "cutoff", "target"]
    ).to_frame(index=False)
    frame = rows.assign(series=0, time=rows["cutoff"] + 1, step=1, forecast=rng.random(240))
    up = (frame["cutoff"] % 3 == 0).astype(float)
    frame["actual"] = up.where(frame["target"] == "up", 7.0)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot_backtest", "plot_skill_matrix"):
            draw = getattr(_forecast_part, name)
            patch.setattr(
                _forecast_part,
                name,
                lambda *args, draw=draw, **kwargs: seen.append(draw(*args, **kwargs)),
            )
        Backtest(frame, 1, NO_SCALES, ("naive",)).report(tmp_path / "a.html")
    assert len(seen) == 4
    assert all(axes.get_ylabel().lower().startswith("absolute loss") for axes in seen)


def test_an_example_of_one_row_ahead_says_how_many_are_drawn(tmp_path):
    result = backtest({"walk": Drift(target="close")}, prices(1), RollingOrigin(100), refit=False)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        draw = _forecast_part.plot_forecast
        patch.setattr(
            _forecast_part,
            "plot_forecast",
            lambda *args, **kwargs: seen.append(draw(*args, **kwargs)),
        )
        page = Page(result.report(tmp_path / "a.html").read_text(encoding="utf-8"))
    (axes,) = seen
    n = len(axes.get_lines()[0].get_xdata())
    assert n == 40 and any(f"one row ahead, the last {n}." in p for p in page.said("figcaption"))


def test_whole_numbers_of_series_and_times_are_not_grouped(tmp_path):
    panel = prices(2, 80, names=[10107, 14593])
    panel.index = panel.index.set_levels(20240101 + np.arange(80), level=1)
    result = backtest(Drift(target="close"), panel, RollingOrigin(2, 15))
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "10107" in page.said("th") and "10,107" not in text
    facts = dict(zip(page.said("dt"), page.said("dd")))
    assert facts["Cutoffs"] == "30, 20240150 to 20240179"
    assert "20240150" in page.said("td")
    own = re.sub('base64,[^"]*|<dd>2 series.*?</dd>', "", text)  # the latter is of the settings
    assert "20,240," not in own


def test_outer_quantiles_of_returns_have_a_section_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "model": "m",
            "series": "index",
            "time": range(1, 401),
            "cutoff": range(400),
            "step": 1,
            "target": "return",
            "forecast": 0.0,
            "q0.01": -2.33,
            "q0.05": -1.64,
            "q0.95": 1.64,
            "actual": rng.normal(size=400),
        }
    )
    frame = pd.concat([frame, frame.assign(model="naive", forecast=1.0)], ignore_index=True)
    result = Backtest(frame, 1, NO_SCALES, ("naive",))
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "Lower tail" in page.said("h2") and "kupiec_p" in page.said("th")


def test_of_many_splits_the_first_are_listed(tmp_path):
    drift = Drift(target="close", levels=())
    result = backtest({"drift": drift}, prices(1, 60), RollingOrigin(33), refit=False)
    text = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    table = text[text.index("<caption>Splits") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr>") == 1 + 20
    assert "13 more splits are left out: result.splits has them." in text


# Events


def test_a_report_of_events_says_what_alarms_catch_and_names_nobody(events, tmp_path):
    text = events.report(tmp_path / "events.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.said("h2")[1:-1] == [
        "What was asked",
        "Scores",
        "Alarms",
        "Calibration",
        "Decisions",
    ]
    found = page.said("li")
    best = events.metrics(n_boot=0)["auroc"].idxmax()
    assert found[0].startswith(f"{best} tells rows with the event from others best: AUROC 0.")
    alarms = events.alarms(alarms_per_patient_day=1.0, n_boot=0)
    caught = f"{100 * alarms.loc['a', 'recall']:.0f} % of {alarms.loc['a', 'n_events']:.0f} events"
    assert any(caught in said for said in found)
    assert not {"s12", SCRIPT} & {said for _, said in page.texts}
    assert len(page.of("img")) == 3


@pytest.mark.parametrize(("right", "caught"), [(True, "all"), (False, "none of")])
def test_of_all_events_or_none_no_interval_is_said(events, tmp_path, right, caught):
    frame = events.frame[events.frame["model"] == "a"].copy()
    sure = np.where((frame["event"] == 1) == right, 0.9, 0.1)
    frame["risk"] = sure + 0.01 * np.arange(len(frame)) / len(frame)
    text = EventBacktest(frame).report(tmp_path / "a.html").read_text(encoding="utf-8")
    assert re.search(rf"it catches {caught} \d+ events[,;]", text)


def test_stays_are_listed_when_asked_for(events, tmp_path):
    text = report(tmp_path / "a.html", events, names=True).read_text(encoding="utf-8")
    table = text[text.rindex("<caption>Stays") :]
    assert table.count('<th scope="row">') >= 90
    peaks = events.frame[(events.frame["model"] == "a") & events.frame["at_risk"]]
    peak = peaks.groupby("series")["risk"].max()["s12"]
    row = re.search(r'<th scope="row">s12</th>(.*?)</tr>', table).group(1)
    assert float(re.findall(r"<td>(.*?)</td>", row)[2]) == pytest.approx(peak, rel=1e-3)
    assert SCRIPT not in text and "&lt;script&gt;window.hit" in text


def test_events_that_cannot_be_judged_are_said_to_be(events, tmp_path):
    frame = events.frame.assign(event=events.frame["event"].where(events.frame["event"].isna(), 0))
    frame["hours_to_event"] = np.nan
    text = EventBacktest(frame).report(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Nothing can be judged" in text and "Not judged: no event to tell from others" in text


# What it must not do


def returns(names):
    """Daily log returns of series of these names."""
    panel = prices(len(names), 300, names=names)
    panel["return"] = np.log(panel["close"]).groupby(level=0).diff()
    return panel[["close", "return"]].dropna()


@pytest.mark.parametrize("names", [["ALICE", "BOB", "CAROL"], ["ALICE"]])
def test_without_names_no_series_is_named_anywhere(names, tmp_path):
    pytest.importorskip("empyrical")
    panel = returns(names)
    same = {"target": "return", "levels": (0.05, 0.5, 0.95)}
    models = {"judged": Judged(**same), "naive": Naive(**same)}
    result = backtest(models, panel, RollingOrigin(150), refit=False)
    traded = backtest_strategy(result.frame, panel, model="judged")
    frame = result.frame.copy()
    half = frame["cutoff"] < frame["cutoff"].median()
    values = [name for name in frame if name.startswith("q")] + ["forecast"]
    frame.loc[half == (frame["model"] == "naive"), values] = np.nan
    apart = replace(result, frame=frame)
    for each, told in ((result, "hits"), (apart, "Not judged: ")):
        text = report(tmp_path / "a.html", each, traded, names=False).read_text(encoding="utf-8")
        own = re.sub('base64,[^"]*', "", text)
        assert not [name for name in names if name in own]
        assert told in own and "Strategies after costs" in own
    named = report(tmp_path / "a.html", result, traded).read_text(encoding="utf-8")
    assert all(name in named for name in names)
    scores = [re.search(r"Scores of all.*?</table>", t, re.S)[0] for t in (named, _bare(result))]
    assert scores[0] == scores[1]


def _bare(result):
    with tempfile.TemporaryDirectory() as folder:
        return report(f"{folder}/a.html", result, names=False).read_text(encoding="utf-8")


def test_names_are_shown_and_never_markup(text, page):
    for name in HOSTILE:
        assert name in page.said("th")
    assert SCRIPT not in text and "<img src=x" not in text
    assert len(page.of("script")) == 1
    assert all(set(attrs) <= {"src", "alt", "width", "height"} for attrs in page.of("img"))


def test_hostile_names_of_models_targets_and_titles_stay_in_their_attributes(tmp_path):
    panel = prices(2, 80).rename(columns={"close": BROKEN_OUT})
    same = {"target": BROKEN_OUT, "horizon": 2}
    models = {SCRIPT: Judged(**same), "a' onfocus='window.hit=3": Drift(**same)}
    result = backtest(models, panel, RollingOrigin(2, 12))
    text = report(tmp_path / "a.html", result, title=f"</title>{SCRIPT}\ud800").read_text("utf-8")
    page = Page(text)
    assert page.said("title") == [f"</title>{SCRIPT}\ufffd"]  # a lone surrogate, too
    assert len(page.of("script")) == 1 and all(
        each["src"][:5] == "data:" for each in page.of("img")
    )
    assert not any("onfocus" in attrs or "onerror" in attrs for _, attrs in page.tags)
    assert any(BROKEN_OUT in each["alt"] for each in page.of("img"))


def test_nothing_is_loaded_from_anywhere(text, page):
    own = re.sub(r'"data:image/png;base64,[^"]*"|sha256-[^\']*', "", text)  # these hold any letters
    assert not re.search(r"https?:|//\w|url\(|@import|<link|<iframe|<base|fetch\(|XMLHttp", own)
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert attrs.get(name, "#")[:5] in ("#", "data:") or attrs[name].startswith("#"), tag


def test_the_policy_of_the_page_allows_its_own_style_and_script_alone(text, page):
    policy = next(a["content"] for a in page.of("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in attrs or "onclick" in attrs for _, attrs in page.tags)


def test_it_can_be_read_without_eyes_or_mouse(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    assert all(attrs["scope"] in ("row", "col") for attrs in page.of("th"))
    assert len(page.said("caption")) == len(page.of("table"))
    assert page.of("html") == [{"lang": "en"}]
    regions = [a for a in page.of("div") if a.get("role") == "region"]
    assert len(regions) == len(page.of("table"))
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a in page.of("a")} <= set(ids)


def test_of_many_series_the_page_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product(
        [["m", "naive"], range(500), range(12)], names=["model", "series", "cutoff"]
    ).to_frame(index=False)
    frame = rows.assign(
        time=rows["cutoff"] + 1, step=1, target="y", actual=0.0, forecast=rng.normal(size=len(rows))
    )
    result = Backtest(frame, 1, NO_SCALES, ("naive",))
    path = result.report(tmp_path / "a.html")
    assert path.stat().st_size < 1_000_000
    assert "MAE by series" in path.read_text(encoding="utf-8")


def test_the_settings_of_matplotlib_are_left_as_they_were(result, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    result.report(tmp_path / "a.html")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in matplotlib.__dict__ or not matplotlib.pyplot.get_fignums()


def test_what_cannot_be_written_is_refused_before_the_work(result, events, tmp_path):
    with pytest.raises(ValueError, match=r"'path': expected a file in a folder that is there"):
        result.report(tmp_path / "nowhere" / "a.html")
    with pytest.raises(ValueError, match=r"'path'"):
        result.report(tmp_path)
    with pytest.raises(ValueError, match=r"'results': expected a Backtest, EventBacktest.*found 3"):
        report(tmp_path / "a.html", result, 3)
    with pytest.raises(ValueError, match=r"'results'.*found 'nothing'"):
        report(tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_strategies_of_one_name_are_refused_before_the_work(strategy, tmp_path):
    with pytest.raises(ValueError, match=r"different names, found \['judged', 'judged'\].*a dict"):
        report(tmp_path / "a.html", strategy, strategy.with_costs(Costs(50, 0, 0)))
    with pytest.raises(ValueError, match=r"different names, found \['judged', 'judged'\]"):
        report(tmp_path / "a.html", strategy, {"judged": strategy})
    assert list(tmp_path.iterdir()) == []


# Settings


def test_estimators_are_said_with_what_differs_from_the_default():
    assert in_words(Drift(target="close", horizon=1)) == "Drift(target='close')"
    assert in_words([("log", Log()), ("clip", Clip(0, 1))]) == (
        "[('log', Log()), ('clip', Clip(lower=0, upper=1))]"
    )
    assert in_words((1,)) == "(1,)" and in_words(len) == "builtins.len"


def test_data_among_the_parameters_is_not_shown():
    frame = pd.DataFrame({"x": [7777]})
    assert in_words([frame, "y" * 301]) == "[<DataFrame>, <str>]"
    same = {"target": "close", "horizon": 1}
    assert "7777" not in in_words(SimpleNamespace(**same, rows=frame))


def test_splits_say_which_fit_forecast_them(panel):
    models = {"drift": Drift(target="close")}
    result = backtest(models, panel, RollingOrigin(4, 5), refit=2)
    table = result.splits
    expected = RollingOrigin(4, 5).splits(panel, horizon=1)
    assert table["first_cutoff"].tolist() == [split.cutoffs[0] for split in expected]
    assert table["fit_until"].tolist() == [expected[i].fit_until for i in (0, 0, 2, 2)]
    assert result.settings["refit"] == "2"


def test_a_backtest_of_events_keeps_its_settings():
    class Pulse(BaseEstimator):
        event, horizon = "sepsis", 1

        def __init__(self, limit=100):
            self.limit = limit

        def fit(self, panel):
            return self

        def predict_risk(self, panel):
            return pd.DataFrame({"risk": panel["HR"] / 200})

        def event_labels(self, panel):
            return event_within(panel, self.event, self.horizon)

    stays = pd.MultiIndex.from_product([["adam", "b", "c", "d"], range(3)])
    panel = pd.DataFrame({"HR": 80.0, "sepsis": 0.0}, index=stays)
    panel.loc[[("adam", 2), ("b", 2)], "sepsis"] = 1.0
    result = backtest_events({"pulse": Pulse(90)}, panel, SeriesSplit(2, random_state=0))
    assert result.settings["model pulse"] == "Pulse(limit=90)"
    assert result.settings["panel"].startswith("4 series, 12 rows from 0 to 2")
    assert "adam" not in str(result.settings)


# Forms of a notebook


def forms(result, strategy, events):
    trials = pd.DataFrame(
        {
            "number": [0, 1],
            "cell": ["lstm", SCRIPT],
            "state": "complete",
            "score": [0.1, 0.2],
            "seconds": 1.0,
            "error": None,
        }
    )
    return {
        "backtest": result,
        "strategy": strategy,
        "sheet": tearsheet(strategy),
        "events": events,
        "tuning": Tuning(trials, {"cell": SCRIPT}, 0.2, None, 2),
    }


def test_forms_are_short_well_formed_and_escaped(panel, events):
    pytest.importorskip("empyrical")
    same = {"target": "close"}
    result = backtest({SCRIPT: Judged(**same)}, panel, RollingOrigin(12))
    strategy = backtest_strategy(result.frame, panel, model=SCRIPT)
    for name, each in forms(result, strategy, events).items():
        text = each._repr_html_()
        page = Page(text)
        assert SCRIPT not in text and len(text) < 10_000, name
        assert not re.search(r"https?:|src=|href=|<style|<script", text), name
        assert len(page.of("table")) >= 1, name
        if name not in ("events", "sheet"):
            assert "&lt;script&gt;" in text


def test_the_form_of_a_backtest_holds_its_scores(result):
    page = Page(result._repr_html_())
    assert page.said("strong")[0].startswith("Backtest(models=['judged', 'walk', 'drift', 'naive']")
    assert f"{result.metrics().loc['judged', 'mae']:.4g}" in page.said("td")


def test_the_form_of_a_tear_sheet_begins_with_its_verdicts(strategy):
    pytest.importorskip("empyrical")
    sheet = tearsheet(strategy)
    assert Page(sheet._repr_html_()).said("li")[: len(sheet.verdicts())] == sheet.verdicts()


def test_the_form_of_events_has_no_name_of_a_stay(events):
    text = events._repr_html_()
    assert "EventBacktest(models=" in text and "auroc" in text
    assert not {"s12", SCRIPT} & {said for _, said in Page(text).texts}


def test_a_form_that_cannot_be_scored_is_shown_all_the_same(result, events):
    alone = Backtest(result.frame, 3, pd.DataFrame(), ("naive",))
    assert "Not scored: scales cannot be used" in alone._repr_html_()
    held = Backtest(result.frame.assign(actual=np.nan), 3, result.scales, ())
    assert "<table" not in held._repr_html_() and "Backtest(models=" in held._repr_html_()
    none = EventBacktest(events.frame.assign(eligible=False))
    with pytest.raises(DataError):
        none.metrics(n_boot=0)
    assert "Not scored: " in none._repr_html_()


def test_tables_escape_cells_names_and_captions():
    frame = pd.DataFrame({SCRIPT: [BROKEN_OUT]}, index=pd.Index(["<b>"], name="<i>"))
    text = html_form("<u>", html_table(frame, caption="<s>"), notes=["<em>"])
    assert re.findall(r"<(b|i|u|s|em|img|script)\b", text) == []
    assert Page(text).said("th", "td", "caption", "strong", "li") == [
        "<u>",
        "<s>",
        "<i>",
        SCRIPT,
        "<b>",
        BROKEN_OUT,
        "<em>",
    ]


def test_names_of_rows_and_columns_are_not_grouped():
    at = pd.MultiIndex.from_tuples([(10107, 20240131)], names=["series", "time"])
    text = html_table(pd.DataFrame([[12345]], at, [14593]))
    assert Page(text).said("th", "td") == ["series", "time", "14593", "10107", "20240131", "12,345"]


def test_numbers_that_are_text_stand_with_numbers():
    text = html_table(pd.DataFrame({"x": ["-2.50 %", "< 0.001"], "y": ["a 1", ""]}, ["  in", "b"]))
    assert text.count('class="text"') == 3 and "<td>-2.50 %</td>" in text  # y, its cell, the index
    assert '<th scope="row">\u00a0\u00a0in</th>' in text


def test_missing_values_are_empty_cells_of_whatever_kind():
    frame = pd.DataFrame({"x": pd.array([1, None], dtype="Int64"), "y": [None, "a"]})
    text = html_table(frame.assign(z=[np.nan, 1.0], at=[pd.NaT, pd.Timestamp("2024-01-02")]))
    cells = re.findall("<td[^>]*>(.*?)</td>", text)
    assert cells == ["1", "", "", "", "", "a", "1", "2024-01-02"]


def test_tables_say_how_many_rows_are_left_out():
    text = html_table(pd.DataFrame({"x": range(30)}), rows=4)
    assert text.count("<tr>") == 5 and "and 26 more rows" in text


# A real browser


def _browser_paths():
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    return browser, driver


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, driver = _browser_paths()
    if not (browser and driver):
        pytest.skip("no browser here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    running = webdriver.Chrome(options=options, service=service)
    yield running
    running.quit()


def column(browser, number):
    """Cells of a column of the first table that sorts, the rows that are shown."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.filter + .scroll')[0].querySelector('tbody').rows]"
        ".filter((row) => !row.hidden).map((row) => row.cells[arguments[0]].textContent)",
        number,
    )


def requests_of(browser):
    import json

    events = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    return [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]


def test_a_browser_sorts_and_filters_the_table_and_runs_nothing_else(browser, path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(path.as_uri())
    assert browser.execute_script("return window.hit === undefined")
    names = column(browser, 0)
    assert {SCRIPT, BROKEN_OUT} <= set(names)
    before = column(browser, 2)
    table = browser.find_element(By.CSS_SELECTOR, ".filter + .scroll")
    button = table.find_elements(By.CSS_SELECTOR, "thead th button")[2]
    head = table.find_elements(By.CSS_SELECTOR, "thead th")[2]
    browser.execute_script("arguments[0].scrollIntoView()", table)
    button.click()
    assert column(browser, 2) == sorted(before, key=float)
    assert head.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)  # by the keyboard
    assert column(browser, 2) == sorted(before, key=float)[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    first = table.find_elements(By.CSS_SELECTOR, "thead th button")[0]
    first.click()
    assert sorted(column(browser, 0)) == sorted(names)
    assert head.get_attribute("aria-sort") is None

    search = browser.find_element(By.CSS_SELECTOR, ".filter input")
    search.send_keys("<SCRIPT")
    assert column(browser, 0) == [SCRIPT]
    status = browser.find_element(By.CSS_SELECTOR, ".filter [role=status]")
    assert status.text == "1 of 8 rows"
    search.clear()
    search.send_keys("no such series")
    assert column(browser, 0) == [] and status.text == "0 of 8 rows"
    assert browser.get_log("browser") == []
    asked = requests_of(browser)
    assert path.as_uri() in asked
    inside = (path.as_uri(), "data:", "chrome")  # the last: of the browser's own first page
    assert [url for url in asked if not url.startswith(inside)] == []


def test_a_browser_shows_every_picture_and_nothing_wider_than_a_narrow_window(browser, path):
    browser.get(path.as_uri())
    assert browser.execute_script(
        "return [...document.images].every((each) => each.complete && each.naturalWidth > 300)"
    )
    browser.set_window_size(500, 900)
    width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    browser.set_window_size(1280, 1000)


def test_the_policy_stops_a_script_that_got_in(browser, text, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("<main>", f"<main>{SCRIPT}<img src=x onerror='window.hit=2'>"))
    browser.get(bad.as_uri())
    assert browser.execute_script("return window.hit === undefined")
    refused = [each["message"] for each in browser.get_log("browser")]
    assert any("Content Security Policy" in message for message in refused)


def test_it_prints_with_all_rows_and_without_what_is_clicked(browser, path):
    browser.get(path.as_uri())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.execute_script(
        "return ['.filter', 'nav'].map((each) => getComputedStyle("
        "document.querySelector(each)).display)"
    )
    assert shown == ["none", "none"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert io.BytesIO(pdf).read(5) == b"%PDF-"


def test_a_wide_table_is_printed_within_its_page(browser, tmp_path):
    heads = [f"mase of the model with number {number}" for number in range(9)]
    table = Table(pd.DataFrame(1.2345, HOSTILE, heads), "Wide", sortable=True)
    path = tmp_path / "wide.html"
    path.write_text(_page([Part("Wide", "", (), (Section("Wide", (table,)),))], None))
    browser.get(path.as_uri())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": 717, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = browser.execute_script("return document.querySelector('table.long').offsetWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wide <= 717


def test_dark_and_light_have_contrast(browser, path):
    browser.get(path.as_uri())
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for place in ("body", ".note", ".found", "thead th", "figcaption"):
            ink, paper = browser.execute_script(
                "let at = document.querySelector(arguments[0]); const ink = getComputedStyle(at)"
                ".color; let paper; do { paper = getComputedStyle(at).backgroundColor; at = "
                "at.parentElement } while (paper === 'rgba(0, 0, 0, 0)' && at); "
                "return [ink, paper]",
                place,
            )
            assert contrast(ink, paper) >= 4.5, (scheme, place)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(one, two):
    """Of WCAG 2.2, from colours as browsers say them."""

    def luminance(colour):
        c = np.array([float(x) for x in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_templates_are_package_data():
    folder = Path(report.__code__.co_filename).parent / "templates"
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.css",
        "report.html",
        "report.js",
    ]
