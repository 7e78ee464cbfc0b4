"""`run_notebook` runs a notebook without a browser and reports what happened, whatever that was."""

import json
import subprocess
import sys

import nbformat
import pytest

from signlib import project, runs
from signlib.errors import InputError
from signlib.headless import run_notebook

WRITE = """
import json, pathlib
folder = pathlib.Path(RUN_DIR)
(folder / "run.json").write_text(json.dumps({"status": "STATUS", "reason": "as told", "parameters": {}}))
print("a line of the log", flush=True)
"""


@pytest.fixture
def notebook(tmp_path):
    """The function `notebook(code)`: the path of a notebook with that cell after its parameters."""

    def notebook(code):
        parameters = nbformat.v4.new_code_cell('RUN_DIR = ""\nRESUME = ""', metadata={"tags": ["parameters"]})
        written = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(code)])
        written.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(written, tmp_path / "a.ipynb")
        return tmp_path / "a.ipynb"

    return notebook


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
