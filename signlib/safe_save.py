"""Saving a model so that it is never lost or silently wrong, and loading it for prediction."""

import contextlib
import io
import json
import logging
import pathlib
import platform
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass

import h5py
import numpy as np

import signlib
from signlib.device import keras, tf
from signlib.errors import InputError, SaveError
from signlib.files import atomic_path, read_sealed, seal, sha256, write_json
from signlib.locks import locked
from signlib.model import average_models, build_model
from signlib.predict import FORMAT, RECORD, LoadedModel
from signlib.preprocess import Preprocessor


def make_record(classes, preprocessor, layout, architecture, parameters=None, fingerprint=""):
    """Returns what a model file must say to be used again: plain values only.

    classes: glosses in label order. architecture: the keyword arguments of `build_model`. parameters: the run's.
    fingerprint: of the data it was trained on.
    """
    return {
        "format": FORMAT,
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


def save_model(model, path, record, fallback=None):
    """Saves model and record to `path` (.h5) and a readable copy of the record beside it (.json). Returns `Saved`.

    The file is written under a temporary name in the same folder, sealed (its last line is the sha256 of all before it),
    read back and compared bit for bit, flushed to disk, and only then takes the name: at every moment the path holds the
    complete old or the complete new model. Where it cannot be written, the weights alone go to `<name>.weights.h5`; where
    they cannot either, the whole model goes to the folder `fallback`, as `<folder>-<name>`; a warning says what and why.

    Raises SaveError, the old files untouched, where nothing could be written; at once where what is read back
    differs, or another process holds the path's lock.
    """
    path = pathlib.Path(path)
    targets = [path, path.with_suffix(".weights.h5")]
    if fallback is not None:
        targets.append(pathlib.Path(fallback) / f"{path.absolute().parent.name}-{path.name}")
    failed = []
    for target in targets:
        whole = target != path.with_suffix(".weights.h5")
        write, verify = (_write_whole, _verify_whole) if whole else (_write_weights, _verify_weights)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target):
                with atomic_path(target) as temporary:
                    write(model, temporary, record)
                    _read_back(verify, model, temporary, record)
                if whole:
                    _write_readable(target, record)
        except Exception as error:
            failed.append(f"{target}: {_reason(error)}")
            advice = "Wait for that process" if isinstance(error, BlockingIOError) else "Free space, or choose another folder"
            if isinstance(error, _DiffersError | BlockingIOError):  # nothing that another place would mend
                break
        else:
            what = "" if whole else "the weights alone to "
            message = f"saved {what}{target} ({target.stat().st_size / 1e6:.1f} MB, verified)"
            if failed:
                message += f": the whole model could not be saved to {'; '.join(failed)}"
                warnings.warn(message, stacklevel=2)
            return Saved(target, whole, message)
    raise SaveError(f"cannot save the model to {'; nor to '.join(failed)}. What was there before is untouched. {advice}")


