"""Runs of the training notebook: the data its parameters name, its folder with run.json."""

import ast
import contextlib
import itertools
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import warnings

import signlib
from signlib.errors import InputError
from signlib.files import is_folder, write_json
from signlib.labels import FORMS

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "2_train.ipynb"
DEFAULT_DATA = "processed_vids/wlasl-video/processed_keypoints_fixed"
SAMPLE = "processed_vids/sample"


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
    if not is_folder(data):
        if parameters["DATA"] or labels is not None:
            raise InputError(f"DATA: no folder {data}; {FORMS}")
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
