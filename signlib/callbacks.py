"""The Keras callbacks of `fit`: seeds, guards, the best model, the state to resume from, the log, interruption."""

import math
import time
import warnings

import numpy as np

from signlib.device import keras
from signlib.errors import InputError, SaveError, TrainingError
from signlib.history import duration, percent
from signlib.safe_save import load_model, publish, save_model
from signlib.state import same_data, save_state

QUIET_SECONDS = 20  # an epoch that takes longer says how far it is


class Diverged(Exception):  # noqa: N818
    """Leaves Keras' fit at once, before a further batch is spent."""


class Seeds(keras.callbacks.Callback):
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


class Guard(keras.callbacks.Callback):
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
            raise Diverged
        if loss < 0:
            raise TrainingError(
                f"the loss is {loss:.3g}; a cross-entropy is never negative. Labels and loss do not match: "
                "use categorical cross-entropy with one-hot labels, as build_model does"
            )


class Best(keras.callbacks.Callback):
    """Keeps and saves the best epoch so far, and stops after `patience` epochs without a better one. NaN is never best."""

    def __init__(self, result, record, monitor, patience, path, checkpoint, fallback):
        super().__init__()
        self.result, self.record, self.monitor, self.patience = result, record, monitor, patience
        self.path, self.checkpoint, self.fallback = path, checkpoint, fallback
        self.sign = -1 if "accuracy" in monitor else 1
        self.weights, self.saved_epoch = None, 0

    def resume(self, weights):
        """Goes on from the best `weights` of a state, or from the model at `path` where that is better: a run can be killed
        after the one was written and before the other."""
        self.weights = weights
        try:
            loaded = load_model(self.path)
            epoch, value = loaded.record["epoch"], loaded.record[self.monitor]
        except (InputError, KeyError, TypeError):  # no path, no model there, or one that `fit` did not save
            return
        if same_data(loaded.record, self.record) and self._is_better(value):
            self.weights, self.result.best_epoch, self.result.best_value = loaded.model.get_weights(), epoch, value

    def is_spent(self, epochs):
        """Returns whether the patience is spent after so many epochs, and then says so as the result's reason."""
        spent = epochs - self.result.best_epoch >= self.patience
        if spent:
            self.result.reason = f"{self.monitor} has not improved for {self.patience} epochs"
        return spent

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs | {"learning_rate": self.model.optimizer.learning_rate}).items():
            self.result.history.setdefault(name, []).append(float(value))
        if self._is_better(value := float(logs[self.monitor])):
            self.weights = self.model.get_weights()
            self.result.best_epoch, self.result.best_value = epoch + 1, value
            self.save()
        elif self.is_spent(epoch + 1):
            self.model.stop_training = True

    def save(self):
        """Saves the model, which holds the best weights, unless that is done: a save can fail or be interrupted."""
        if self.path is None or self.saved_epoch == self.result.best_epoch:
            return
        record = self.record | {"epoch": self.result.best_epoch, self.monitor: self.result.best_value}
        try:
            self.result.saved = save_model(self.model, self.path, record, self.fallback)
            if self.result.saved.whole:
                self.saved_epoch = self.result.best_epoch
                if self.checkpoint is not None:
                    publish(self.result.saved.path, self.checkpoint)
        except SaveError as error:  # training goes on: the disk may have room again later
            warnings.warn(str(error), stacklevel=2)
            if self.saved_epoch != self.result.best_epoch:
                self.result.saved = None  # what was saved before is no longer the best

    def _is_better(self, value):
        if not math.isfinite(value):
            return False
        return self.weights is None or self.sign * value < self.sign * self.result.best_value


class Average(keras.callbacks.Callback):
    """Lets validation and `Best` see the moving average of the weights that the optimizer keeps, and training go on with the
    weights themselves: after `Best`, before `State`. Of batch normalisation, mean and variance are moving averages anyway."""

    def on_test_begin(self, logs=None):
        self._exchange()

    def on_epoch_end(self, epoch, logs=None):
        self._exchange()

    def _exchange(self):
        optimizer = self.model.optimizer
        for weight, average in zip(self.model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
            value = weight.numpy()
            weight.assign(average)
            average.assign(value)


class State(keras.callbacks.Callback):
    """Saves after each epoch what is needed to resume; after `Best`, whose weights are part of it."""

    def __init__(self, path, record, result, best):
        super().__init__()
        self.path, self.record, self.result, self.best = path, record, result, best

    def on_train_begin(self, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        result = self.result
        progress = {name: getattr(result, name) for name in ("history", "best_epoch", "best_value", "start_loss")}
        progress |= {
            "epoch": epoch + 1,
            "monitor": self.best.monitor,
            "seconds": result.seconds + time.monotonic() - self.started,
        }
        try:
            save_state(self.path, self.model, self.best.weights or [], self.record, progress)
        except (OSError, ValueError) as error:  # training goes on, as after a model that could not be saved
            warnings.warn(f"cannot save {self.path} ({error}): resuming would begin at an earlier epoch", stacklevel=2)


class Log(keras.callbacks.Callback):
    """One aligned line an epoch; a star marks the best so far."""

    def __init__(self, first, epochs, best):
        super().__init__()
        self.first, self.epochs, self.best = first, epochs, best

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
        left = (now - self.started) / (epoch + 1 - self.first) * (self.epochs - epoch - 1)
        star = "*" if self.best.result.best_epoch == epoch + 1 else " "
        print(
            f"{f'{epoch + 1}/{self.epochs}':>9}  {logs['loss']:>8.4f}  {percent('accuracy', logs):>8}  "
            f"{logs['val_loss']:>8.4f}  {percent('val_accuracy', logs):>12}  {duration(now - self.began):>7}  "
            f"{duration(left):>8} {star}",
            flush=True,
        )


class Interruption(keras.callbacks.Callback):
    """A signal is heard at the end of a batch or of an epoch; the same one a second time at once.

    Raised in the midst of TensorFlow, a KeyboardInterrupt can be swallowed in a `__del__` or take the kernel with it: both
    were seen. This way 87 of 87 interruptions at random moments ended the training.
    """

    def __init__(self):
        super().__init__()
        self.asked = set()

    def ask(self, signum, frame):
        """Handles a signal. Two different ones are one wish: some systems send SIGTERM to each process of a job."""
        if signum in self.asked:
            raise KeyboardInterrupt
        self.asked.add(signum)

    def _answer(self, *_, **__):
        if self.asked:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = on_epoch_end = _answer
