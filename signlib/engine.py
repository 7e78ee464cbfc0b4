"""Running a notebook without a browser: `run_notebook`, and a papermill engine that lets it end tidily at a signal.

Papermill alone kills the kernel at SIGTERM without an exception in it, and gives a cell 2 to 3 seconds after SIGINT.
"""

import json
import os
import pathlib
import signal
import sys
from dataclasses import dataclass

import papermill
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger

from signlib.files import write_json
from signlib.runs import ROOT, claim_run_dir, project_path
from signlib.signals import handled


class _Client(PapermillNotebookClient):
    """Knows whether a cell is running: a kernel that runs none ignores interrupts."""

    running = False

    def execute_cell(self, cell, index, **kwargs):
        self.running = cell.cell_type == "code"
        try:
            return super().execute_cell(cell, index, **kwargs)
        finally:
            self.running = False


class SignalEngine(NBClientEngine):
    """The engine "signlib". `signals`: a list that receives the numbers of the signals that came."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, signals=None, stdout_file=None, stderr_file=None, **kwargs):
        """Runs the notebook. At a second signal the kernel dies; one that comes while no cell runs is a KeyboardInterrupt."""
        received = [] if signals is None else signals
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            log=logger,
            log_output=kwargs.get("log_output", False),
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            startup_timeout=kwargs.get("start_timeout", 60),
            shutdown_kernel="immediate",  # all is written by then; the graceful way interrupts the idle kernel, which complains
            extra_arguments=["--log-level=ERROR"],  # newer kernels warn of their local TCP port at every start
        )

        def pass_on(signum, frame):
            received.append(signum)
            if not client.running:
                raise KeyboardInterrupt
            os.kill(client.km.provisioner.pid, signal.SIGINT if len(received) == 1 else signal.SIGKILL)

        with handled(pass_on, signal.SIGINT, signal.SIGTERM):
            return client.execute()


@dataclass(frozen=True)
class Finished:
    """How `run_notebook` ended: the run's `folder`, the `status` and `reason` of its run.json, and the exit status of a
    command that did it: 0 finished, 2 bad input, 130 or 143 interrupted, 1 anything else."""

    folder: pathlib.Path
    status: str
    reason: str
    exit_status: int


def run_notebook(notebook, parameters, run_dir, out=None):
    """Runs the training notebook, or one like it, through papermill, its log streaming to `out` (by default stdout).

    Returns `Finished`. The notebook takes RUN_DIR and writes run.json there; `run_dir` may be "" for a new folder in `runs`,
    and receives the executed notebook as well. Raises InputError for a `run_dir` that cannot be used.

    SIGINT and SIGTERM reach the kernel as an interrupt, so that it can save and end; a second one ends it at once. What
    happened is what run.json says: a notebook that could not write its end there has failed, or was interrupted.
    """
    papermill_engines.register("signlib", SignalEngine)
    run_dir, notebook = claim_run_dir(run_dir), project_path(notebook)
    signals, reason, bad_input = [], "the notebook did not say how it ended", False
    try:
        papermill.execute_notebook(
            str(notebook),
            str(run_dir / notebook.name),
            parameters=parameters | {"RUN_DIR": str(run_dir)},
            engine_name="signlib",
            cwd=str(ROOT),
            progress_bar=False,
            stdout_file=out or sys.stdout,
            stderr_file=out or sys.stdout,
            signals=signals,
        )
    except papermill.PapermillExecutionError as error:
        reason, bad_input = f"{error.ename}: {error.evalue}", error.ename == "InputError"
    except (Exception, KeyboardInterrupt) as error:  # the kernel died, or never started
        reason = f"{'stopped before the notebook could end by itself; ' if signals else ''}{type(error).__name__}: {error}"

    path = run_dir / "run.json"
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"parameters": parameters, "status": "running"}
    if state["status"] == "running":
        state |= {"status": "interrupted" if signals else "failed", "reason": reason}
        write_json(path, state)
    exit_status = {"finished": 0, "interrupted": 128 + (signals or [signal.SIGINT])[0]}.get(state["status"], 1)
    return Finished(run_dir, state["status"], state["reason"], 2 if bad_input else exit_status)
