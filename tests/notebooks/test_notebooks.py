"""The notebooks, run the ways a user runs them: `python train.py`, papermill, signals included."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import nbformat
import numpy as np
import pytest

import signlib
from signlib import project, runs
from signlib.report import read_report
from signlib.sample import make_sample
from tests.test_compare import judged_by, make_batch

NOTEBOOKS = sorted((project.ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A folder of sample clips."""
    return make_sample(tmp_path_factory.mktemp("sample") / "sample", glosses=8, clips_per_gloss=10)


def train(*arguments, cwd=None):
    command = [sys.executable, str(project.ROOT / "train.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=cwd)


def papermill(notebook, out, *options, **parameters):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(project.ROOT / "notebooks" / notebook), str(out)]
    command += options
    for name, value in parameters.items():
        command += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=out.parent)


def outputs(path):
    """All that the cells of an executed notebook show: texts, and the kinds of rich output."""
    shown = [o for cell in nbformat.read(path, 4).cells if cell.cell_type == "code" for o in cell.outputs]
    return "".join(o.get("text", "") for o in shown), [kind for o in shown for kind in o.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_clean(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0] is code[0]
    for cell in code:
        tree = ast.parse(cell.source)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert cell in tagged or len(cell.source.splitlines()) <= 18
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")


@pytest.fixture(scope="module")
def trained(sample, tmp_path_factory):
    """A finished `python train.py`, started in another folder, and where it published."""
    folder = tmp_path_factory.mktemp("trained")
    done = train("--data", sample, "--epochs", 3, "--learning-rate", 1e-3, "--models-dir", folder / "models",
                 "--run-dir", folder / "run", cwd=folder)  # fmt: skip
    return done, folder


@pytest.mark.stack
def test_train_py_ends_with_a_model_that_predicts(trained, sample):
    done, folder = trained
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == str(folder / "run")
    for text in ("── Data", "── Training", "3/3", "nearest neighbour", "clips a gloss", "missing parts", "test (set aside)"):
        assert text in done.stdout
    assert "SAMPLE" not in done.stdout
    model, checkpoint = (folder / "models" / name for name in ("lstm_model.h5", "lstm_model_checkpoint.h5"))
    assert model.read_bytes() == (folder / "run" / "model.h5").read_bytes() == checkpoint.read_bytes()
    loaded = signlib.load_model(model)
    state = json.loads((folder / "run" / "run.json").read_text())
    assert (state["status"], state["classes"], len(state["history"]["loss"])) == ("finished", loaded.classes, 3)
    with np.load(folder / "run" / "predictions.npz") as saved:
        for video_id, expected in list(zip(saved["video_ids"], saved["probabilities"], strict=True))[:3]:
            predicted = loaded.predict(sample / f"{video_id}.npy", top=1)[0]
            assert predicted[0] == loaded.classes[expected.argmax()]
            assert predicted[1] == pytest.approx(expected.max(), abs=1e-5)
    text, kinds = outputs(folder / "run" / "2_train.ipynb")
    assert kinds.count("image/png") == 3 and "start loss" in text


def test_standard_error_is_quiet(trained):
    assert trained[0].stderr == ""


def test_diagnose_says_what_is_wrong_and_how_good_it_is(trained, tmp_path):
    done = papermill("3_diagnose.ipynb", tmp_path / "out.ipynb", RUN=trained[1] / "run")
    assert done.returncode == 0, done.stderr
    text, kinds = outputs(tmp_path / "out.ipynb")
    parts = (
        "finished",
        "VALIDATION TOO SMALL",
        "nearest neighbour",
        "were read 0 times",
        "Believe",
        "temperature",
        "confusion",
    )
    assert [part for part in (*parts, "not run: set CONTROLS = True") if part not in text] == []
    # Loss, accuracy, learning rate; the rows; reliability, coverage; confusions, worst pairs; a pair's clips.
    assert kinds.count("image/png") == 9


@pytest.mark.slow
def test_the_test_clips_are_read_when_asked_and_each_time_is_counted(trained, sample, tmp_path):
    assert "8 test clips, not read" in trained[0].stdout and not (trained[1] / "run/predictions_test.npz").exists()
    run = shutil.copytree(trained[1] / "run", tmp_path / "run")
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(state | {"test_reads": 1}))
    done = train("--resume", run, "--evaluate-test", "--models-dir", tmp_path / "models")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 test clips have a gloss that was learnt" in done.stdout
    assert "test_reads" not in state and json.loads((run / "run.json").read_text())["test_reads"] == 2
    tested = signlib.read_predictions(run / "predictions_test.npz")
    marked = [clip.video_id for clip in signlib.load_clips(sample) if clip.split == "test"]
    assert sorted(tested.video_ids) == sorted(marked)
    before, after = (json.loads((place / "run.json").read_text())["metrics"] for place in (trained[1] / "run", run))
    assert before == after  # what runs are ranked by


