"""What a training is resumed from comes back bit for bit, or is refused with a reason."""

import json

import h5py
import numpy as np
import pytest

import signlib
from signlib import state
from signlib.errors import InputError
from signlib.files import seal
from signlib.safe_save import make_record
from signlib.state import load_state, read_progress, same_data, save_state

pytestmark = pytest.mark.stack
CLASSES = ["book", "drink", "tea"]
P = signlib.Preprocessor(4, landmarks="hands")
PROGRESS = {
    "epoch": 2,
    "history": {"loss": [1.25, 0.1 + 0.2], "val_loss": [float("nan"), float("inf")]},
    "best_value": -0.0,
    "start_loss": float("nan"),
}


def new_model(seed=1):
    signlib.use_device("cpu", seed)
    # What dropout draws is not in a state; a moving average of the weights is.
    return signlib.build_model(P.output_shape, len(CLASSES), dropout_rate=0.0, ema=0.9)


def train(model, steps):
    rng = np.random.default_rng(steps)
    for _ in range(steps):
        model.train_on_batch(
            rng.normal(size=(4, *P.output_shape)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
        )


def arrays(model):
    """The bytes of all that a training of this model depends on: weights and the optimizer's variables."""
    return [variable.numpy().tobytes() for variable in [*model.weights, *model.optimizer.variables]]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def record():
    return make_record(CLASSES, P, "1629", {"architecture": "lstm"}, {"SEED": 1}, "abc")


@pytest.fixture(scope="module")
def trained():
    """A model after two steps with a learning rate that was changed, and the best weights, which are others."""
    model = new_model()
    train(model, 1)
    best = model.get_weights()
    best[0].flat[:3] = [np.nan, -0.0, np.inf]
    train(model, 1)
    model.optimizer.learning_rate = 1e-3 / 3
    return model, best


@pytest.fixture
def path(tmp_path, trained, record):
    save_state(tmp_path / "state.h5", *trained, record, PROGRESS)
    return tmp_path / "state.h5"


def test_a_state_comes_back_bit_for_bit(path, trained, record):
    model, best = trained
    other = new_model(seed=2)
    assert arrays(other)[0] != arrays(model)[0]
    progress, found = load_state(path, other, record)
    assert arrays(other) == arrays(model)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in best]
    assert repr(progress) == repr(PROGRESS) == repr(read_progress(path))  # NaN is not equal to itself
    assert names(path.parent) == ["state.h5"]


def test_a_training_goes_on_from_its_state_as_if_never_stopped(tmp_path, record):
    model = new_model()
    train(model, 2)
    save_state(tmp_path / "state.h5", model, model.get_weights(), record, {})
    train(model, 3)
    without_a_break = arrays(model)
    load_state(tmp_path / "state.h5", model, record)
    assert arrays(model) != without_a_break
    train(model, 3)
    assert arrays(model) == without_a_break


def test_a_state_before_any_epoch_was_the_best_can_be_resumed(tmp_path, trained, record):
    # The monitored value was NaN so far.
    save_state(tmp_path / "state.h5", trained[0], [], record, PROGRESS)
    other = new_model(seed=2)
    _, best = load_state(tmp_path / "state.h5", other, record)
    assert best == [] and arrays(other) == arrays(trained[0])


