"""Two controls of a run that a careful engineer makes before trusting it: can the model learn one batch by heart, and does it
learn nothing where there is nothing to learn?"""

import dataclasses
import math

import numpy as np

from signlib.augment import Augment
from signlib.evaluate import accuracy_interval, predict, top_k
from signlib.generator import KeypointGenerator
from signlib.model import build_model
from signlib.reopen import reopen
from signlib.safe_save import load_model

STEPS = 400  # the default LSTM needs 60 for a batch of 32 clips of wlasl300


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
    plain = {"dropout_rate": 0.0, "l2": 0.0, "label_smoothing": 0.0, "ema": 0.0, "warmup_steps": 0, "decay_steps": 0}
    model = build_model(loaded.preprocessor.output_shape, len(loaded.classes), **loaded.record["architecture"] | plain)
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


def shuffle_labels(folder, run, epochs=10):
    """Trains a new model of the run's kind on its training clips with their glosses dealt out anew at random. Returns
    {"accuracy", "low", "high", "guess"} on the validation clips and prints what it means: it must not beat guessing, or
    validation knows something that it must not. folder, run, raises: as `overfit_one_batch`."""
    loaded = load_model(folder / "model.h5")
    _, train, val = reopen(folder, run)
    parameters, classes = run["parameters"], loaded.classes
    dealt = np.random.default_rng(parameters["SEED"]).permutation([clip.gloss for clip in train])
    train = [dataclasses.replace(clip, gloss=str(gloss)) for clip, gloss in zip(train, dealt, strict=True)]
    options = {"batch_size": parameters["BATCH_SIZE"], "seed": parameters["SEED"]}
    augment = Augment(loaded.preprocessor.selected, parameters["MIRROR"]) if parameters["AUGMENT"] else None
    batches = KeypointGenerator(train, loaded.preprocessor, classes, augment=augment, **options)
    val_batches = KeypointGenerator(val, loaded.preprocessor, classes, shuffle=False, **options)
    model = build_model(loaded.preprocessor.output_shape, len(classes), **loaded.record["architecture"])
    model.fit(batches, epochs=epochs, verbose=0, shuffle=False)
    right = top_k(predict(model, val_batches), val_batches.labels)
    accuracy, low, high = accuracy_interval(right)
    guess = np.bincount(val_batches.labels).max() / len(right)
    verdict = (
        "it beats guessing, which nothing that was learnt can explain: LOOK FOR A LEAK between training and validation"
        if low > guess
        else "no better than guessing, as it must be"
    )
    print(
        f"shuffled labels, {epochs} epochs: {accuracy:.1%} ({low:.1%} to {high:.1%}) of {len(right)} validation clips; always"
    )
    print(f"the same gloss would give {guess:.1%}: {verdict}")
    return {"accuracy": accuracy, "low": low, "high": high, "guess": float(guess)}


def _accuracy(model, features, labels):
    return float(top_k(model.predict_on_batch(features), labels.argmax(axis=1)).mean())
