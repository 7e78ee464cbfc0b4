"""The parameters name the data and the folder to publish in."""

import json
import subprocess
import sys

import pytest

from signlib import project
from signlib.dataset import Clips
from signlib.errors import InputError
from signlib.labels import Problem
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


HOLD = """
import sys
from signlib.locks import take_lock
take_lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_which_another_run_publishes_is_refused_and_free_when_that_has_died(given, tmp_path):
    given["MODELS_DIR"] = str(tmp_path)
    command = [sys.executable, "-c", HOLD, tmp_path / "lstm_model.h5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf"MODELS_DIR: another run publishes in .*process {other.pid} on"):
            project.models_dir(given, sample=False)
        assert project.models_dir(given, sample=True) == tmp_path / "sample"
        other.kill()
    assert project.models_dir(given, sample=False) == tmp_path


def test_a_folder_with_the_models_name_is_refused_before_anything_is_learnt(given, tmp_path):
    (tmp_path / "lstm_model.h5").mkdir()
    with pytest.raises(InputError, match=r"MODELS_DIR: .*lstm_model\.h5 is a folder"):
        project.models_dir(given | {"MODELS_DIR": str(tmp_path)}, sample=False)


def test_an_audits_folder_is_named_after_the_data_and_lies_among_the_runs(tmp_path, monkeypatch):
    clips = Clips([], "", "", [], "0123456789abcdef" * 4)
    folder = project.audit_folder(clips)
    assert folder.parent == project.ROOT / "runs" / "audits" and folder.name.startswith("0123456789abcdef-")
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert project.audit_folder(clips) == tmp_path / "runs" / "audits" / folder.name
    assert not (tmp_path / "runs").exists()
    clips.problems.append(Problem("1", "file", "is empty"))
    assert project.audit_folder(clips).name != folder.name


def test_the_code_that_matters_is_the_sources_and_the_notebooks_cells(tmp_path, monkeypatch):
    (tmp_path / "signlib").mkdir()
    (tmp_path / "README.md").write_text("one")
    source, notebook = tmp_path / "signlib" / "a.py", tmp_path / "a.ipynb"
    cells = [("code", "A = 1", ["parameters"]), ("code", "print(A)", []), ("markdown", "prose", [])]

    def digest(change=None, text=""):
        source.write_text("x = 1\n")
        made = [
            {"cell_type": kind, "metadata": {"tags": tags}, "source": [text if number == change else code]}
            for number, (kind, code, tags) in enumerate(cells)
        ]
        notebook.write_text(json.dumps({"cells": made}))
        return project.code_digest(notebook)

    monkeypatch.setattr(project, "ROOT", tmp_path)
    before = digest()
    assert digest(0, "A = 2") == digest(2, "other prose") == before != digest(1, "print(A + 1)")
    (tmp_path / "README.md").write_text("two")
    assert digest() == before
    source.write_text("x = 2\n")
    assert project.code_digest(notebook) != before
