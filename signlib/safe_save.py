"""Saving a model so that it is never lost or silently wrong, and loading it for prediction."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import platform
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass

import h5py
import numpy as np

import signlib
from signlib.agreement import better_order, order_name
from signlib.device import keras, tf
from signlib.errors import InputError, SaveError
from signlib.files import atomic_path, sha256, write_json
from signlib.frames import clip_paths, open_frames
from signlib.landmarks import LAYOUTS, detect_layout
from signlib.model import build_model
from signlib.preprocess import Preprocessor

RECORD = "signlib_record"  # the dataset of the .h5 that holds the record, as UTF-8 json


def make_record(classes, preprocessor, layout, architecture, parameters=None, fingerprint=""):
    """Returns what a model file must say to be used again: plain values only.

    classes: glosses in label order. architecture: the keyword arguments of `build_model`. parameters: the run's.
    fingerprint: of the data it was trained on.
    """
    return {
        "format": 1,
        "classes": list(classes),
        "preprocessor": preprocessor.config(),
        "layout": layout,
        "architecture": dict(architecture),
        "parameters": dict(parameters or {}),
        "data_fingerprint": fingerprint,
        "versions": {
            "signlib": signlib.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "platform": platform.platform(),
        },
    }


@dataclass(frozen=True)
class Saved:
    """What a save wrote: `path`, whether the `whole` model is in it, and a `message` for the log."""

    path: pathlib.Path
    whole: bool
    message: str


def save_model(model, path, record):
    """Saves model and record to `path` (.h5) and a readable copy of the record beside it (.json). Returns `Saved`.

    The file is written under a temporary name in the same folder, read back and compared bit for bit, flushed to disk,
    and only then takes the name: at every moment the path holds the complete old or the complete new model. Where the
    whole cannot be saved, the weights alone go to `<name>.weights.h5`, and the message says why. Raises SaveError, the
    old files untouched, where that fails too.
    """
    path = pathlib.Path(path)
    try:
        with atomic_path(path) as temporary:
            _write_whole(model, temporary, record)
            _verify(temporary, model)
    except Exception as whole_error:
        weights_path = path.with_suffix(".weights.h5")
        try:
            with atomic_path(weights_path) as temporary:
                model.save_weights(temporary)
                _verify(temporary, model)
        except Exception as weights_error:
            raise SaveError(
                f"cannot save {path} ({_reason(whole_error)}), nor its weights alone to {weights_path} "
                f"({_reason(weights_error)}). What was there before is untouched. Free space or choose another folder"
            ) from whole_error
        message = f"saved the weights alone to {weights_path}: the whole model could not be saved ({_reason(whole_error)})"
        warnings.warn(message, stacklevel=2)
        return Saved(weights_path, False, message)
    _write_readable(path, record)
    return Saved(path, True, f"saved {path} ({path.stat().st_size / 1e6:.1f} MB, verified)")


def publish(source, target):
    """Copies a saved model and its readable record to `target` as safely as `save_model` writes. Returns `target`.

    Raises SaveError, the old target untouched.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    try:
        record = _read_record(source)
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
            if sha256(temporary) != sha256(source):
                raise OSError("the copy differs from the original")
    except OSError as error:
        raise SaveError(f"cannot copy {source} to {target} ({_reason(error)}); use {source} itself") from error
    _write_readable(target, record)
    return target


class LoadedModel:
    """A model with what it needs to predict: `.model`, `.record`, `.classes`, `.preprocessor`."""

    def __init__(self, model, record):
        self.model, self.record, self.classes = model, record, record["classes"]
        self.preprocessor = Preprocessor(**record["preprocessor"])

    def predict(self, clip_or_folder, top=5):
        """Returns the `top` glosses of a clip, a .npy file or a folder of one file a frame, as [(gloss, probability), ...],
        best first; of a folder of clips, in any form that `load_clips` reads, a dict {video_id: such a list}. Raises
        InputError naming what cannot be used."""
        path = pathlib.Path(clip_or_folder)
        if path.is_dir() and (clips := clip_paths(path)):
            return {video_id: self.predict(clip, top) for video_id, clip in clips.items()}
        frames = open_frames(path, mmap_mode=None)
        try:
            layout = self._layout(frames)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        features = self.preprocessor(frames.reshape(len(frames), -1), layout)
        probabilities = self.model.predict_on_batch(features[None])[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.classes[i], float(probabilities[i])) for i in best]

    def _layout(self, frames):
        """The layout of one clip: that of the training clips where it can be, unless the clip agrees with another."""
        shape, layout = frames.shape[1:], self.record["layout"]
        layout = layout if LAYOUTS[layout].fits(shape) else detect_layout(shape)
        if order := better_order([frames.reshape(len(frames), -1)], layout):
            if order not in LAYOUTS:
                raise InputError(f"its values fit {order_name(order)}, not layout {layout}: extract it as for training")
            layout = order
        held = {block for block, _, _ in LAYOUTS[layout].blocks}
        if lacking := sorted(set(self.preprocessor.blocks) - held):
            warnings.warn(
                f"the model learnt from {', '.join(lacking)}, which layout {layout} does not hold: expect less of it, or train "
                "one on LANDMARKS that both hold, such as hands",
                stacklevel=3,
            )
        return layout


def load_model(path):
    """Returns the `LoadedModel` of a file that `save_model` wrote. The model is built anew from the record, compiled, and
    only arrays are read. Raises InputError, naming the file, for anything else."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"no model at {path}; expected an .h5 file that signlib saved, such as models/lstm_model.h5")
    try:
        record = _read_record(path)
        shape = Preprocessor(**record["preprocessor"]).output_shape
        model = build_model(shape, len(record["classes"]), **record["architecture"])
        model.load_weights(path)
    except InputError as error:  # no record, or a layout or a part that this version does not know
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged or no model of this version: {_reason(error)}") from error
    return LoadedModel(model, record)


def _write_whole(model, path, record):
    text = json.dumps(record, allow_nan=False)
    logger = logging.getLogger("absl")
    logger.addFilter(_not_about_format)
    try:
        model.save(path, include_optimizer=False)
    finally:
        logger.removeFilter(_not_about_format)
    with h5py.File(path, "a") as file:
        file.create_dataset(RECORD, data=np.frombuffer(text.encode(), np.uint8))


def _read_record(path):
    with h5py.File(path) as file:
        if RECORD not in file:
            raise InputError(f"{path} was not saved by signlib: it has no record. keras.models.load_model may open it")
        return json.loads(file[RECORD][()].tobytes())


def _write_readable(path, record):
    with contextlib.suppress(OSError):  # a convenience: the .h5 holds the same
        write_json(path.with_suffix(".json"), record)


def _not_about_format(entry):
    # Keras calls .h5 a legacy format at every save; the user asked for this format.
    return "HDF5 file" not in entry.getMessage()


def _verify(path, model):
    """Raises OSError unless every weight of the model stands in the file, bit for bit."""
    found = Counter()
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.update([_digest(item[()])]) if isinstance(item, h5py.Dataset) else None)
    lost = Counter(_digest(weight.numpy()) for weight in model.weights) - found
    if lost:
        raise OSError(f"reading {path.name} back, {lost.total()} of {len(model.weights)} arrays differ from the model")


def _digest(array):
    return str(np.shape(array)), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _reason(error):
    if isinstance(error, OSError) and error.errno:
        return f"{os.strerror(error.errno)}: {error}".splitlines()[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]
