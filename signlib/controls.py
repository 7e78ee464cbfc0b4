"""Two controls of a run that a careful engineer makes before trusting it: can the model learn one batch by heart, and does it
learn nothing where there is nothing to learn?"""

import dataclasses
import math

import numpy as np

from signlib.evaluate import accuracy_interval, predict, top_k
from signlib.generator import KeypointGenerator
from signlib.model import build_model
from signlib.reopen import reopen
from signlib.safe_save import load_model

STEPS = 400  # the default LSTM needs 60 for a batch of 32 clips of wlasl300
# What hinders learning by heart, as arguments of `build_model`.
PLAIN = {"dropout_rate": 0.0, "l2": 0.0, "label_smoothing": 0.0, "ema": 0.0, "warmup_steps": 0, "decay_steps": 0}
RATE = 1e-3  # for the shuffled labels, at least: what is nobody's sign takes longest to learn
KNOWN, UNKNOWN = 0.95, 0.5  # of the shuffled labels: enough to stop at, too few to say anything


def overfit_one_batch(folder, run, steps=STEPS):
    """Trains a new model of the run's kind, without what hinders learning by heart, on one batch. Returns {"accuracy", "loss",
    "steps"} and prints what it means: anything below 100 % is a fault in the model, the features or the labels, or a
    learning rate that is far off. folder, run: as `read_run` returns them. Raises InputError where the data is gone."""
    loaded = load_model(folder / "model.h5")
    _, train, _ = reopen(folder, run)
    batches = KeypointGenerator(
        train, loaded.preprocessor, loaded.classes, batch_size=run["parameters"]["BATCH_SIZE"], seed=run["parameters"]["SEED"]
    )
    features, labels = batches[0]
    model = build_model(loaded.preprocessor.output_shape, len(loaded.classes), **loaded.record["architecture"] | PLAIN)
    for step in range(1, steps + 1):
        loss = float(model.train_on_batch(features, labels, return_dict=True)["loss"])
        if not math.isfinite(loss):
            break
        if step % 20 == 0 and (accuracy := _accuracy(model, features, labels)) == 1:
            break
    accuracy = _accuracy(model, features, labels)
    verdict = (
        "the model can learn these features and labels"
        if accuracy == 1
        else "NOT learnt: look for labels that are not those of the clips, features that are all alike, a LEARNING_RATE far off"
    )
    print(f"one batch of {len(labels)} clips: {accuracy:.0%} right after {step} steps, loss {loss:.3g}: {verdict}")
    return {"accuracy": accuracy, "loss": loss, "steps": step}


def shuffle_labels(folder, run, epochs=60):
    """Trains a new model of the run's kind, without what hinders learning by heart, on its training clips with their glosses
    dealt out anew at random, until it knows them or for `epochs`. Returns {"accuracy", "low", "high", "guess"} on the
    validation clips, and "learnt", the share of the shuffled labels that it knows, and prints what it means: it must not beat
    guessing, or a gloss reaches the model by another way than its clip. folder, run, raises: as `overfit_one_batch`."""
    loaded = load_model(folder / "model.h5")
    _, train, val = reopen(folder, run)
    parameters, classes = run["parameters"], loaded.classes
    dealt = np.random.default_rng(parameters["SEED"]).permutation([clip.gloss for clip in train])
    train = [dataclasses.replace(clip, gloss=str(gloss)) for clip, gloss in zip(train, dealt, strict=True)]
    options = {"batch_size": parameters["BATCH_SIZE"], "seed": parameters["SEED"]}
    batches = KeypointGenerator(train, loaded.preprocessor, classes, **options)
    val_batches = KeypointGenerator(val, loaded.preprocessor, classes, shuffle=False, **options)
    architecture = loaded.record["architecture"] | PLAIN
    architecture["learning_rate"] = max(architecture.get("learning_rate", RATE), RATE)
    model = build_model(loaded.preprocessor.output_shape, len(classes), **architecture)
    learnt = done = 0
    while learnt < KNOWN and done < epochs:
        learnt, done = model.fit(batches, verbose=0, shuffle=False).history["accuracy"][-1], done + 1
    right = top_k(predict(model, val_batches), val_batches.labels)
    accuracy, low, high = accuracy_interval(right)
    guess = np.bincount(val_batches.labels).max() / len(right)
    if low > guess:
        verdict = "it beats guessing, which nothing that was learnt can explain: LOOK FOR A LEAK of labels"
    elif learnt < UNKNOWN:
        verdict = "no better than guessing, which says nothing: it has hardly learnt the shuffled labels"
    else:
        verdict = "no better than guessing, as it must be"
    print(f"shuffled labels: {learnt:.0%} of them known after {done} epochs; {accuracy:.1%} ({low:.1%} to {high:.1%}) of")
    print(f"{len(right)} validation clips right, always the same gloss would give {guess:.1%}: {verdict}")
    return {"accuracy": accuracy, "low": low, "high": high, "guess": float(guess), "learnt": learnt}


def _accuracy(model, features, labels):
    return float(top_k(model.predict_on_batch(features), labels.argmax(axis=1)).mean())
