"""benchmarks/accuracy.py: its rows are settings that exist, and what is stored is used as it says."""

import json

import pytest

from benchmarks import accuracy
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
    ("option", "value"), [("--epochs", "7"), ("--architecture", "gru"), ("--run-dir", "a"), ("--seed", "3")]
)
def test_an_option_that_the_rows_set_themselves_is_refused(option, value, tmp_path, capsys):
    arguments = [option, value, "--seeds", "0", "--out", str(tmp_path), "--sample"]
    assert accuracy.main(arguments) == 2
    assert f"{option} cannot be given: the rows set it themselves" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_not_run_again_and_its_split_is_that_of_all_others(given, tmp_path):
    folder = tmp_path / f"a-row-0-{accuracy.digest(given)}"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"status": "finished", "metrics": {}}))
    (folder / "split.json").write_text("the split")
    assert accuracy.run("a row 0", given, tmp_path) == folder
    (split,) = tmp_path.glob("split-*.json")
    assert split.read_text() == "the split"
