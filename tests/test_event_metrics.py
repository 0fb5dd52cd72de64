"""Metrics of events against scikit-learn, and their bootstrap against one row after the other."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from event_frames import flat_frame, random_frame
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from tsforecast import by_subgroup, compare_events, event_metrics
from tsforecast._checks import DataError
from tsforecast.backtesting.eventframe import event_rows, replicates, select
from tsforecast.backtesting.events import auroc_of

PLAIN = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "brier": brier_score_loss,
}


def of_model(frame, name):
    return frame[frame["model"] == name]


@pytest.mark.parametrize("digits", [None, 2, 1])
def test_scores_are_those_of_scikit_learn_with_and_without_ties(digits):
    frame = random_frame(digits=digits)
    table = event_metrics(frame, n_boot=0)
    for name in ("a", "b"):
        rows = of_model(frame, name)
        rows = rows[rows["eligible"]]
        for metric, plain in PLAIN.items():
            assert table.loc[name, metric] == pytest.approx(plain(rows["event"], rows["risk"]))


def test_a_replicate_is_the_score_of_the_drawn_patients_rows():
    frame = random_frame(40, digits=2, stays_per_patient=2)
    rows = of_model(frame, "a")
    rows = rows[rows["eligible"]]
    groups = [part for _, part in rows.groupby("group", sort=False)]
    weights = np.concatenate(list(replicates(len(groups), 200, 3, 64)), axis=1)
    drawn = []
    for counts in weights.T.astype(int):
        sample = pd.concat([part for part, n in zip(groups, counts) for _ in range(n)])
        drawn.append([plain(sample["event"], sample["risk"]) for plain in PLAIN.values()])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    table = event_metrics(frame, n_boot=200, random_state=3).loc["a"]
    for k, metric in enumerate(PLAIN):
        assert table[f"{metric}_low"] == pytest.approx(low[k])
        assert table[f"{metric}_high"] == pytest.approx(high[k])


def test_replicates_draw_as_many_patients_as_there_are_whatever_the_chunk():
    one = np.concatenate(list(replicates(7, 10, 0, 3)), axis=1)
    other = np.concatenate(list(replicates(7, 10, 0, 100)), axis=1)
    assert one.shape == (7, 10)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one.sum(axis=0), 7)


def test_intervals_treat_the_stays_of_a_patient_as_one():
    frame = random_frame(40, models=("a",), seed=1)
    copies = [frame.assign(series=frame["series"] + f"_{k}", group=frame["series"]) for k in "xyz"]
    tripled = pd.concat(copies, ignore_index=True)
    expected = event_metrics(frame, n_boot=300)
    grouped = event_metrics(tripled, n_boot=300)
    np.testing.assert_allclose(expected, grouped, rtol=1e-9)
    naive = event_metrics(tripled.drop(columns="group"), n_boot=300)
    width = naive["auroc_high"] - naive["auroc_low"]
    assert (width < 0.75 * (expected["auroc_high"] - expected["auroc_low"])).all()


def test_models_are_compared_on_the_same_drawn_patients():
    frame = random_frame(models=("a", "b", "c"))
    same = frame["model"] == "c"
    frame.loc[same, "risk"] = frame.loc[frame["model"] == "b", "risk"].to_numpy()
    table = compare_events(frame, "b", n_boot=100)
    assert list(table.index) == ["a", "c"]
    np.testing.assert_array_equal(table.loc["c"].to_numpy(), 0.0)
    single = event_metrics(frame, n_boot=0)["auroc"]
    assert table.loc["a", "auroc"] == pytest.approx(single["a"] - single["b"])
    assert table.loc["a", "auroc_low"] < table.loc["a", "auroc"] < table.loc["a", "auroc_high"]
    assert "difference to 'b'" in repr(table)


def test_order_of_rows_and_index_do_not_matter():
    frame = random_frame(20, irregular=True)
    mixed = frame.sample(frac=1, random_state=0)
    expected, found = (event_metrics(f, n_boot=0) for f in (frame, mixed))
    np.testing.assert_allclose(found.loc[["a", "b"]], expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["hours", "steps", "dates"])
def test_a_landmark_is_the_newest_row_of_each_stay_by_then(kind):
    frame = random_frame(200, models=("a",), irregular=True, kind=kind)
    hours = 20.0
    chosen, stale, not_at_risk, uncounted = [], 0, 0, 0
    for _, stay in frame.groupby("series", sort=False):
        time = stay["time"]
        if kind == "dates":
            time = time - time.iloc[0]
        since = time if kind == "steps" else time / pd.Timedelta(hours=1)
        known = stay[(since <= hours).to_numpy()]
        if len(known) == 0 or since[known.index[-1]] <= hours - 12:
            stale += 1
        elif not known["at_risk"].iloc[-1]:
            not_at_risk += 1
        elif not known["eligible"].iloc[-1]:
            uncounted += 1
        else:
            chosen.append(known.iloc[-1])
    expected = pd.DataFrame(chosen)
    table = event_metrics(frame, at=20 if kind == "steps" else "20h", n_boot=0)
    assert table.attrs["n_rows"] == len(expected) > 10
    plain = roc_auc_score(expected["event"].astype(float), expected["risk"])
    assert table.loc["a", "auroc"] == pytest.approx(plain)
    counts = list(table.attrs["excluded"].values())
    assert counts[:3] == [stale, not_at_risk, uncounted]
    assert min(stale, not_at_risk) > 0


def test_peak_and_last_take_a_row_of_each_stay_and_say_that_they_flatter():
    frame = random_frame(models=("a",))
    stays = frame[frame["eligible"]].groupby("series", sort=False)
    peak, last = (event_metrics(frame, at=at, n_boot=0) for at in ("peak", "last"))
    for table, event, risk in (
        (peak, stays["event"].max(), stays["risk"].max()),
        (last, stays["event"].last(), stays["risk"].last()),
    ):
        assert table.loc["a", "auroc"] == pytest.approx(roc_auc_score(event, risk))
    assert "optimistic" in repr(peak) and "optimistic" in repr(last)


def test_the_header_names_regime_prevalence_and_what_is_out():
    frame = random_frame(models=("a",))
    table = event_metrics(frame, n_boot=0)
    rows = frame[frame["eligible"]]
    assert table.attrs["prevalence"] == pytest.approx(rows["event"].mean())
    assert table.attrs["n_patients"] == rows["series"].nunique()
    out = int((~frame["at_risk"]).sum())
    text = repr(table)
    assert text.startswith(f"every row that counts: {len(rows):,} rows of")
    assert f"{out:,} rows not at risk" in text
    assert f"({rows['event'].mean():.2%})" in text
    assert "every row that counts" in table._repr_html_()
    assert type(table[["auroc"]]) is pd.DataFrame


def test_two_hundred_thousand_rows_are_judged_in_seconds():
    rng = np.random.default_rng(0)
    stay = np.repeat(np.arange(5_000), 40)
    event = (rng.random(len(stay)) < 0.02).astype(float)
    frame = pd.DataFrame(
        {
            "model": "m",
            "series": stay,
            "time": np.tile(np.arange(40), 5_000),
            "risk": rng.random(len(stay)),
            "event": event,
            "eligible": True,
            "at_risk": True,
            "hours_to_event": np.where(event == 1, 1.0, np.nan),
        }
    )
    begin = time.process_time()
    table = event_metrics(frame, n_boot=1000)
    assert time.process_time() - begin < 20  # 200,000 rows; about 1 s alone on a core
    assert table.loc["m", "auroc_low"] < 0.5 < table.loc["m", "auroc_high"]


def test_half_of_a_tie_counts():
    assert auroc_of(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == 0.5


def test_subgroups_have_the_table_of_their_rows_and_those_without_events_are_named():
    frame = random_frame(models=("a",))
    number = frame["series"].str[1:].astype(int)
    well = frame.groupby("series")["event"].transform("max") != 1
    frame["site"] = np.where(well & (number < 20), "small", np.where(number % 2, "odd", "even"))
    table = by_subgroup(frame, "site", lambda part: event_metrics(part, n_boot=0))
    odd = frame[frame["site"] == "odd"]
    odd = odd[odd["eligible"]]
    plain = roc_auc_score(odd["event"], odd["risk"])
    assert table.loc[("odd", "a"), "auroc"] == pytest.approx(plain)
    assert list(table.index.get_level_values(0)) == ["even", "odd"]
    assert "no event" in table.attrs["not_judged"]["small"]
    assert "not judged: small" in repr(table)
    with pytest.raises(DataError, match="expected a column 'sex'"):
        by_subgroup(frame, "sex")


def test_frames_that_cannot_be_judged_are_refused():
    frame = random_frame(30, models=("a", "b"))
    with pytest.raises(DataError, match=r"not an event frame.*found no risk"):
        event_metrics(frame.drop(columns="risk"))
    with pytest.raises(DataError, match=r"model 'b', found 1 others, the first nan"):
        event_metrics(frame.assign(risk=frame["risk"].where(frame.index < len(frame) - 1)))
    with pytest.raises(DataError, match=r"no probability.*from 0 to 1"):
        event_metrics(frame.assign(risk=2.0))
    with pytest.raises(DataError, match="rows are repeated"):
        event_metrics(pd.concat([frame, frame.iloc[:1]]))
    with pytest.raises(DataError, match="models have different rows"):
        event_metrics(frame.iloc[:-1])
    other = frame.copy()
    at = other.index[(other["model"] == "b") & other["eligible"]][0]
    other.loc[at, "event"] = 1 - other.loc[at, "event"]
    with pytest.raises(DataError, match="models have different `event`"):
        event_metrics(other)
    with pytest.raises(DataError, match="event is no label"):
        event_metrics(frame.assign(eligible=True))
    with pytest.raises(DataError, match="no event to tell from others"):
        event_metrics(flat_frame([0.1, 0.2], [0, 0]))
    with pytest.raises(DataError, match="only events"):
        event_metrics(flat_frame([0.1, 0.2], [1, 1]))
    with pytest.raises(DataError, match="empty event frame"):
        event_metrics(frame.iloc[:0])
    with pytest.raises(DataError, match=r"patient changes within a series.*'s0'"):
        event_metrics(frame.assign(group=np.arange(len(frame))))
    with pytest.raises(DataError, match="time is of no known kind"):
        event_metrics(frame.assign(time="8 o'clock"))


def test_parameters_are_checked():
    frame = random_frame(30)
    with pytest.raises(ValueError, match="'every', 'peak', 'last' or a time"):
        event_metrics(frame, at="noon")
    with pytest.raises(ValueError, match="'n_boot'"):
        event_metrics(frame, n_boot=-1)
    with pytest.raises(ValueError, match=r"'reference': expected one of two .* a, b"):
        compare_events(frame, "c")


def test_series_without_a_group_are_patients_of_their_own():
    frame = flat_frame([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], group=["p", "p", None, None])
    rows = event_rows(frame)
    assert rows.n_patients == 3
    assert select(rows).n_patients == 3
