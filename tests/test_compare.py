"""signlib.compare: batches made up of run.json and predictions.npz, against formulas written out and scipy's own tests."""

import dataclasses
import itertools
import json
import math
import os

import numpy as np
import pytest
from scipy import stats

import signlib
from signlib import evaluate, locks, project
from signlib.errors import InputError
from tests.test_predictions import predictions

TOP_1 = "model, top 1"


def setting_name(values):
    return "__".join(f"{name.lower()}={value}" for name, value in values.items()) or "base"


def add_run(folder, accuracy=0.5, status="finished", judged=None, **more):
    """Writes what a run of that accuracy, or with those `Predictions`, leaves in its folder."""
    folder.mkdir(parents=True)
    metrics = {TOP_1: accuracy, "model, macro-F1": accuracy / 2, "nearest neighbour": 0.4}
    if judged is not None:
        judged.save(folder / "predictions.npz")
        metrics = {name: value for name, value, _, _ in judged.rows()}
    state = {"status": status, "pid": 2**22 + 1, "parameters": {}, "sample": True, "best_epoch": 2, "seconds": 30.0}
    state |= {"history": {"val_loss": [2.0, 1.0, 1.5], "val_accuracy": [0.1, 0.5, 0.4]}}
    state |= {"metrics": metrics} if status in ("finished", "diverged", "interrupted") else {}
    (folder / "run.json").write_text(json.dumps(state | more))


def make_batch(folder, plan, varied=None, **more):
    """Writes a batch and reads it. plan: [(varied values, [accuracy, `Predictions`, or None where it waits, of each seed])]."""
    varied = varied if varied is not None else list(dict.fromkeys(name for values, _ in plan for name in values))
    runs = {}
    for values, seeds in plan:
        for seed, outcome in enumerate(seeds, 42):
            setting = setting_name(values)
            run = f"{setting}__seed={seed}"
            runs[run] = {"setting": setting, "parameters": {"SEED": seed, "EPOCHS": 100} | values}
            if outcome is not None:
                add_run(folder / run, **{"accuracy" if isinstance(outcome, float) else "judged": outcome})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "batch.json").write_text(json.dumps({"plan": "plans/x.yaml", "varied": varied, "runs": runs}))
    return signlib.read_batch(str(folder), **more)


def pooled(groups):
    """The seeds' noise and its degrees of freedom, written out."""
    freedom = sum(len(g) - 1 for g in groups)
    return math.sqrt(sum((len(g) - 1) * np.var(g, ddof=1) for g in groups if len(g) > 1) / freedom), freedom
