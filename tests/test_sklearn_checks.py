"""The array estimators pass all of scikit-learn's checks, and no tag turns one off."""

from __future__ import annotations

import pytest
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import tsforecast as tsf

FAILING = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a weight of two is one step of twice the size, a sample repeated is in two places of "
        "another order of mini-batches: the same in expectation, but not in numbers"
    ),
}


def each(cell: str) -> list:
    return [tsf.RecurrentRegressor(cell=cell), tsf.RecurrentClassifier(cell=cell)]


def all_checks(cells: list[str]):
    estimators = [estimator for cell in cells for estimator in each(cell)]
    return parametrize_with_checks(
        estimators, expected_failed_checks=lambda estimator: FAILING, xfail_strict=True
    )


@all_checks(["lstm"])
def test_lstm_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@all_checks(["gru", "rnn"])
def test_gru_and_rnn_are_estimators_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", each("lstm"), ids=["regressor", "classifier"])
def test_no_tag_turns_checks_off(estimator):
    tags = get_tags(estimator)
    assert tags.input_tags.two_d_array and tags.input_tags.three_d_array
    assert not (tags.non_deterministic or tags.no_validation or tags._skip_test)
    kind = tags.regressor_tags or tags.classifier_tags
    assert not kind.poor_score
    names = [
        getattr(check, "func", check).__name__ for _, check in estimator_checks_generator(estimator)
    ]
    assert len(names) >= 60
    assert {"check_methods_subset_invariance", "check_methods_sample_order_invariance"} <= set(
        names
    )


def test_tags_say_what_y_may_be():
    regressor, classifier = map(get_tags, each("lstm"))
    assert regressor.target_tags.multi_output
    assert classifier.classifier_tags.multi_label and classifier.classifier_tags.multi_class
    assert not classifier.target_tags.multi_output
