"""signlib.diagnose: each rule finds its own fault, and healthy runs have none."""

import math

import numpy as np
import pytest

from signlib.diagnose import diagnose
from tests.test_predictions import predictions


def run(**changes):
    """run.json of a healthy run of 20 epochs over four glosses, with changes."""
    fall = np.exp(-np.arange(20) / 6)
    history = {
        "loss": (0.2 + 1.2 * fall).tolist(),
        "accuracy": (0.9 - 0.6 * fall).tolist(),
        "val_loss": (0.4 + fall).tolist(),
        "val_accuracy": (0.85 - 0.6 * fall).tolist(),
    }
    changes = dict(changes)
    history |= changes.pop("history", {})
    state = {
        "status": "finished",
        "reason": "",
        "classes": ["a", "b", "c", "d"],
        "start_loss": 1.4,
        "best_epoch": 20,
        "parameters": {"LEARNING_RATE": 3e-4, "PATIENCE": 15, "BATCH_SIZE": 32, "AUGMENT": True, "MIXUP": 0.0},
    }
    return state | {"history": history} | changes


def found(state, judged=None):
    return {finding.problem: finding for finding in diagnose(state, judged)}


def healthy_predictions():
    labels = np.arange(400) % 4
    return predictions(labels, np.where(np.arange(400) % 10 == 0, (labels + 1) % 4, labels), classes="abcd")


def test_nothing_is_found_in_a_healthy_run():
    assert found(run(), healthy_predictions()) == {}


@pytest.mark.parametrize(("name", "value"), [("loss", -11.2), ("val_loss", -0.1), ("accuracy", 1.4), ("val_accuracy", -0.3)])
def test_labels_that_do_not_match_the_loss_are_told_by_impossible_values(name, value):
    values = [*run()["history"][name]]
    values[3] = value
    finding = found(run(history={name: values}))["labels"]
    assert f"{name} was {value}" in finding.evidence and "epoch 4" in finding.evidence and "one-hot" in finding.advice


@pytest.mark.parametrize("start", [0.1, 9.0])
def test_a_loss_that_starts_far_from_guessing_is_found(start):
    finding = found(run(start_loss=start))["start loss"]
    assert f"{start:.3g}" in finding.evidence and f"ln(4) = {math.log(4):.3g}" in finding.evidence
    assert "start loss" not in found(run(start_loss=math.nan))  # a run that was resumed before it had one


def test_an_unstable_run_is_told_the_notes_learning_rates_in_turn():
    loss = run()["history"]["loss"]
    loss[7] += 2
    for rate, advice in (
        (1e-3, "to 0.0001, then to 5e-5"),
        (3e-4, "to 0.0001, then"),
        (1e-4, "to 5e-05"),
        (5e-5, "to 2.5e"),
    ):
        state = run(history={"loss": loss})
        state["parameters"]["LEARNING_RATE"] = rate
        finding = found(state)["unstable"]
        assert f"set LEARNING_RATE {advice}" in finding.advice and "epoch 8" in finding.evidence
    assert "unstable" in found(run(status="diverged", reason="the loss became nan in epoch 3"))
    assert "val_loss was not finite" in found(run(history={"val_loss": [1.0, math.nan, *[1.0] * 18]}))["unstable"].evidence


def test_a_plateau_asks_for_more_patience():
    short = {name: values[:19] for name, values in run()["history"].items()}
    state = run(history=short, best_epoch=4, reason="val_loss has not improved for 15 epochs")
    assert "set PATIENCE to 30" in found(state)["plateau"].advice
    assert "plateau" not in found(run(history=short, best_epoch=15, reason=state["reason"]))


def test_validation_that_turned_up_is_overfitting_and_no_plateau():
    history = {
        "loss": np.linspace(0.85, 0.02, 18).tolist(),
        "accuracy": np.linspace(0.6, 1, 18).tolist(),
        "val_loss": [1.3, 1.2, 1.1, *np.linspace(1.2, 2.9, 15)],
        "val_accuracy": [0.45, 0.47, *[0.48] * 16],
    }
    seen = found(run(history=history, best_epoch=3, reason="val_loss has not improved for 15 epochs"))
    assert (
        seen.keys() == {"overfitting"}
        and "in epoch 18 (the best was 3) 100% of the training clips" in seen["overfitting"].evidence
    )


