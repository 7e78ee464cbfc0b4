"""benchmarks/accuracy.py: its rows are settings that exist, and what is stored is used as it says."""

import json

import numpy as np
import pytest

from benchmarks import accuracy
from signlib.errors import InputError
from signlib.parameters import check_parameters
from signlib.project import notebook_parameters


@pytest.fixture
def given():
    return {name: default for name, (default, _) in notebook_parameters().items()}


def test_every_row_can_be_trained_and_differs_from_the_one_before(given):
    rows = [check_parameters(given | changes) for changes in accuracy.ladder().values()]
    assert len(rows) <= 10
    assert all(row != before for before, row in zip([given, *rows], rows, strict=False))


def test_the_ladder_ends_with_the_settings_of_the_recipes():
    rows = list(accuracy.ladder().values())
    for row, name in ((rows[-2], "lstm"), (rows[-1], "accurate")):
        recipe = accuracy.train.read_recipe(name)
        shorter = ("EPOCHS", "PATIENCE")
        assert {key: value for key, value in recipe.items() if row.get(key) != value and key not in shorter} in (
            {},
            {"ARCHITECTURE": "lstm"},  # the default
        )


@pytest.mark.parametrize(
    ("option", "value"),
    [("--epochs", "7"), ("--long-clips", "resample"), ("--no-trim", ""), ("--run-dir", "a"), ("--seed", "3")],
)
def test_an_option_that_the_rows_set_themselves_is_refused(option, value, tmp_path, capsys):
    arguments = [option, *([value] if value else []), "--seeds", "0", "--out", str(tmp_path), "--sample"]
    assert accuracy.main(arguments) == 2
    assert f"{option.replace('no-', '')} cannot be given: the rows set it themselves" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stored(tmp_path):
    """A function that leaves a finished run in a folder: stored(folder, probabilities, labels, ids, **state)."""

    def write(folder, probabilities, labels, ids, **state):
        folder.mkdir()
        np.savez(folder / "predictions.npz", video_ids=ids, classes=["a", "b"], labels=labels, probabilities=probabilities)
        facts = {
            "status": "finished",
            "data_fingerprint": "f",
            "best_epoch": 3,
            "training_seconds": 60,
        }
        (folder / "run.json").write_text(json.dumps(facts | {"metrics": {"nearest neighbour": 0.25}} | state))
        (folder / "split.json").write_text("the split")
        return folder

    return write


def test_a_row_is_the_mean_of_its_seeds_beside_their_averaged_probabilities(stored, tmp_path):
    ids, labels = ["1", "2", "3", "4"], [0, 0, 1, 1]
    certain, other = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], [[0.4, 0.6], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]]
    folders = [
        stored(tmp_path / "s0", certain, labels, ids),
        stored(tmp_path / "s1", other, labels, ids, best_epoch=5, training_seconds=120),
    ]
    row = accuracy.measure(folders)
    expected = {"top 1": 0.375, "seeds apart": 0.25, "top 5": 1, "averaged": 0.75, "nearest neighbour": 0.25, "epoch": 4}
    assert {name: row[name] for name in expected} == expected
    assert (row["minutes"], row["clips"]) == (1.5, 4)
    assert row["low"] < 0.375 < row["high"]


@pytest.mark.parametrize("other", [{"ids": ["1", "3"]}, {"labels": [1, 0]}, {"data_fingerprint": "g"}])
def test_runs_that_were_judged_by_other_clips_are_not_compared(stored, tmp_path, other):
    same = {"probabilities": [[0.9, 0.1]] * 2, "labels": [0, 1], "ids": ["1", "2"]}
    folders = [stored(tmp_path / "a", **same), stored(tmp_path / "b", **same), stored(tmp_path / "c", **same | other)]
    accuracy.check_same_clips(folders[:2])
    with pytest.raises(InputError, match=r"a and .*c were judged by other clips"):
        accuracy.check_same_clips(folders)


@pytest.mark.slow
def test_the_rows_are_runs_of_one_batch_and_one_that_fails_is_named(given, folder, tmp_path):
    given |= {"DATA": str(folder), "MODELS_DIR": "not to be used", "SPLIT": "official"}  # of which it has no validation
    with pytest.raises(InputError, match=r"a-row-0-\w{8} did not reach its end"):
        accuracy.run({"a row": {"EPOCHS": 1}}, [0], given, tmp_path / "out")
    (state,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("a-row-0-*/run.json"))
    assert (state["parameters"]["SEED"], state["parameters"]["EPOCHS"], state["parameters"]["MODELS_DIR"]) == (0, 1, "")
