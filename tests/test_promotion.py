"""signlib.promote: whose model stands in models/ afterwards, and what keeps it from there."""

import json
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib import project
from signlib.errors import InputError
from signlib.files import sha256
from signlib.preprocess import Preprocessor

HOLD = "import sys; from signlib import locks; locks.take_lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two saved models."""
    folder, preprocessor = tmp_path_factory.mktemp("saved"), Preprocessor(10)
    model = signlib.build_model(preprocessor.output_shape, 2, "gru")
    for value in (1, 2):
        model.set_weights([np.full_like(array, value) for array in model.get_weights()])
        record = signlib.make_record(["book", "drink"], preprocessor, "1629", {"architecture": "gru"})
        signlib.save_model(model, folder / f"{value}.h5", record)
    return folder


@pytest.fixture
def make_run(tmp_path, monkeypatch, saved):
    """The function `make_run(name, value, **more of run.json)`: a run whose model is filled with `value`, in a project of its
    own."""
    monkeypatch.setattr(project, "ROOT", tmp_path)

    def make(name, value=1, **more):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "model.h5").write_bytes((saved / f"{value}.h5").read_bytes())
        state = {"status": "finished", "parameters": {}, "history": {}, "metrics": {"model, top 1": value / 4, "chance": 0.1}}
        state |= {"model": {"path": str(folder / "model.h5"), "sha256": sha256(folder / "model.h5")}}
        (folder / "run.json").write_text(json.dumps(state | more))
        return folder

    return make


def test_both_files_tell_of_the_promoted_run_and_the_one_before_is_named(make_run, tmp_path, capsys):
    one, two = make_run("dropout/one"), make_run("two", 2)
    models = tmp_path / "models"
    assert signlib.promote(one) == models / "lstm_model.h5"
    assert "was nothing, now dropout/one (model, top 1 25.0%)" in capsys.readouterr().out
    signlib.promote("two")
    said = capsys.readouterr().out
    assert f"{models / 'lstm_model.h5'}: was dropout/one (model, top 1 25.0%), now runs/two (model, top 1 50.0%)" in said
    for name in ("lstm_model", "lstm_model_checkpoint"):
        assert (models / f"{name}.h5").read_bytes() == (two / "model.h5").read_bytes() and (models / f"{name}.json").exists()
    assert signlib.load_model(models / "lstm_model.h5").classes == ["book", "drink"]
    (two / "run.json").write_text("{")
    signlib.promote("dropout/one", tmp_path / "mine")
    signlib.promote(one)
    assert "was a model of no run in runs/, now dropout/one" in capsys.readouterr().out
    assert (tmp_path / "mine/lstm_model.h5").exists() and not list(models.glob(".*"))


def test_a_model_of_the_sample_is_promoted_apart(make_run, tmp_path):
    signlib.promote(make_run("one", sample=True))
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["sample"]
    assert (tmp_path / "models/sample/lstm_model.h5").exists()


def test_of_a_run_without_a_whole_model_nothing_is_promoted(make_run, tmp_path):
    signlib.promote(make_run("good"))
    before = {path: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    none, torn, other = make_run("none", 2), make_run("torn", 2), make_run("other", 2)
    running = make_run("running", 2, locked=False, status="running", host="elsewhere")
    (none / "model.h5").unlink()
    (torn / "model.h5").write_bytes((torn / "model.h5").read_bytes()[:-100])
    (other / "model.h5").write_bytes((tmp_path / "runs/good/model.h5").read_bytes())
    for folder, message in (
        (none, r"no model at .*none/model.h5"),
        (torn, r"torn/model.h5 cannot be used as a model"),
        (other, r"other/model.h5 is not the model that .*run.json tells of; resume the run, or promote another"),
        (running, r"running is still running: its best model may change; wait for its end"),
        ("third", "no run 'third'"),
    ):
        with pytest.raises(InputError, match=message):
            signlib.promote(folder)
    assert {path: path.read_bytes() for path in (tmp_path / "models").iterdir()} == before


def test_while_a_run_publishes_there_nothing_is_promoted(make_run, tmp_path):
    run, target = make_run("one"), tmp_path / "models/lstm_model.h5"
    target.parent.mkdir()
    command = [sys.executable, "-c", HOLD, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=signlib.__path__[0] + "/..") as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"another run publishes in .*process {child.pid} on"):
            signlib.promote(run)
        child.kill()
    assert not target.exists()
    assert signlib.promote(run) == target
