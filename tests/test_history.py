"""Accuracies are shown in range, and what was cut is told."""

import math

import pytest

from signlib.history import clamp_history, duration, percent


def test_accuracies_are_clamped_losses_never_and_raw_values_are_kept():
    raw = {"loss": [-11.0, 3.0], "accuracy": [-0.25, 0.5], "val_accuracy": [1.5, math.nan], "val_loss": [math.inf, 1.0]}
    with pytest.warns(UserWarning, match="2 accuracy values") as told:
        shown = clamp_history(raw)
    assert len(told) == 1
    assert shown["accuracy"] == [0.0, 0.5] and shown["val_accuracy"][0] == 1.0 and math.isnan(shown["val_accuracy"][1])
    assert shown["loss"] == [-11.0, 3.0] and shown["val_loss"][0] == math.inf
    assert shown.raw["accuracy"] == [-0.25, 0.5]
    assert shown.clamped == {"loss": [], "accuracy": [0], "val_accuracy": [0], "val_loss": []}


def test_a_history_in_range_is_unchanged_and_silent():
    history = {"accuracy": [0.0, 1.0], "loss": [2.0, 1.0]}
    assert clamp_history(history) == history


def test_percentages_in_the_log_stay_between_0_and_100():
    assert percent("accuracy", {"accuracy": 0.1234}) == "12.3 %"
    assert percent("accuracy", {"accuracy": -0.1}) == "0.0 %!"
    assert percent("val_accuracy", {"val_accuracy": 1.2}) == "100.0 %!"
    assert percent("accuracy", {"accuracy": math.nan}) == "nan %"


def test_durations_read_well():
    assert [duration(s) for s in (3.21, 240, 9000)] == ["3.2 s", "4 min", "2.5 h"]
