"""A saved model is whole and the same, or the old one is still there and a message says why."""

import errno
import fcntl
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import resource
import signal
import socket
import sys
import tempfile
import warnings

import h5py
import numpy as np
import pytest

import signlib
from signlib import locks, safe_save
from signlib.device import keras
from signlib.errors import InputError, SaveError
from signlib.files import SEAL, seal
from signlib.preprocess import Preprocessor
from signlib.safe_save import RECORD, make_record
from signlib.state import read_progress, save_state

pytestmark = pytest.mark.stack
CLASSES = ["book", "drink", "tea"]

# One process imports TensorFlow, once, and is forked for each child; on macOS a process must not be forked so late.
processes = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "forkserver")
processes.set_forkserver_preload(["signlib.safe_save", "signlib.state", "pytest"])


def new_record(**more):
    architecture = {"architecture": "lstm", "dropout_rate": 0.4}
    return make_record(CLASSES, Preprocessor(), "1629", architecture, {"SEED": 3}, "abc") | more


def filled(value):
    """A model all of whose weights are `value`, and a record that says so: what is mixed from two is seen."""
    signlib.use_device("cpu", 3)
    model = signlib.build_model(Preprocessor().output_shape, len(CLASSES))
    model.set_weights([np.full_like(array, value) for array in model.get_weights()])
    return model, new_record(value=value)


def value_of(path):
    """The value that the model at `path` is filled with, if the model is whole and agrees with its record."""
    loaded = signlib.load_model(path)
    assert all((array == loaded.record["value"]).all() for array in loaded.model.get_weights())
    return loaded.record["value"]


@pytest.fixture(scope="module")
def model():
    signlib.use_device("cpu", 3)
    return signlib.build_model(Preprocessor().output_shape, len(CLASSES), dropout_rate=0.4)


@pytest.fixture
def record():
    return new_record()


@pytest.fixture
def path(tmp_path, model, record):
    """A saved model, alone in its folder but for its readable copy."""
    return signlib.save_model(model, tmp_path / "m.h5", record).path


@pytest.fixture
def batch():
    features = np.random.default_rng(0).normal(size=(4, *Preprocessor().output_shape)).astype(np.float32)
    features[:, :, -1] = np.arange(50) < 30
    return features


@pytest.fixture
def start():
    """The function `start(function, *arguments)`: another process that runs `function(connection, *arguments)`, and this
    side of the connection."""
    started = []

    def begin(function, *arguments):
        here, there = processes.Pipe()
        process = processes.Process(target=function, args=(there, *arguments))
        process.start()
        there.close()
        started.append((process, here))
        return process, here

    yield begin
    for process, here in started:
        process.kill()
        process.join()
        process.close()
        here.close()


def receive(connection):
    """What the other process sends; the timeout is there to end a hang."""
    assert connection.poll(120), "the other process hangs"
    return connection.recv()


