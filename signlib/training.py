"""`fit`: training with a log that can be read, guards against silent failure, and a best model that is never lost."""

import math
import pathlib
import signal
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from signlib.callbacks import Average, Best, Diverged, Guard, Interruption, Log, Seeds, State
from signlib.device import tf
from signlib.errors import InputError, Interrupted, SaveError, TrainingError
from signlib.history import duration
from signlib.live import Curve
from signlib.safe_save import publish
from signlib.signals import handled
from signlib.state import load_state

MONITORS = ("val_loss", "val_accuracy", "loss", "accuracy")


@dataclass
class FitResult:
    """What came out of `fit`; the model holds the weights of the best epoch.

    status: "finished" (all epochs or early stopping), "interrupted" or "diverged"; `reason` says it in a sentence.
    history: {metric: values an epoch}, raw. best_epoch: counted from 1; best_value: of the monitored metric.
    saved: the `Saved` of the best model, or None; published: where its final copy is, or None. seconds: of training, before
    a break as well.
    """

    status: str = "finished"
    reason: str = ""
    history: dict = field(default_factory=dict)
    best_epoch: int = 0
    best_value: float = math.nan
    saved: object = None
    published: pathlib.Path | None = None
    start_loss: float = math.nan
    seconds: float = 0.0


def check_labels(labels, num_classes):
    """Raises InputError unless class ids `(N,)` can be learnt by a model of C classes."""
    labels = np.asarray(labels)
    if not len(labels):
        raise InputError("there are no training clips")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"labels run from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}")
    if len(np.unique(labels)) < min(2, num_classes):
        raise InputError("all training clips have the same gloss; expected at least two glosses")


def check_one_hot(labels, num_classes):
    """Raises InputError unless the labels of a batch are `(B, C)`, none negative, each with the sum 1."""
    if labels.ndim != 2 or labels.shape[1] != num_classes:
        raise InputError(f"a batch has labels of shape {labels.shape}; expected (clips, {num_classes})")
    wrong = np.flatnonzero(~np.isclose(labels.sum(axis=1), 1) | (labels < 0).any(axis=1))
    if len(wrong):
        raise InputError(f"the label of clip {wrong[0]} of a batch sums to {labels[wrong[0]].sum():g}; expected one-hot, sum 1")


