"""Training tells what it does, keeps the best model, and does not go on with nonsense."""

import fcntl
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import signlib
from signlib import locks, training
from signlib.device import keras
from signlib.errors import InputError, Interrupted, TrainingError
from signlib.parameters import PARAMETERS
from signlib.project import ROOT
from signlib.safe_save import make_record
from signlib.state import _read, read_progress
from signlib.training import MONITORS, check_labels, check_one_hot, fit

CLASSES = ["book", "drink", "tea"]
P = signlib.Preprocessor(12, landmarks="hands+pose")
ARCHITECTURE = {"architecture": "lstm", "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def clips(tmp_path_factory, write_clips):
    folder = tmp_path_factory.mktemp("clips")
    return signlib.load_clips(write_clips(folder, {f"{i:05d}": CLASSES[i % 3] for i in range(30)}))


def eager_model(**more):
    """A small model that runs eagerly, since building its graph takes seconds."""
    model = signlib.build_model(P.output_shape, 3, **ARCHITECTURE | more)
    model.run_eagerly = True
    return model


@pytest.fixture
def setting(clips):
    """Model, training and validation batches, and the record; the model starts the same each time."""
    signlib.use_device("cpu", 1)
    train, val, _ = signlib.split_clips(clips)
    batches = signlib.KeypointGenerator(train, P, CLASSES, batch_size=8, augment=signlib.Augment(), seed=1)
    val_batches = signlib.KeypointGenerator(val, P, CLASSES, batch_size=8, shuffle=False)
    return eager_model(), batches, val_batches, make_record(CLASSES, P, "1629", ARCHITECTURE)


class At(keras.utils.PyDataset):
    """Training batches that call `action(epoch, index)` when asked for: a fault at a chosen moment, in the real loop."""

    def __init__(self, batches, action):
        super().__init__()
        self.batches, self.action = batches, action
        self.clips, self.labels, self.batch_clips = batches.clips, batches.labels, batches.batch_clips

    @property
    def epoch(self):
        return self.batches.epoch

    @epoch.setter
    def epoch(self, value):
        self.batches.epoch = value

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        features, labels = self.batches[index]
        return (self.action(self.epoch, index, features), labels)


def test_the_log_and_the_best_model(setting, tmp_path, capsys):
    model, batches, val_batches, record = setting
    result = fit(model, batches, val_batches, record=record, path=tmp_path / "run" / "model.h5",
                 checkpoint=tmp_path / "models" / "lstm_model_checkpoint.h5", epochs=6)  # fmt: skip
    log = capsys.readouterr().out.splitlines()
    assert "ln(3 glosses) = 1.099" in log[0] and abs(result.start_loss - math.log(3)) < 0.5
    table = log[1:-1]
    assert len(table) == 7 and len({len(line.rstrip(" *")) for line in table}) == 1  # a head and 6 aligned lines
    assert all(" %" in line for line in table[1:]) and "val accuracy" in table[0] and "ETA" in table[0]
    assert result.status == "finished" and [len(v) for v in result.history.values()] == [6] * 5
    best = int(np.argmin(result.history["val_loss"]))
    assert (result.best_epoch, result.best_value) == (best + 1, result.history["val_loss"][best])
    loaded = signlib.load_model(tmp_path / "run" / "model.h5")
    for kept, current in zip(loaded.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, current)
    assert loaded.record["epoch"] == result.best_epoch
    checkpoint = tmp_path / "models" / "lstm_model_checkpoint.h5"
    assert checkpoint.read_bytes() == (tmp_path / "run" / "model.h5").read_bytes()
    assert model.evaluate(val_batches, verbose=0)[0] == pytest.approx(result.best_value, rel=1e-6)


def test_the_same_seed_gives_the_same_run_and_another_does_not(setting, clips):
    def weights(seed):
        signlib.use_device("cpu", seed)
        train, _, _ = signlib.split_clips(clips)
        batches = signlib.KeypointGenerator(train, P, CLASSES, batch_size=8, augment=signlib.Augment(), seed=seed)
        model = signlib.build_model(P.output_shape, 3)
        fit(model, batches, setting[2], record=setting[3], epochs=2, seed=seed)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    first, again, other = weights(5), weights(5), weights(6)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_epoch_does_not_depend_on_the_random_numbers_drawn_before_it(setting):
    # Order, augmentation and dropout follow from (seed, epoch), the base of resuming.
    model, batches, val_batches, record = setting
    start = model.get_weights()
    fit(model, batches, val_batches, record=record, epochs=1)
    first = model.get_weights()
    model.predict(val_batches, verbose=0)
    for _ in range(3):
        model.train_on_batch(*batches[0])
    again = eager_model()
    again.set_weights(start)
    fit(again, batches, val_batches, record=record, epochs=1)
    for a, b in zip(first, again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def still(model):
    """The model, which learns nothing: no weight changes, and batch normalisation keeps its mean and variance."""
    model.optimizer.learning_rate = 0.0
    model.get_layer("stem_norm").momentum = 1.0
    return model


def test_early_stopping_after_patience_epochs_without_improvement(setting):
    model, batches, val_batches, record = setting
    still(model)  # nothing improves after the first epoch
    result = fit(model, batches, val_batches, record=record, epochs=50, patience=3)
    assert (result.best_epoch, len(result.history["loss"]), result.status) == (1, 4, "finished")
    assert "has not improved for 3 epochs" in result.reason


def test_a_non_finite_loss_stops_names_the_clips_and_keeps_the_best(setting, tmp_path):
    model, batches, val_batches, record = setting

    def poison(epoch, index, features):
        return np.full_like(features, np.nan) if (epoch, index) == (2, 1) else features

    result = fit(model, At(batches, poison), val_batches, record=record, path=tmp_path / "m.h5", epochs=9)
    assert result.status == "diverged" and len(result.history["loss"]) == 2 and "LEARNING_RATE" in result.reason
    batches.epoch = 2
    for i in batches.batch_clips(1):
        assert batches.clips[i].video_id in result.reason
    assert "epoch 3, batch 2" in result.reason
    assert all(np.isfinite(w).all() for w in signlib.load_model(tmp_path / "m.h5").model.get_weights())


def test_divergence_in_the_first_epoch_is_an_error(setting):
    model, batches, val_batches, record = setting
    with pytest.raises(TrainingError, match="became nan in epoch 1.*no model to keep"):
        fit(model, At(batches, lambda e, i, x: x * (np.nan if i else 1)), val_batches, record=record, epochs=2)


def test_nan_validation_loss_is_never_best(setting, tmp_path):
    model, batches, val_batches, record = setting
    broken = At(val_batches, lambda e, i, x: x * np.nan)
    with pytest.raises(TrainingError, match="val_loss was never finite.*no model to keep"):
        fit(model, batches, broken, record=record, path=tmp_path / "m.h5", epochs=4, patience=2)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_the_best_model(setting, tmp_path):
    model, batches, val_batches, record = setting

    def interrupt(epoch, index, features):
        if (epoch, index) == (2, 0):
            os.kill(os.getpid(), signal.SIGINT)
        return features

    result = fit(model, At(batches, interrupt), val_batches, record=record, path=tmp_path / "m.h5", epochs=50)
    assert result.status == "interrupted" and 1 <= result.best_epoch <= 3 < 50
    loaded = signlib.load_model(tmp_path / "m.h5").model
    for kept, current in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, current)
    assert threading.active_count() < 20


def test_ctrl_c_before_an_epoch_is_finished_leaves_no_untrained_model(setting, tmp_path):
    model, batches, val_batches, record = setting

    def interrupt(epoch, index, features):
        if index == 0 and epoch == 0 and batches.epoch == 0 and interrupt.armed:
            os.kill(os.getpid(), signal.SIGINT)
        interrupt.armed = True  # not at the look at the start loss
        return features

    interrupt.armed = False
    with pytest.raises(Interrupted, match="no model to keep") as caught:
        fit(model, At(batches, interrupt), val_batches, record=record, path=tmp_path / "m.h5", epochs=5)
    assert not list(tmp_path.iterdir())
    assert caught.value._render_traceback_() == [f"Interrupted: {caught.value}"]  # what a notebook shows


@pytest.mark.stack
def test_sigterm_and_then_sigint_are_one_wish(setting, tmp_path):
    model, batches, val_batches, record = setting

    def both(epoch, index, features):
        if (epoch, index) == (1, 0):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        return features

    result = fit(
        model, At(batches, both), val_batches, record=record, path=tmp_path / "m.h5", final=tmp_path / "f.h5", epochs=9
    )
    assert result.status == "interrupted" and len(result.history["loss"]) <= 2
    assert signlib.load_model(tmp_path / "f.h5").record["epoch"] == result.best_epoch


def weights_of(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def resumed(clips, folder, architecture=ARCHITECTURE, model=None, mixup=0.0, batch_size=8, eager=True, **more):
    """A training in `folder`, begun or gone on with as in a new process: (model, result). model: to train, instead of one that
    is built here."""
    signlib.use_device("cpu", 1)
    train, val, _ = signlib.split_clips(clips)
    batches = signlib.KeypointGenerator(
        train, P, CLASSES, batch_size=batch_size, augment=signlib.Augment(), mixup=mixup, seed=1
    )
    val_batches = signlib.KeypointGenerator(val, P, CLASSES, batch_size=8, shuffle=False)
    model = model or signlib.build_model(P.output_shape, 3, **architecture)
    model.run_eagerly = eager
    action = more.pop("action", lambda epoch, index, features: features)
    record = make_record(CLASSES, P, "1629", architecture, fingerprint=clips.fingerprint)
    result = fit(model, At(batches, action), val_batches, record=record, path=folder / "model.h5", state=folder / "state.h5",
                 resume=True, seed=1, **more)  # fmt: skip
    return model, result


@pytest.fixture(scope="module")
def unbroken(clips, tmp_path_factory):
    """Model, result and folder of a training of 6 epochs that nothing broke."""
    folder = tmp_path_factory.mktemp("unbroken")
    return *resumed(clips, folder, epochs=6, monitor="val_accuracy", eager=False), folder


def same_end(folder, other):
    """Whether two folders hold the same best model and the same last state, bit for bit."""
    best = [weights_of(signlib.load_model(f / "model.h5").model) for f in (folder, other)]
    (_, arrays), (_, others) = (_read(f / "state.h5") for f in (folder, other))
    progress = [read_progress(f / "state.h5") for f in (folder, other)]
    return (
        np.array_equal(*best)
        and all(arrays[name].tobytes() == others[name].tobytes() for name in arrays | others)
        and all(progress[0][name] == progress[1][name] for name in ("history", "epoch", "best_epoch", "best_value"))
    )


@pytest.mark.stack
def test_a_training_that_was_interrupted_and_resumed_ends_as_one_that_was_not(clips, tmp_path, unbroken, capsys):
    def interrupt(epoch, index, features):
        if (epoch, index) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)
        return features

    _, result = resumed(clips, tmp_path, epochs=6, monitor="val_accuracy", eager=False, action=interrupt)
    assert result.status == "interrupted" and len(result.history["loss"]) == 2
    _, result = resumed(clips, tmp_path, epochs=4, monitor="val_accuracy", eager=False)
    assert "resumed after epoch 2" in capsys.readouterr().out and len(result.history["loss"]) == 4
    model, result = resumed(clips, tmp_path, epochs=6, monitor="val_accuracy", eager=False)
    assert (result.history, result.best_epoch) == (unbroken[1].history, unbroken[1].best_epoch)
    np.testing.assert_array_equal(weights_of(model), weights_of(unbroken[0]))
    assert same_end(tmp_path, unbroken[2])

    before = (tmp_path / "state.h5").read_bytes()
    _, result = resumed(
        clips, tmp_path, epochs=6, monitor="val_accuracy", eager=False, final=tmp_path / "final.h5"
    )  # nothing is left to do
    assert result.status == "finished" and (tmp_path / "state.h5").read_bytes() == before and result.published


ALL_ON = {"ema": 0.9, "warmup_steps": 2, "decay_steps": 4, "weight_decay": 0.1, "label_smoothing": 0.1, "learning_rate": 3e-3}


@pytest.mark.parametrize(
    ("architecture", "mixup"),
    [
        ({"architecture": "bilstm"} | ALL_ON, 0.4),
        ({"architecture": "gru", "learning_rate": 3e-3}, 0.0),
        ({"architecture": "conv_transformer"} | ALL_ON, 0.4),
    ],
    ids=["bilstm", "gru", "conv_transformer"],
)
@pytest.mark.slow
def test_each_architecture_killed_in_its_second_epoch_and_resumed_ends_as_if_it_was_not(clips, tmp_path, architecture, mixup):
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def leave(epoch, index, features):  # what a kill at this moment would leave
        if (epoch, index) == (1, 0):
            shutil.copytree(whole, broken)
        return features

    settings = {"architecture": architecture, "mixup": mixup, "batch_size": 12, "epochs": 2, "monitor": "loss"}
    model = signlib.build_model(P.output_shape, 3, **architecture)
    _, result = resumed(clips, whole, model=model, action=leave, **settings)
    expected = weights_of(model)
    assert read_progress(broken / "state.h5")["epoch"] == 1 and not same_end(broken, whole)
    # The same model again, since a new one takes seconds to build; nothing of what it knew is left.
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(np.full_like(variable.numpy(), 7))
    _, again = resumed(clips, broken, model=model, **settings)
    assert again.history == result.history and len(result.history["loss"]) == 2
    np.testing.assert_array_equal(weights_of(model), expected)
    assert same_end(broken, whole)


KILLED = """
import os, pathlib, signal, sys, threading
import signlib
from tests.test_training import resumed
folder, data, seconds = sys.argv[1:]
timer = threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL))
timer.daemon = True
def start_timer(epoch, index, features):  # the first batch has been asked for: training begins
    if timer.ident is None:
        timer.start()
    return features
resumed(signlib.load_clips(data), pathlib.Path(folder), epochs=6, monitor="val_accuracy", eager=False, action=start_timer)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_training_that_is_killed_at_random_moments_and_resumed_ends_as_one_that_was_not(clips, tmp_path, unbroken):
    rng = np.random.default_rng(3)
    for _ in range(2):
        command = [sys.executable, "-c", KILLED, tmp_path, clips.folder, str(rng.uniform(0.2, 3))]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120).returncode == -signal.SIGKILL
    resumed(clips, tmp_path, epochs=6, monitor="val_accuracy", eager=False)
    assert same_end(tmp_path, unbroken[2])


def test_after_a_kill_between_saving_the_best_model_and_the_state_no_worse_epoch_replaces_it(clips, tmp_path):
    resumed(clips, tmp_path, epochs=2, monitor="loss")
    older = (tmp_path / "state.h5").read_bytes()
    _, result = resumed(clips, tmp_path, epochs=4, monitor="loss")
    assert result.best_epoch == 4
    best = weights_of(signlib.load_model(tmp_path / "model.h5").model)
    (tmp_path / "state.h5").write_bytes(older)
    model, again = resumed(clips, tmp_path, epochs=3, monitor="loss", action=lambda epoch, index, features: 0 * features - 50)
    assert again.history["loss"][2] > result.best_value and (again.best_epoch, again.best_value) == (4, result.best_value)
    np.testing.assert_array_equal(weights_of(model), best)
    np.testing.assert_array_equal(weights_of(signlib.load_model(tmp_path / "model.h5").model), best)


def test_patience_and_the_learning_rate_go_on_after_a_resume(setting, tmp_path):
    model, batches, val_batches, record = setting
    fit(still(model), batches, val_batches, record=record, state=tmp_path / "state.h5", epochs=3)
    model = eager_model()
    model.get_layer("stem_norm").momentum = 1.0
    with pytest.raises(InputError, match=r"state\.h5: its best epoch is best in val_loss, not in loss"):
        fit(model, batches, val_batches, record=record, state=tmp_path / "state.h5", resume=True, monitor="loss")
    result = fit(model, batches, val_batches, record=record, state=tmp_path / "state.h5", resume=True, epochs=50, patience=4)
    assert (result.best_epoch, len(result.history["loss"])) == (1, 5) and "has not improved for 4" in result.reason


def test_a_state_that_cannot_be_saved_does_not_end_the_training(clips, tmp_path):
    (tmp_path / "state.h5").mkdir()
    with pytest.warns(UserWarning, match=r"cannot save .*state\.h5 .*is a folder.*earlier epoch"):
        signlib.use_device("cpu", 1)
        train, val, _ = signlib.split_clips(clips)
        batches = signlib.KeypointGenerator(train, P, CLASSES, batch_size=8, seed=1)
        val_batches = signlib.KeypointGenerator(val, P, CLASSES, batch_size=8, shuffle=False)
        model = eager_model()
        record = make_record(CLASSES, P, "1629", ARCHITECTURE)
        result = fit(model, batches, val_batches, record=record, state=tmp_path / "state.h5", epochs=2)
    assert result.status == "finished" and len(result.history["loss"]) == 2


def test_a_diverged_training_publishes_its_best_model_from_before_and_says_so(setting, tmp_path, capsys):
    model, batches, val_batches, record = setting

    def poison(epoch, index, features):
        return features * np.nan if epoch == 2 else features

    result = fit(
        model, At(batches, poison), val_batches, record=record, path=tmp_path / "m.h5", final=tmp_path / "f.h5", epochs=9
    )
    assert result.status == "diverged" and signlib.load_model(tmp_path / "f.h5").record["epoch"] == result.best_epoch <= 2
    assert f"from before the loss diverged: epoch {result.best_epoch}" in capsys.readouterr().out


def test_publishing_says_when_it_cannot(setting, tmp_path):
    model, batches, val_batches, record = setting
    still(model)
    result = fit(
        model, batches, val_batches, record=record, path=tmp_path / "m.h5", final=tmp_path / "out" / "final.h5", epochs=1
    )
    assert result.published == tmp_path / "out" / "final.h5"
    assert result.published.read_bytes() == (tmp_path / "m.h5").read_bytes()
    (tmp_path / "folder.h5").mkdir()
    with pytest.warns(UserWarning, match=r"cannot copy .*m\.h5 to .*folder\.h5"):
        result = fit(model, batches, val_batches, record=record, path=tmp_path / "m.h5", final=tmp_path / "folder.h5", epochs=1)
    assert result.published is None


def test_a_failed_save_does_not_end_the_training(setting, tmp_path):
    model, batches, val_batches, record = setting
    for name in ("m.h5", "m.weights.h5"):
        (tmp_path / name).mkdir()
    with pytest.warns(UserWarning, match="is a folder"):
        result = fit(model, batches, val_batches, record=record, path=tmp_path / "m.h5", epochs=3)
    assert result.status == "finished" and result.saved is None and len(result.history["loss"]) == 3


def test_a_best_epoch_that_could_not_be_saved_is_not_replaced_by_an_earlier_one(setting, tmp_path, monkeypatch, capsys):
    model, batches, val_batches, record = setting
    path, final = tmp_path / "m.h5", tmp_path / "f.h5"
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    with (tmp_path / "another").open("w") as another:

        def begin(epoch, index, features):  # another one writes there from now on
            if (epoch, index) == (1, 0):
                fcntl.flock(another, fcntl.LOCK_EX)
                pathlib.Path(another.name).replace(tmp_path / ".m.h5.lock")
            return features

        with pytest.warns(UserWarning, match="cannot save the model"):
            result = fit(
                model, At(batches, begin), val_batches, record=record, path=path, final=final, epochs=2, monitor="loss"
            )
    assert result.best_epoch == 2 and signlib.load_model(path).record["epoch"] == 1
    assert result.saved is None and result.published is None and not final.exists()
    assert "nothing published" in capsys.readouterr().out


@pytest.fixture
def steps(monkeypatch):
    """The weights of the model after each batch of each `fit`."""
    weights = []

    class Recording(training.Guard):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            weights.append(self.model.get_weights())

    monkeypatch.setattr(training, "Guard", Recording)
    return weights


MOMENTUM = 0.8


def averaged(model, steps):
    """The weights `[array, ...]` of a model whose moving average began with the first of `steps`; the mean and variance of
    batch normalisation are those of the last."""
    average = steps[0]
    for step in steps[1:]:
        average = [MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(average, step, strict=True)]
    return [mean if weight.trainable else raw for weight, mean, raw in zip(model.weights, average, steps[-1], strict=True)]


def test_the_moving_average_is_judged_and_saved_and_training_goes_on_without_it(setting, tmp_path, steps):
    model, batches, val_batches, record = setting
    start = model.get_weights()
    fit(model, batches, val_batches, record=record, epochs=2)
    without, steps[:] = list(steps), []
    model = eager_model(ema=MOMENTUM)
    model.set_weights(start)
    result = fit(model, batches, val_batches, record=record, path=tmp_path / "model.h5", epochs=2)
    for raw, other in zip(steps, without, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(raw, other, strict=True))
    seen = steps[: len(batches) * result.best_epoch]
    loaded = signlib.load_model(tmp_path / "model.h5").model
    for kept, saved, expected in zip(model.get_weights(), loaded.get_weights(), averaged(model, seen), strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(saved, kept)
    assert np.abs(weights_of(model) - np.concatenate([raw.ravel() for raw in seen[-1]])).max() > 1e-3
    assert model.evaluate(val_batches, verbose=0)[0] == pytest.approx(result.best_value, rel=1e-6)


def test_ctrl_c_during_validation_keeps_the_best_moving_average(setting, tmp_path, steps):
    _, batches, val_batches, record = setting
    model = eager_model(ema=MOMENTUM)
    val_batches.batch_size = 2

    def interrupt(epoch, index, features):
        if len(steps) == 2 * len(batches) and index == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return features

    paths = {"path": tmp_path / "model.h5", "state": tmp_path / "state.h5"}
    result = fit(model, batches, At(val_batches, interrupt), record=record, **paths, epochs=9)
    assert (result.status, result.best_epoch, len(result.history["loss"])) == ("interrupted", 1, 1)
    assert len(steps) == 2 * len(batches)  # it was the validation of the second epoch
    loaded = signlib.load_model(tmp_path / "model.h5").model
    for kept, saved, expected in zip(
        model.get_weights(), loaded.get_weights(), averaged(model, steps[: len(batches)]), strict=True
    ):
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(saved, kept)
    _, arrays = _read(tmp_path / "state.h5")
    for number, raw in enumerate(steps[len(batches) - 1]):
        np.testing.assert_array_equal(arrays[f"weights/{number}"], raw)


@pytest.mark.parametrize("class_weights", [True, False])
def test_with_class_weights_all_glosses_count_alike_however_many_clips_they_have(clips, setting, class_weights):
    _, _, val_batches, record = setting
    kept = {"book": 6, "drink": 3, "tea": 1}
    few = [clip for gloss, count in kept.items() for clip in [c for c in clips if c.gloss == gloss][:count]]
    batches = signlib.KeypointGenerator(few, P, CLASSES, batch_size=10)
    model = signlib.build_model(P.output_shape, 3, "gru", dropout_rate=0.0, l2=0.0)
    model.run_eagerly = True
    features, labels = batches[0]
    counts = labels.sum(axis=0)
    assert sorted(counts) == [1, 3, 6]
    weights = labels @ (10 / (3 * counts)) if class_weights else 1
    expected = -np.log((np.asarray(model(features, training=True)) * labels).sum(axis=1))
    result = fit(model, batches, val_batches, record=record, epochs=1, class_weights=class_weights)
    assert result.history["loss"][0] == pytest.approx((weights * expected).mean(), rel=1e-5)


def test_a_negative_cross_entropy_is_an_error(setting):
    model, batches, val_batches, record = setting
    model.compile(optimizer="adam", loss=lambda labels, p: keras.ops.sum(labels * keras.ops.log(p + 1e-7), axis=-1))
    with (
        pytest.warns(UserWarning, match="starts at -.* far from"),
        pytest.raises(TrainingError, match="never negative.*do not match"),
    ):
        fit(model, batches, val_batches, record=record, epochs=1)


def test_an_unknown_monitor_is_refused(setting):
    model, batches, val_batches, record = setting
    with pytest.raises(InputError, match="val_los'.*val_loss"):
        fit(model, batches, val_batches, record=record, monitor="val_los")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3], "0 to 3; expected 0 to 2"),
        ([-1, 0, 1], "-1 to 1"),
        ([1, 1, 1], "same gloss"),
        ([], "no training clips"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        check_labels(labels, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1, 0, 0], [0, 2, 0]], "clip 1 of a batch sums to 2"),
        ([[1, 1, -1]], "clip 0 of a batch sums to 1"),
        ([[1, 0], [0, 1]], r"shape \(2, 2\); expected \(clips, 3\)"),
        ([0, 1], r"shape \(2,\)"),
    ],
)
def test_batches_whose_labels_are_not_one_hot_are_refused_before_training(setting, labels, message):
    with pytest.raises(InputError, match=message):
        check_one_hot(np.array(labels), 3)
    model, batches, val_batches, record = setting
    wrong = At(batches, lambda e, i, x: x)
    wrong.__class__ = type("Wrong", (At,), {"__getitem__": lambda self, i: (self.batches[i][0], np.array(labels))})
    with pytest.raises(InputError, match=message):
        fit(model, wrong, val_batches, record=record)


def test_good_labels_pass():
    check_labels([0, 2, 1], 3)
    check_one_hot(np.eye(3)[[0, 1, 1]], 3)


def test_the_table_of_parameters_knows_what_the_code_knows():
    from signlib.model import ARCHITECTURES

    assert PARAMETERS["MONITOR"].choices == MONITORS
    assert PARAMETERS["ARCHITECTURE"].choices == tuple(ARCHITECTURES)
