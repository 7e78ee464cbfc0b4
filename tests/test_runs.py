"""Parameters are checked before anything runs; a run's folder tells how it stands."""

import json
import subprocess
import sys

import pytest

import train as command
from signlib import runs
from signlib.errors import InputError


@pytest.fixture
def given():
    """The notebook's parameters with their defaults."""
    return {name: default for name, (default, _) in runs.notebook_parameters().items()}


def test_the_table_and_the_notebook_agree(given):
    cell = runs.notebook_parameters()
    assert list(cell) == list(runs.PARAMETERS)
    assert all(why and default is not None for default, why in cell.values())
    assert runs.check_parameters(given) == given
    for table, notebook in ((runs.AUDIT_PARAMETERS, "1_audit"), (runs.DIAGNOSE_PARAMETERS, "3_diagnose")):
        cell = runs.notebook_parameters(runs.ROOT / "notebooks" / f"{notebook}.ipynb")
        assert set(cell) == set(table)
        runs.check_parameters({name: default for name, (default, _) in cell.items()}, table)


def test_the_notes_values_are_the_defaults(given):
    notes = {
        "BATCH_SIZE": 32,
        "EPOCHS": 100,
        "VALIDATION_SPLIT": 0.2,
        "LEARNING_RATE": 3e-4,
        "DROPOUT_RATE": 0.5,
        "L2_REGULARIZATION": 1e-5,
        "CLIP_NORM": 1.0,
        "ADAM_EPSILON": 1e-7,
        "PATIENCE": 15,
        "MONITOR": "val_loss",
    }
    assert {name: given[name] for name in notes} == notes


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EPOHCS", 3, "unknown parameter EPOHCS: did you mean EPOCHS?"),
        ("epochs", 3, "unknown parameter epochs: did you mean EPOCHS?"),
        ("whatever", 3, "unknown parameter whatever: the parameters are DATA"),
        ("BATCH_SIZE", 0, "BATCH_SIZE = 0: expected a whole number from 1 to 4096"),
        ("BATCH_SIZE", 8.0, "BATCH_SIZE = 8.0: expected a whole number"),
        ("BATCH_SIZE", True, "BATCH_SIZE = True: expected a whole number"),
        ("BATCH_SIZE", "8", "BATCH_SIZE = '8': expected a whole number"),
        ("BATCH_SIZE", None, "BATCH_SIZE = None: expected a whole number"),
        ("LEARNING_RATE", float("nan"), "LEARNING_RATE = nan: expected a number from 1e-08 to 1"),
        ("DROPOUT_RATE", 1, "DROPOUT_RATE = 1.0: expected a number from 0 to 0.95"),
        ("SAMPLE", 1, "SAMPLE = 1: expected True or False"),
        ("SPLIT", "random", "SPLIT = 'random': expected one of stratified, official"),
        ("LANDMARKS", "hands+nose", "unknown part 'nose'"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, name, value, message):
    with pytest.raises(InputError) as error:
        runs.check_parameters(given | {name: value})
    assert message in str(error.value)


def test_whole_numbers_pass_where_a_number_is_meant(given):
    checked = runs.check_parameters(given | {"CLIP_NORM": 2})
    assert checked["CLIP_NORM"] == 2.0 and isinstance(checked["CLIP_NORM"], float)


def test_the_notebooks_own_variables_do_not_disturb_a_second_run_of_the_cell(given):
    later = given | {"parameters": {}, "share": 0.8, "In": ["x"], "_": 3, "runs": runs}
    assert runs.check_parameters(later) == given
    with pytest.raises(InputError, match="EPOHCS"):
        runs.check_parameters(later | {"EPOHCS": 3})


