"""Runs of the training notebook: a run's folder with its run.json."""

import contextlib
import itertools
import json
import math
import os
import socket
import tempfile
import time
import warnings

import signlib
from signlib.errors import InputError
from signlib.files import sha256, write_json
from signlib.history import clamp_history
from signlib.locks import free_lock, lock_owner, take_lock
from signlib.parameters import CHANGEABLE
from signlib.project import CHECKPOINT_NAME, MODEL_NAME, code_digest, git_revision, models_dir, open_data, project_path
from signlib.state import read_progress

ORIGIN = "origin.json"  # in the folder of a batch's run: what the run follows from


class Run:
    """A run of checked parameters, new or resumed, and its folder. `run.json` says how it stands: `status` is running,
    finished, interrupted, diverged or failed, and read by `read_state` also died. `data`, `labels`: where the clips are;
    `split`: how to divide them. `divided`: a resumed run goes on with its own split.json, whatever an audit has found since.
    `sample`: they are synthetic. `models`: where to publish, what no other run may do meanwhile; or None. `resumed`: it is."""

    locks = ()  # of this process' latest run; they end with it, or when the notebook is started again

    def __init__(self, parameters):
        self.data, self.labels, self.sample = open_data(parameters)
        self.models = models_dir(parameters, self.sample)
        self.folder = claim_run_dir(parameters)
        self.resumed = bool(parameters["RESUME"])
        self.warnings, self.started = [], time.time()
        self.state = read_state(self.folder) or {}
        code = code_digest()
        self.state |= {
            "status": "running",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "parameters": parameters,
            "data": str(self.data),
            "sample": self.sample,
            "signlib": signlib.__version__,
            "git_revision": git_revision(),
            "code": code if self.state.get("code", code) == code else "of several versions",
            "locked": self._take_locks(self.folder / "run.json", *([self.models / MODEL_NAME] if self.models else [])),
            "resumed" if self.resumed else "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        if not self.resumed:
            self.write()
        split = parameters["SPLIT"]
        self.split = project_path(split) if split.endswith(".json") else split
        self.divided = self.resumed and (self.folder / "split.json").exists()
        warnings.showwarning = self._show_warning

    def start(self, record):
        """Writes what the model will be made of, see `make_record`, into run.json before the training. A resumed run is refused
        where its data are not those of before; up to here its run.json is as it was."""
        before = self.state.get("data_fingerprint", record["data_fingerprint"])
        if before != record["data_fingerprint"]:
            raise InputError(
                f"RESUME: the clips or their labels are not those of {self.folder}: data_fingerprint was {before:.12}, now it "
                f"is {record['data_fingerprint']:.12}. Give it the same data, or start a new run"
            )
        for name in ("reason", "metrics", "published", "ended", "seconds"):
            self.state.pop(name, None)  # of what was before
        (self.folder / "predictions.npz").unlink(missing_ok=True)  # made anew at the end
        self.write(**{name: record[name] for name in ("classes", "layout", "data_fingerprint", "versions")})

    def paths(self):
        """Returns where `fit` saves: its arguments path, checkpoint, final, state and fallback."""
        return {
            "path": self.folder / "model.h5",
            "state": self.folder / "state.h5",
            "checkpoint": self.models and self.models / CHECKPOINT_NAME,
            "final": self.models and self.models / MODEL_NAME,
            "fallback": project_path(self.state["parameters"]["FALLBACK_DIR"] or tempfile.gettempdir()),
        }

    def write(self, **values):
        """Adds values to run.json, atomically."""
        self.state |= values
        write_json(self.folder / "run.json", self.state)

    def write_result(self, result, **more):
        """Writes what `fit` brought into run.json, before anything else can go wrong."""
        self.outcome = {"status": result.status, "reason": result.reason}
        kept = result.published if self.models else result.saved and result.saved.whole
        if not kept:
            self.outcome = {"status": "failed", "reason": "the model could not be saved or published: see the warnings"}
        if (result.best_epoch, result.best_value) != (self.state.get("best_epoch"), self.state.get("best_value")):
            (self.folder / "predictions_test.npz").unlink(missing_ok=True)  # another model's
        model = None if result.saved is None else {"path": result.saved.path, "sha256": sha256(result.saved.path)}
        self.write(
            history=result.history,
            history_clamped=clamp_history(result.history),
            best_epoch=result.best_epoch,
            best_value=result.best_value,
            start_loss=result.start_loss,
            training_seconds=round(result.seconds, 1),
            model=model,
            published=result.published,
            **more,
        )

    def count_test(self):
        """Counts in run.json that the test clips are read, before they are."""
        self.write(test_reads=self.state.get("test_reads", 0) + 1)

    def finish(self, metrics):
        """Writes the end of the run, and prints the warnings again. metrics: {name: value}."""
        self.write(
            **self.outcome,
            metrics=metrics,
            warnings=self.warnings,
            ended=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            seconds=round(time.time() - self.started, 1),
        )
        self._take_locks()
        for message in self.warnings:
            print(f"Warning: {message}")
        print(f"{self.outcome['status']}: {self.folder}", flush=True)

    def _take_locks(self, *paths):
        """Gives the locks of the latest run back and takes those of `paths`; returns whether there are locks here at all."""
        for path in Run.locks:
            free_lock(path)
        Run.locks = ()
        try:
            for path in paths:
                alone = take_lock(path)
                Run.locks += (path,)
        except BlockingIOError as error:
            raise InputError(f"{error.strerror}: wait for it, or name other folders in RUN_DIR and MODELS_DIR") from None
        return bool(paths) and alone

    def _show_warning(self, message, category, filename, lineno, file=None, line=None):
        if str(message) not in self.warnings:
            self.warnings.append(str(message))
            print(f"Warning: {message}", flush=True)


def read_state(folder):
    """Returns run.json of a run's folder as a dict, or None where there is none that can be read. A run that says it is
    running, and whose process is no longer there, has the status "died". One that has not said what came out has the history
    up to its last whole epoch."""
    try:
        state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if state["status"] == "running" and not _is_alive(folder, state):
            state |= {"status": "died", "reason": f"process {state.get('pid')} on {state.get('host')} ended without saying how"}
        if "history" not in state or state["status"] in ("running", "died"):
            progress = read_progress(folder / "state.h5")
            state |= {
                name: progress[name] for name in ("history", "best_epoch", "best_value", "start_loss") if name in progress
            }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state


def origin_changes(folder, state, origin):
    """Returns the names of those parts of `origin`, what a batch's run shall follow from, that the run in a folder does not
    follow from. state: its run.json. Raises OSError where its own origin is there and cannot be read."""
    try:
        before = json.loads((folder / ORIGIN).read_bytes())
    except (FileNotFoundError, ValueError):
        before = {}
    changed = [name for name, value in origin.items() if before.get(name) != value]
    if state.get("data_fingerprint", origin.get("data")) != origin.get("data"):  # while the batch ran
        changed.append("data")
    return changed


def load_runs(folder="runs"):
    """Returns a DataFrame, a row a run in `folder` (its subfolders with a run.json), newest last: name, status, metrics
    and parameters; `folder` the path. A file that cannot be read is a row with status "unreadable"."""
    import pandas as pd

    rows = []
    for path in sorted(project_path(folder).glob("*/run.json")):
        row = {"run": path.parent.name, "folder": str(path.parent)}
        try:
            state = read_state(path.parent)
            row |= {key: state.get(key) for key in ("status", "started", "sample", "best_epoch", "seconds")}
            row |= state.get("metrics", {}) | state["parameters"]
        except (KeyError, AttributeError, TypeError):
            row["status"] = "unreadable"
        rows.append(row)
    table = pd.DataFrame(rows, columns=None if rows else ["run", "folder", "status"])
    return table.sort_values("run", ignore_index=True)


def claim_run_dir(parameters):
    """Returns the folder of a run: of the one to RESUME; else RUN_DIR, made, or where that is empty a new one in `runs`, named
    after the time.

    Raises InputError where it cannot be made, holds a run already, or holds none that can be resumed with the parameters.
    """
    if parameters.get("RESUME"):
        return _resumable(parameters)
    try:
        if parameters["RUN_DIR"]:
            folder = project_path(parameters["RUN_DIR"])
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / "run.json").exists():
                raise InputError(f"RUN_DIR: {folder} already holds a run; name a new folder, or RESUME that run")
            return folder
        name = time.strftime("%Y-%m-%d_%H%M%S")
        for number in itertools.count(1):
            folder = project_path("runs") / (name if number == 1 else f"{name}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder
    except OSError as error:
        raise InputError(f"RUN_DIR: cannot make {folder}: {error.strerror}; name another folder") from None


def run_to_resume(resume):
    """Returns (folder, its run.json) of a run that can be resumed; raises InputError of any other."""
    folder = project_path(resume)
    state = read_state(folder)
    if state is None or not isinstance(state.get("parameters"), dict):
        raise InputError(f"RESUME: no run in {folder}; expected a folder with the run.json of a run, such as one in runs/")
    if "ensemble" in state:
        raise InputError(f"RESUME: {folder} is an ensemble, which is not trained: name one of {', '.join(state['ensemble'])}")
    if state["status"] == "running" and folder / "run.json" not in Run.locks:
        raise InputError(f"RESUME: {folder} is still running: process {state.get('pid')} on {state.get('host')}")
    return folder, state


def _resumable(parameters):
    folder, state = run_to_resume(parameters["RESUME"])
    if parameters["RUN_DIR"] and project_path(parameters["RUN_DIR"]) != folder:
        raise InputError(f"RUN_DIR: {parameters['RUN_DIR']} is not the run to RESUME, {folder}; leave it empty")
    for name, before in state["parameters"].items():
        changeable = name in CHANGEABLE and (name != "EPOCHS" or parameters.get("SCHEDULE", "fixed") == "fixed")
        if name in parameters and not changeable and parameters[name] != before:
            raise InputError(
                f"RESUME: {name} was {before!r} in {folder}, now it is {parameters[name]!r}; leave it, or start a new run"
            )
    return folder


def read_run(run="", folder="runs"):
    """Returns (folder, run.json as a dict) of a run: a folder's path, its name in `folder`, or "" for the newest with
    predictions. One that failed, died or still runs has the history of its whole epochs; of what it lacks, `reason`,
    `history`, `warnings`, `best_epoch`, `best_value` and `seconds` are there, empty, 0 or NaN. Raises InputError where there
    is none."""
    folder = project_path(folder)
    if run:
        path = next((p for p in (project_path(run), folder / run) if (p / "run.json").is_file()), None)
        if path is None:
            raise InputError(f"RUN: no run {run!r}: neither {project_path(run)} nor {folder / run} holds a run.json")
        if (state := _whole(path)) is None:
            raise InputError(f"RUN: {path / 'run.json'} cannot be read as a run's; choose another run")
        return path, state
    for path in sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        if (path.parent / "predictions.npz").is_file() and (state := _whole(path.parent)) is not None:
            return path.parent, state
    raise InputError(f"no run with predictions in {folder}: train one first, with python train.py")


def _whole(folder):
    """run.json of a run with all that `read_run` promises, its not-finite values as numbers again; None where it cannot be."""
    empty = {"reason": "", "history": {}, "warnings": [], "best_epoch": 0, "best_value": math.nan, "seconds": math.nan}
    try:
        state = empty | read_state(folder)
        state["parameters"] = dict(state["parameters"])
        state["best_value"] = float(state["best_value"])
        state["history"] = {name: [float(value) for value in values] for name, values in state["history"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return state


def _is_alive(folder, state):
    """Whether the process of a run that says it is running is there: it holds the lock of its run.json. Where there are no
    locks, its number tells on its own host; on another nobody can, so it is believed."""
    if folder / "run.json" in Run.locks:
        return True
    if state.get("locked", True):
        return bool(lock_owner(folder / "run.json"))
    if state.get("host") != socket.gethostname():
        return True
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
