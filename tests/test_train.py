"""`python train.py`: its options and recipes, and what it refuses before a notebook runs."""

import subprocess
import sys

import pytest

import train as command
from signlib import project
from signlib.errors import InputError
from signlib.parameters import check_parameters


def test_recipes_name_parameters_that_exist(given):
    assert "quick" in command.recipes()
    for name, line in command.recipes().items():
        assert line
        check_parameters(given | command.read_recipe(name))


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
    command = [sys.executable, project.ROOT / "train.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_recipe_with_a_fault_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RECIPES", tmp_path)
    (tmp_path / "mine.yaml").write_text("EPOHCS: 3\n")
    with pytest.raises(InputError, match="recipe mine: unknown parameter EPOHCS: did you mean EPOCHS"):
        command.read_arguments(["--recipe", "mine"])
    (tmp_path / "mine.yaml").write_bytes(b"# caf\xe9\nEPOCHS: 3\n")
    assert list(command.recipes()) == ["mine"]
    with pytest.raises(InputError, match=r"mine\.yaml is not yaml"):
        command.read_arguments(["--recipe", "mine"])


def test_help_shows_every_parameter_of_the_notebook():
    shown = train("--help")
    words = " ".join(shown.stdout.split())
    assert shown.returncode == 0
    for name, (_, why) in project.notebook_parameters().items():
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
        (["--glosses", "", "--augment", ""], "--augment takes no value, found ''"),
        (["--no-sample", "yes"], "--no-sample takes no value, found 'yes'"),
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
    before = sorted((project.ROOT / "runs").glob("*"))
    done = train(*[argument.format(run=tmp_path) for argument in arguments])
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted((project.ROOT / "runs").glob("*")) == before


def test_recipes_are_listed():
    done = train("--recipe", "list")
    assert done.returncode == 0 and [line.split()[0] for line in done.stdout.splitlines()] == ["accurate", "lstm", "quick"]


def test_the_command_and_papermill_with_its_engine_never_import_tensorflow():
    code = "import sys, papermill, train, signlib.headless, signlib.runs; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project.ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