def test_data_that_was_named_and_is_missing_is_never_replaced_by_the_sample(given, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    assert runs.find_data(given)[2] is True
    with pytest.raises(InputError, match=r"DATA: no folder .*nowhere"):
        runs.find_data(given | {"DATA": "nowhere"})
    with pytest.raises(InputError, match=r"LABELS: no file .*labels\.json"):
        runs.find_data(given | {"LABELS": "labels.json"})
    with pytest.raises(InputError, match="contradicts"):
        runs.check_parameters(given | {"SAMPLE": True, "DATA": "x"})
    folder = tmp_path / "processed_vids/wlasl-video/processed_keypoints_fixed"
    folder.mkdir(parents=True)
    assert runs.find_data(given) == (folder, None, False)  # load_clips looks for the labels in the folder and beside it
    assert runs.find_data(given | {"SAMPLE": True})[2] is True


def test_relative_paths_start_at_the_projects_root():
    assert runs.project_path("models") == runs.ROOT / "models"
    assert str(runs.project_path("/tmp/x")) == "/tmp/x"


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    folders = {runs.claim_run_dir() for _ in range(3)}
    assert len(folders) == 3 and all(f.is_dir() and f.parent == tmp_path / "runs" for f in folders)
    assert runs.claim_run_dir("mine") == tmp_path / "mine" and (tmp_path / "mine").is_dir()


def test_runs_are_listed_in_a_table_whatever_state_they_are_in(tmp_path):
    assert runs.load_runs(tmp_path).empty
    good = {"status": "finished", "metrics": {"model, top 1": 0.9}, "parameters": {"SEED": 3}, "best_epoch": 4}
    for name, text in (("b", json.dumps(good)), ("a", json.dumps({"status": "running", "parameters": {}})), ("c", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    table = runs.load_runs(tmp_path)
    assert table.status.tolist() == ["running", "finished", "unreadable"]
    assert table.loc[1, "model, top 1"] == 0.9 and table.loc[1, "SEED"] == 3
    with pytest.raises(InputError, match="no run with predictions"):
        runs.read_run("", tmp_path)
    with pytest.raises(InputError, match="no run 'zzz'"):
        runs.read_run("zzz", tmp_path)
    with pytest.raises(InputError, match="did not reach its end"):
        runs.read_run("b", tmp_path)


def test_the_newest_run_that_reached_its_end_is_read_whatever_lies_beside_it(tmp_path):
    ended = {"status": "finished", "metrics": {}, "best_value": "nan", "history": {"loss": [1.5, "inf"]}, "parameters": {}}
    for name, text in (("a", json.dumps(ended)), ("b", json.dumps({"status": "running"})), ("c", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.npz").touch()
        (tmp_path / name / "run.json").write_text(text)
    folder, state = runs.read_run("", tmp_path)
    assert folder == tmp_path / "a" and state["history"]["loss"] == [1.5, float("inf")]


def test_recipes_name_parameters_that_exist(given):
    assert "quick" in command.recipes()
    for name, line in command.recipes().items():
        assert line
        runs.check_parameters(given | command.read_recipe(name))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- list\n", "EPOCHS: [1\n"])
def test_a_recipe_that_is_none_is_refused_by_name(text, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RECIPES", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    assert list(command.recipes()) == ["mine"]
    with pytest.raises(InputError, match=r"mine\.yaml"):
        command.read_recipe("mine")
    with pytest.raises(InputError, match="no recipe 'quik'.*mine"):
        command.read_recipe("quik")


def train(*arguments):
    command = [sys.executable, runs.ROOT / "train.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_shows_every_parameter_of_the_notebook():
    shown = train("--help")
    words = " ".join(shown.stdout.split())
    assert shown.returncode == 0
    for name, (_, why) in runs.notebook_parameters().items():
        assert "--" + name.lower().replace("_", "-") in words
        assert why.split(";")[0].split("(")[0][:20] in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epohcs", "3"], "unknown option --epohcs: did you mean --epochs?"),
        (["--epochs", "three"], "EPOCHS = 'three': expected a whole number from 1 to 10000"),
        (["--epochs", "0"], "EPOCHS = 0: expected a whole number from 1 to 10000"),
        (["--epochs"], "expected one argument"),
        (["--batch", "8"], "unknown option --batch: did you mean --batch-size?"),
        (["--data", "no/such/folder"], "DATA: no folder"),
        (["--data", ""], "need a path"),
        (["--data", "processed_vids", "--sample"], "contradicts"),
        (["--recipe", "slow"], "no recipe 'slow'"),
        (["--recipe", ""], "no recipe ''"),
        (["--data", "~nobody-here/x"], "~nobody-here"),
        (["--run-dir", "README.md"], "RUN_DIR: cannot make"),
        (["--run-dir", "README.md/x"], "RUN_DIR: cannot make"),
        (["--models-dir", "README.md"], "MODELS_DIR: cannot write in"),
        (["--run-dir", "{run}"], "already holds a run"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_message(arguments, message, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    before = sorted((runs.ROOT / "runs").glob("*"))
    done = train(*[argument.format(run=tmp_path) for argument in arguments])
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted((runs.ROOT / "runs").glob("*")) == before


def test_recipes_are_listed():
    done = train("--recipe", "list")
    assert done.returncode == 0 and done.stdout.startswith("quick")


def test_the_command_and_the_engine_never_import_tensorflow():
    code = "import sys, train, signlib.engine, signlib.runs, signlib.history; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
