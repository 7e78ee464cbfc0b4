"""The state of a training after its last whole epoch, from which it is resumed bit for bit."""

import io
import json
import warnings

import h5py
import numpy as np

from signlib.errors import InputError
from signlib.files import atomic_path, read_sealed, seal

OF_THE_DATA = ("classes", "preprocessor", "layout", "architecture", "data_fingerprint")  # of a record: what must be the same


def same_data(record, other):
    """Returns whether two records are of the same data, glosses, features and architecture."""
    return all(record.get(name) == other.get(name) for name in OF_THE_DATA)


def save_state(path, model, best_weights, record, progress):
    """Writes what the next epoch depends on to `path` (.h5), as safely as a model: the weights, the optimizer with its
    learning rate, the best weights so far, and `progress` (plain values). Randomness follows from (seed, epoch).

    Raises OSError, the old file untouched, where it cannot be written.
    """
    arrays = {f"{group}/{number}": value for group, values in _arrays(model, best_weights).items() for number, value in values}
    text = json.dumps({"record": record, "progress": progress}).encode()
    with atomic_path(path) as temporary:
        data = io.BytesIO()
        with h5py.File(data, "w") as file:
            file.create_dataset("state", data=np.frombuffer(text, np.uint8))
            for name, value in arrays.items():
                file.create_dataset(name, data=value)
        temporary.write_bytes(data.getvalue())
        seal(temporary)
        try:
            found, read_back = _read(temporary)
            if found != text or any(read_back[name].tobytes() != value.tobytes() for name, value in arrays.items()):
                raise ValueError("it differs from what was written")
        except Exception as error:  # whatever HDF5 makes of damaged bytes
            raise OSError(f"reading {temporary.name} back: {error}") from error


def load_state(path, model, record):
    """Sets the weights and the optimizer of a compiled model to those in `path`; returns (progress, best weights).

    Raises InputError, the model untouched, where the file is damaged, or was written with other data or another model
    than those of `record`, naming what differs.
    """
    try:
        text, arrays = _read(path)
        state = json.loads(text)
    except Exception as error:
        raise InputError(f"cannot resume from {path}: {str(error) or type(error).__name__}".splitlines()[0]) from error
    for name in OF_THE_DATA:
        if state["record"][name] != json.loads(json.dumps(record[name])):
            was, now = (repr(value)[:200] for value in (state["record"][name], record[name]))
            raise InputError(f"cannot resume from {path}: {name} was {was}, now it is {now}")
    if (versions := state["record"]["versions"]) != record["versions"]:
        changed = [
            f"{name} {old} to {record['versions'].get(name)}"
            for name, old in versions.items()
            if old != record["versions"].get(name)
        ]
        warnings.warn(
            f"resumed after a change of {', '.join(changed)}: the rest need not be what it would have been, bit for bit",
            stacklevel=3,
        )
    model.optimizer.build(model.trainable_variables)
    groups = {}
    for group, values in _arrays(model, model.get_weights()).items():
        if group == "best" and not any(name.startswith("best/") for name in arrays):
            values = []  # no epoch was the best yet
        found = [arrays.get(f"{group}/{number}") for number, _ in values]
        for (number, value), array in zip(values, found, strict=True):
            if array is None or (array.shape, array.dtype) != (value.shape, value.dtype):
                raise InputError(f"cannot resume from {path}: {group}/{number} does not fit this model")
        groups[group] = found
    model.set_weights(groups["weights"])
    for variable, value in zip(model.optimizer.variables, groups["optimizer"], strict=True):
        variable.assign(value)
    return state["progress"], groups["best"]


def read_progress(path):
    """Returns the `progress` in `path`, or {} where there is none that can be read."""
    try:
        return json.loads(_read(path)[0])["progress"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _arrays(model, best_weights):
    optimizer = [variable.numpy() for variable in model.optimizer.variables]
    groups = {"weights": model.get_weights(), "optimizer": optimizer, "best": best_weights}
    return {group: list(enumerate(map(np.asarray, values))) for group, values in groups.items()}


def _read(path):
    """(json text, {name: array}) of a state file."""
    arrays = {}
    with h5py.File(io.BytesIO(read_sealed(path))) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays.pop("state").tobytes(), {name: np.asarray(array) for name, array in arrays.items()}
