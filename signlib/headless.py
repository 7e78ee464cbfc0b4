"""Running a notebook without a browser: `run_notebook`."""

import contextlib
import os
import pathlib
import signal
import sys
from dataclasses import dataclass

from signlib.files import write_json
from signlib.project import ROOT, project_path
from signlib.runs import claim_run_dir, read_state
from signlib.signals import handled, stop_signals


@dataclass(frozen=True)
class Finished:
    """How `run_notebook` ended: the run's `folder`, the `status` and `reason` of its run.json, and the exit status of a
    command that did it: 0 finished, 2 bad input, 128 and the signal's number interrupted, 1 anything else."""

    folder: pathlib.Path
    status: str
    reason: str
    exit_status: int


class Log:
    """Writes to a stream for as long as somebody reads it: a closed pipe or terminal must not end a run."""

    def __init__(self, stream):
        self.stream = stream
        with contextlib.suppress(AttributeError):  # a terminal that cannot show a sign must not end it either
            stream.reconfigure(errors="replace")

    def write(self, text):
        if self.stream is not None:
            try:
                self.stream.write(text)
                self.stream.flush()
            except OSError:
                with pathlib.Path(os.devnull).open("w") as nothing:  # else Python complains at its end of what is left
                    os.dup2(nothing.fileno(), self.stream.fileno())
                self.stream = None

    def flush(self):
        """Done by `write`."""


def run_notebook(notebook, parameters, run_dir, out=None, signals=None):
    """Runs the training notebook, or one like it, through papermill, its log streaming to `out` (by default stdout).

    Returns `Finished`. The notebook takes RUN_DIR and writes run.json there; `run_dir` may be "" for a new folder in `runs`,
    and receives the executed notebook as well. Raises InputError for a `run_dir`, or a run to RESUME, that cannot be used.

    SIGINT, SIGTERM and SIGHUP reach the kernel as an interrupt, so that it can save and end; STOP_SECONDS later, or at a
    second signal, it is killed. signals: a list that receives those that came. What happened is what run.json says: a notebook
    that could not write its end there has failed, or was interrupted.
    """
    signals = [] if signals is None else signals  # from here on none is lost: the engine looks for those that came before it
    with handled(lambda signum, frame: signals.append(signum), *stop_signals()):
        return _run(project_path(notebook), parameters | {"RUN_DIR": str(run_dir)}, out or sys.stdout, signals)


def _run(notebook, parameters, out, signals):
    import papermill  # here, since it takes a second; it finds the engine by the entry point in pyproject.toml

    run_dir = claim_run_dir(parameters)
    before = read_state(run_dir)
    earlier = len(list(run_dir.glob(f"{notebook.stem}*.ipynb")))  # a resumed run keeps the log of what was before
    executed = run_dir / f"{notebook.stem}{f'-{earlier + 1}' if earlier else ''}.ipynb"
    error = None
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=parameters | {"RUN_DIR": str(run_dir)},
            engine_name="signlib",
            cwd=str(ROOT),
            progress_bar=False,
            stdout_file=Log(out),
            stderr_file=Log(out),
            signals=signals,
        )
    except (Exception, KeyboardInterrupt, SystemExit) as caught:
        error = caught

    state = read_state(run_dir) or {"parameters": parameters, "status": "died", "reason": ""}
    silent = state["status"] == "died" or state == before
    status, reason, exit_status = state["status"], state.get("reason", ""), 1
    if isinstance(error, papermill.PapermillExecutionError):
        status, reason = "failed", f"{error.ename}: {error.evalue}"
        exit_status = 2 if error.ename == "InputError" else 1
    elif signals and error is not None:
        status, exit_status = "interrupted", 128 + signals[0]
        if silent:
            reason = f"stopped by {signal.Signals(signals[0]).name}"
    elif error is not None:
        status, reason = "failed", str(error) or type(error).__name__
    elif silent:
        status, reason = "failed", "the notebook did not say how it ended"
    elif status == "finished":
        exit_status = 0
    if state["status"] == "died":
        with contextlib.suppress(OSError, ValueError):  # a full disk, a name that is no text: it then reads as died
            write_json(run_dir / "run.json", state | {"status": status, "reason": reason})
    return Finished(run_dir, status, reason, exit_status)
