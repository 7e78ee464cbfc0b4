"""Runs that differ in SEED alone as one model, the mean of their probabilities: `make_ensemble`."""

import shutil
import time
from dataclasses import replace

import numpy as np

from signlib.errors import InputError, SaveError
from signlib.evaluate import top_k
from signlib.files import atomic_path, sha256, write_json
from signlib.locks import locked
from signlib.model import average_models
from signlib.parameters import NOT_OF_THE_MODEL
from signlib.predictions import read_predictions
from signlib.project import project_path
from signlib.runs import read_run, read_state
from signlib.safe_save import load_model, save_model

MAY_DIFFER = NOT_OF_THE_MODEL | {"SEED"}  # of the members' parameters
KEPT = ("data", "sample", "signlib", "git_revision", "code", "classes", "layout", "data_fingerprint", "versions", "clips")
COPIED = ("split.json", "audit.json")


def make_ensemble(folders, out):
    """Makes one model of finished runs that differ in SEED alone, whose output is the mean of theirs (Hansen & Salamon 1990,
    IEEE PAMI 12:993), and the folder `out` for it, like that of a run: model.h5, predictions.npz and run.json, in which
    `ensemble` has the members and the digests of their models; its parameters are those of the first. An ensemble that stands
    there is replaced. Prints what each member and the ensemble reach. Returns the folder.

    folders: of the runs, or their names in `runs`. The model's record is that of the members, with `members`: the run, seed and
    best epoch of each, and what that reached. Until all is written, run.json is not there or says "failed". Raises InputError,
    nothing written, where a run is not finished, damaged, of another recipe or data or judged by other clips, or `out` holds
    anything but an ensemble; SaveError where it cannot be written.
    """
    out = project_path(out)
    if len(folders) < 2:
        raise InputError(f"an ensemble is made of two runs or more, got {len(folders)}: name more runs of one setting")
    if _holds_anything_else(out):
        raise InputError(f"{out} is there and is no ensemble, which alone would be replaced: name another folder")
    members = [_read(folder) for folder in folders]
    for member in members[1:]:
        _check_alike(members[0], member)
    folders, runs, loaded, judged = zip(*members, strict=True)
    probabilities = np.mean([each.probabilities for each in judged], axis=0, dtype=np.float64).astype(np.float32)
    names, together = [folder.name for folder in folders], replace(judged[0], probabilities=probabilities)
    record, state = _describe(names, runs, [each.record for each in loaded], str(out))
    try:
        saved = _write(out, average_models([each.model for each in loaded]), record, state, together, folders[0])
    except OSError as error:
        reason = error.strerror or error
        raise SaveError(f"cannot write {out} ({reason}): once that is mended, make the ensemble again") from error
    width = max(map(len, [*names, "mean of the members"]))
    shares = [_top_1(each)[0] for each in judged]
    print(f"{len(names)} members; 95 % interval over {together.basis()}")
    for name, share in zip([*names, "mean of the members"], [*shares, np.mean(shares)], strict=True):
        print(f"{name:{width}} {share:6.1%}")
    share, low, high = _top_1(together)
    print(f"{'the ensemble':{width}} {share:6.1%}  ({low:.1%} to {high:.1%})\n{saved.message}", flush=True)
    return out


def _holds_anything_else(out):
    """Whether there is something at `out` that no ensemble left; hidden files are those of writers that were killed."""
    if "ensemble" in (read_state(out) or {}):
        return False
    return out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir()))


def _read(folder):
    """(folder, run.json, loaded model, predictions) of a member."""
    folder, run = read_run(str(folder))
    if run["status"] != "finished":
        raise InputError(f"{folder} is {run['status']}, expected a finished run: RESUME it, or leave it out")
    if "ensemble" in run:
        raise InputError(f"{folder} is an ensemble, expected a run: name its members, {', '.join(run['ensemble'])}")
    path = folder / "model.h5"
    loaded, ended_with = load_model(path), run.get("model") or {}
    if ended_with.get("sha256", sha256(path)) != sha256(path):  # such as where its best had to be saved in FALLBACK_DIR
        raise InputError(f"{path} is not the model that the run ended with, {ended_with.get('path')}: copy that here")
    return folder, run, loaded, read_predictions(folder / "predictions.npz")


def _check_alike(first, other):
    expected, found = _recipe(first[2].record), _recipe(other[2].record)
    for name in expected | found:
        if expected.get(name) != found.get(name):
            values = f"{found.get(name)!r:.80} in {other[0]}, but {expected.get(name)!r:.80} in {first[0]}"
            raise InputError(f"{name} is {values}; expected runs that differ in SEED alone: leave one of them out")
    if any(not np.array_equal(getattr(first[3], name), getattr(other[3], name)) for name in ("video_ids", "labels")):
        how = f"leave it out, or train it again with SPLIT {first[0] / 'split.json'}"
        raise InputError(f"{other[0]} was judged by other clips than {first[0]}: {how}")


def _recipe(record):
    """{name: value} of all that has to be the same in all members."""
    found = {name: value for name, value in record["parameters"].items() if name not in MAY_DIFFER}
    for part in ("preprocessor", "architecture"):
        found |= {f"{part} {name}": value for name, value in record[part].items()}
    return found | {name: record.get(name) for name in ("classes", "layout", "data_fingerprint")}


def _top_1(judged):
    return judged.interval(top_k(judged.probabilities, judged.labels))


def _describe(names, runs, records, out):
    """The record of the ensemble's model, and what its run.json says but for how it ended."""
    place, monitor = {"RUN_DIR": out, "RESUME": ""}, runs[0]["parameters"].get("MONITOR", "val_loss")
    record = {name: value for name, value in records[0].items() if name not in ("epoch", monitor)}
    record["parameters"] = record["parameters"] | place
    record["members"] = [
        {"run": name, "seed": run["parameters"].get("SEED"), "epoch": each.get("epoch"), monitor: each.get(monitor)}
        for name, run, each in zip(names, runs, records, strict=True)
    ]
    state = {name: runs[0][name] for name in KEPT if name in runs[0]}
    for name in ("git_revision", "code"):
        if any(run.get(name) != runs[0].get(name) for run in runs):
            state[name] = "of several versions"
    digests = {name: (run.get("model") or {}).get("sha256") for name, run in zip(names, runs, strict=True)}
    return record, state | {"ensemble": digests, "parameters": runs[0]["parameters"] | place, "history": {}}


def _write(out, model, record, state, judged, first):
    """Writes the folder, run.json last; returns the `Saved` of the model. first: the folder of the first member."""
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / "run.json"):
        reason = "making the ensemble did not reach its end: make it again"
        write_json(out / "run.json", state | {"status": "failed", "reason": reason})
        for name in ("predictions.npz", "predictions_test.npz", *COPIED):
            (out / name).unlink(missing_ok=True)
        saved = save_model(model, out / "model.h5", record)
        if not saved.whole:
            raise SaveError(saved.message)
        for name in filter(lambda name: (first / name).is_file(), COPIED):
            with atomic_path(out / name) as temporary:
                shutil.copyfile(first / name, temporary)
        judged.save(out / "predictions.npz")
        state |= {"status": "finished", "reason": "", "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "published": None}
        state |= {"model": {"path": saved.path, "sha256": sha256(saved.path)}}
        write_json(out / "run.json", state | {"metrics": {name: value for name, value, *_ in judged.rows()}})
    return saved