def publish(source, target):
    """Copies a saved model and its readable record to `target` as safely as `save_model` writes. Returns `target`.

    Raises SaveError, the old target untouched.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    try:
        record = _open(source)[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
                if sha256(temporary) != sha256(source):
                    raise OSError("the copy differs from the original")
            _write_readable(target, record)
    except (OSError, InputError) as error:
        raise SaveError(f"cannot copy {source} to {target} ({_reason(error)}); use {source} itself") from error
    return target


def load_model(path):
    """Returns the `LoadedModel` of a file that `save_model` wrote, and writes the readable copy of its record anew where that
    is missing or differs.

    The file's checksum is looked at first; the model is then built anew from the record, compiled, or where that names
    `members` as their average, and only arrays are read, so that nothing in the file is ever executed. Raises InputError,
    naming the file, for anything else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"no model at {path}; expected an .h5 file that signlib saved, such as models/lstm_model.h5")
    data, record = _open(path)
    try:
        if record["format"] != FORMAT:
            raise InputError(
                f"its format is {record['format']!r}; this version reads {FORMAT}: train it again, or use the older one"
            )
        shape = Preprocessor(**record["preprocessor"]).output_shape
        count = len(record["members"]) if "members" in record else 1
        models = [build_model(shape, len(record["classes"]), **record["architecture"]) for _ in range(count)]
        model = average_models(models) if "members" in record else models[0]
        with h5py.File(io.BytesIO(data)) as file:
            for weight, array in _stored(file, model):
                weight.assign(array)
        loaded = LoadedModel(model, record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # whatever a record or a file of another version makes of these lines
        raise InputError(f"{path} is no model of this version of signlib: {_reason(error)}") from error
    if _read_readable(path) != record:
        with contextlib.suppress(OSError, InputError), locked(path):
            if _open(path)[1] == record:  # another process may have replaced both meanwhile
                _write_readable(path, record)
    return loaded


class _DiffersError(OSError):
    """What was read back is not what was written."""


class _InMemory(io.BytesIO):
    """What Keras takes for a path that ends in .weights.h5."""

    def __str__(self):
        return "memory.weights.h5"


class _FileInMemory(h5py.File):
    """What Keras takes for a path that ends in .h5."""

    def __str__(self):
        return "memory.h5"


def _write_whole(model, path, record):
    # HDF5 writes to memory: on a full disk it can end the process with a segmentation fault.
    text = json.dumps(record, allow_nan=False).encode()
    logger, data = logging.getLogger("absl"), io.BytesIO()
    logger.addFilter(_not_about_format)
    try:
        with _FileInMemory(data, "w") as file:
            model.save(file, include_optimizer=False)
            file.create_dataset(RECORD, data=np.frombuffer(text, np.uint8))
    finally:
        logger.removeFilter(_not_about_format)
    path.write_bytes(data.getvalue())
    seal(path)


def _read_back(verify, model, path, record):
    try:
        verify(model, path, record)
    except Exception as error:  # whatever HDF5 makes of damaged bytes
        if isinstance(error, OSError) and error.errno:  # they cannot be read at all
            raise
        raise _DiffersError(f"reading {path.name} back: {_reason(error)}") from error


def _verify_whole(model, path, record):
    with h5py.File(io.BytesIO(read_sealed(path))) as file:
        if file[RECORD][()].tobytes() != json.dumps(record).encode():
            raise ValueError("the record differs")
        for weight, array in _stored(file, model):
            if array.tobytes() != weight.numpy().tobytes():
                raise ValueError(f"{weight.path} differs from the model")


def _write_weights(model, path, record):
    # What `model.load_weights` reads. Without the record, which may be what could not be written.
    data = _InMemory()
    model.save_weights(data)
    path.write_bytes(data.getvalue())


def _verify_weights(model, path, record):
    found = Counter()
    with h5py.File(io.BytesIO(path.read_bytes())) as file:
        file.visititems(lambda _, item: found.update([item[()].tobytes()]) if isinstance(item, h5py.Dataset) else None)
    if lost := Counter(weight.numpy().tobytes() for weight in model.weights) - found:
        raise ValueError(f"{lost.total()} of {len(model.weights)} arrays differ from the model")


def _open(path):
    """(HDF5 data, record) of a model file whose checksum is right; else InputError naming the file."""
    try:
        data = read_sealed(path)
        with h5py.File(io.BytesIO(data)) as file:
            return data, json.loads(file[RECORD][()].tobytes())
    except Exception as error:
        raise InputError(f"{path} cannot be used as a model: {_reason(error)}") from error


def _stored(file, model):
    """Yields (weight of the model, its array in the file), as Keras lays them out: by layer, of each those that are trained
    first, which in a member of an ensemble is another order than `layer.weights`. Raises InputError at the first one that does
    not fit."""
    for layer in filter(lambda layer: layer.weights, model.layers):
        weights, group = layer.trainable_weights + layer.non_trainable_weights, file[f"model_weights/{layer.name}"]
        arrays = [group[name] for name in np.asarray(group.attrs["weight_names"]).astype(str)]
        if len(arrays) != len(weights):
            raise InputError(f"layer {layer.name} has {len(arrays)} arrays; expected {len(weights)}")
        for weight, array in zip(weights, arrays, strict=True):
            if (array.shape, str(array.dtype)) != (weight.shape, weight.dtype):
                raise InputError(
                    f"{weight.path} is {array.dtype} {array.shape}; by its record it has to be {weight.dtype} {weight.shape}"
                )
            yield weight, array[()]


def _read_readable(path):
    try:
        return json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _write_readable(path, record):
    with contextlib.suppress(OSError, ValueError):  # a convenience: the .h5 holds the same
        write_json(path.with_suffix(".json"), record)


def _not_about_format(entry):
    # Keras calls .h5 a legacy format at every save; the user asked for this format.
    return "HDF5 file" not in entry.getMessage()


def _reason(error):
    if isinstance(error, OSError) and error.errno:
        return error.strerror
    text = str(error) if isinstance(error, ValueError | _DiffersError) else f"{type(error).__name__}: {error}"
    return text.partition("\n")[0]
