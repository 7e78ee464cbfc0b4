"""A saved model is whole and the same, or the old one is still there and a message says why."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

import signlib
from signlib.errors import InputError, SaveError
from signlib.files import atomic_path
from signlib.preprocess import Preprocessor
from signlib.safe_save import RECORD, make_record

pytestmark = pytest.mark.stack
CLASSES = ["book", "drink", "tea"]


@pytest.fixture
def model():
    signlib.use_device("cpu", 3)
    return signlib.build_model(Preprocessor().output_shape, len(CLASSES), dropout_rate=0.4)


@pytest.fixture
def record():
    return make_record(CLASSES, Preprocessor(), "1629", {"architecture": "lstm", "dropout_rate": 0.4}, {"SEED": 3}, "abc")


@pytest.fixture
def batch():
    features = np.random.default_rng(0).normal(size=(4, *Preprocessor().output_shape)).astype(np.float32)
    features[:, :, -1] = np.arange(50) < 30
    return features


def leftovers(folder):
    return [p.name for p in folder.iterdir() if "tmp" in p.name]


def test_a_model_loads_back_bit_for_bit_with_its_record(tmp_path, model, record, batch):
    saved = signlib.save_model(model, tmp_path / "lstm_model.h5", record)
    loaded = signlib.load_model(saved.path)
    assert saved.whole and str(saved.path) in saved.message
    np.testing.assert_array_equal(loaded.model.predict_on_batch(batch), model.predict_on_batch(batch))
    assert (loaded.classes, loaded.record) == (CLASSES, record)
    assert loaded.preprocessor.config() == Preprocessor().config()
    assert json.loads((tmp_path / "lstm_model.json").read_text()) == record
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lstm_model.h5", "lstm_model.json"]


def test_plain_keras_loads_the_file_too(tmp_path, model, record, batch):
    from signlib.device import keras

    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    plain = keras.models.load_model(path, compile=False)
    np.testing.assert_array_equal(plain.predict_on_batch(batch), model.predict_on_batch(batch))


def test_prediction_from_the_file_is_that_of_the_pipeline(tmp_path, model, record, make_frames):
    loaded = signlib.load_model(signlib.save_model(model, tmp_path / "m.h5", record).path)
    np.save(tmp_path / "00042.npy", make_frames(20))
    expected = model.predict_on_batch(Preprocessor()(make_frames(20), "1629")[None])[0]
    predicted = loaded.predict(tmp_path / "00042.npy", top=2)
    assert [gloss for gloss, _ in predicted] == [CLASSES[i] for i in np.argsort(-expected)[:2]]
    np.testing.assert_allclose([p for _, p in predicted], np.sort(expected)[::-1][:2], rtol=1e-6)
    assert loaded.predict(tmp_path, top=2) == {"00042": predicted}


def test_prediction_refuses_another_layout_by_name(tmp_path, model, record):
    loaded = signlib.load_model(signlib.save_model(model, tmp_path / "m.h5", record).path)
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


def test_a_clip_without_a_part_that_the_model_learnt_from_is_warned_of(tmp_path, model, record, make_frames, lay_out):
    loaded = signlib.load_model(signlib.save_model(model, tmp_path / "m.h5", record).path)
    for layout, lacking in (("225", "face"), ("126", "face, pose")):
        np.save(tmp_path / "7.npy", lay_out(make_frames(20), layout))
        with pytest.warns(UserWarning, match=f"learnt from {lacking}, which layout {layout} does not hold.*LANDMARKS"):
            loaded.predict(tmp_path / "7.npy")


def test_a_clip_with_its_hands_exchanged_is_refused(tmp_path, model, record, make_frames):
    loaded = signlib.load_model(signlib.save_model(model, tmp_path / "m.h5", record).path)
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


def test_weights_alone_are_saved_where_the_whole_cannot_be(tmp_path, model, record):
    path = tmp_path / "lstm_model.h5"
    before = signlib.save_model(model, path, record).path.read_bytes()
    with pytest.warns(UserWarning, match="weights alone"):
        saved = signlib.save_model(model, path, record | {"cannot be json": float("nan")})
    assert not saved.whole and saved.path == tmp_path / "lstm_model.weights.h5" and "Out of range" in saved.message
    assert path.read_bytes() == before and not leftovers(tmp_path)
    other = signlib.build_model(Preprocessor().output_shape, len(CLASSES))
    other.load_weights(saved.path)
    for mine, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_path_that_is_a_folder_is_refused(tmp_path, model, record):
    (tmp_path / "m.h5").mkdir()
    (tmp_path / "m.weights.h5").mkdir()
    with pytest.raises(SaveError, match=r"m\.h5 is a folder.*weights\.h5 is a folder"):
        signlib.save_model(model, tmp_path / "m.h5", record)
    assert not leftovers(tmp_path)


FULL_DISK = """
import resource, sys, warnings
import signlib
from signlib.preprocess import Preprocessor
from signlib.safe_save import make_record
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails, as on a full disk
model = signlib.build_model(Preprocessor().output_shape, 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    signlib.save_model(model, sys.argv[1], make_record(["a", "b", "c"], Preprocessor(), "1629", {}))
except signlib.SaveError as error:
    print("refused:", error)
"""


def test_a_full_disk_leaves_the_old_model_and_no_rubbish(tmp_path, model, record):
    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, timeout=120)
    assert "refused:" in done.stdout and "untouched" in done.stdout, done.stderr
    assert path.read_bytes() == before and not leftovers(tmp_path)


def flip_a_bit(path):
    """Changes the last bit of one weight in a file."""
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) and item.ndim == 2 else None)
        values = file[names[0]][()]
        values.flat[7] = np.nextafter(values.flat[7], np.float32(9))
        file[names[0]][...] = values


def test_a_file_that_is_damaged_while_written_is_never_published(tmp_path, model, record, monkeypatch):
    from signlib import safe_save

    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    before, write = path.read_bytes(), safe_save._write_whole

    def damaged(model, path, record):
        write(model, path, record)
        flip_a_bit(path)

    monkeypatch.setattr(safe_save, "_write_whole", damaged)
    with pytest.warns(UserWarning, match="1 of 8 arrays differ"):
        saved = signlib.save_model(model, path, record)
    assert not saved.whole and path.read_bytes() == before and not leftovers(tmp_path)

    save_weights = type(model).save_weights

    def damaged_weights(self, path, *more):
        save_weights(self, path, *more)
        flip_a_bit(path)

    monkeypatch.setattr(type(model), "save_weights", damaged_weights)
    with pytest.raises(SaveError, match="(?s)1 of 8 arrays differ.*1 of 8 arrays differ"):
        signlib.save_model(model, path, record)
    assert path.read_bytes() == before and not leftovers(tmp_path)


def test_a_copy_that_differs_is_never_published(tmp_path, model, record, monkeypatch):
    from signlib import safe_save

    source = signlib.save_model(model, tmp_path / "run" / "model.h5", record).path
    target = signlib.publish(source, tmp_path / "lstm_model.h5")
    before = target.read_bytes()
    monkeypatch.setattr(safe_save.shutil, "copyfile", lambda a, b: b.write_bytes(a.read_bytes()[:-1]))
    with pytest.raises(SaveError, match="the copy differs"):
        signlib.publish(source, target)
    assert target.read_bytes() == before and not leftovers(tmp_path)


KILLED = """
import sys, signlib
from signlib.preprocess import Preprocessor
from signlib.safe_save import make_record
model = signlib.build_model(Preprocessor().output_shape, 3)
print("ready", flush=True)
while True:
    signlib.save_model(model, sys.argv[1], make_record(["a", "b", "c"], Preprocessor(), "1629", {}))
    print("saved", flush=True)
"""


def test_a_kill_during_saves_leaves_a_whole_file(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "m.h5"], stdout=subprocess.PIPE, text=True)
        with child.stdout:
            for _ in range(2):  # "ready", then one save
                child.stdout.readline()
            try:
                child.wait(rng.uniform(0, 0.2))
            except subprocess.TimeoutExpired:
                child.kill()
            child.wait()
        assert signlib.load_model(tmp_path / "m.h5").classes == ["a", "b", "c"]


def test_publishing_copies_model_and_record_and_keeps_the_old_at_failure(tmp_path, model, record):
    source = signlib.save_model(model, tmp_path / "run" / "model.h5", record).path
    target = signlib.publish(source, tmp_path / "models" / "lstm_model.h5")
    assert target.read_bytes() == source.read_bytes()
    assert target.with_suffix(".json").read_bytes() == source.with_suffix(".json").read_bytes()
    with pytest.raises(SaveError, match=r"nothing\.h5.*lstm_model\.h5"):
        signlib.publish(tmp_path / "nothing.h5", target)
    assert target.read_bytes() == source.read_bytes() and not leftovers(target.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no model at"),
        (b"", "damaged"),
        (b"not HDF5 at all", "damaged"),
        ("plain", "not saved by signlib"),
        ("cut", "damaged"),
    ],
)
def test_loading_names_the_file_that_is_no_model(tmp_path, model, record, content, message):
    path = tmp_path / "m.h5"
    if content == "cut":
        path.write_bytes(signlib.save_model(model, path, record).path.read_bytes()[:-1000])
    elif content == "plain":
        with h5py.File(path, "w") as file:
            file["weights"] = np.zeros(3)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s){message}|m\.h5.*{message}"):
        signlib.load_model(path)


def test_a_record_that_does_not_fit_the_weights_is_refused(tmp_path, model, record):
    path = signlib.save_model(model, tmp_path / "m.h5", record).path
    with h5py.File(path, "a") as file:
        del file[RECORD]
        text = json.dumps(record | {"classes": [*CLASSES, "one more"]})
        file.create_dataset(RECORD, data=np.frombuffer(text.encode(), np.uint8))
    with pytest.raises(InputError, match=r"m\.h5 is damaged.*"):
        signlib.load_model(path)


def test_atomic_path_keeps_the_old_file_after_an_exception(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.json"]  # noqa: PTH208
