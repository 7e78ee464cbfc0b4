"""A run's folder tells how it stands."""

import json

import pytest

from signlib import project, runs
from signlib.errors import InputError
from signlib.parameters import check_parameters


def test_data_that_was_named_and_is_missing_is_never_replaced_by_the_sample(given, tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert project.find_data(given)[2] is True
    with pytest.raises(InputError, match=r"DATA: no folder .*nowhere"):
        project.find_data(given | {"DATA": "nowhere"})
    with pytest.raises(InputError, match=r"LABELS: no file .*labels\.json"):
        project.find_data(given | {"LABELS": "labels.json"})
    with pytest.raises(InputError, match="contradicts"):
        check_parameters(given | {"SAMPLE": True, "DATA": "x"})
    folder = tmp_path / "processed_vids/wlasl-video/processed_keypoints_fixed"
    folder.mkdir(parents=True)
    assert project.find_data(given) == (folder, None, False)  # load_clips looks for the labels in the folder and beside it
    assert project.find_data(given | {"SAMPLE": True})[2] is True


def test_relative_paths_start_at_the_projects_root():
    assert project.project_path("models") == project.ROOT / "models"
    assert str(project.project_path("/tmp/x")) == "/tmp/x"


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
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
