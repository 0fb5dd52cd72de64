"""Net benefit and challenge scores: against plain loops, and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from event_frames import flat_frame, random_frame

from tsforecast import net_benefit, score_2012, utility_2019, utility_threshold
from tsforecast._checks import DataError


def plain_utility(labels, predictions):
    """The definition of the challenge, hour by hour of one patient."""
    total = 0.0
    septic = any(labels)
    onset = list(labels).index(1) + 6 if septic else None
    for hour, predicted in enumerate(predictions):
        if not septic:
            total += -0.05 if predicted else 0.0
            continue
        away = hour - onset
        if away > 3:
            continue
        if predicted:
            total += max((away + 12) / 6, -0.05) if away <= -6 else (3 - away) / 9
        elif away > -6:
            total += -2 * (away + 6) / 9
    return total


def plain_normalised(stays):
    observed = best = inaction = 0.0
    for labels, predictions in stays:
        ideal = np.zeros(len(labels))
        if any(labels):
            onset = list(labels).index(1) + 6
            ideal[max(0, onset - 12) : min(onset + 4, len(labels))] = 1
        observed += plain_utility(labels, predictions)
        best += plain_utility(labels, ideal)
        inaction += plain_utility(labels, np.zeros(len(labels)))
    return (observed - inaction) / (best - inaction)


def random_stays(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels, risks = [], []
    for stay in range(n):
        hours = int(rng.integers(1, 50))
        label = np.zeros(hours)
        if stay % 3 == 0:
            label[int(rng.integers(0, hours)) :] = 1
        labels.append(label)
        risks.append(np.round(rng.random(hours) * 0.7 + 0.3 * label, 2))
    index = pd.MultiIndex.from_tuples(
        [(f"s{k}", hour) for k, label in enumerate(labels) for hour in range(len(label))]
    )
    return labels, risks, index


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9, 2.0])
def test_the_utility_of_2019_is_the_published_definition(threshold):
    labels, risks, index = random_stays()
    label = pd.Series(np.concatenate(labels), index=index)
    predicted = pd.Series(np.concatenate(risks) >= threshold, index=index)
    plain = plain_normalised([(a, b >= threshold) for a, b in zip(labels, risks)])
    assert utility_2019(label, predicted) == pytest.approx(plain, abs=1e-12)


def test_the_utility_of_2019_worked_by_hand():
    # first label in row 6: onset at 12; rows 0 to 15 are -12 to 3 hours away
    label = np.array([0] * 6 + [1] * 12)
    best = np.array([1] * 16 + [0] * 2)
    assert utility_2019(label, best) == 1
    assert utility_2019(label, np.zeros(18)) == 0
    # -12 to -7 gain 0, 1/6, ..., 5/6: 2.5. From -6 on found gives 1, 8/9, ..., 0 (5 in all), and
    # missed costs 0, 2/9, ..., 2 (10 in all): 15. Rows 16 and 17 do not count.
    assert utility_2019(label, label) == pytest.approx(15 / 17.5)
    one = np.zeros(18)
    one[6] = 1
    assert utility_2019(label, one) == pytest.approx(1 / 17.5)
    late = np.zeros(18)
    late[16:] = 1
    assert utility_2019(label, late) == 0
    # beside a patient without sepsis, every alarm of whom costs 0.05
    index = pd.MultiIndex.from_tuples([*(("ill", h) for h in range(18)), ("well", 0), ("well", 1)])
    both = pd.Series([*label, 0, 0], index=index)
    alarms = pd.Series([*best, 1, 1], index=index)
    assert utility_2019(both, alarms) == pytest.approx((17.5 - 0.1) / 17.5)


def test_a_stay_that_is_septic_from_its_first_row_has_its_onset_six_hours_later():
    label = np.ones(8)
    predicted = np.array([1, 0, 0, 0, 0, 0, 0, 0])
    assert utility_2019(label, predicted) == pytest.approx(plain_normalised([(label, predicted)]))


def test_the_threshold_of_2019_gains_most():
    labels, risks, index = random_stays()
    label = pd.Series(np.concatenate(labels), index=index)
    risk = pd.Series(np.concatenate(risks), index=index)
    gains = {level: utility_2019(label, risk >= level) for level in np.unique(risk)}
    best = utility_threshold(label, risk)
    assert gains[best] == pytest.approx(max(gains.values()))
    assert utility_threshold([0, 0, 0, 1], [0.9, 0.9, 0.9, 0.1]) == 0.1
    well = pd.MultiIndex.from_product([["ill", "well"], range(200)])
    septic_late = pd.Series([0] * 199 + [1] + [0] * 200, index=well)
    same = pd.Series(0.5, index=well)
    assert utility_threshold(septic_late, same) == np.inf


def test_the_utility_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="no label|0 or 1 in every row"):
        utility_2019([0, 2], [0, 1])
    with pytest.raises(DataError, match="predictions are no decisions"):
        utility_2019([0, 1], [0, 0.4])
    with pytest.raises(DataError, match=r"do not fit together.*\(3,\) labels and \(2,\)"):
        utility_2019([0, 1, 1], [0, 1])
    with pytest.raises(DataError, match="nothing to gain"):
        utility_2019([0, 0], [0, 1])
    with pytest.raises(DataError, match="a risk is missing"):
        utility_threshold([0, 1], [0.2, np.nan])
    torn = pd.MultiIndex.from_tuples([("a", 0), ("b", 0), ("a", 1)])
    with pytest.raises(DataError, match="rows are not in order"):
        utility_2019(pd.Series([0, 1, 1], index=torn), pd.Series([0, 1, 1], index=torn))
    index = pd.MultiIndex.from_tuples([("a", 0), ("a", 1)])
    backwards = pd.Series([1, 0], index=index[::-1])
    with pytest.raises(DataError, match="rows are not in order.*1 rows before the one above"):
        utility_2019(backwards, backwards)
    with pytest.raises(DataError, match="rows are not in order.*an index that falls"):
        utility_2019(backwards.droplevel(0), backwards.droplevel(0))
    with pytest.raises(DataError, match="do not fit together"):
        utility_2019(pd.Series([0, 1], index=index), pd.Series([0, 1], index=index[::-1]))


def plain_2012(y, risk, threshold=0.5):
    predicted = risk >= threshold
    true = (y[predicted] == 1).sum()
    event1 = min(true / (y == 1).sum(), true / predicted.sum() if predicted.sum() else 0)
    order, size, h, means = np.argsort(risk, kind="stable"), len(y) // 10, 0.0, []
    for k in range(10):
        group = order[k * size : (k + 1) * size]
        mean = risk[group].mean()
        h += (y[group].sum() - size * mean) ** 2 / (size * mean * (1 - mean) + 0.001)
        means.append(mean)
    return event1, h / (means[-1] - means[0])


def test_the_scores_of_2012_are_the_published_ones():
    rng = np.random.default_rng(0)
    risk = rng.beta(1, 6, 400)
    y = (rng.random(400) < risk).astype(float)
    for threshold in (0.1, 0.3, 0.99):
        assert score_2012(y, risk, threshold=threshold) == pytest.approx(
            plain_2012(y, risk, threshold)
        )
    assert score_2012(y, np.clip(3 * risk, 0, 1)).event2 > 5 * score_2012(y, risk).event2
    assert score_2012(y, np.full(400, 0.1)).event2 == np.inf


def test_the_scores_of_2012_refuse_what_cannot_be_scored():
    with pytest.raises(DataError, match="at least 10 patients"):
        score_2012([0, 1], [0.1, 0.2])
    with pytest.raises(DataError, match="0 and 1, some of each"):
        score_2012(np.zeros(10), np.full(10, 0.1))
    with pytest.raises(DataError, match="no probability"):
        score_2012([0, 1] * 5, np.full(10, np.nan))


def test_net_benefit_is_true_less_priced_false_positives():
    frame = random_frame(digits=2)
    levels = [0.05, 0.2, 0.5]
    table = net_benefit(frame, levels)
    for name in ("a", "b"):
        rows = frame[(frame["model"] == name) & frame["eligible"]]
        for level in levels:
            acted = rows["risk"] >= level
            true, false = (acted & (rows["event"] == 1)).sum(), (acted & (rows["event"] == 0)).sum()
            plain = (true - false * level / (1 - level)) / len(rows)
            assert table.loc[level, name] == pytest.approx(plain)
            share = rows["event"].mean()
            assert table.loc[level, "treat all"] == pytest.approx(
                share - (1 - share) * level / (1 - level)
            )
    assert (table["treat none"] == 0).all()
    assert list(table.columns) == ["a", "b", "treat all", "treat none"]


def test_acting_on_everybody_is_a_threshold_below_all_risks():
    frame = flat_frame([0.5, 0.6, 0.7, 0.8], [0, 1, 0, 1])
    table = net_benefit(frame, [0.1])
    assert table.loc[0.1, "m"] == table.loc[0.1, "treat all"]
    with pytest.raises(ValueError, match="risks between 0 and 1"):
        net_benefit(frame, [0.0, 0.5])