def test_audit_shows_the_data_and_what_is_wrong_with_it_and_saves_it_for_training(tmp_path, write_clips, make_frames):
    glosses = {f"{i:05d}": ["book", "tea"][i % 2] for i in range(22)}
    folder = write_clips(tmp_path / "clips", glosses, {"00013": "test"})
    for i in range(22):  # tea is signed lower than book, but for one clip
        frames = make_frames(10 + i, seed=i).reshape(-1, 543, 3)
        frames[:, [15, 16, *range(501, 543)], 1] += 0.4 * (glosses[f"{i:05d}"] == "tea" and i != 5)
        np.save(folder / f"{i:05d}.npy", frames.reshape(-1, 1629).astype(np.float32))
    (folder / "00013.npy").write_bytes((folder / "00011.npy").read_bytes())
    (folder / "00003.npy").write_bytes(b"torn")
    clips = signlib.load_clips(folder)
    saved = project.audit_folder(clips)
    try:
        done = papermill("1_audit.ipynb", tmp_path / "out.ipynb", DATA=folder, CLIP="00005", LIMITS="short=12,1")
        assert done.returncode == 0, done.stderr
        report = read_report(saved, clips.fingerprint)
    finally:
        shutil.rmtree(saved, ignore_errors=True)
    text, kinds = outputs(tmp_path / "out.ipynb")
    shown = str(nbformat.read(tmp_path / "out.ipynb", 4).cells)
    assert text.startswith("Fit to train on: with care\nMend first:\n  1. file") and f"saved: {saved}" in text
    assert report.groups == [["00011", "00013"]] and "groups of copies: 1" in text and "No clip sits" not in text
    assert dict(zip(report.findings["check"], report.findings["clip"], strict=True))["suspect label"] == "00005"
    assert "clip 00005: tea" in shown and "set by LIMITS" in shown
    # Clips a gloss, lengths, missing parts, over time, places; the copies, the suspect; the clip browser's still picture.
    assert kinds.count("image/png") == 8


