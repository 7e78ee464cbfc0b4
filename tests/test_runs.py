"""A run's folder tells how it stands."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import signlib
from signlib import locks, project, runs
from signlib.dataset import Clips
from signlib.errors import InputError
from signlib.files import sha256
from signlib.model import build_model
from signlib.safe_save import Saved
from signlib.state import save_state
from signlib.training import FitResult

RECORD = {"classes": ["book", "drink"], "layout": "1629", "data_fingerprint": "a" * 64, "versions": {"numpy": "2"}}


@pytest.fixture
def settled(given, folder, tmp_path):
    """Parameters of a run on a small folder."""
    yield given | {"DATA": str(folder), "RUN_DIR": str(tmp_path / "run"), "MODELS_DIR": str(tmp_path / "models")}
    for path in runs.Run.locks:
        locks.free_lock(path)
    runs.Run.locks = ()


@pytest.fixture
def result(tmp_path):
    """What `fit` returns, of two epochs."""
    (tmp_path / "m.h5").write_bytes(b"model")
    saved = Saved(tmp_path / "m.h5", True, "saved")
    return FitResult(
        history={"loss": [2.0, 1.0], "accuracy": [0.25, 0.5]},
        best_epoch=2,
        best_value=1.0,
        saved=saved,
        published=tmp_path / "m.h5",
    )


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    folders = {runs.claim_run_dir({"RUN_DIR": ""}) for _ in range(3)}
    assert len(folders) == 3 and all(f.is_dir() and f.parent == tmp_path / "runs" for f in folders)
    assert runs.claim_run_dir({"RUN_DIR": "mine"}) == tmp_path / "mine" and (tmp_path / "mine").is_dir()


def test_runs_are_listed_in_a_table_whatever_state_they_are_in(tmp_path):
    assert runs.load_runs(tmp_path).empty
    good = {"status": "finished", "metrics": {"model, top 1": 0.9}, "parameters": {"SEED": 3}, "best_epoch": 4}
    for name, text in (("b", json.dumps(good)), ("a", json.dumps({"status": "running", "parameters": {}})), ("c", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    table = runs.load_runs(tmp_path)
    assert table.status.tolist() == ["died", "finished", "unreadable"]
    assert table.loc[1, "model, top 1"] == 0.9 and table.loc[1, "SEED"] == 3
    with pytest.raises(InputError, match="no run with predictions"):
        runs.read_run("", tmp_path)
    with pytest.raises(InputError, match="no run 'zzz'"):
        runs.read_run("zzz", tmp_path)
    with pytest.raises(InputError, match=r"run.json cannot be read as a run's"):
        runs.read_run("c", tmp_path)


def test_of_a_run_that_died_or_failed_what_there_is_can_be_read(tmp_path):
    for name, status in (("killed", "running"), ("refused", "failed")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"status": status, "parameters": {"SEED": 3}, "pid": 2**22 + 1}))
    folder, state = runs.read_run("killed", tmp_path)
    assert (folder, state["status"], state["history"], state["warnings"]) == (tmp_path / "killed", "died", {}, [])
    assert math.isnan(state["best_value"]) and math.isnan(state["seconds"]) and state["best_epoch"] == 0
    assert runs.read_run("refused", tmp_path)[1]["status"] == "failed"
    progress = {"epoch": 1, "history": {"loss": [2.0]}, "best_epoch": 1, "best_value": 2.0}
    model = build_model((4, 3), 2, "gru")
    for name in ("killed", "refused"):
        save_state(tmp_path / name / "state.h5", model, [], {}, progress)
        state = runs.read_run(name, tmp_path)[1]
        assert (state["history"], state["best_epoch"], state["best_value"]) == ({"loss": [2.0]}, 1, 2.0)


def test_the_newest_run_that_reached_its_end_is_read_whatever_lies_beside_it(tmp_path):
    ended = {"status": "finished", "metrics": {}, "best_value": "nan", "history": {"loss": [1.5, "inf"]}, "parameters": {}}
    for name, text in (("a", json.dumps(ended)), ("b", json.dumps({"status": "running"})), ("c", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.npz").touch()
        (tmp_path / name / "run.json").write_text(text)
    folder, state = runs.read_run("", tmp_path)
    assert folder == tmp_path / "a" and state["history"]["loss"] == [1.5, float("inf")]


def test_a_run_says_running_while_its_process_lives_and_died_after(settled, tmp_path):
    code = (
        "import json, sys, warnings; from signlib import runs\n"
        "run = runs.Run(json.loads(sys.argv[1])); print('made', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, json.dumps(settled)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project.ROOT) as child:
        assert child.stdout.readline() == b"made\n"
        state = runs.read_state(tmp_path / "run")
        assert (state["status"], state["pid"]) == ("running", child.pid)
        with pytest.raises(InputError, match=f"RESUME: .* is still running: process {child.pid} on"):
            runs.run_to_resume(tmp_path / "run")
        child.kill()
    state = runs.read_state(tmp_path / "run")
    assert state["status"] == "died" and f"process {child.pid} on" in state["reason"]
    assert runs.load_runs(tmp_path).status.tolist() == ["died"]
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "running"  # reading changes nothing


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"pid": os.getpid()}, "running"),
        ({"pid": 2**22 + 1}, "died"),  # beyond the largest number of a process
        ({"pid": 2**22 + 1, "host": "elsewhere"}, "running"),  # nobody here can know
    ],
)
def test_where_there_are_no_locks_the_process_number_tells(tmp_path, state, status):
    import socket

    written = {"status": "running", "locked": False, "host": socket.gethostname()} | state
    (tmp_path / "run.json").write_text(json.dumps(written))
    assert runs.read_state(tmp_path)["status"] == status


def test_run_json_holds_what_repeats_the_run(settled, tmp_path, result):
    run = runs.Run(settled)
    started = json.loads((tmp_path / "run/run.json").read_text())
    assert (started["status"], started["pid"], started["parameters"]) == ("running", os.getpid(), settled)
    run.start(RECORD)
    result.history["accuracy"][0] = -0.5
    with pytest.warns(UserWarning, match="1 accuracy values lay outside"):
        run.write_result(result, clips={"train": 4})
    assert runs.read_state(tmp_path / "run")["status"] == "running"
    run.finish({"model, top 1": 0.5})
    state = runs.read_state(tmp_path / "run")
    assert state["status"] == "finished" and state["metrics"] == {"model, top 1": 0.5} and state["clips"] == {"train": 4}
    assert state["history"]["accuracy"] == [-0.5, 0.5] and state["history_clamped"]["accuracy"] == [0, 0.5]
    assert state["model"] == {"path": str(tmp_path / "m.h5"), "sha256": sha256(tmp_path / "m.h5")}
    assert {"data_fingerprint", "versions", "git_revision", "host", "seconds", "training_seconds", "ended"} <= set(state)
    assert not list(tmp_path.glob("*/.*"))


def test_a_model_that_could_not_be_published_is_a_failed_run(settled, tmp_path, result):
    run = runs.Run(settled)
    run.start(RECORD)
    result.published = None
    run.write_result(result)
    run.finish({})
    assert runs.read_state(tmp_path / "run")["status"] == "failed"


def test_a_resumed_run_is_refused_with_what_differs_and_its_run_json_stays(settled, tmp_path, result):
    run = runs.Run(settled)
    run.start(RECORD)
    run.write_result(result)
    run.finish({"model, top 1": 0.5})
    before = (tmp_path / "run/run.json").read_bytes()
    again = settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run"), "EPOCHS": 7}
    for name, value in (("BATCH_SIZE", 8), ("SEED", 1), ("LEARNING_RATE", 1e-4), ("SPLIT", "signer"), ("LANDMARKS", "hands")):
        with pytest.raises(InputError, match=f"RESUME: {name} was {settled[name]!r} in .*, now it is {value!r}"):
            runs.claim_run_dir(again | {name: value})
    with pytest.raises(InputError, match="is not the run to RESUME"):
        runs.claim_run_dir(again | {"RUN_DIR": str(tmp_path / "other")})
    with pytest.raises(InputError, match="data_fingerprint was aaaaaaaaaaaa, now it is bbbbbbbbbbbb"):
        runs.Run(again).start(RECORD | {"data_fingerprint": "b" * 64})
    assert (tmp_path / "run/run.json").read_bytes() == before

    run = runs.Run(again)
    run.start(RECORD)
    state = runs.read_state(tmp_path / "run")
    assert run.resumed and state["status"] == "running" and state["started"] <= state["resumed"] and "metrics" not in state


@pytest.mark.parametrize(("schedule", "fine"), [("fixed", True), ("cosine", False)])
def test_a_resumed_run_keeps_its_epochs_where_the_learning_rate_falls_to_0_in_them(settled, tmp_path, schedule, fine):
    settled["SCHEDULE"] = schedule
    runs.Run(settled)
    again = settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run")}
    assert runs.claim_run_dir(again) == tmp_path / "run"
    longer = again | {"EPOCHS": settled["EPOCHS"] + 1}
    if fine:
        assert runs.claim_run_dir(longer) == tmp_path / "run"
        return
    for other in (longer, longer | {"SCHEDULE": "fixed"}):
        with pytest.raises(InputError, match=r"RESUME: (EPOCHS was 100 in .*, now it is 101|SCHEDULE was 'cosine')"):
            runs.claim_run_dir(other)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"status": "failed"}'])
def test_a_folder_without_a_run_cannot_be_resumed(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="RESUME: no run in"):
        runs.run_to_resume(tmp_path)


def test_an_ensemble_cannot_be_resumed(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "finished", "parameters": {}, "ensemble": ["a", "b"]}')
    with pytest.raises(InputError, match="is an ensemble, which is not trained: name one of a, b"):
        runs.run_to_resume(tmp_path)


def test_a_notebook_that_is_started_again_gives_the_first_runs_locks_back(settled, tmp_path):
    runs.Run(settled)
    runs.Run(settled | {"RUN_DIR": str(tmp_path / "second")})
    assert runs.load_runs(tmp_path).status.tolist() == ["died", "running"]


@pytest.mark.parametrize(
    ("split", "meant"),
    [
        ("stratified", "stratified"),
        ("signer", "signer"),
        ("runs/a/split.json", project.ROOT / "runs/a/split.json"),
        ("/x/my.json", Path("/x/my.json")),
    ],
)
def test_a_new_run_is_divided_as_its_parameters_say(settled, split, meant):
    run = runs.Run(settled | {"SPLIT": split})
    assert (run.split, run.divided, run.resumed) == (meant, False, False)


def test_predictions_of_the_model_before_do_not_stand_beside_a_better_one(settled, tmp_path, result):
    run = runs.Run(settled)
    run.start(RECORD)
    run.write_result(result)
    run.finish({})
    names = [tmp_path / "run" / name for name in ("predictions.npz", "predictions_test.npz")]
    for best_epoch, kept in ((2, True), (3, False)):
        for path in names:
            path.touch()
        run = runs.Run(settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run")})
        run.start(RECORD)
        result.best_epoch = best_epoch
        run.write_result(result)
        assert [path.exists() for path in names] == [False, kept]
        run.finish({})


def test_a_resumed_run_goes_on_with_its_own_split_whatever_an_audit_has_found_since(settled, tmp_path, result, ids):
    run = runs.Run(settled)
    clips = signlib.load_clips(run.data)
    sides = signlib.split_clips(clips)
    signlib.save_split(run.folder / "split.json", *sides)
    run.start(RECORD)
    run.write_result(result)
    run.finish({})

    run = runs.Run(settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run")})
    assert run.divided
    again = signlib.split_clips(clips, run.folder / "split.json", 0.7, seed=5)
    assert [ids(side) for side in again] == [ids(side) for side in sides]
    for name, value in (("AUDIT", "off"), ("SPLIT", "signer")):
        with pytest.raises(InputError, match=f"RESUME: {name} was {settled[name]!r} in .*, now it is {value!r}"):
            runs.claim_run_dir(settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run"), name: value})


def test_a_run_that_ended_before_it_was_divided_is_divided_when_resumed(settled, tmp_path, result):
    run = runs.Run(settled)
    run.start(RECORD)
    run.write_result(result)
    run.finish({})
    run = runs.Run(settled | {"RUN_DIR": "", "RESUME": str(tmp_path / "run")})
    assert (run.resumed, run.divided, run.split) == (True, False, "stratified")


def test_audits_among_the_runs_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    folder = project.audit_folder(Clips([], "", "", [], "a" * 64))
    folder.mkdir(parents=True)
    (folder / "audit.json").write_text("{}")
    assert runs.load_runs().empty
    with pytest.raises(InputError, match="no run with predictions"):
        runs.read_run()


def test_a_run_that_publishes_nowhere_is_finished_once_its_model_is_saved(settled, result):
    run = runs.Run(settled | {"MODELS_DIR": ""})
    run.start(RECORD)
    paths = run.paths()
    assert (paths["checkpoint"], paths["final"]) == (None, None) and paths["path"] == run.folder / "model.h5"
    result.published = None
    run.write_result(result)
    run.finish({})
    assert runs.read_state(run.folder)["status"] == "finished"
    result.saved = Saved(result.saved.path, False, "the weights alone")
    run.write_result(result)
    run.finish({})
    assert runs.read_state(run.folder)["status"] == "failed"


def test_the_code_that_a_run_follows_from_is_in_its_run_json(settled, monkeypatch):
    run = runs.Run(settled)
    assert run.state["code"] == project.code_digest()
    monkeypatch.setattr(runs, "code_digest", lambda: "another")
    assert runs.Run(settled | {"RUN_DIR": "", "RESUME": str(run.folder)}).state["code"] == "of several versions"
