"""Risks, alarms and patients: what is drawn is what the tables say."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.backtesting.alarms import AlarmPolicy, recall_curve
from tsforecast.backtesting.patients import EventBacktest
from tsforecast.backtesting.reliability import reliability
from tsforecast.backtesting.utility import net_benefit
from tsforecast.data.early_warning import news2
from tsforecast.insight.event_plots import (
    patient_timeline,
    plot_decision_curve,
    plot_patient,
    plot_recall,
    plot_reliability,
)

HOURS = pd.timedelta_range("0h", periods=24, freq="1h", name="hours")


def stays(n_patients=12, *, events=True):
    """A panel of vital signs, and an event frame of two models: every other patient has one."""
    rng = np.random.default_rng(0)
    names = [f"p{number}" for number in range(n_patients)]
    index = pd.MultiIndex.from_product([names, HOURS], names=["patient", "hours"])
    panel = pd.DataFrame({"heart_rate": 80.0, "resp_rate": 16.0, "weight": 70.0}, index=index)
    panel["heart_rate"] += rng.normal(size=len(panel)).round()
    frames = []
    for model, sharp in (("sharp", 3.0), ("dull", 0.5)):
        for number, name in enumerate(names):
            sick = events and number % 2 == 0
            ahead = np.where(sick, 20.0 - np.arange(24), np.nan)
            at_risk = ~(ahead <= 0)
            near = np.where(ahead <= 6, sharp, 0.0)
            frames.append(
                pd.DataFrame(
                    {"model": model, "series": name, "time": HOURS,
                     "risk": 1 / (1 + np.exp(3 - near - rng.normal(0, 0.7, 24))),
                     "event": np.where(at_risk, (ahead <= 6).astype(float), np.nan),
                     "eligible": at_risk, "at_risk": at_risk,
                     "hours_to_event": np.where(at_risk, ahead, np.nan)}
                )
            )  # fmt: skip
    return panel, pd.concat(frames, ignore_index=True)


PANEL, FRAME = stays()


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def labelled(axes):
    return {line.get_label(): line for line in axes.get_lines()}


@pytest.mark.parametrize("scale", ["root", "linear"])
def test_reliability_curve_is_the_table(ax, scale):
    table = reliability(FRAME, n_bins=5)
    plot_reliability(table, scale=scale, ax=ax)
    lines = labelled(ax)
    for number, model in enumerate(("sharp", "dull")):
        part = table[table["model"] == model]
        np.testing.assert_array_equal(lines[model].get_xdata(), part["risk"])
        np.testing.assert_array_equal(lines[model].get_ydata(), part["observed"])
        bars = np.array([path.vertices[:, 1] for path in ax.collections[number].get_paths()])
        np.testing.assert_allclose(bars, part[["low", "high"]])
    assert ax.get_xlim() == ax.get_ylim()  # the diagonal goes from corner to corner
    assert ax.get_ylim()[1] >= table["high"].max()
    assert ax.get_xscale() == {"root": "function", "linear": "linear"}[scale]


def test_small_risks_have_marks_of_their_own(ax):
    table = pd.DataFrame(
        {"model": "m", "risk": [0.001, 0.01], "observed": [0.0, 0.02], "low": 0.0, "high": 0.05}
    )
    plot_reliability(table, ax=ax)
    ax.figure.draw_without_rendering()
    words = [label.get_text() for label in ax.get_xticklabels()]
    assert words[0] == "0 %" and {"0.1 %", "1 %"} <= set(words) and len(set(words)) == len(words)


def test_decision_curve_is_the_net_benefit(ax):
    table = net_benefit(FRAME, [0.05, 0.1, 0.3, 0.9])
    plot_decision_curve(table, ax=ax)
    lines = labelled(ax)
    assert list(lines) == ["sharp", "dull", "treat all", "treat none"]
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), table.index)
        np.testing.assert_array_equal(line.get_ydata(), table[name])
    low, high = ax.get_ylim()
    assert table["treat all"].min() < low < 0 < table.to_numpy().max() < high


@pytest.mark.parametrize("value", ["recall", "precision"])
def test_recall_curve_is_the_table(ax, value):
    table = recall_curve(FRAME, AlarmPolicy(silence="6h"), budgets=[0.1, 0.5, 1, 2], n_boot=20)
    plot_recall(table, value=value, ax=ax)
    for model, line in labelled(ax).items():
        part = table.loc[model].dropna(subset=[value])
        np.testing.assert_array_equal(line.get_xdata(), part["alarms_per_day"])
        np.testing.assert_array_equal(line.get_ydata(), part[value])
    assert len(ax.collections) == 2  # bands
    assert ax.get_xscale() == "log"


def test_budgets_out_of_reach_are_not_drawn(ax):
    table = recall_curve(FRAME, AlarmPolicy(silence="24h"), budgets=[0.5, 50], n_boot=0)
    drawn = labelled(plot_recall(table, ax=ax))["sharp"].get_xdata()
    assert drawn.tolist() == [table.loc[("sharp", 0.5), "alarms_per_day"]]
    assert ax.get_xlim()[0] == 0
    none = recall_curve(FRAME, AlarmPolicy(silence="24h"), budgets=[50], n_boot=0)
    with pytest.raises(DataError, match=r"no budget is within reach.*found 50.*budgets="):
        plot_recall(none, ax=ax)


def test_a_model_that_cannot_spend_its_budget_stands_where_its_alarms_are(ax):
    rows = [("coarse", 0.1, 0.0, 0.0), ("coarse", 0.5, 0.3, 0.6), ("coarse", 2.0, 1.0, 0.9)]
    table = pd.DataFrame(rows, columns=["model", "budget", "alarms_per_day", "recall"])
    table = table.assign(recall_low=np.nan, recall_high=np.nan).set_index(["model", "budget"])
    line = labelled(plot_recall(table, ax=ax))["coarse"]
    assert line.get_xdata().tolist() == [0.3, 1.0] and line.get_ydata().tolist() == [0.6, 0.9]
    with pytest.raises(DataError, match=r"no budget is within reach.*by one alarm or more"):
        plot_recall(table.assign(alarms_per_day=0.0), ax=ax)


def test_a_timeline_sets_the_panel_the_risk_and_the_event_side_by_side():
    policy = AlarmPolicy(0.2, silence="2h")
    table = patient_timeline(PANEL, FRAME, "p2", model="sharp", policy=policy)
    rows = FRAME[(FRAME["model"] == "sharp") & (FRAME["series"] == "p2")]
    pd.testing.assert_index_equal(table.index, HOURS, check_names=True, exact="equiv")
    np.testing.assert_array_equal(table["risk"], rows["risk"])
    np.testing.assert_array_equal(table["at_risk"], rows["at_risk"])
    np.testing.assert_array_equal(table["alarm"], policy.apply(rows))
    assert table["alarm"].sum() >= 1
    np.testing.assert_array_equal(table["heart_rate"], PANEL.loc["p2", "heart_rate"])
    np.testing.assert_array_equal(table["NEWS2"], news2(PANEL.loc["p2"]))
    assert table.index[table["event"]].tolist() == [pd.Timedelta("20h")]
    assert table.attrs["vitals"] == ["resp_rate", "heart_rate"]
    assert table.attrs["threshold"] == 0.2 and table.attrs["series"] == "p2"


def test_thresholds_by_model_and_several_events_are_understood():
    policy = AlarmPolicy({"sharp": 0.2, "dull": 0.9})
    assert (
        patient_timeline(PANEL, FRAME, "p0", model="dull", policy=policy).attrs["threshold"] == 0.9
    )
    twice = FRAME[(FRAME["model"] == "sharp") & (FRAME["series"] == "p0")].copy()
    twice["at_risk"] = True
    twice["hours_to_event"] = [*range(10, 0, -1), *range(14, 0, -1)]
    events = patient_timeline(PANEL, twice, "p0")["event"]
    assert events[events].index.tolist() == [pd.Timedelta("10h"), pd.Timedelta("24h")]


def test_of_a_patient_without_event_or_of_live_risks_none_is_drawn():
    assert not patient_timeline(PANEL, FRAME, "p1", model="dull")["event"].any()
    live = pd.DataFrame({"risk": 0.5}, index=PANEL.index)
    table = patient_timeline(PANEL, live, "p0", policy=AlarmPolicy(0.4, silence="6h"))
    assert table["alarm"].sum() == 4 and table["at_risk"].all() and not table["event"].any()
    one = patient_timeline(PANEL.loc["p0"], live.loc["p0"])
    pd.testing.assert_frame_equal(one, table.assign(alarm=False), check_freq=False)


def test_dates_are_kept():
    day = pd.Timestamp("2024-03-01")
    panel = PANEL.loc[["p0"]].set_axis(
        pd.MultiIndex.from_product([["p0"], day + HOURS], names=["patient", "at"])
    )
    frame = FRAME[(FRAME["model"] == "dull") & (FRAME["series"] == "p0")]
    table = patient_timeline(panel, frame.assign(time=day + HOURS), "p0")
    assert table.index[table["event"]].tolist() == [pd.Timestamp("2024-03-01 20:00")]
    drawn = plot_patient(table, ax=matplotlib.figure.Figure())
    assert drawn[-1].get_xlabel() == ""


def test_the_panels_of_a_patient_show_the_timeline():
    table = patient_timeline(
        PANEL, FRAME, "p2", model="sharp", policy=AlarmPolicy(0.2), vitals=["weight", "heart_rate"]
    )
    weight, pulse, score, risk = plot_patient(table, ax=matplotlib.figure.Figure())
    hours = np.arange(24.0)
    np.testing.assert_array_equal(weight.get_lines()[0].get_ydata(), 70.0)
    np.testing.assert_array_equal(pulse.get_lines()[0].get_xdata(), hours)
    np.testing.assert_array_equal(pulse.get_lines()[0].get_ydata(), table["heart_rate"])
    np.testing.assert_array_equal(score.get_lines()[0].get_ydata(), table["NEWS2"])
    lines = labelled(risk)
    np.testing.assert_array_equal(lines["risk"].get_ydata(), table["risk"].where(table["at_risk"]))
    np.testing.assert_array_equal(lines["not at risk"].get_ydata(), table["risk"])
    np.testing.assert_array_equal(lines["alarm"].get_xdata(), hours[table["alarm"]])
    assert lines["threshold"].get_ydata() == [0.2, 0.2]
    for axes in (weight, pulse, score, risk):
        assert [20.0, 20.0] in [list(line.get_xdata()) for line in axes.get_lines()]
    assert weight.get_ylabel() == "weight\n(kg)" and risk.get_xlabel() == "since admission (hours)"


def test_alarms_go_through_all_panels_while_they_are_few():
    policy = AlarmPolicy(0.2)
    table = patient_timeline(PANEL, FRAME, "p2", model="sharp", policy=policy)
    hours = {float(hour) for hour in np.flatnonzero(table["alarm"])}
    pulse = plot_patient(table, ax=matplotlib.figure.Figure())[0]
    upright = [line.get_xdata() for line in pulse.get_lines() if len(line.get_xdata()) == 2]
    assert hours and {float(x[0]) for x in upright if x[0] == x[1]} == {*hours, 20.0}
    often = table.assign(alarm=True)
    pulse = plot_patient(often, ax=matplotlib.figure.Figure())[0]
    assert sum(len(line.get_xdata()) == 2 for line in pulse.get_lines()) == 1  # the event


def test_a_stay_is_counted_in_hours_of_the_day_and_its_legend_stands_below():
    table = patient_timeline(PANEL, FRAME, "p2", model="sharp", policy=AlarmPolicy(0.2))
    figure = matplotlib.figure.Figure(layout="constrained")
    risk = plot_patient(table, ax=figure)[-1]
    assert set(np.diff(risk.get_xticks())) == {2.0}  # 24 hours in at most 12 steps
    assert risk.get_legend() is None
    (below,) = figure.legends
    figure.draw_without_rendering()
    assert below.get_window_extent().y1 < risk.get_window_extent().y0
    plain = plot_patient(table, ax=matplotlib.figure.Figure())[-1]
    assert plain.get_legend() is not None


def test_values_that_were_not_measured_leave_no_mark():
    panel = PANEL.copy()
    panel.loc[("p0", HOURS[3:9]), "heart_rate"] = np.nan
    table = patient_timeline(panel, FRAME, "p0", model="dull", vitals=["heart_rate"])
    pulse = plot_patient(table, ax=matplotlib.figure.Figure())[0].get_lines()[0]
    assert len(pulse.get_xdata()) == 18 and pulse.get_marker() == "."


def test_risks_at_other_times_than_the_vital_signs_are_joined():
    later = PANEL.copy()
    later.index = later.index.set_levels(HOURS + pd.Timedelta("10min"), level=1)
    table = patient_timeline(later, FRAME, "p2", model="sharp")
    assert len(table) == 48
    *_, score, risk = plot_patient(table, ax=matplotlib.figure.Figure())
    steps = score.get_lines()[0]
    np.testing.assert_array_equal(steps.get_ydata(), news2(PANEL.loc["p2"]))
    own = FRAME[(FRAME["model"] == "sharp") & (FRAME["series"] == "p2")]
    lines = labelled(risk)
    np.testing.assert_array_equal(lines["not at risk"].get_ydata(), own["risk"])
    np.testing.assert_array_equal(lines["risk"].get_ydata(), own["risk"].where(own["at_risk"]))


def test_one_row_at_risk_between_others_is_marked():
    table = patient_timeline(PANEL, FRAME, "p1", model="sharp")
    table["at_risk"] = np.arange(24) == 7
    risk = labelled(plot_patient(table, ax=matplotlib.figure.Figure())[-1])["risk"]
    assert list(risk.get_markevery()) == [7] and risk.get_marker() != "None"


def test_without_inputs_of_news2_there_is_no_panel_of_it():
    panel = PANEL[["weight"]]
    table = patient_timeline(panel, FRAME, "p0", model="dull")
    assert table["NEWS2"].isna().all()
    assert len(plot_patient(table, ax=matplotlib.figure.Figure())) == 2


def test_a_stay_of_three_rows_and_of_ten_thousand():
    for n in (3, 10_000):
        time = pd.timedelta_range("0h", periods=n, freq="1min")
        table = pd.DataFrame(
            {"pulse": 80.0, "NEWS2": 1.0, "risk": np.linspace(0, 1, n), "at_risk": True,
             "alarm": False, "event": False}, index=time
        )  # fmt: skip
        figure = matplotlib.figure.Figure(layout="constrained")
        assert len(plot_patient(table, ax=figure)) == 3
        figure.draw_without_rendering()


def test_wrong_timelines_are_refused():
    with pytest.raises(ValueError, match=r"'series'.*12 stays, such as 'p0', found None"):
        patient_timeline(PANEL, FRAME, model="dull")
    with pytest.raises(ValueError, match=r"'series'.*found 'p99'"):
        patient_timeline(PANEL, FRAME, "p99", model="dull")
    with pytest.raises(ValueError, match=r"'model'.*\['sharp', 'dull'\], found None"):
        patient_timeline(PANEL, FRAME, "p0")
    with pytest.raises(ValueError, match=r"'vitals'.*found 'pulse'"):
        patient_timeline(PANEL, FRAME, "p0", model="dull", vitals=["pulse"])
    with pytest.raises(ValueError, match=r"'vitals'.*a list of columns, found 'heart_rate'"):
        patient_timeline(PANEL, FRAME, "p0", model="dull", vitals="heart_rate")
    with pytest.raises(ValueError, match=r"'threshold'.*a number.*found None"):
        patient_timeline(PANEL, FRAME, "p0", model="dull", policy=AlarmPolicy())
    with pytest.raises(DataError, match=r"no risks.*found heart_rate, resp_rate.*event_frame"):
        patient_timeline(PANEL, PANEL, "p0")
    with pytest.raises(DataError, match=r"no risks of this stay \(series 'p0'\).*11 stays"):
        patient_timeline(PANEL, FRAME[FRAME["series"] != "p0"], "p0", model="dull")


@pytest.mark.parametrize(
    "draw, maker",
    [
        (plot_reliability, r"reliability\(result.frame\)"),
        (plot_decision_curve, r"net_benefit\(result.frame, thresholds\)"),
        (plot_recall, r"recall_curve\(result.frame, policy\)"),
        (plot_patient, r"patient_timeline\(panel, risks, series\)"),
    ],
)
def test_another_table_is_refused_with_the_one_that_is_meant(draw, maker, ax):
    with pytest.raises(DataError, match=rf"cannot be drawn.*found heart_rate, .*{maker}"):
        draw(PANEL, ax=ax)
    assert not ax.get_lines()


def test_wrong_words_are_refused(ax):
    with pytest.raises(ValueError, match=r"'scale'.*found 'log'"):
        plot_reliability(reliability(FRAME), scale="log", ax=ax)
    with pytest.raises(ValueError, match=r"'value'.*found 'lead'"):
        plot_recall(FRAME, value="lead", ax=ax)
    table = patient_timeline(PANEL, FRAME, "p2", model="sharp")
    with pytest.raises(ValueError, match=r"'ax'.*4 Axes \(4 x 1\), a Figure, or None"):
        plot_patient(table, ax=ax)


def test_a_backtest_of_events_draws_what_alarms_catch(ax):
    result = EventBacktest(FRAME.assign(fold=0))
    assert result.plot(ax) is ax
    curve = recall_curve(FRAME, AlarmPolicy(), n_boot=200)
    for model, line in labelled(ax).items():
        np.testing.assert_array_equal(line.get_ydata(), curve.loc[model, "recall"].dropna())
    ax.clear()
    policy = AlarmPolicy(silence="24h")
    result.plot(ax, policy=policy)
    curve = recall_curve(FRAME, policy, n_boot=0)
    dull = labelled(ax)["dull"]
    np.testing.assert_array_equal(dull.get_ydata(), curve.loc["dull", "recall"].dropna())
    assert dull.get_xdata().max() < 2.0  # a day of silence leaves one alarm a day