@pytest.mark.slow
def test_a_tree_of_single_frames_is_trained_on_as_it_lies(sample, tmp_path):
    for clip in signlib.load_clips(sample):
        frames = clip.read()
        pose = np.pad(frames[:, :99].reshape(-1, 33, 3), ((0, 0), (0, 0), (0, 1)), constant_values=0.9).reshape(-1, 132)
        folder = tmp_path / "MP_Data" / clip.gloss / clip.video_id
        folder.mkdir(parents=True)
        for number, frame in enumerate(np.concatenate([pose, frames[:, 1503:]], axis=1)):
            np.save(folder / f"{number}.npy", frame)
    done = train("--data", tmp_path, "--recipe", "quick", "--epochs", 1, "--glosses", "see, left, hide", "--models-dir",
                 tmp_path / "models", "--run-dir", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "layout        258; 51 landmarks a frame are used: pose 9, left hand 21, right hand 21" in done.stdout
    loaded = signlib.load_model(tmp_path / "models/lstm_model.h5")
    assert loaded.classes == ["hide", "left", "see"] and loaded.record["layout"] == "258"
    assert loaded.preprocessor.output_shape == (50, 4 * 51 + 2 * 60 + 3 + 1)
    with np.load(tmp_path / "run/predictions.npz") as saved:
        video_id, expected = saved["video_ids"][0], saved["probabilities"][0]
    assert loaded.predict(tmp_path / "MP_Data" / video_id, top=1)[0][1] == pytest.approx(expected.max(), abs=1e-5)


def test_plain_papermill_works_and_refuses_a_misspelt_parameter(sample, tmp_path):
    recipe = ["-f", str(project.ROOT / "notebooks" / "recipes" / "quick.yaml")]
    done = papermill("2_train.ipynb", tmp_path / "out.ipynb", *recipe, DATA=sample, EPOCHS=1, BATCH_SIZE=8,
                     MODELS_DIR=tmp_path / "models", RUN_DIR=tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    parameters = signlib.load_model(tmp_path / "models" / "lstm_model.h5").record["parameters"]
    assert [parameters[name] for name in ("BATCH_SIZE", "EPOCHS", "LEARNING_RATE")] == [8, 1, 1e-3]
    done = papermill("2_train.ipynb", tmp_path / "out2.ipynb", EPOHCS=3)
    assert done.returncode != 0 and "unknown parameter EPOHCS: did you mean EPOCHS?" in done.stderr


@pytest.mark.slow
def test_the_sample_is_announced_and_published_apart(tmp_path):
    done = train("--sample", "--epochs", 1, "--models-dir", tmp_path / "models", "--run-dir", tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "THE BUILT-IN SAMPLE, as asked." in done.stdout
    assert (tmp_path / "models/sample/lstm_model.h5").exists() and not (tmp_path / "models/lstm_model.h5").exists()


def test_bad_data_ends_with_status_2_and_a_message(tmp_path):
    np.save(tmp_path / "00001.npy", np.zeros((5, 7)))
    (tmp_path / "WLASL_v0.3.json").write_text("[]")
    done = train("--data", tmp_path, "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    assert "00001: a frame holds 7 values" in done.stderr and done.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


def test_a_signal_ends_the_run_with_the_best_model_kept(sample, tmp_path):
    returned, log = signalled(sample, tmp_path, " 2/100 ", lambda child, kernel: os.kill(child.pid, signal.SIGTERM))
    assert returned == 143, log
    state = runs.read_state(tmp_path / "run")
    assert state["status"] == "interrupted" and 2 <= len(state["history"]["loss"]) < 100
    assert "Traceback" not in log and log.splitlines()[-1] == str(tmp_path / "run")
    assert f"python train.py --resume {tmp_path / 'run'}" in log
    assert signlib.load_model(tmp_path / "models/lstm_model.h5").record["epoch"] == state["best_epoch"]
    assert nbformat.read(tmp_path / "run/2_train.ipynb", 4).metadata.papermill.status == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(state["pid"], 0)  # no kernel is left


def signalled(sample, folder, moment, action, *options):
    """Starts `train.py`, calls `action(child, kernel's pid)` at the first line of the log that holds `moment`, and returns
    the exit status and the log."""
    command = [sys.executable, str(project.ROOT / "train.py"), "--data", str(sample), "--models-dir", str(folder / "models"),
               "--run-dir", str(folder / "run"), *options]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        safety = threading.Timer(180, child.kill)  # only so that a run that hangs fails instead
        safety.start()
        log = []
        for line in child.stdout:
            if moment in line and moment not in "".join(log):
                action(child, json.loads((folder / "run/run.json").read_text())["pid"])
            log.append(line)
        safety.cancel()
    return child.returncode, "".join(log)


@pytest.mark.slow
def test_a_killed_kernel_is_a_failed_run_that_can_be_resumed(sample, tmp_path):
    status, log = signalled(sample, tmp_path, " 2/5 ", lambda child, kernel: os.kill(kernel, signal.SIGKILL), "--epochs", "5")
    assert status == 1 and "Traceback" not in log, log
    state = runs.read_state(tmp_path / "run")
    assert state["status"] == "failed" and "killed (SIGKILL) by the system" in state["reason"]
    assert 2 <= len(state["history"]["loss"]) <= 4
    assert not (tmp_path / "models/lstm_model.h5").exists() and (tmp_path / "models/lstm_model_checkpoint.h5").exists()

    done = papermill("3_diagnose.ipynb", tmp_path / "out.ipynb", RUN=tmp_path / "run")
    text, kinds = outputs(tmp_path / "out.ipynb")
    assert "MEMORY" in text and "BATCH_SIZE to 16" in text and kinds.count("image/png") == 3
    assert done.returncode != 0 and "predictions.npz: that run did not reach its end" in done.stderr

    done = train("--resume", tmp_path / "run")
    assert done.returncode == 0 and "resumed after epoch" in done.stdout, done.stdout + done.stderr
    state = runs.read_state(tmp_path / "run")
    assert state["status"] == "finished" and len(state["history"]["loss"]) == 5 and "reason" in state
    assert signlib.load_model(tmp_path / "models/lstm_model.h5").record["epoch"] == state["best_epoch"]
    assert {path.name for path in (tmp_path / "run").glob("*.ipynb")} == {"2_train.ipynb", "2_train-2.ipynb"}


def test_compare_says_which_setting_is_best_and_whether_that_is_noise(tmp_path):
    rng, plan = np.random.default_rng(0), []
    for rate, epochs, right in ((3e-4, 5, 45), (1e-3, 5, 80), (3e-4, 9, 45)):
        seeds = [judged_by(rng.permutation(90) < right + seed) for seed in range(3)]
        plan.append(({"LEARNING_RATE": rate, "EPOCHS": epochs}, seeds))
    batch = make_batch(tmp_path / "rates", [*plan, ({"LEARNING_RATE": 1e-3, "EPOCHS": 9}, [None, None])])
    done = papermill("4_compare.ipynb", tmp_path / "out.ipynb", BATCH=batch.folder)
    assert done.returncode == 0, done.stderr
    text, kinds = outputs(tmp_path / "out.ipynb")
    parts = ("rates: 9 finished, 2 waiting", "2 of 3 differences are beyond", "by the seeds alone", "nothing asked for")
    assert [part for part in parts if part not in text] == []
    shown = [o.data["text/html"] for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"
             for o in cell.outputs if "text/html" in o.get("data", {})]  # fmt: skip
    assert [table.count("<tr>") - 1 for table in shown] == [11, 4, 2, 3]
    assert shown[1].index("learning_rate=0.001__epochs=5") < shown[1].index("learning_rate=0.0003") and "nan" not in shown[1]
    assert "0 of 2" in shown[1] and ">0.0003<" in shown[0] and ">waiting<" in shown[0]
    assert kinds.count("image/png") == 4