OTHERS = {
    "classes": ["book", "tea", "drink"],
    "preprocessor": {"sequence_length": 5},
    "layout": "543",
    "architecture": {"architecture": "lstm", "dropout_rate": 0.1},
    "data_fingerprint": "abd",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_differs_from_the_run_that_is_resumed_is_named(path, record, name):
    model = new_model(seed=2)
    before = arrays(model)
    record[name] = record[name] | OTHERS[name] if isinstance(record[name], dict) else OTHERS[name]
    was, now = "sequence_length': 4", "sequence_length': 5"
    if name != "preprocessor":
        was, now = ("'abc'", "'abd'") if name == "data_fingerprint" else ("", str(OTHERS[name])[-6:])
    with pytest.raises(InputError, match=rf"cannot resume from .*state\.h5: {name} was .*{was}.*, now it is .*{now}"):
        load_state(path, model, record)
    assert arrays(model) == before


def test_records_of_the_same_data_are_known_whatever_else_they_say(record):
    assert same_data(record, record | {"epoch": 3, "parameters": {}, "versions": {}})
    assert not any(same_data(record, record | {name: other}) for name, other in OTHERS.items())


def test_another_version_is_warned_of_and_used(path, trained, record):
    model = new_model(seed=2)
    record["versions"] = record["versions"] | {"tensorflow": "9.9"}
    with pytest.warns(UserWarning, match=r"resumed after a change of tensorflow .* to 9\.9: .*bit for bit"):
        load_state(path, model, record)
    assert arrays(model) == arrays(trained[0])


def test_a_damaged_state_is_refused_and_the_model_untouched(path, record, flip):
    data, rng, model = path.read_bytes(), np.random.default_rng(0), new_model(seed=2)
    before = arrays(model)
    damaged = [b"", data[:-1], data[: len(data) // 2], data + b"\n"]
    for bit in [*rng.integers(8 * len(data), size=20), *rng.integers(8 * len(data) - 500, 8 * len(data), 5)]:
        path.write_bytes(data)
        flip(path, bit)
        damaged.append(path.read_bytes())
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot resume from .*state\.h5: .*expected b'sha256 [0-9a-f]{64}.*found"):
            load_state(path, model, record)
        assert read_progress(path) == {} and arrays(model) == before


def test_a_state_that_is_not_there_is_refused(tmp_path, record):
    with pytest.raises(InputError, match=r"cannot resume from .*state\.h5: .*No such file"):
        load_state(tmp_path / "state.h5", new_model(), record)
    assert read_progress(tmp_path / "state.h5") == {}


def test_a_model_is_no_state(tmp_path, trained, record):
    path = signlib.save_model(trained[0], tmp_path / "model.h5", record).path
    with pytest.raises(InputError, match=r"cannot resume from .*model\.h5"):
        load_state(path, new_model(), record)
    assert read_progress(path) == {}


def test_the_array_that_does_not_fit_the_model_is_named_and_the_model_untouched(path, record):
    model = new_model(seed=2)
    before = arrays(model)
    for name, edit in {
        "optimizer/3": lambda array: array.astype(np.float64),
        "weights/1": lambda array: array[:-1],
        "best/7": lambda array: None,
    }.items():
        content = path.read_bytes()
        with h5py.File(path, "r+") as file:
            array = edit(file[name][()])
            del file[name]
            if array is not None:
                file[name] = array
        seal(path)
        with pytest.raises(InputError, match=rf"state\.h5: {name} does not fit"):
            load_state(path, model, record)
        assert arrays(model)[: len(before)] == before
        path.write_bytes(content)


def flip_in_dataset(path, name):
    with h5py.File(path, "r+") as file:
        values = np.atleast_1d(file[name][()])
        values.view(np.uint8).flat[-1] ^= 1
        file[name][...] = values.reshape(file[name].shape)


@pytest.mark.parametrize("moment", ["before the seal", "after the seal"])
def test_a_state_that_is_damaged_while_written_never_takes_the_name(path, trained, record, monkeypatch, moment, flip):
    rng, before, sealed = np.random.default_rng(0), path.read_bytes(), state.seal
    for name in ("state", "weights/2", "optimizer/0", "optimizer/5", "best/1"):

        def damaged(temporary, name=name):
            if moment == "before the seal":
                flip_in_dataset(temporary, name)
            sealed(temporary)
            if moment == "after the seal":
                flip(temporary, rng.integers(8 * temporary.stat().st_size))

        monkeypatch.setattr(state, "seal", damaged)
        with pytest.raises(OSError, match="-tmp.h5 back"):
            save_state(path, *trained, record, {"epoch": 3})
        assert path.read_bytes() == before and names(path.parent) == ["state.h5"]


@pytest.mark.parametrize("structure", [b"\x89HDF", b"TREE", b"HEAP", b"SNOD", b"state", b"weights"])
def test_a_state_whose_structure_is_damaged_while_written_never_takes_the_name(path, trained, record, monkeypatch, structure):
    before = path.read_bytes()

    def damaged(temporary):
        data = temporary.read_bytes()
        assert structure in data
        temporary.write_bytes(data.replace(structure, bytes(len(structure))))
        seal(temporary)

    monkeypatch.setattr(state, "seal", damaged)
    with pytest.raises(OSError, match=r"reading \.state-.{8}-tmp\.h5 back"):
        save_state(path, *trained, record, {"epoch": 3})
    assert path.read_bytes() == before and names(path.parent) == ["state.h5"]


def test_what_cannot_be_written_leaves_the_old_state(path, trained, record):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_state(path, *trained, record, {"a set": {1}})
    assert path.read_bytes() == before and names(path.parent) == ["state.h5"]
    (path.parent / "folder.h5").mkdir()
    with pytest.raises(OSError, match=r"folder\.h5 is a folder"):
        save_state(path.parent / "folder.h5", *trained, record, PROGRESS)
    assert names(path.parent) == ["folder.h5", "state.h5"] and not names(path.parent / "folder.h5")


def test_a_state_says_in_plain_words_how_far_it_went(path, record):
    with h5py.File(path) as file:
        text = json.loads(bytes(file["state"][()]))
        assert text["record"] == record and text["progress"]["epoch"] == 2
        assert {name.split("/")[0] for name in file} == {"state", "weights", "optimizer", "best"}
