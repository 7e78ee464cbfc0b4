"""Promoting a run: its best model takes the place of the one in `models/`."""

import contextlib
import json

from signlib import project
from signlib.errors import InputError
from signlib.files import sha256
from signlib.locks import locked
from signlib.runs import read_run
from signlib.safe_save import load_model, publish


def promote(run, models_dir="models"):
    """Copies a run's best model to `models_dir`, both as lstm_model.h5 and as the checkpoint; one of the sample to `sample` in
    it. Loads it there as a user would, prints whose model stood there before and whose does now, and returns its path.

    run: as `read_run` takes it. Raises InputError where the run still goes on or has no whole model, or another run
    publishes there; SaveError where it cannot be written. What stood at a path is then untouched.
    """
    folder, state = read_run(run)
    source = folder / "model.h5"
    if state["status"] == "running":
        raise InputError(f"{folder} is still running: its best model may change; wait for its end")
    load_model(source)
    saved = (state.get("model") or {}).get("sha256")
    if "metrics" in state and "model" in state and sha256(source) != saved:  # the best was saved elsewhere, or as weights alone
        raise InputError(f"{source} is not the model that {folder / 'run.json'} tells of; resume the run, or promote another")
    target = project.models_dir({"MODELS_DIR": str(models_dir)}, state.get("sample", False)) / project.MODEL_NAME
    try:
        with locked(target):  # as a run does that publishes there
            before = _whose(target)
            for path in (target, target.with_name(project.CHECKPOINT_NAME)):
                publish(source, path)
            load_model(target)
    except BlockingIOError as error:
        raise InputError(f"{error.strerror}: wait for that run, or name another folder") from None
    print(f"{target}: was {before}, now {_told(folder, state)}", flush=True)
    return target


def _whose(path):
    """Whose model stands at `path`, in words."""
    if not path.exists():
        return "nothing"
    digest, runs = sha256(path), project.project_path("runs")
    for file in (*runs.glob("*/run.json"), *runs.glob("*/*/run.json")):  # those of batches, too
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # torn, or a run without a model
            state = json.loads(file.read_text(encoding="utf-8"))
            if state["model"]["sha256"] == digest:
                return _told(file.parent, state)
    return "a model of no run in runs/"


def _told(folder, state):
    """A run and its metrics, in words."""
    metrics = [f"{name} {float(value):.1%}" for name, value in state.get("metrics", {}).items() if name.startswith("model")]
    return f"{folder.parent.name}/{folder.name} ({', '.join(metrics) or 'not judged'})"