def contents(folder):
    """{path: bytes} of all files in a folder, and the folders in it."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flip_in_array(path, name=None):
    """Changes the last bit of one number of a dataset, by default of a matrix, in an .h5 file."""
    with h5py.File(path, "r+") as file:
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim == 2 else None)
        values = file[name or found[0]][()]
        values.view(np.uint8).flat[-len(values)] ^= 1
        file[name or found[0]][...] = values


def change(path, edit):
    """Changes a model file by `edit(h5py.File)` and seals it again, as somebody who knows how might do."""
    with h5py.File(path, "r+") as file:
        edit(file)
    seal(path)


def put_record(file, record):
    if RECORD in file:
        del file[RECORD]
    file.create_dataset(RECORD, data=np.frombuffer(json.dumps(record).encode(), np.uint8))


def test_a_model_loads_back_bit_for_bit_with_its_record(tmp_path, model, record, batch):
    saved = signlib.save_model(model, tmp_path / "lstm_model.h5", record)
    loaded = signlib.load_model(saved.path)
    assert saved.whole and str(saved.path) in saved.message
    np.testing.assert_array_equal(loaded.model.predict_on_batch(batch), model.predict_on_batch(batch))
    assert (loaded.classes, loaded.record) == (CLASSES, record)
    assert loaded.preprocessor.config() == Preprocessor().config()
    assert json.loads((tmp_path / "lstm_model.json").read_text()) == record
    assert names(tmp_path) == ["lstm_model.h5", "lstm_model.json"]


def test_numbers_that_no_training_should_make_come_back_as_they_were(tmp_path, record):
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    model, _ = filled(0.0)
    model.set_weights([np.resize(odd, array.shape) for array in model.get_weights()])
    loaded = signlib.load_model(signlib.save_model(model, tmp_path / "m.h5", record).path)
    for mine, theirs in zip(loaded.model.get_weights(), model.get_weights(), strict=True):
        assert mine.tobytes() == theirs.tobytes() == np.resize(odd, mine.shape).tobytes()


def test_the_last_line_is_a_checksum_and_the_record_a_dataset(path, record):
    data, line = path.read_bytes()[:-SEAL], path.read_bytes()[-SEAL:]
    assert line == f"sha256 {hashlib.sha256(data).hexdigest()}\n".encode() and data.endswith(b"\n")
    with h5py.File(path) as file:
        assert json.loads(bytes(file["signlib_record"][()])) == record
    assert set(record) >= {"classes", "preprocessor", "layout", "architecture", "parameters", "versions", "data_fingerprint"}


def test_plain_keras_loads_the_file_too(path, model, batch):
    expected = model.predict_on_batch(batch)
    for options in ({}, {"compile": False}):
        plain = keras.models.load_model(path, **options)
        np.testing.assert_array_equal(plain.predict_on_batch(batch), expected)


@pytest.mark.parametrize("found", [None, b"", b"{", b"\xff", b"[" * 100_000, b'{"format": 1}'])
def test_the_readable_copy_is_written_anew_where_it_is_missing_or_differs(path, model, record, found):
    readable = path.with_suffix(".json")
    for use in (lambda: signlib.load_model(path), lambda: signlib.save_model(model, path, record)):
        readable.unlink() if found is None else readable.write_bytes(found)
        use()
        assert json.loads(readable.read_bytes()) == record and names(path.parent) == ["m.h5", "m.json"]
    before = readable.stat().st_ino
    signlib.load_model(path)
    assert readable.stat().st_ino == before  # where it agrees it is left alone


def test_a_model_replaced_while_it_is_loaded_keeps_its_own_readable_copy(tmp_path, path, monkeypatch):
    # Another process publishes between our reading the model and our looking at the copy, which is then newer than ours.
    other = save_filled(tmp_path / "other.h5", 2.0)
    read = safe_save._read_readable
    monkeypatch.setattr(safe_save, "_read_readable", lambda found: (signlib.publish(other, path), read(found))[1])
    assert "value" not in signlib.load_model(path).record
    monkeypatch.undo()
    assert json.loads(path.with_suffix(".json").read_text()) == json.loads(other.with_suffix(".json").read_text())


def test_prediction_from_the_file_is_that_of_the_pipeline(tmp_path, model, path, make_frames):
    loaded = signlib.load_model(path)
    np.save(tmp_path / "00042.npy", make_frames(20))
    expected = model.predict_on_batch(Preprocessor()(make_frames(20), "1629")[None])[0]
    predicted = loaded.predict(tmp_path / "00042.npy", top=2)
    assert [gloss for gloss, _ in predicted] == [CLASSES[i] for i in np.argsort(-expected)[:2]]
    np.testing.assert_allclose([p for _, p in predicted], np.sort(expected)[::-1][:2], rtol=1e-6)
    assert loaded.predict(tmp_path, top=2) == {"00042": predicted}


PREPROCESSORS = [
    {"kinds": "depth+shape", "normalise": "clip", "interpolate": False, "trim": False, "aspect": 1.5},
    {"kinds": "position+acceleration", "normalise": "none", "long_clips": "stretch", "landmarks": "hands", "layout": "258"},
]


@pytest.mark.parametrize("settings", PREPROCESSORS)
def test_the_model_reads_clips_as_the_preprocessor_did_that_it_learnt_from(tmp_path, make_frames, settings):
    p = Preprocessor(12, **settings)
    model = signlib.build_model(p.output_shape, len(CLASSES))
    saved = signlib.save_model(model, tmp_path / "m.h5", make_record(CLASSES, p, "1629", {"architecture": "lstm"}))
    loaded = signlib.load_model(saved.path)
    assert loaded.preprocessor.config() == p.config() and settings.items() <= p.config().items()
    frames = make_frames(20)
    frames[:5, 1503:] = frames[8:11, 1503:1566] = 0  # no hands, and then one
    found, plain = loaded.preprocessor(frames, "1629"), Preprocessor(12)(frames, "1629")
    np.testing.assert_array_equal(found, p(frames, "1629"))
    assert found.shape != plain.shape


def test_prediction_refuses_another_layout_by_name(tmp_path, path):
    loaded = signlib.load_model(path)
    np.save(tmp_path / "7.npy", np.zeros((5, 100)))
    with pytest.raises(InputError, match=r"7\.npy.*100 values.*1629"):
        loaded.predict(tmp_path / "7.npy")


SHAPES = ["1629", "1662", "258", "225", "543", "1629 as rows", "543 in a row"]


@pytest.mark.parametrize("learnt", ["1629", "543", "258"])
def test_a_clip_is_read_alike_in_whatever_layout_it_comes(tmp_path, make_frames, lay_out, learnt):
    signlib.use_device("cpu", 3)
    p = Preprocessor(landmarks="hands+pose", layout=learnt)
    model = signlib.build_model(p.output_shape, len(CLASSES))
    saved = signlib.save_model(model, tmp_path / "m.h5", make_record(CLASSES, p, learnt, {"architecture": "lstm"}))
    loaded = signlib.load_model(saved.path)
    frames = make_frames(20)
    expected = sorted(model.predict_on_batch(p(frames, "1629")[None])[0])[::-1]
    (tmp_path / "clips" / "book").mkdir(parents=True)
    for shape in SHAPES:
        written = lay_out(frames, shape.split()[0])
        if shape == "1629 as rows":
            written = written.reshape(20, 543, 3)
        elif shape == "543 in a row":
            written = written.reshape(20, 1629)
        np.save(tmp_path / "clips" / f"{shape}.npy", written)
    predicted = loaded.predict(tmp_path / "clips")
    assert set(predicted) == set(SHAPES)
    for shape in SHAPES:
        np.testing.assert_allclose([share for _, share in predicted[shape]], expected, rtol=1e-5, err_msg=shape)
    for number, frame in enumerate(lay_out(frames, "258")):
        np.save(tmp_path / "clips" / "book" / f"{number}.npy", frame)
    assert loaded.predict(tmp_path / "clips" / "book") == predicted["258"]
    for path in (tmp_path / "clips").glob("*.npy"):
        path.unlink()
    assert loaded.predict(tmp_path / "clips") == {"book": predicted["258"]}
    assert loaded.predict(tmp_path, top=3) == {"clips/book": predicted["258"]}


def test_a_clip_with_its_hands_exchanged_is_refused(tmp_path, path, make_frames):
    loaded = signlib.load_model(path)
    frames = make_frames(20)
    frames[:, [15 * 3, 15 * 3 + 1]] = [0.9, 0.9]
    frames[:, 501 * 3 : 501 * 3 + 2] = [0.9, 0.9]
    np.save(tmp_path / "7.npy", np.concatenate([frames[:, :1503], frames[:, 1566:], frames[:, 1503:1566]], axis=1))
    with pytest.raises(
        InputError, match=r"7\.npy: its values fit the order pose, face, right_hand, left_hand, not layout 1629"
    ):
        loaded.predict(tmp_path / "7.npy")


def test_a_model_of_a_layout_that_is_not_known_here_is_named(tmp_path, model, record):
    record["preprocessor"]["layout"] = "mine"
    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    with pytest.raises(InputError, match=r"m\.h5: layout is 'mine'; expected one of 1629"):
        signlib.load_model(path)


def test_a_readable_copy_that_cannot_be_written_is_done_without(path, model, record):
    path.with_suffix(".json").unlink()
    path.with_suffix(".json").mkdir()
    assert signlib.save_model(model, path, record).whole and signlib.publish(path, path) == path
    assert signlib.load_model(path).record == record and names(path.parent) == ["m.h5", "m.json"]


def test_a_model_and_its_readable_copy_are_written_under_one_lock(path, model, record, monkeypatch):
    write_readable, listings = safe_save._write_readable, []

    def noting(*given):
        listings.append(names(path.parent))
        write_readable(*given)

    monkeypatch.setattr(safe_save, "_write_readable", noting)
    signlib.save_model(model, path, record)
    signlib.publish(path, path)
    path.with_suffix(".json").write_text("another")
    signlib.load_model(path)
    assert listings == [[".m.h5.lock", "m.h5", "m.json"]] * 3


def test_weights_alone_are_saved_where_the_whole_cannot_be(path, model, record):
    before = contents(path.parent)
    with pytest.warns(UserWarning, match="weights alone"):
        saved = signlib.save_model(model, path, record | {"cannot be json": float("nan")})
    weights = path.with_name("m.weights.h5")
    assert (saved.whole, saved.path) == (False, weights) and "Out of range" in saved.message
    assert contents(path.parent) == before | {weights: weights.read_bytes()}
    other = signlib.build_model(Preprocessor().output_shape, len(CLASSES))
    other.load_weights(saved.path)
    for mine, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_each_place_that_is_tried_is_named_until_one_can_be_written(tmp_path, model, record):
    path, fallback = tmp_path / "run 7" / "m.h5", tmp_path / "spare"
    path.mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"weights alone to .*m\.weights\.h5 .*the whole model could not.*m\.h5 is a folder"):
        saved = signlib.save_model(model, path, record, fallback)
    assert not saved.whole and not fallback.exists()

    saved.path.unlink()
    saved.path.mkdir()
    with pytest.warns(UserWarning, match=r"run 7-m\.h5 .*m\.h5 is a folder.*m\.weights\.h5 is a folder") as warned:
        saved = signlib.save_model(model, path, record, fallback)
    assert saved.whole and saved.path == fallback / "run 7-m.h5"
    assert [str(w.message) for w in warned if w.category is UserWarning] == [saved.message]
    assert signlib.load_model(saved.path).record == record

    for name in names(fallback):
        (fallback / name).unlink()
    saved.path.mkdir()
    before = contents(tmp_path)
    for given, last in ((fallback, r".*; nor to .*run 7-m\.h5 is a folder"), (None, "")):
        with pytest.raises(SaveError, match=rf"m\.h5 is a folder.*; nor to .*weights\.h5 is a folder{last}.*untouched"):
            signlib.save_model(model, path, record, given)
    assert contents(tmp_path) == before


filled_once = functools.cache(filled)  # so that a process that keeps writing does little else


def write(what, path, value):
    """Writes a model, a copy or a state filled with `value` to `path`."""
    model, record = filled_once(value)
    if what == "model":
        signlib.save_model(model, path, record)
    elif what == "copy":
        signlib.publish(path.parent / "sources" / f"{value}.h5", path)
    else:
        save_state(path, model, model.get_weights(), record, {"value": value})


def value_of_any(what, path):
    return read_progress(path)["value"] if what == "state" else value_of(path)


@pytest.fixture
def written(tmp_path):
    """The function `written(what)`: a path where `what` filled with 1 was written, beside the sources of copies of it."""

    def first(what):
        for value in (1.0, 2.0):
            save_filled(tmp_path / "sources" / f"{value}.h5", value)
        write(what, tmp_path / "m.h5", 1.0)
        return tmp_path / "m.h5"

    return first


def write_on_a_full_disk(connection, what, path, room):
    """Writes where files can grow to `room` bytes, then with all room; sends each time what is said against it."""
    filled_once(2.0)
    for limit in (room, resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(what, path, 2.0)
            connection.send("")
        except OSError as error:
            connection.send(str(error))
        connection.recv()


@pytest.mark.parametrize(
    ("what", "room"),
    [("model", 0), ("model", 100), ("model", 5_000), ("model", 700_000), ("copy", 300_000), ("state", 5_000), ("state", 10**6)],
)
def test_a_full_disk_leaves_the_old_file_no_rubbish_and_a_process_that_goes_on(written, start, what, room):
    path = written(what)
    before = contents(path.parent)
    process, child = start(write_on_a_full_disk, what, path, room)
    message = receive(child)
    assert "File too large" in message
    if what == "model":
        assert "m.h5: " in message and "; nor to" in message and "untouched" in message
    assert contents(path.parent) == before
    child.send("there is room again")
    assert receive(child) == "" and value_of_any(what, path) == 2.0
    child.send("done")
    process.join(60)
    assert process.exitcode == 0 and contents(path.parent).keys() == before.keys()


def try_to_save(connection, path, room=resource.RLIM_INFINITY, fallback=None, leave_root=False):
    """Saves where files can grow to `room` bytes, or as a user who may not write everywhere; sends what came of it."""
    model, record = filled(2.0)
    record["parameters"]["NOTE"] = "x" * 20_000
    if leave_root and not become_another_user():
        connection.send("root")
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            saved = signlib.save_model(model, path, record, fallback)
            what, message = saved.path.name, saved.message
        except SaveError as error:
            what, message = "refused", str(error)
    connection.send((what, message, [str(w.message) for w in warned if w.category is UserWarning]))


def become_another_user():
    """Whether this process now is one that may not write everywhere."""
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return True
    except OSError:
        return False


def test_a_disk_with_room_for_the_weights_alone_gets_them(path, start):
    before = contents(path.parent)
    _, child = start(try_to_save, path, path.stat().st_size + 10_000)  # its record is longer than that
    what, message, warned = receive(child)
    weights = path.with_name("m.weights.h5")
    assert what == "m.weights.h5" and "weights alone" in message and "could not be saved" in message and warned == [message]
    assert contents(path.parent) == before | {weights: weights.read_bytes()}
    model, _ = filled(0.0)
    model.load_weights(weights)
    assert all((array == 2.0).all() for array in model.get_weights())


@pytest.fixture
def read_only():
    """A folder with a model filled with 1, in which another user than root cannot write, and beside it one where he can."""
    with tempfile.TemporaryDirectory() as base:  # not tmp_path, which another user cannot enter
        base = pathlib.Path(base)
        folder, spare = base / "models", base / "spare"
        for each in (folder, spare):
            each.mkdir()
        save_filled(folder / "m.h5", 1.0)
        (folder / "m.json").unlink()
        base.chmod(0o755)
        spare.chmod(0o777)
        (folder / "m.h5").chmod(0o644)
        folder.chmod(0o555)
        yield folder, spare
        folder.chmod(0o755)


def test_a_read_only_folder_keeps_its_model_and_another_one_takes_the_new(read_only, start):
    folder, spare = read_only
    before = contents(folder)
    for fallback in (None, spare):
        _, child = start(try_to_save, folder / "m.h5", resource.RLIM_INFINITY, fallback, True)
        if (answer := receive(child)) == "root":
            pytest.skip("root writes everywhere, and here it cannot become another user")
        what, message, warned = answer
        assert "m.h5: Permission denied" in message and "m.weights.h5: Permission denied" in message
        assert contents(folder) == before
        assert what == ("refused" if fallback is None else "models-m.h5") and warned == ([message] if fallback else [])
    assert value_of(spare / "models-m.h5") == 2.0 and value_of(folder / "m.h5") == 1.0


def load_as_another(connection, path):
    signlib.use_device("cpu", 3)
    connection.send(value_of(path) if become_another_user() else "root")


def test_a_model_in_a_read_only_folder_loads_without_its_readable_copy(read_only, start):
    before = contents(read_only[0])
    if (answer := receive(start(load_as_another, read_only[0] / "m.h5")[1])) == "root":
        pytest.skip("root writes everywhere, and here it cannot become another user")
    assert answer == 1.0 and contents(read_only[0]) == before


def damage(monkeypatch, before=None, after=None):
    """Lets `before` and `after` the seal something happen to the temporary file of a save."""

    def damaged(path):
        if before:
            before(path)
        seal(path)
        if after:
            after(path)

    monkeypatch.setattr(safe_save, "seal", damaged)


def test_a_bit_that_flips_before_the_seal_is_found_by_comparing_each_array(path, model, record, monkeypatch, tmp_path):
    with h5py.File(path) as file:
        arrays = [RECORD]
        file["model_weights"].visititems(
            lambda name, item: arrays.append(f"model_weights/{name}") if isinstance(item, h5py.Dataset) else None
        )
    assert len(arrays) == 1 + len(model.weights)
    before = contents(tmp_path)
    for name in arrays:
        damage(monkeypatch, before=lambda temporary, name=name: flip_in_array(temporary, name))
        what = "the record differs" if name == RECORD else f"{name.split('/')[-1]} differs from the model"
        with pytest.raises(SaveError, match=rf"m\.h5: reading \.m-.{{8}}-tmp\.h5 back: .*{what}.*untouched") as raised:
            signlib.save_model(model, path, record, tmp_path / "spare")
        assert "nor to" not in str(raised.value)
        assert contents(tmp_path) == before


def overwrite(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("structure", [b"\x89HDF", b"TREE", b"HEAP", b"SNOD", b"gloss", b"signlib_record", b"weight_names"])
def test_a_file_whose_structure_is_damaged_before_the_seal_is_refused_at_once(path, model, record, monkeypatch, structure):
    before = contents(path.parent)
    damage(monkeypatch, before=lambda temporary: overwrite(temporary, structure, bytes(len(structure))))
    with pytest.raises(SaveError, match=r"m\.h5: reading \.m-.{8}-tmp\.h5 back: .+untouched") as raised:
        signlib.save_model(model, path, record, path.parent / "spare")
    assert "nor to" not in str(raised.value) and contents(path.parent) == before


def test_a_model_whose_readable_copy_cannot_be_text_is_saved_whole(tmp_path, model, record):
    saved = signlib.save_model(model, tmp_path / "m.h5", record | {"parameters": {"DATA": "\udcff"}})
    assert saved.whole and signlib.load_model(saved.path).record["parameters"] == {"DATA": "\udcff"}


def test_a_bit_that_flips_after_the_seal_is_found_by_the_checksum(path, model, record, monkeypatch, tmp_path, flip):
    rng, before = np.random.default_rng(0), contents(tmp_path)
    damage(monkeypatch, after=lambda temporary: flip(temporary, rng.integers(8 * temporary.stat().st_size)))
    for _ in range(10):
        with pytest.raises(SaveError, match=r"m\.h5: reading \.m-.* back: damaged.*expected b'sha256.*found.*untouched"):
            signlib.save_model(model, path, record, tmp_path / "spare")
        assert contents(tmp_path) == before


def test_weights_alone_that_are_damaged_while_written_are_never_published(tmp_path, model, record, monkeypatch):
    (tmp_path / "m.h5").mkdir()
    with pytest.warns(UserWarning, match="weights alone"):
        signlib.save_model(model, tmp_path / "m.h5", record)
    before, save_weights = contents(tmp_path), type(model).save_weights
    monkeypatch.setattr(type(model), "save_weights", lambda *given: (save_weights(*given), flip_in_array(given[1])))
    with pytest.raises(SaveError, match=r"1 of 13 arrays differ from the model\. What was there before is untouched"):
        signlib.save_model(model, tmp_path / "m.h5", record, tmp_path / "spare")
    assert contents(tmp_path) == before


def test_an_interruption_before_a_model_takes_its_name_leaves_the_old_one(path, model, monkeypatch):
    def interrupted(temporary):
        raise KeyboardInterrupt

    before = contents(path.parent)
    damage(monkeypatch, after=interrupted)
    with pytest.raises(KeyboardInterrupt):
        signlib.save_model(model, path, new_record(value=2))
    with pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr(safe_save.shutil, "copyfile", lambda *_: interrupted(None))
        signlib.publish(path, path)
    assert contents(path.parent) == before


def test_publishing_copies_model_and_record(tmp_path, path):
    target = signlib.publish(path, tmp_path / "models" / "lstm_model.h5")
    assert contents(target.parent) == {
        target.with_suffix(suffix): path.with_suffix(suffix).read_bytes() for suffix in (".h5", ".json")
    }


def test_what_cannot_be_published_leaves_the_old_copy(tmp_path, path, monkeypatch, flip):
    target = save_filled(tmp_path / "models" / "lstm_model.h5", 2.0)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(path.read_bytes())
    flip(damaged, 100_000)
    (tmp_path / "folder.h5").mkdir()
    before = contents(target.parent)
    with pytest.raises(SaveError, match=r"nothing\.h5 to .*lstm_model\.h5.*No such file"):
        signlib.publish(tmp_path / "nothing.h5", target)
    with pytest.raises(SaveError, match=r"damaged\.h5 to .*lstm_model\.h5.*expected b'sha256.*use .*damaged\.h5 itself"):
        signlib.publish(damaged, target)
    with pytest.raises(SaveError, match=r"m\.h5 to .*folder\.h5.*is a folder.*use .*m\.h5 itself"):
        signlib.publish(path, tmp_path / "folder.h5")
    copyfile = safe_save.shutil.copyfile
    monkeypatch.setattr(safe_save.shutil, "copyfile", lambda a, b: (copyfile(a, b), flip(b, 100_000)))
    with pytest.raises(SaveError, match="the copy differs"):
        signlib.publish(path, target)
    assert contents(target.parent) == before


def save_filled(path, value):
    """Saves a model filled with `value`; returns its path."""
    model, record = filled(value)
    return signlib.save_model(model, path, record).path


def keep_writing(connection, what, path):
    """Writes a model, a copy or a state of 1 and of 2 in turn, until it is killed."""
    for number, value in enumerate(itertools.cycle((1.0, 2.0))):
        write(what, path, value)
        if number == 1:
            connection.send("ready")


@pytest.mark.parametrize("what", ["model", "copy", "state"])
def test_a_kill_at_a_random_moment_leaves_a_whole_file(written, start, what):
    rng, path = np.random.default_rng(0), written(what)
    listing = contents(path.parent).keys()
    for _ in range(2 if what == "model" else 1):
        process, child = start(keep_writing, what, path)
        assert receive(child) == "ready"
        process.join(rng.uniform(0, 0.2))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        value = value_of_any(what, path)
        assert value in (1.0, 2.0)
        assert what == "state" or json.loads(path.with_suffix(".json").read_text()) == new_record(value=value)
    write(what, path, 2.0)
    assert value_of_any(what, path) == 2.0 and contents(path.parent).keys() == listing


def hold(connection, path):
    locks.take_lock(path)
    connection.send("held")
    connection.recv()


def test_a_path_that_another_process_writes_is_refused_naming_it(tmp_path, path, model, record, start, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    other = save_filled(tmp_path / "run" / "model.h5", 2.0)
    process, child = start(hold, path)
    assert receive(child) == "held"
    before = contents(tmp_path)
    owner = f"process {process.pid} on {socket.gethostname()} is writing"
    with pytest.raises(SaveError, match=rf"m\.h5: {owner} .*untouched\. Wait for that process$") as raised:
        signlib.save_model(model, path, record, tmp_path / "spare")
    assert "nor to" not in str(raised.value)
    with pytest.raises(SaveError, match=rf"{owner} .*use .*model\.h5 itself"):
        signlib.publish(other, path)
    assert contents(tmp_path) == before
    process.kill()
    process.join()
    assert signlib.publish(other, path) and value_of(path) == 2.0


def keep_publishing(connection, source, target):
    """Publishes until it is told to stop; sends how often it was done and what the refusals said."""
    locks.PATIENCE = 0.0
    done, refused = 0, []
    connection.send("ready")
    while not connection.poll():
        try:
            signlib.publish(source, target)
            done += 1
        except SaveError as error:
            refused.append(str(error))
    connection.send((done, refused))


def test_two_processes_that_publish_to_one_path_never_mix(tmp_path, start, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    target = tmp_path / "models" / "m.h5"
    sources = [save_filled(tmp_path / f"{value}.h5", value) for value in (1.0, 2.0)]
    signlib.publish(sources[0], target)
    children = [start(keep_publishing, source, target) for source in sources]
    for _, child in children:
        assert receive(child) == "ready"
    for _ in range(12):
        assert value_of(target) in (1.0, 2.0)
    for _, child in children:
        child.send("stop")
    for process, child in children:
        done, refused = receive(child)
        assert done and all(" is writing " in message for message in refused), refused
        process.join(60)
    assert names(target.parent) == ["m.h5", "m.json"]
    written = json.loads(target.with_suffix(".json").read_text())["value"]
    assert written == value_of(target)


def test_without_locks_on_the_file_system_it_saves_but_removes_nothing(tmp_path, model, record, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".m-0123abcd-tmp.h5").write_text("perhaps of a living process")
    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    signlib.publish(path, path)
    assert signlib.load_model(path).record == record
    assert names(tmp_path) == [".m-0123abcd-tmp.h5", "m.h5", "m.json"]


def test_one_flipped_bit_anywhere_is_refused_before_hdf5_sees_it(path, monkeypatch, flip):
    data, rng = path.read_bytes(), np.random.default_rng(0)
    monkeypatch.setattr(safe_save.h5py, "File", lambda *_: pytest.fail("HDF5 parses a damaged file"))
    in_the_last_line = rng.integers(8 * (len(data) - SEAL), 8 * len(data), 10)
    for bit in [*rng.integers(8 * len(data), size=20), *in_the_last_line, 0, 8 * len(data) - 1]:
        path.write_bytes(data)
        flip(path, bit)
        with pytest.raises(
            InputError, match=rf"{path} cannot be used.*expected b'sha256 [0-9a-f]{{64}}\\n' .*found b['\"]"
        ) as raised:
            signlib.load_model(path)
        expected, found = str(raised.value).split("expected ")[1].split(" at its end, found ")
        assert expected != found


def test_a_file_cut_short_or_continued_is_refused(path):
    data = path.read_bytes()
    for length in (0, 1, SEAL - 1, SEAL, len(data) // 2, len(data) - SEAL, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"m\.h5 .*damaged, cut short"):
            signlib.load_model(path)
    path.write_bytes(data + b"\n")
    with pytest.raises(InputError, match=r"m\.h5 .*damaged, cut short"):
        signlib.load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no model at .*m\.h5"),
        (b"not HDF5 at all", r"m\.h5 .*not saved by signlib"),
        ("plain", r"m\.h5 .*not saved by signlib"),
        ("folder", r"no model at .*m\.h5"),
    ],
)
def test_loading_names_the_file_that_is_no_model(tmp_path, content, message):
    path = tmp_path / "m.h5"
    if content == "plain":
        with h5py.File(path, "w") as file:
            file["weights"] = np.zeros(3)
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        signlib.load_model(path)


@pytest.mark.parametrize("signed", [False, True])
def test_code_in_a_file_is_never_executed(tmp_path, record, monkeypatch, signed):
    monkeypatch.chdir(tmp_path)
    inputs = keras.layers.Input((50, 187))
    outputs = keras.layers.Lambda(lambda x: __import__("pathlib").Path("executed").touch() or x)(inputs)
    keras.Model(inputs, outputs).save("m.h5")
    if signed:
        change("m.h5", lambda file: put_record(file, record))
    pathlib.Path("executed").unlink()
    with pytest.raises(InputError, match=r"m\.h5"):
        signlib.load_model("m.h5")
    assert names(tmp_path) == ["m.h5"]
    keras.models.load_model("m.h5", safe_mode=False)  # what Keras does when it is told to trust the file
    assert names(tmp_path) == ["executed", "m.h5"]


def test_code_beside_good_weights_is_never_executed(path, record, monkeypatch, batch):
    monkeypatch.chdir(path.parent)
    layer = keras.layers.Lambda(lambda x: __import__("pathlib").Path("executed").touch() or x)
    inputs = keras.layers.Input((3,))
    text = keras.Model(inputs, layer(inputs)).to_json()
    pathlib.Path("executed").unlink()
    change(path, lambda file: file.attrs.__setitem__("model_config", text))
    loaded = signlib.load_model(path)
    loaded.model.predict_on_batch(batch)
    assert loaded.record == record and names(path.parent) == ["m.h5", "m.json"]


def replace(file, name, value):
    del file[f"model_weights/{name}"]
    if value is not None:
        file[f"model_weights/{name}"] = value


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda name, old: old[:, :-1], r"{name} is float32 \(128, 2\); by its record it has to be float32 \(128, 3\)"),
        (lambda name, old: old.T, r"{name} is float32 \(3, 128\); by its record it has to be float32 \(128, 3\)"),
        (lambda name, old: old.astype(np.float64), r"{name} is float64 \(128, 3\); by its record it has to be float32"),
        (lambda name, old: old.astype("S4"), r"{name} is \|S4 \(128, 3\); by its record it has to be float32"),
        (lambda name, old: None, r"kernel"),
    ],
)
def test_the_first_array_that_does_not_fit_is_named(path, edit, message):
    name = "gloss/kernel"

    def change_it(file):
        kernel = "gloss/" + next(
            n for n in np.asarray(file["model_weights/gloss"].attrs["weight_names"]).astype(str) if "kernel" in n
        )
        replace(file, kernel, edit(name, file[f"model_weights/{kernel}"][()]))

    change(path, change_it)
    with pytest.raises(InputError, match=rf"m\.h5.*{message.format(name=name)}"):
        signlib.load_model(path)


def test_a_layer_that_is_missing_or_has_another_number_of_arrays_is_named(path):
    def forget_one(file):
        attributes = file["model_weights/forwards1"].attrs
        attributes["weight_names"] = attributes["weight_names"][:-1]

    change(path, forget_one)
    with pytest.raises(InputError, match=r"m\.h5: layer forwards1 has 2 arrays; expected 3"):
        signlib.load_model(path)
    change(path, lambda file: replace(file, "forwards1", None))
    with pytest.raises(InputError, match=r"m\.h5 .*forwards1"):
        signlib.load_model(path)


@pytest.mark.parametrize("other", [2, 4, None])
def test_a_file_of_another_format_is_refused_naming_both(path, record, other):
    assert record["format"] == 3
    change(path, lambda file: put_record(file, record | {"format": other}))
    with pytest.raises(InputError, match=rf"m\.h5: its format is {other}; this version reads 3: train it again"):
        signlib.load_model(path)


def test_a_record_that_does_not_fit_the_weights_is_refused(path, record):
    change(path, lambda file: put_record(file, record | {"classes": [*CLASSES, "one more"]}))
    with pytest.raises(InputError, match=r"m\.h5: gloss/kernel is float32 \(128, 3\); by its record .* \(128, 4\)"):
        signlib.load_model(path)


@pytest.mark.parametrize(
    "other", [None, [], {}, {"classes": 3}, "x", {"preprocessor": {"landmarks": 5}, "classes": ["a", "b"]}]
)
def test_a_record_of_another_form_is_refused_naming_the_file(path, other):
    change(path, lambda file: put_record(file, other))
    with pytest.raises(InputError, match=r"m\.h5"):
        signlib.load_model(path)
