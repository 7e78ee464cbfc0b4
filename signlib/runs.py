"""Runs of the training notebook: its parameters, its data, its folder with run.json."""

import ast
import contextlib
import difflib
import itertools
import json
import math
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass

import signlib
from signlib.errors import InputError
from signlib.files import write_json
from signlib.landmarks import LAYOUTS, select_landmarks

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "2_train.ipynb"
DEFAULT_DATA = "processed_vids/wlasl-video/processed_keypoints_fixed"
SAMPLE = "processed_vids/sample"


@dataclass(frozen=True)
class Parameter:
    """The type of a parameter and its range: `low` to `high` for numbers, `choices` for some texts."""

    kind: type
    low: float = -math.inf
    high: float = math.inf
    choices: tuple = ()

    def check(self, name, value):
        """Returns `value`, a whole number as float where a float is meant; raises InputError naming the allowed range."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind or (self.choices and value not in self.choices):
            raise InputError(f"{name} = {value!r}: expected {self}")
        if self.kind in (int, float) and not self.low <= value <= self.high:
            raise InputError(f"{name} = {value!r}: expected {self}")
        return value

    def parse(self, name, text):
        """Returns the value that `text` from the command line means, checked."""
        try:
            return self.check(name, self.kind(text))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} = {text!r}: expected {self}") from None

    def __str__(self):
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind in (int, float):
            return f"a {'whole ' if self.kind is int else ''}number from {self.low:g} to {self.high:g}"
        return "True or False" if self.kind is bool else "text"


PARAMETERS = {
    "DATA": Parameter(str),
    "LABELS": Parameter(str),
    "SAMPLE": Parameter(bool),
    "MODELS_DIR": Parameter(str),
    "RUN_DIR": Parameter(str),
    "BATCH_SIZE": Parameter(int, 1, 4096),
    "EPOCHS": Parameter(int, 1, 10_000),
    "VALIDATION_SPLIT": Parameter(float, 0.01, 0.9),
    "LEARNING_RATE": Parameter(float, 1e-8, 1),
    "DROPOUT_RATE": Parameter(float, 0, 0.95),
    "L2_REGULARIZATION": Parameter(float, 0, 1),
    "CLIP_NORM": Parameter(float, 1e-6, 1e6),
    "ADAM_EPSILON": Parameter(float, 1e-12, 1),
    "PATIENCE": Parameter(int, 1, 10_000),
    "MONITOR": Parameter(str, choices=("val_loss", "val_accuracy", "loss", "accuracy")),
    "SPLIT": Parameter(str, choices=("stratified", "official")),
    "LAYOUT": Parameter(str, choices=("auto", *LAYOUTS)),
    "LANDMARKS": Parameter(str),
    "SEQUENCE_LENGTH": Parameter(int, 2, 1000),
    "LONG_CLIPS": Parameter(str, choices=("resample", "truncate")),
    "AUGMENT": Parameter(bool),
    "ARCHITECTURE": Parameter(str, choices=("lstm",)),
    "MAX_BAD_SHARE": Parameter(float, 0, 1),
    "CACHE_MB": Parameter(int, 0, 1_000_000),
    "DEVICE": Parameter(str, choices=("cpu", "auto")),
    "SEED": Parameter(int, 0, 2**31 - 1),
}


AUDIT_PARAMETERS = {name: PARAMETERS[name] for name in ("DATA", "LABELS", "SAMPLE", "LAYOUT", "SEQUENCE_LENGTH")}
AUDIT_PARAMETERS["CLIP"] = Parameter(str)
DIAGNOSE_PARAMETERS = {"RUN": Parameter(str), "LOG_SCALE": Parameter(bool)}


def check_parameters(given, table=PARAMETERS):
    """Returns {name: value} of all parameters, checked. `given` is that, or a notebook's `globals()`; `table` is that of
    the training notebook, AUDIT_PARAMETERS or DIAGNOSE_PARAMETERS.

    Raises InputError for an unknown name, a wrong type or a value out of range. In globals, every literal is taken for a
    parameter at first: papermill adds a misspelt one as a new variable and goes on. Later, when the notebook's own
    variables stand there as well, only names in capitals are.
    """
    again = "parameters" in given
    literals = {
        name: value
        for name, value in given.items()
        if (name.isupper() or not again)
        and not name.startswith("_")
        and name not in ("In", "Out")
        and isinstance(value, str | int | float | list | tuple | dict | None)
    }
    for name in literals:
        if name not in table:
            close = difflib.get_close_matches(name.upper(), table, 1)
            hint = f"did you mean {close[0]}?" if close else f"the parameters are {', '.join(table)}"
            raise InputError(f"unknown parameter {name}: {hint} (once the cell is mended, restart the kernel)")
    values = {name: spec.check(name, literals[name]) for name, spec in table.items() if name in literals}
    if absent := [name for name in table if name not in values]:
        raise InputError(f"parameter {absent[0]} is missing: run the notebook's parameters cell first")
    if "LANDMARKS" in values:
        select_landmarks(values["LANDMARKS"])
    if values.get("SAMPLE") and (values["DATA"] or values["LABELS"]):
        raise InputError("SAMPLE = True contradicts DATA or LABELS: name your data or ask for the sample")
    return values


def notebook_parameters(notebook=NOTEBOOK):
    """Returns {name: (default, why)} of a notebook's cell tagged `parameters`: literals, each with its comment."""
    cells = json.loads(pathlib.Path(notebook).read_text(encoding="utf-8"))["cells"]
    source = next("".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", []))
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        found[node.targets[0].id] = ast.literal_eval(node.value), comment.strip().lstrip("# ")
    return found


def project_path(path):
    """Returns an absolute path; a relative one is meant from the project's root, wherever the kernel was started."""
    try:
        return ROOT / pathlib.Path(path).expanduser()
    except RuntimeError as error:  # ~ of an unknown user
        raise InputError(f"{path}: {error}") from None


def find_data(parameters):
    """Returns (data folder, labels file or None, is it the sample). The sample is used when asked for, or when nothing is
    named and the default folder does not exist. Raises InputError when a folder or file that was named is missing."""
    sample = project_path(SAMPLE) / "processed_keypoints_fixed", None, True
    if parameters["SAMPLE"]:
        return sample
    labels = project_path(parameters["LABELS"]) if parameters["LABELS"] else None
    if labels is not None and not labels.is_file():
        raise InputError(f"LABELS: no file {labels}; expected a json such as WLASL_v0.3.json")
    data = project_path(parameters["DATA"] or DEFAULT_DATA)
    if not data.is_dir():
        if parameters["DATA"] or labels is not None:
            raise InputError(f"DATA: no folder {data}; expected a folder of <video_id>.npy files")
        return sample
    return data, labels, False


def models_dir(parameters, sample):
    """Returns the folder to publish in, made: MODELS_DIR, or `sample` in it for a model of the sample. Raises InputError
    where it cannot be written, before anything is learnt that would be published there."""
    folder = project_path(parameters["MODELS_DIR"]) / ("sample" if sample else "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"MODELS_DIR: cannot write in {folder}: {error.strerror}; name another folder") from None
    return folder


def open_data(parameters):
    """Returns what `find_data` does; makes the sample where that is what it found, and says so unmistakably."""
    data, labels, sample = find_data(parameters)
    if sample:
        from signlib.sample import make_sample

        why = "as asked" if parameters["SAMPLE"] else f"because {DEFAULT_DATA} does not exist"
        bar = "█" * 80
        print(f"{bar}\n█  THE BUILT-IN SAMPLE, {why}.\n█  Synthetic signs: nothing learnt here recognises")
        print(f"█  a real one. Set DATA to your own folder of keypoints.\n{bar}", flush=True)
        make_sample(project_path(SAMPLE))
    return data, labels, sample


def header(title):
    """Prints the header of a phase of the log."""
    print(f"\n── {title} {'─' * max(3, 76 - len(title))}", flush=True)


class Run:
    """A new training run of checked parameters, and its folder. `run.json` says how it stands: `status` is running,
    finished, interrupted, diverged or failed. `data`, `labels`: where the clips are. `sample`: they are synthetic.
    `models`: where to publish."""

    def __init__(self, parameters):
        self.data, self.labels, self.sample = open_data(parameters)
        self.models = models_dir(parameters, self.sample)
        self.folder = claim_run_dir(parameters["RUN_DIR"])
        self.warnings, self.started = [], time.time()
        self.state = {
            "status": "running",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "parameters": parameters,
            "data": str(self.data),
            "sample": self.sample,
            "signlib": signlib.__version__,
            "git_revision": _git_revision(),
        }
        self.write()
        warnings.showwarning = self._show_warning

    def write(self, **values):
        """Adds values to run.json, atomically."""
        self.state |= values
        write_json(self.folder / "run.json", self.state)

    def _show_warning(self, message, category, filename, lineno, file=None, line=None):
        if str(message) not in self.warnings:
            self.warnings.append(str(message))
            print(f"Warning: {message}", flush=True)

    def write_result(self, result, published, **more):
        """Writes what `fit` brought into run.json, before anything else can go wrong. `published`: the path, or None."""
        self.outcome = {"status": result.status, "reason": result.reason}
        if published is None:
            self.outcome = {"status": "failed", "reason": "the model could not be saved or published: see the warnings"}
        self.write(
            history=result.history,
            best_epoch=result.best_epoch,
            best_value=result.best_value,
            start_loss=result.start_loss,
            published=published,
            **more,
        )

    def finish(self, metrics):
        """Writes the end of the run, and prints the warnings again. metrics: {name: value}."""
        self.write(**self.outcome, metrics=metrics, warnings=self.warnings, seconds=round(time.time() - self.started, 1))
        for message in self.warnings:
            print(f"Warning: {message}")
        print(f"{self.outcome['status']}: {self.folder}", flush=True)


def load_runs(folder="runs"):
    """Returns a DataFrame, a row a run in `folder` (its subfolders with a run.json), newest last: name, status, metrics
    and parameters; `folder` the path. A file that cannot be read is a row with status "unreadable"."""
    import pandas as pd

    rows = []
    for path in sorted(project_path(folder).glob("*/run.json")):
        row = {"run": path.parent.name, "folder": str(path.parent)}
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            row |= {key: state.get(key) for key in ("status", "started", "sample", "best_epoch", "seconds")}
            row |= state.get("metrics", {}) | state["parameters"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            row["status"] = "unreadable"
        rows.append(row)
    table = pd.DataFrame(rows, columns=None if rows else ["run", "folder", "status"])
    return table.sort_values("run", ignore_index=True)


def claim_run_dir(run_dir=""):
    """Returns the folder of a new run, made: `run_dir`, or where that is empty a new one in `runs`, named after the time.

    Raises InputError where it cannot be made or holds a run already.
    """
    try:
        if run_dir:
            folder = project_path(run_dir)
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / "run.json").exists():
                raise InputError(f"RUN_DIR: {folder} already holds a run; name a new folder")
            return folder
        name = time.strftime("%Y-%m-%d_%H%M%S")
        for number in itertools.count(1):
            folder = ROOT / "runs" / (name if number == 1 else f"{name}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder
    except OSError as error:
        raise InputError(f"RUN_DIR: cannot make {folder}: {error.strerror}; name another folder") from None


def read_run(run="", folder="runs"):
    """Returns (folder, run.json as a dict) of a run with predictions: a folder's path, its name in `folder`, or "" for the
    newest. Raises InputError where there is none."""
    folder = project_path(folder)
    if run:
        path = next((p for p in (project_path(run), folder / run) if (p / "run.json").is_file()), None)
        if path is None:
            raise InputError(f"RUN: no run {run!r}: neither {project_path(run)} nor {folder / run} holds a run.json")
        if (state := _complete(path)) is None:
            raise InputError(f"RUN: {path} did not reach its end, so there are no predictions to look at; see its run.json")
        return path, state
    newest_first = sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in newest_first:
        if (state := _complete(path.parent)) is not None:
            return path.parent, state
    raise InputError(f"no run with predictions in {folder}: train one first, with python train.py")


def _complete(folder):
    """run.json of a run that reached its end, its not-finite values as numbers again; None of any other."""
    try:
        state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if "metrics" not in state or not (folder / "predictions.npz").is_file():
            return None
        state["best_value"] = float(state["best_value"])
        state["history"] = {name: [float(value) for value in values] for name, values in state["history"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state


def _git_revision():
    """The commit of the project, with + where files differ from it; empty where there is no git."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
