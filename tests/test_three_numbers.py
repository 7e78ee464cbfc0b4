"""signlib.three_numbers: which accuracy to believe, from run folders alone."""

import dataclasses
import json

import numpy as np
import pytest

from signlib import project
from signlib.three_numbers import command, three_numbers
from tests.test_predictions import predictions

DEFAULTS = {name: default for name, (default, _) in project.notebook_parameters().items()}


@pytest.fixture
def write_run(tmp_path):
    """Writes a finished run: name, predictions, and parameters other than the defaults; returns (folder, run)."""

    def write(name, judged, **parameters):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        state = {"status": "finished", "data_fingerprint": "abc", "parameters": DEFAULTS | parameters}
        (folder / "run.json").write_text(json.dumps(state))
        judged.save(folder / "predictions.npz")
        return folder, state

    return write


def judged(right=30, of=40, signers=True, learnt=0):
    labels = np.arange(of) % 3
    known = {"signers": np.array([f"s{i // 4}" for i in range(of)]), "met": np.arange(of) < 36} if signers else {}
    return predictions(
        labels, np.where(np.arange(of) < right, labels, (labels + 1) % 3), learnt=np.arange(of) < learnt, **known
    )


def test_the_signer_disjoint_number_comes_from_the_same_recipe_trained_again(tmp_path, write_run):
    folder, run = write_run("b", judged(learnt=10), SPLIT="official", EPOCHS=7)
    table, believe = three_numbers(folder, run, runs=tmp_path / "runs")
    assert table.number.tolist() == ["official split, validation", "without duplicates", "signer-disjoint"]
    assert table.accuracy[:2].tolist() == pytest.approx([0.75, 20 / 30]) and table.clips.tolist() == [40, 30, 0]
    assert "90% of the clips are of signers who were learnt from" in table.note[0] and "without 10 clips" in table.note[1]
    assert (
        table.note[2] == "not there yet: python train.py --epochs 7 --split signer" and "Believe the second, 66.7%" in believe
    )
    write_run("c", judged(10), SPLIT="signer", EPOCHS=8)  # another recipe
    other, state = write_run("d", judged(12), SPLIT="signer", EPOCHS=7)
    state |= {"data_fingerprint": "other data"}
    (other / "run.json").write_text(json.dumps(state))
    assert three_numbers(folder, run, runs=tmp_path / "runs")[0].clips[2] == 0
    other, state = write_run("e", judged(20), SPLIT="signer", EPOCHS=7)
    (other / "run.json").write_text(json.dumps(state | {"ensemble": ["f", "g"]}))
    assert three_numbers(folder, run, runs=tmp_path / "runs")[0].clips[2] == 0
    write_run("a", judged(16), SPLIT="signer", EPOCHS=7, VALIDATION_SPLIT=0.3, MODELS_DIR="elsewhere")
    table, believe = three_numbers(folder, run, runs=tmp_path / "runs")
    assert table.accuracy[2] == 0.4 and "trained again: a" in table.note[2] and "Believe the third, 40.0%" in believe
    assert (table.low < table.accuracy).all() and (table.accuracy < table.high).all()


def test_without_known_signers_it_is_not_available(tmp_path, write_run):
    folder, run = write_run("a", judged(signers=False), SPLIT="stratified")
    table, believe = three_numbers(folder, run, runs=tmp_path / "runs")
    assert table.note.tolist() == [
        "who signs is not known",
        "no clip's recording was learnt from",
        "not available: the labels name no signer",
    ]
    assert table.accuracy[0] == table.accuracy[1] == 0.75 and "of people who are not in them nothing is known" in believe


def test_where_every_clip_was_learnt_from_no_number_is_believed(tmp_path, write_run):
    folder, run = write_run("a", judged(signers=False, learnt=40))
    table, believe = three_numbers(folder, run, runs=tmp_path / "runs")
    assert table.clips.tolist() == [40, 0, 0] and believe.startswith("Believe none")


def test_of_the_test_clips_the_first_two_are_given(tmp_path, write_run):
    folder, run = write_run("a", judged(30), SPLIT="official")
    judged(20).save(folder / "predictions_test.npz")
    table, _ = three_numbers(folder, run, test=True, runs=tmp_path / "runs")
    assert table.number[0] == "official split, test" and table.accuracy[0] == 0.5


def test_a_split_in_which_nobody_was_met_is_signer_disjoint_whatever_its_name(tmp_path, write_run):
    folder, run = write_run("a", dataclasses.replace(judged(30), met=np.zeros(40, bool)), SPLIT="official")
    judged(20).save(folder / "predictions_test.npz")
    for test, first in ((False, 0.75), (True, 0.5)):
        table, believe = three_numbers(folder, run, test, runs=tmp_path / "runs")
        assert table.accuracy[0] == first and table.accuracy[2] == 0.75 and "Believe the third, 75.0%" in believe
        assert table.note[2] == "this run's own split"


def test_clips_of_unknown_signers_are_not_counted_as_of_new_ones(tmp_path, write_run):
    some = dataclasses.replace(judged(30), signers=np.array([*["s"] * 4, *[""] * 36]), met=np.arange(40) < 2)
    folder, run = write_run("a", some, SPLIT="official")
    note = three_numbers(folder, run, runs=tmp_path / "runs")[0].note
    assert note[0] == "50% of the 4 clips whose signers are known, of 40, are of signers who were learnt from"
    assert note[2].startswith("not there yet")


def test_a_damaged_run_beside_it_is_passed_over(tmp_path, write_run):
    folder, run = write_run("a", judged())
    write_run("b", judged(16), SPLIT="signer")
    other, _ = write_run("c", judged(12), SPLIT="signer")
    whole = (other / "predictions.npz").read_bytes()
    (other / "predictions.npz").write_bytes(whole[:900])
    assert "trained again: b" in three_numbers(folder, run, runs=tmp_path / "runs")[0].note[2]


def test_a_run_that_divides_signers_is_itself_the_third(tmp_path, write_run):
    folder, run = write_run("a", dataclasses.replace(judged(30), met=np.zeros(40, bool)), SPLIT="signer")
    table, believe = three_numbers(folder, run, runs=tmp_path / "runs")
    assert table.accuracy[2] == 0.75 and "0% of the clips are of signers" in table.note[0] and "Believe the third" in believe


def test_the_command_names_what_differs_from_the_defaults():
    given = DEFAULTS | {"DATA": "my clips", "AUGMENT": False, "EMA": 0.9, "RUN_DIR": "x", "MODELS_DIR": "y", "SAMPLE": True}
    given |= {"EVALUATE_TEST": True}
    assert command(given, SPLIT="signer") == "python train.py --data 'my clips' --sample --split signer --no-augment --ema 0.9"
