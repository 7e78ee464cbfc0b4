"""The papermill engine "signlib": signals reach the cell that runs, and the notebook says how it ended."""

import os
import signal
import subprocess
import sys
import threading

import nbformat
import pytest

READY = "import os; print('kernel', os.getpid(), flush=True)"
WAIT = "import time; print('waiting', flush=True); time.sleep(100)"
ABSORB = "try:\n    exec(wait)\nexcept KeyboardInterrupt:\n    print('interrupted, and all is saved')"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); exec(wait)"


@pytest.fixture
def run(tmp_path):
    """The function `run(cells, {text in the log: action(papermill's process, kernel's number)}, *options)`: runs a notebook
    of these cells; returns (exit status, log, executed notebook, kernel's number)."""

    def run(cells, actions=None, *options, background=False):
        code = [f"wait = {WAIT!r}", READY, *cells]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / "in.ipynb")
        command = [sys.executable, "-m", "papermill", "--engine", "signlib", "--no-progress-bar", "--log-output",
                   str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), *options]  # fmt: skip
        if background:  # a shell without job control starts it with SIGINT ignored
            command = ["sh", "-c", '"$@" & echo "process $!"; wait $!', "sh", *command]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as child:
            safety = threading.Timer(60, os.killpg, (child.pid, signal.SIGKILL))  # only so that a run that hangs fails
            safety.start()
            log, kernel, pid, left = [], 0, child.pid, dict(actions or {})
            for line in child.stdout:
                log.append(line)
                pid = int(line.split()[1]) if line.startswith("process ") else pid
                kernel = int(line.split()[1]) if line.startswith("kernel ") else kernel
                for moment in [moment for moment in left if moment in line]:
                    left.pop(moment)(pid, kernel)
            safety.cancel()
        return child.wait(), "".join(log), nbformat.read(tmp_path / "out.ipynb", 4), kernel

    return run


def statuses(notebook):
    return [cell.metadata.papermill.status for cell in notebook.cells if cell.cell_type == "code"][2:]


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def send(signum):
    return lambda pid, kernel: os.kill(pid, signum)


def test_a_notebook_that_nothing_disturbs_is_completed(run):
    status, log, notebook, kernel = run(["1 + 1"])
    assert status == 0 and statuses(notebook) == ["completed"] and "status" not in notebook.metadata.papermill
    assert is_gone(kernel), log


@pytest.mark.parametrize(
    ("signum", "status", "action", "background"),
    [
        (signal.SIGINT, 130, send(signal.SIGINT), True),
        (signal.SIGTERM, 143, lambda pid, kernel: os.killpg(pid, signal.SIGTERM), False),
        (signal.SIGHUP, 129, send(signal.SIGHUP), False),
    ],
)
def test_a_signal_interrupts_the_cell_and_nothing_after_it_is_called_completed(run, signum, status, action, background):
    ended, log, notebook, kernel = run([WAIT, "print('not reached')"], {"waiting": action}, background=background)
    assert ended == status, log
    assert statuses(notebook) == ["failed", "pending"] and "not reached" not in log
    assert notebook.metadata.papermill.status == "interrupted"
    assert f"**interrupted**: by {signum.name}" in notebook.cells[0].source and is_gone(kernel)


def test_after_a_cell_that_says_interrupted_the_notebook_goes_on(run):
    status, log, notebook, _ = run([ABSORB, "print('saved')"], {"waiting": send(signal.SIGTERM)})
    assert status == 143 and statuses(notebook) == ["completed", "completed"], log
    assert notebook.metadata.papermill.status == "interrupted" and notebook.cells[-1].outputs[0].text == "saved\n"


def test_a_signal_that_no_cell_hears_still_stops_the_notebook(run):
    # The cell ends by itself though it was interrupted; and one that comes while the kernel starts.
    deaf = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('waiting', flush=True); import time; time.sleep(1)"
    )
    status, log, notebook, _ = run([deaf, "print('not reached')"], {"waiting": send(signal.SIGINT)})
    assert status == 130 and statuses(notebook) == ["completed", "failed"] and "not reached" not in log.split("waiting")[1]
    status, log, notebook, _ = run(["print('not reached')"], {"Executing notebook": send(signal.SIGTERM)})
    assert status == 143 and "pending" in [cell.metadata.papermill.status for cell in notebook.cells], log


def test_a_second_signal_ends_it_at_once(run):
    def twice(pid, kernel):
        os.kill(kernel, signal.SIGSTOP)  # a kernel that does not react
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)  # another one, since two of a kind may arrive as one

    status, log, notebook, kernel = run([WAIT], {"waiting": twice})
    assert status in (130, 143) and statuses(notebook) == ["failed"] and is_gone(kernel), log


def test_a_cell_that_does_not_end_in_stop_seconds_is_killed(run):
    status, log, notebook, kernel = run([DEAF], {"waiting": send(signal.SIGINT)}, "-p", "STOP_SECONDS", "1")
    assert status == 130 and statuses(notebook)[-1] == "failed" and is_gone(kernel), log
    assert notebook.metadata.papermill.status == "interrupted"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("os.kill(os.getpid(), 9)", r"killed \(SIGKILL\) by the system.*memory.*BATCH_SIZE.*CACHE_MB"),
        ("os._exit(3)", r"killed \(status 3\)"),
    ],
)
def test_a_kernel_that_dies_is_named_and_its_notebook_says_failed(run, cell, message):
    import re

    status, log, notebook, _ = run([cell, "print('not reached')"])
    assert status == 138 and statuses(notebook) == ["failed", "pending"], log
    assert notebook.metadata.papermill.status == "failed" and re.search(message, notebook.cells[0].source)
