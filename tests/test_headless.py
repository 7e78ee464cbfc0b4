"""`run_notebook` runs a notebook without a browser and reports what happened, whatever that was."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest

from signlib import headless, project, runs
from signlib.errors import InputError
from signlib.headless import Log, run_notebook

WRITE = """
import json, pathlib
folder = pathlib.Path(RUN_DIR)
(folder / "run.json").write_text(json.dumps({"status": "STATUS", "reason": "as told", "parameters": {}}))
print("a line of the log", flush=True)
"""


@pytest.mark.parametrize(
    ("code", "status", "reason", "exit_status"),
    [
        (WRITE.replace("STATUS", "finished"), "finished", "as told", 0),
        (WRITE.replace("STATUS", "diverged"), "diverged", "as told", 1),
        (WRITE.replace("STATUS", "running"), "failed", "the notebook did not say how it ended", 1),
        ("1 + 1", "failed", "the notebook did not say how it ended", 1),
        (WRITE.replace("STATUS", "finished") + "1 / 0", "failed", "ZeroDivisionError: division by zero", 1),
        ("import signlib; raise signlib.InputError('no such clip')", "failed", "InputError: no such clip", 2),
    ],
)
def test_what_happened_is_what_is_reported(notebook, tmp_path, capsys, code, status, reason, exit_status):
    end = run_notebook(notebook(code), {"RESUME": ""}, tmp_path / "run", sys.stderr)
    assert (end.folder, end.status, end.reason, end.exit_status) == (tmp_path / "run", status, reason, exit_status)
    assert ("a line of the log" in capsys.readouterr().err) == ("a line" in code)
    assert (tmp_path / "run/a.ipynb").exists()
    if status == "failed" and "finished" not in code:
        state = runs.read_state(tmp_path / "run")
        assert (state["status"], state["reason"]) == (status, reason)


def test_a_run_that_is_refused_to_be_resumed_stays_as_it_was(notebook, tmp_path):
    state = {"status": "finished", "reason": "", "parameters": {"SEED": 1, "BATCH_SIZE": 8}}
    (tmp_path / "run.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="SEED was 1"):
        run_notebook(notebook("1"), {"RESUME": str(tmp_path), "SEED": 2}, "")
    end = run_notebook(
        notebook("import signlib; raise signlib.InputError('other data')"), {"RESUME": str(tmp_path)}, "", sys.stderr
    )
    assert (end.status, end.reason, end.exit_status) == ("failed", "InputError: other data", 2)
    assert json.loads((tmp_path / "run.json").read_text()) == state


@pytest.mark.parametrize(("signum", "exit_status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_before_the_kernel_starts_ends_the_run_tidily(notebook, tmp_path, monkeypatch, signum, exit_status):
    def claim(parameters):
        folder = runs.claim_run_dir(parameters)
        os.kill(os.getpid(), signum)
        return folder

    monkeypatch.setattr(headless, "claim_run_dir", claim)
    reason = f"stopped by {signal.Signals(signum).name}"
    end = run_notebook(notebook("1"), {"RESUME": ""}, tmp_path / "run", sys.stderr)
    assert (end.status, end.reason, end.exit_status) == ("interrupted", reason, exit_status)
    state = runs.read_state(tmp_path / "run")
    assert (state["status"], state["reason"]) == ("interrupted", reason)

    state |= {"status": "finished", "reason": "as told"}  # resumed, and stopped before anything changed
    (tmp_path / "run/run.json").write_text(json.dumps(state))
    end = run_notebook(notebook("1"), {"RESUME": str(tmp_path / "run")}, "", sys.stderr)
    assert (end.status, end.reason, end.exit_status) == ("interrupted", reason, exit_status)
    assert runs.read_state(tmp_path / "run") == state


def test_a_signal_after_the_notebooks_end_changes_nothing(notebook, tmp_path, monkeypatch):
    def read(folder):
        if (folder / "run.json").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return runs.read_state(folder)

    monkeypatch.setattr(headless, "read_state", read)
    ended = signal.getsignal(signal.SIGTERM)
    end = run_notebook(notebook(WRITE.replace("STATUS", "finished")), {"RESUME": ""}, tmp_path / "run", sys.stderr)
    assert (end.status, end.exit_status) == ("finished", 0) and signal.getsignal(signal.SIGTERM) == ended


def test_a_resumed_notebook_that_says_nothing_has_not_finished_again(notebook, tmp_path):
    state = {"status": "finished", "reason": "", "parameters": {}}
    (tmp_path / "run.json").write_text(json.dumps(state))
    end = run_notebook(notebook("1"), {"RESUME": str(tmp_path)}, "", sys.stderr)
    assert (end.status, end.reason, end.exit_status) == ("failed", "the notebook did not say how it ended", 1)


def test_an_end_that_cannot_be_written_down_is_reported_all_the_same(notebook, tmp_path):
    code = "import pathlib; pathlib.Path(RUN_DIR, 'run.json').mkdir(); 1 / 0"
    end = run_notebook(notebook(code), {"RESUME": ""}, tmp_path / "run", sys.stderr)
    assert (end.status, end.reason, end.exit_status) == ("failed", "ZeroDivisionError: division by zero", 1)


def test_a_terminal_that_cannot_show_a_sign_shows_the_rest():
    shown = io.TextIOWrapper(io.BytesIO(), "ascii")
    Log(shown).write("── Data: tea, thé\n")
    assert shown.buffer.getvalue() == b"?? Data: tea, th?\n"


def test_a_log_that_nobody_reads_any_more_does_not_end_the_run(notebook, tmp_path):
    path = notebook(
        "for i in range(3000):\n    print('a line of the log' * 10, flush=True)\n" + WRITE.replace("STATUS", "finished")
    )
    code = (
        "import sys; from signlib.headless import run_notebook\n"
        "end = run_notebook(sys.argv[1], {}, sys.argv[2]); print(end.folder); sys.exit(end.exit_status)"
    )
    command = [sys.executable, "-c", code, path, tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project.ROOT) as child:
        child.stdout.readline()
        child.stdout.close()
        complaints = child.stderr.read()
    assert (child.returncode, complaints) == (0, b"")
    assert runs.read_state(tmp_path / "run")["status"] == "finished"