def test_overfitting_and_underfitting_are_told_apart():
    low, high = [0.3] * 20, [0.95] * 20
    over = found(run(history={"accuracy": high, "val_accuracy": [0.5] * 20}))
    assert "overfitting" in over and "underfitting" not in over and "95% of the training" in over["overfitting"].evidence
    under = found(run(history={"accuracy": low, "val_accuracy": [0.28] * 20}))
    assert "underfitting" in under and "overfitting" not in under and "more EPOCHS" in under["underfitting"].advice
    augmented = {"accuracy": [0.54] * 20, "val_accuracy": [0.81] * 20}  # mixup and dropout are in the training clips alone
    assert found(run(history=augmented)) == {}
    rest = found(run(history={"accuracy": low, "val_accuracy": low, "loss": [1.2] * 20}))
    assert "higher LEARNING_RATE" in rest["underfitting"].advice


def test_a_model_that_reads_one_gloss_is_collapsed():
    labels = np.arange(400) % 4
    assert "300 of 400" in found(run(), predictions(labels, np.where(labels < 3, 1, 3), classes="abcd"))["collapsed"].evidence
    two = np.arange(40) % 2
    assert "40 of 40" in found(run(), predictions(two, 0 * two, classes="ab"))["collapsed"].evidence
    many = np.where(np.arange(400) < 280, 1, labels)  # of the clips themselves 70 % are of that gloss
    assert "collapsed" not in found(run(), predictions(many, many, classes="abcd"))


def test_a_validation_side_too_small_to_choose_an_epoch_is_found():
    labels = np.arange(12) % 4
    finding = found(run(), predictions(labels, np.where(labels == 1, 2, labels), classes="abcd"))["validation too small"]
    assert "12 clips" in finding.evidence and "one clip is 8.3%" in finding.evidence


@pytest.mark.parametrize("reason", [
    "TrainingError: memory ran out; no epoch was finished", "the kernel was killed (SIGKILL) by the system"])  # fmt: skip
def test_a_run_that_memory_ended_is_told_the_notes_batch_sizes(reason):
    for size, advice in ((32, "to 16, then to 8"), (16, "to 8,"), (8, "to 4,"), (1, "to 1,")):
        state = {"status": "failed", "reason": reason, "parameters": {"BATCH_SIZE": size}}  # without a history
        assert f"set BATCH_SIZE {advice}" in found(state)["memory"].advice


def test_of_a_run_that_died_nobody_knows_why():
    finding = found({"status": "died", "reason": "process 12 on here ended without saying how", "parameters": {}})["died"]
    assert "go on with RESUME" in finding.advice and "process 12" in finding.evidence


def test_a_run_that_failed_before_its_first_epoch_is_told_by_its_reason():
    for reason, problem in (
        ("TrainingError: the loss became nan in epoch 1, batch 2. There is no best epoch", "unstable"),
        ("TrainingError: val_loss was never finite. There is no best epoch", "unstable"),
        ("TrainingError: the loss is -11.2; a cross-entropy is never negative. Labels and loss do not match", "labels"),
        ("InputError: the audit calls this data unfit", "failed"),
    ):
        assert reason in found({"status": "failed", "reason": reason, "parameters": {}})[problem].evidence


def test_the_gravest_comes_first_and_is_not_explained_away():
    state = run(status="diverged", reason="the loss became inf", history={"accuracy": [0.2] * 20, "val_accuracy": [0.2] * 20})
    assert [finding.problem for finding in diagnose(state)] == ["unstable"]
    text = str(diagnose(state)[0])
    assert text.startswith("UNSTABLE") and "seen:  the loss became inf" in text and "do:    set LEARNING_RATE" in text


def test_a_best_epoch_that_the_history_does_not_reach_is_no_reason_to_fail():
    short = {name: values[:4] for name, values in run()["history"].items()}
    assert found(run(history=short, best_epoch=5)) == {}
