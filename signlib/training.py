"""`fit`: training with a log that can be read, guards against silent failure, and a best model that is never lost."""

import math
import signal
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from signlib.device import keras
from signlib.errors import InputError, SaveError, TrainingError
from signlib.history import duration, percent
from signlib.safe_save import publish, save_model
from signlib.signals import handled

MONITORS = ("val_loss", "val_accuracy", "loss", "accuracy")
QUIET_SECONDS = 20  # an epoch that takes longer says how far it is


@dataclass
class FitResult:
    """What came out of `fit`; the model holds the weights of the best epoch.

    status: "finished" (all epochs or early stopping), "interrupted" or "diverged"; `reason` says it in a sentence.
    history: {metric: values an epoch}, raw. best_epoch: counted from 1; best_value: of the monitored metric.
    saved: the `Saved` of the best model, or None. seconds: of training.
    """

    status: str = "finished"
    reason: str = ""
    history: dict = field(default_factory=dict)
    best_epoch: int = 0
    best_value: float = math.nan
    saved: object = None
    start_loss: float = math.nan
    seconds: float = 0.0


def check_labels(labels, num_classes):
    """Raises InputError unless class ids `(N,)` can be learnt by a model of C classes."""
    labels = np.asarray(labels)
    if not len(labels):
        raise InputError("there are no training clips")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"labels run from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}")
    if len(np.unique(labels)) < 2:
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
    epochs=100,
    patience=15,
    monitor="val_loss",
    seed=42,
):
    """Trains `model` and returns a `FitResult`; the model then holds the weights of its best epoch.

    batches, val_batches: KeypointGenerators. record: see `safe_save.make_record`.
    path: where each new best model is saved; checkpoint: a second, verified copy of it.
    It stops early after `patience` epochs without a better `monitor` (lower loss, higher accuracy), at Ctrl-C (the
    result says "interrupted"), and when the loss is no longer finite ("diverged").

    Raises InputError for labels or a monitor that cannot work, TrainingError when a cross-entropy is negative. Where no
    epoch was finished there is no model to keep: then Ctrl-C remains a KeyboardInterrupt, and divergence, as a monitor that
    was never finite, is a TrainingError.
    """
    if monitor not in MONITORS:
        raise InputError(f"monitor is {monitor!r}; expected one of {', '.join(MONITORS)}")
    num_classes = model.output_shape[-1]
    check_labels(batches.labels, num_classes)
    if not len(val_batches.labels):
        raise InputError("there are no validation clips")

    result = FitResult(start_loss=_start_loss(model, batches, num_classes))
    best = _Best(result, record, path, checkpoint, monitor, patience)
    interruption = _Interruption()
    callbacks = [_Seeds(batches, seed), _Guard(batches, result), best, _Log(epochs, best), interruption]
    started = time.monotonic()
    try:
        with handled(interruption.ask, signal.SIGINT):
            # shuffle=False: the generator shuffles the clips itself, by (seed, epoch)
            model.fit(batches, validation_data=val_batches, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
    except _Diverged:
        result.status = "diverged"
    except KeyboardInterrupt:
        result.status, result.reason = "interrupted", "stopped by the user"
    result.seconds = time.monotonic() - started
    if not result.best_epoch:
        if result.status == "interrupted":
            raise KeyboardInterrupt("stopped before an epoch was finished: there is no model to keep")
        reason = result.reason if result.status == "diverged" else f"{monitor} was never finite."
        raise TrainingError(f"{reason} There is no best epoch, so there is no model to keep")
    model.set_weights(best.weights)
    best.save()
    print(_closing(result, monitor), flush=True)
    return result


def publish_best(result, path):
    """Copies the best model of a `FitResult` to `path` and returns it, or None where there is nothing to publish or it
    cannot be written; says which. What stood at `path` is then untouched."""
    if result.saved is None or not result.saved.whole:
        print("nothing published: the model was not saved whole")
        return None
    try:
        publish(result.saved.path, path)
    except SaveError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    print(f"{result.saved.message}\npublished {path}", flush=True)
    return path


class _Seeds(keras.callbacks.Callback):
    """Order, augmentation and dropout of an epoch follow from (seed, epoch) alone, not from what ran before."""

    def __init__(self, batches, seed):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        for number, layer in enumerate(self.model._flatten_layers()):
            if (generator := getattr(layer, "seed_generator", None)) is not None:
                state = np.random.SeedSequence([self.seed, epoch, number]).generate_state(2)
                generator.state.assign(state.astype(generator.state.dtype))


class _Guard(keras.callbacks.Callback):
    """Stops at a loss that is not finite, naming the clips of the batch, and refuses a negative cross-entropy."""

    def __init__(self, batches, result):
        super().__init__()
        self.batches, self.result = batches, result

    def on_train_batch_end(self, batch, logs=None):
        loss = logs["loss"]
        if not math.isfinite(loss):
            ids = [self.batches.clips[i].video_id for i in self.batches.batch_clips(batch)]
            self.result.reason = (
                f"the loss became {loss} in epoch {self.batches.epoch + 1}, batch {batch + 1}, clips {', '.join(ids)}. "
                "Set LEARNING_RATE to 1e-4, then 5e-5; look at these clips in notebooks/1_audit.ipynb."
            )
            raise _Diverged
        if loss < 0:
            raise TrainingError(
                f"the loss is {loss:.3g}; a cross-entropy is never negative. Labels and loss do not match: "
                "use categorical cross-entropy with one-hot labels, as build_model does"
            )


class _Best(keras.callbacks.Callback):
    """Keeps and saves the best epoch so far, and stops after `patience` epochs without a better one. NaN is never best."""

    def __init__(self, result, record, path, checkpoint, monitor, patience):
        super().__init__()
        self.result, self.record, self.path, self.checkpoint = result, record, path, checkpoint
        self.monitor, self.patience = monitor, patience
        self.sign = -1 if "accuracy" in monitor else 1
        self.weights, self.saved_epoch = None, 0

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.result.history.setdefault(name, []).append(float(value))
        value, result = float(logs[self.monitor]), self.result
        if math.isfinite(value) and (self.weights is None or self.sign * value < self.sign * result.best_value):
            self.weights = self.model.get_weights()
            result.best_epoch, result.best_value = epoch + 1, value
            self.save()
        elif epoch + 1 - result.best_epoch >= self.patience:
            self.model.stop_training = True
            result.reason = f"{self.monitor} has not improved for {self.patience} epochs"

    def save(self):
        """Saves the model, which holds the best weights, unless that is done: a save can fail or be interrupted."""
        if self.path is None or self.saved_epoch == self.result.best_epoch:
            return
        record = self.record | {"epoch": self.result.best_epoch, self.monitor: self.result.best_value}
        try:
            self.result.saved = save_model(self.model, self.path, record)
            if self.result.saved.whole:
                self.saved_epoch = self.result.best_epoch
                if self.checkpoint is not None:
                    publish(self.result.saved.path, self.checkpoint)
        except SaveError as error:  # training goes on: the disk may have room again later
            warnings.warn(str(error), stacklevel=2)


class _Log(keras.callbacks.Callback):
    """One aligned line an epoch; a star marks the best so far."""

    def __init__(self, epochs, best):
        super().__init__()
        self.epochs, self.best = epochs, best

    def on_train_begin(self, logs=None):
        print(f"{'epoch':>9}  {'loss':>8}  {'accuracy':>8}  {'val loss':>8}  {'val accuracy':>12}  {'time':>7}  {'ETA <=':>8}")
        self.started = self.said = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.began = epoch, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - max(self.said, self.began) > QUIET_SECONDS:
            self.said = time.monotonic()
            print(f"{self.epoch + 1:>5}  batch {batch + 1} of {self.params['steps']}, loss {logs['loss']:.4f}", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        now = self.said = time.monotonic()
        left = (now - self.started) / (epoch + 1) * (self.epochs - epoch - 1)
        star = "*" if self.best.result.best_epoch == epoch + 1 else " "
        print(
            f"{f'{epoch + 1}/{self.epochs}':>9}  {logs['loss']:>8.4f}  {percent('accuracy', logs):>8}  "
            f"{logs['val_loss']:>8.4f}  {percent('val_accuracy', logs):>12}  {duration(now - self.began):>7}  "
            f"{duration(left):>8} {star}",
            flush=True,
        )


class _Interruption(keras.callbacks.Callback):
    """Ctrl-C is heard at the end of a batch or of an epoch; a second one at once.

    Raised in the midst of TensorFlow, a KeyboardInterrupt can be swallowed in a `__del__` or take the kernel with it: both
    were seen. This way 87 of 87 interruptions at random moments ended the training.
    """

    asked = False

    def ask(self, signum, frame):
        """Handles SIGINT."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _answer(self, *_, **__):
        if self.asked:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = on_epoch_end = _answer


class _Diverged(Exception):  # noqa: N818
    """Leaves Keras' fit at once, before a further batch is spent."""


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
