"""What each step from the notes' preprocessing to the recipe `accurate` brings, on any data.

python benchmarks/accuracy.py --data DIR --split official          ten rows, two seeds, five minutes each at most
python benchmarks/accuracy.py --recipes none lstm accurate --seeds 0 1 2 --data DIR      recipes as they are, whole length
python benchmarks/accuracy.py --small                              two rows, two epochs: continuous integration

Every row is a run of notebooks/2_train.ipynb in its own folder under --out; what is stored there is not run again, what was
broken off is resumed. Prints a table, and leaves it as accuracy.csv with a figure, accuracy.png. Accuracies are those of the
best epoch on the validation clips, top 1 and top 5: the mean of the seeds, and of their averaged probabilities. Other options
are those of train.py; those that a row sets are refused. Ends with status 2: bad input, 130: interrupted.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import train
from signlib import evaluate, plots, project
from signlib.batch import Runner
from signlib.errors import InputError
from signlib.plan import Plan, Planned
from signlib.runs import read_state

NOTES = {  # the first 50 frames, mean and deviation of the whole clip, missing hands as zeros; the model is ours
    **{"LONG_CLIPS": "truncate", "FEATURES": "position+depth", "NORMALISE": "clip"},
    **{"INTERPOLATE": False, "TRIM": False, "AUGMENT": False},
}
LADDER = {  # row: what changes from the row before; all else as in the notes
    "preprocessing of the notes": NOTES | {"EPOCHS": 50, "MONITOR": "val_accuracy", "PATIENCE": 50},
    "resampled, not cut": {"LONG_CLIPS": "resample"},
    "relative to the body": {"NORMALISE": "body", "FEATURES": "position"},
    "interpolated, trimmed": {"INTERPOLATE": True, "TRIM": True},
    "hand shape, velocity": {"FEATURES": "position+shape+velocity"},
    "augmented": {"AUGMENT": True},
    "AdamW, cosine": {
        **{"LEARNING_RATE": 2e-3, "SCHEDULE": "cosine", "WARMUP_EPOCHS": 5, "WEIGHT_DECAY": 0.05, "L2_REGULARIZATION": 0.0},
    },
    "smoothed labels, averaged weights": {"LABEL_SMOOTHING": 0.1, "EMA": 0.99},
    "32 frames, all of a hand": {  # the recipe lstm, as far as five minutes go
        **{"SEQUENCE_LENGTH": 32, "LONG_CLIPS": "stretch", "FEATURES": "position+place+shape+distance+direction+velocity"},
    },
    "convolutions and attention": {  # the recipe accurate, as far as five minutes go
        **{"ARCHITECTURE": "conv_transformer", "EPOCHS": 30, "LEARNING_RATE": 1e-3, "DROPOUT_RATE": 0.7, "ADAM_EPSILON": 1e-6},
    },
}
SMALL = {"EPOCHS": 2, "WARMUP_EPOCHS": 0}
OWN = ("SEED", "RESUME", "RUN_DIR", "MODELS_DIR")  # set for each run


def main(arguments):
    """Runs what is not stored yet and prints the table. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--recipes", nargs="+", default=[], help="of notebooks/recipes, or none, instead of the ladder")
    parser.add_argument("--out", default="runs/accuracy", help="folder of the runs, the table and the figure [runs/accuracy]")
    parser.add_argument("--small", action="store_true", help="the first and the last row, two epochs")
    options, rest = parser.parse_known_args(arguments)
    try:
        rows = {name: {} if name == "none" else train.read_recipe(name) for name in options.recipes} or ladder()
        if options.small:
            rows = {name: rows[name] | SMALL for name in (next(iter(rows)), list(rows)[-1])}
        given, out = read_options(rest, rows), project.project_path(options.out)
        runs = run(rows, options.seeds, given, out)
        check_same_clips([folder for folders in runs.values() for folder in folders])
    except InputError as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return 2
    table = pd.DataFrame([{"row": name} | measure(folders) for name, folders in runs.items()])
    shares = [name for name in table if name not in ("row", "epoch", "minutes", "clips")]
    print(table.round(1).assign(**(100 * table[shares]).round(1)).to_string(index=False))
    table.to_csv(out / "accuracy.csv", index=False)
    rows = table[["row", "top 1", "low", "high"]].itertuples(index=False, name=None)
    plots.compare_accuracy(list(rows)).savefig(out / "accuracy.png")
    return 0


