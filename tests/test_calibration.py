"""signlib.calibration: against models whose confidence is known to be right, too high or too low."""

import numpy as np
import pytest

from signlib import calibration


def honest(clips=20_000, classes=4, sharpness=2.0, seed=0):
    """(probabilities, labels): each label is drawn from its clip's own probabilities."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(clips, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, (probabilities.cumsum(axis=1) < rng.random((clips, 1))).sum(axis=1)


def test_an_honest_model_has_no_calibration_error_and_a_boaster_has():
    probabilities, labels = honest()
    error, table = calibration.reliability(probabilities, labels)
    assert error < 0.015 and table.clips.sum() == len(labels)
    assert (abs(table.confidence - table.accuracy) < 0.1).all()
    assert calibration.reliability(calibration.soften(probabilities, 0.3), labels)[0] > 0.1


def test_the_error_is_that_of_a_hand_made_example():
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.65, 0.35], [0.4, 0.6]])
    error, table = calibration.reliability(probabilities, np.array([0, 1, 0, 1]))
    assert table.clips.tolist() == [2, 2] and table.accuracy.tolist() == [1, 0.5]  # 60 to 70 %, 90 to 100 %
    assert error == pytest.approx((abs(0.625 - 1) + abs(0.935 - 0.5)) / 2)
    assert calibration.reliability(np.array([[1.0, 0.0]]), np.array([0]))[0] == 0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found_and_undone(temperature):
    probabilities, labels = honest()
    sharper = calibration.soften(probabilities, 1 / temperature)
    found = calibration.fit_temperature(sharper, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    np.testing.assert_allclose(calibration.soften(sharper, found), probabilities, atol=0.03)


def test_where_all_are_right_or_a_probability_is_zero_the_temperature_is_a_number():
    assert calibration.fit_temperature(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1])) == 1
    assert 1 < calibration.fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 1])) < 25


def test_a_temperature_is_not_judged_by_the_clips_it_was_fitted_on():
    probabilities, labels = honest(clips=400)
    sharper, units = calibration.soften(probabilities, 0.4), np.arange(400) // 2
    softened = calibration.crossfit(sharper, labels, units)
    spread = [np.log(one.max(axis=1) / one.min(axis=1)) for one in (sharper, softened)]
    used = set(np.round(spread[0] / spread[1], 6))
    assert len(used) == 2  # one temperature a half, and neither that of all
    assert round(calibration.fit_temperature(sharper, labels), 6) not in used
    pairs = softened.reshape(200, 2, 4), sharper.reshape(200, 2, 4)
    for new, old in zip(*pairs, strict=True):  # clips of one unit are in one half
        ratio = [np.log(o.max() / o.min()) / np.log(n.max() / n.min()) for n, o in zip(new, old, strict=True)]
        assert ratio[0] == pytest.approx(ratio[1], abs=1e-6)
    np.testing.assert_array_equal(calibration.crossfit(sharper, labels, np.zeros(400, int)), sharper)


def test_the_threshold_gives_most_answers_of_the_accuracy_that_is_wanted():
    confidence = np.repeat([0.9, 0.8, 0.8, 0.7, 0.6], 30)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    table = calibration.coverage(probabilities, np.repeat([0, 0, 1, 0, 1], 30))
    assert table.clips.tolist() == [150, 120, 90, 30]
    assert table.threshold.tolist() == [0.6, 0.7, 0.8, 0.9] and table.coverage.tolist() == [1, 0.8, 0.6, 0.2]
    assert table.accuracy.tolist() == pytest.approx([0.6, 0.75, 2 / 3, 1])
    assert calibration.reject_threshold(table, 0.7).threshold == 0.7  # more answers than at 0.9
    assert calibration.reject_threshold(table, 0.9).threshold == 0.9
    assert calibration.reject_threshold(calibration.coverage(probabilities, np.ones(150, int)), 0.5) is None


def test_a_threshold_does_not_rest_on_a_few_lucky_clips():
    confidence = np.linspace(0.99, 0.51, 200)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.ones(200, int)
    labels[:29] = 0  # the surest are right, all others wrong
    assert calibration.reject_threshold(calibration.coverage(probabilities, labels), 0.97) is None
    labels[29] = 0
    assert calibration.reject_threshold(calibration.coverage(probabilities, labels), 0.97).clips == 30