def fit(
    model,
    batches,
    val_batches,
    *,
    record,
    path=None,
    checkpoint=None,
    final=None,
    fallback=None,
    state=None,
    resume=False,
    epochs=100,
    patience=15,
    monitor="val_loss",
    class_weights=False,
    seed=42,
):
    """Trains `model` and returns a `FitResult`; the model then holds the weights of its best epoch.

    batches, val_batches: KeypointGenerators. record: see `safe_save.make_record`.
    path: where each new best model is saved; checkpoint: a second, verified copy of it; final: a copy made at the end;
    fallback: a folder to save in where `path` cannot be written.
    state: where each epoch leaves what the next depends on. resume: go on from there, after the last whole epoch: with the
    same data, seed and versions on one machine, what comes out is the same, bit for bit, as without the break.
    class_weights: a clip counts the more, the fewer clips its gloss has, so that all glosses count alike (King & Zeng 2001,
    Political Analysis 9:137); a clip that mixup made, as its larger part. Where the optimizer keeps a moving average of the
    weights, that is what is validated and saved.
    It stops early after `patience` epochs without a better `monitor` (lower loss, higher accuracy), at Ctrl-C (the
    result says "interrupted"), and when the loss is no longer finite ("diverged"). In JupyterLab the loss curve so far stands
    above the log, and at the end that of the whole training.

    Raises InputError for labels or a monitor that cannot work, or a state of other data, TrainingError when a
    cross-entropy is negative. Where no epoch was finished there is no model to keep: then Ctrl-C becomes `Interrupted`, and
    divergence, as a monitor that was never finite, a TrainingError.
    """
    if monitor not in MONITORS:
        raise InputError(f"monitor is {monitor!r}; expected one of {', '.join(MONITORS)}")
    num_classes = model.output_shape[-1]
    check_labels(batches.labels, num_classes)
    if not len(val_batches.labels):
        raise InputError("there are no validation clips")

    result = FitResult()
    best = Best(result, record, monitor, patience, path, checkpoint, fallback)
    best.set_model(model)
    first = _resume(state, model, result, best) if resume else 0
    if not first:
        result.start_loss = _start_loss(model, batches, num_classes)
    batches.epoch = first
    interruption, log, curve = Interruption(), Log(first, epochs, best), Curve(result)
    callbacks = [Seeds(batches, seed), Guard(batches, result), best, log, curve, interruption]
    if state is not None:
        callbacks.insert(3, State(state, record, result, best))
    if model.optimizer.use_ema:
        callbacks.insert(3, Average())
    counts = np.bincount(batches.labels, minlength=num_classes)
    weights = {i: len(batches.labels) / (num_classes * n) for i, n in enumerate(counts) if n} if class_weights else None
    model.optimizer.build(model.trainable_variables)  # else made in the first step, which is then traced twice
    started = time.monotonic()
    with handled(interruption.ask, signal.SIGINT, signal.SIGTERM), curve:
        try:
            if first < epochs and not best.is_spent(first):
                # shuffle=False: the generator shuffles the clips itself, by (seed, epoch)
                model.fit(batches, validation_data=val_batches, initial_epoch=first, epochs=epochs, verbose=0, shuffle=False,
                          callbacks=callbacks, class_weight=weights)  # fmt: skip
        except Diverged:
            result.status = "diverged"
        except KeyboardInterrupt:
            result.status, result.reason = "interrupted", "stopped by the user"
        except (tf.errors.ResourceExhaustedError, MemoryError):
            half = max(batches.batch_size // 2, 1)
            kept = (
                f"the best model so far, of epoch {result.best_epoch}, is saved"
                if result.best_epoch
                else "no epoch was finished"
            )
            raise TrainingError(f"memory ran out; {kept}. Set BATCH_SIZE to {half}, or CACHE_MB to less") from None
        result.seconds += time.monotonic() - started
        if not result.best_epoch:
            if result.status == "interrupted":
                raise Interrupted("interrupted before an epoch was finished: there is no model to keep")
            reason = result.reason if result.status == "diverged" else f"{monitor} was never finite."
            raise TrainingError(f"{reason} There is no best epoch, so there is no model to keep")
        model.set_weights(best.weights)
        best.save()
        print(_closing(result, monitor), flush=True)
        if final is not None:
            result.published = _publish(result, final)
    return result


def _resume(state, model, result, best):
    """Takes the model, the result and the best so far back to the end of the last whole epoch; returns how many there were."""
    if state is None or not pathlib.Path(state).exists():
        print("resumed: no epoch was finished, so it begins with the first", flush=True)
        best.resume(None)
        return 0
    progress, weights = load_state(state, model, best.record)
    if progress["monitor"] != best.monitor:
        raise InputError(f"cannot resume from {state}: its best epoch is best in {progress['monitor']}, not in {best.monitor}")
    for name in ("history", "best_epoch", "best_value", "start_loss", "seconds"):
        setattr(result, name, progress[name])
    best.resume(weights or None)
    print(f"resumed after epoch {progress['epoch']}; the best so far is epoch {result.best_epoch}", flush=True)
    return progress["epoch"]


def _publish(result, path):
    """Copies the best model to `path`; returns it, or None where there is nothing to publish or it cannot be written, and
    says which. What stood at `path` is then untouched."""
    if result.saved is None or not result.saved.whole:
        print("nothing published: the model was not saved whole")
        return None
    try:
        publish(result.saved.path, path)
    except SaveError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    before = f", the best model from before the loss diverged: epoch {result.best_epoch}" if result.status == "diverged" else ""
    print(f"{result.saved.message}\npublished {path}{before}", flush=True)
    return path


def _start_loss(model, batches, num_classes):
    """The loss before the first step, on one batch: ln(classes) where labels, loss and model fit together."""
    batches.epoch = 0
    features, labels = batches[0]
    check_one_hot(labels, num_classes)
    loss = float(model.test_on_batch(features, labels, return_dict=True)["loss"])
    model.reset_metrics()
    expected = math.log(num_classes)
    print(f"start loss {loss:.3f}; ln({num_classes} glosses) = {expected:.3f} is what guessing gives", flush=True)
    if not 0.5 * expected < loss < 2 * expected:
        warnings.warn(
            f"the loss starts at {loss:.3g}, far from ln({num_classes}) = {expected:.3g}: check labels and loss, "
            "and that the features are normalised (or the model is already trained)",
            stacklevel=3,
        )
    return loss


def _closing(result, monitor):
    best = f"best epoch {result.best_epoch}, {monitor} {result.best_value:.4f}; {duration(result.seconds)}"
    return f"{result.status}{': ' + result.reason if result.reason else ''} ({best})"