def ladder():
    """Returns {row: parameters that differ from the notebook's defaults}: each row has the changes of all before it."""
    rows, changes = {}, {}
    for name, change in LADDER.items():
        changes = changes | change
        rows[name] = changes
    return rows


def read_options(arguments, rows):
    """Returns the parameters that hold for all rows. Raises InputError for one that rows set themselves."""
    given = train.read_arguments(arguments)
    named = {argument.split("=")[0].replace("--no-", "--", 1) for argument in arguments}
    for name in (*OWN, *(name for changes in rows.values() for name in changes)):
        if train.option(name) in named:
            raise InputError(f"{train.option(name)} cannot be given: the rows set it themselves")
    return given


def run(rows, seeds, parameters, out):
    """Returns {row: [folder of its run with each seed]}, all of them finished, or diverged after their best epoch. They are run
    as a batch, one after the other, each with the whole machine: what is done is not done again."""
    folders, planned = {}, {}
    for name, changes in rows.items():
        for seed in seeds:
            of_run = parameters | changes | {"SEED": seed, "MODELS_DIR": ""}
            folder = f"{name.replace(',', '').replace(' ', '-')}-{seed}-{digest(of_run)}"
            folders.setdefault(name, []).append(out / folder)
            planned[folder] = Planned(name, of_run)
    if Runner(Plan("accuracy", planned, []), out).run(workers=1) >= 128:
        raise KeyboardInterrupt
    if left := [folder for one in folders.values() for folder in one if not (folder / "predictions.npz").exists()]:
        raise InputError(f"{left[0]} did not reach its end: its log lies beside it; the same command goes on")
    return folders


def check_same_clips(folders):
    """Raises InputError unless all runs were judged by the same clips and glosses of the same data."""
    seen = {}
    for folder in folders:
        with np.load(folder / "predictions.npz") as stored:
            clips = (stored["video_ids"].tolist(), stored["labels"].tolist(), stored["classes"].tolist())
        seen.setdefault(digest([clips, read_state(folder)["data_fingerprint"]]), folder)
    if len(seen) > 1:
        one, other, *_ = seen.values()
        raise InputError(f"{one} and {other} were judged by other clips or glosses; name another folder with --out")


def measure(folders):
    """Returns a row of the table, {column: value}, of the runs in `folders`, one a seed."""
    states = [read_state(folder) for folder in folders]
    stored = [np.load(folder / "predictions.npz") for folder in folders]
    labels, single = stored[0]["labels"], [one["probabilities"] for one in stored]
    tops = [[evaluate.top_k(one, labels, k).mean() for one in (*single, np.mean(single, axis=0))] for k in (1, 5)]
    _, low, high = evaluate.accuracy_interval(np.arange(len(labels)) < np.mean(tops[0][:-1]) * len(labels) - 0.5)
    return {
        "top 1": np.mean(tops[0][:-1]),
        "low": low,
        "high": high,
        "seeds apart": max(tops[0][:-1]) - min(tops[0][:-1]),
        "top 5": np.mean(tops[1][:-1]),
        "averaged": tops[0][-1],
        "averaged top 5": tops[1][-1],
        "nearest neighbour": states[0]["metrics"]["nearest neighbour"],
        "epoch": np.mean([state["best_epoch"] for state in states]),
        "minutes": np.mean([state["training_seconds"] for state in states]) / 60,
        "clips": len(labels),
    }


def digest(values):
    """Returns eight letters that tell these values from others."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
