"""An exported model says what Keras says, whatever the batch and the length of its clips, or it is not there."""

import json
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib import calibration, export, project
from signlib.errors import InputError, SaveError
from signlib.export import calibration_of, export_model
from signlib.files import sha256, write_json
from signlib.model import ARCHITECTURES, average_models
from signlib.predict import open_session
from signlib.predictions import Predictions
from signlib.preprocess import Preprocessor
from signlib.project import ROOT
from signlib.safe_save import make_record
from signlib.video.recognise import Recogniser

pytestmark = pytest.mark.stack
CLASSES = ["book", "thank you", "tee"]
P = Preprocessor(12, landmarks="hands+pose")


def save(path, architecture="lstm", weights=None, parameters=None):
    """Saves a model of random weights, or of given ones; returns its path."""
    signlib.use_device("cpu", 3)
    model, rng = signlib.build_model(P.output_shape, len(CLASSES), architecture), np.random.default_rng(0)
    drawn = [np.full_like(w, weights) if weights else w + rng.uniform(-0.1, 0.1, w.shape) for w in model.get_weights()]
    model.set_weights(drawn)
    record = make_record(CLASSES, P, "1629", {"architecture": architecture}, parameters)
    return signlib.save_model(model, path, record).path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model") / "m.h5")


@pytest.fixture
def out(tmp_path):
    """Where an export stood before, alone in its folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.onnx").write_bytes(b"before")
    return tmp_path / "out" / "m.onnx"


def untouched(out):
    return out.read_bytes() == b"before" and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] * (name != "bilstm")) for name in ARCHITECTURES]
)
def test_an_exported_model_says_what_keras_says(tmp_path, folder, architecture, make_frames):
    path = save(tmp_path / "m.h5", architecture)
    message = export_model(path, tmp_path / "m.onnx", [folder])
    assert message.startswith(f"saved {tmp_path / 'm.onnx'} (") and f"on 5 clips of {folder} no" in message
    loaded, session = signlib.load_model(path), open_session(tmp_path / "m.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["signlib_record"]) == loaded.record
    (features,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (features.name, features.shape) == ("features", ["batch", *P.output_shape])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["batch", len(CLASSES)])
    for lengths in ([1], [5], [12], [40], [1, 5, 12], [40, 12, 40], [3, 3, 2], [12]):
        batch = np.stack([P(make_frames(length, seed), "1629") for seed, length in enumerate(lengths)])
        expected = loaded.model.predict_on_batch(batch)
        found = session.run(None, {"features": batch})[0]
        assert np.abs(found - expected).max() < 1e-5, lengths
        assert len(batch) == 1 or np.ptp(expected, axis=0).max() > 1e-3  # it tells these clips apart


@pytest.mark.slow
def test_an_exported_ensemble_says_what_keras_says(tmp_path, folder, make_frames):
    members = [signlib.load_model(save(tmp_path / f"{value}.h5", "bilstm", value)) for value in (None, 0.01)]
    record = members[0].record | {"members": [{"seed": 1}, {"seed": 2}]}
    path = signlib.save_model(average_models([member.model for member in members]), tmp_path / "m.h5", record).path
    export_model(path, tmp_path / "m.onnx", [folder])  # compared, or refused
    session = open_session(tmp_path / "m.onnx")
    for lengths in ([5], [1, 5, 12], [40, 12, 40]):
        batch = np.stack([P(make_frames(length, seed), "1629") for seed, length in enumerate(lengths)])
        found, expected = (
            session.run(None, {"features": batch})[0],
            [member.model.predict_on_batch(batch) for member in members],
        )
        assert np.abs(found - np.mean(expected, axis=0)).max() < 1e-5, lengths


def test_a_difference_is_refused_and_leaves_what_was_there(model, out, folder, monkeypatch, capsys):
    monkeypatch.setattr(export, "LIMIT", -1.0)
    with pytest.raises(SaveError, match=r"m\.h5 is not exported: on 5 clips .* differs by \d.*expected at most -1e\+00"):
        export_model(model, out, [folder])
    assert export.main([str(model), str(out), "--clips", str(folder)]) == 1 and "differs by" in capsys.readouterr().err
    assert untouched(out)


def test_a_conversion_that_reads_padding_is_refused(tmp_path, out, folder, monkeypatch):
    path = save(tmp_path / "m.h5", "bilstm")
    monkeypatch.setattr(export, "_exportable", lambda layer: layer)  # what tf2onnx makes of `reverse_sequence`
    with pytest.raises(SaveError, match="differs by"):
        export_model(path, out, [folder])
    assert untouched(out)


def test_a_model_without_numbers_is_refused(tmp_path, out, folder):
    with pytest.raises(SaveError, match="differs by nan"):
        export_model(save(tmp_path / "m.h5", weights=np.nan), out, [folder])
    assert untouched(out)


def test_it_is_compared_on_the_clips_that_are_named(model, tmp_path, folder, make_frames, capsys):
    np.save(tmp_path / "7.npy", make_frames(30))
    given = [str(folder), str(tmp_path / "7.npy")]
    assert export.main([str(model), str(tmp_path / "m.onnx"), "--clips", *given]) == 0
    assert f"on 6 clips of {folder}, {tmp_path / '7.npy'} no probability differs" in capsys.readouterr().out
    (folder / "00456.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"00456\.npy is not"):
        export_model(model, tmp_path / "m.onnx", given)


def test_it_is_compared_on_the_data_of_the_run_where_that_is_there(tmp_path, folder, given, monkeypatch):
    (folder / "00456.npy").write_bytes(b"broken")
    model = save(tmp_path / "m.h5", parameters=given | {"DATA": str(folder)})
    assert f"on 4 clips of {folder} no" in export_model(model, tmp_path / "m.onnx")
    monkeypatch.setattr(export, "CLIPS", 3)
    assert f"on 3 clips of {folder} no" in export_model(model, tmp_path / "m.onnx")
    folder.rename(tmp_path / "elsewhere")
    assert "clips of the built-in sample" in export_model(model, tmp_path / "m.onnx")


def test_what_cannot_be_exported_is_named(model, tmp_path, out, monkeypatch, capsys):
    (tmp_path / "bad.h5").write_bytes(b"bad")
    for path, message in (("bad.h5", "not saved by signlib"), ("no.h5", "expected an .h5 file that signlib saved")):
        assert export.main([str(tmp_path / path), str(out)]) == 2
        err = capsys.readouterr().err
        assert path in err and message in err
    assert export.main([str(model), str(model)]) == 2 and "ends in .onnx" in capsys.readouterr().err
    assert export.main([str(model), str(model / "m.onnx")]) == 1
    assert capsys.readouterr().err == f"error: cannot write {model / 'm.onnx'}: File exists\n"
    monkeypatch.setattr(export, "TOOLS", ("onnx", "not_there"))
    with pytest.raises(InputError, match=r"not_there is not installed.*pip install -e '\.\[train,export\]'"):
        export_model(model, out)
    assert untouched(out)


def test_an_interrupted_export_says_so(model, out, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_difference", interrupt)
    assert export.main([str(model), str(out)]) == 130
    assert capsys.readouterr().err == "interrupted\n" and untouched(out)


def judged(path, clips=80, classes=CLASSES):
    """Saves predictions of a boaster, of whose answers 7 in 8 are right; returns them."""
    labels = np.arange(clips) % 3
    sure = np.where(np.arange(clips) % 8 == 7, 0.9, 0.99)  # less where it is wrong
    guessed = (labels + (np.arange(clips) % 8 == 7)) % 3
    probabilities = (1 - sure)[:, None] / 2 * (np.arange(3) != guessed[:, None])
    probabilities[np.arange(clips), guessed] = sure
    unknown = {name: np.full(clips, -1) for name in Predictions.__dataclass_fields__}
    given = {"classes": np.array(classes), "labels": labels, "probabilities": probabilities, "merged": np.arange(3)}
    Predictions(**unknown | given).save(path)
    return probabilities, labels


def ended_with(model):
    """Writes the run.json of a run that ended with a model."""
    write_json(model.parent / "run.json", {"status": "finished", "model": {"sha256": sha256(model)}, "history": {}})


def test_it_is_calibrated_by_the_predictions_of_its_run(tmp_path, folder, make_frames):
    run, published = tmp_path / "run", tmp_path / "models" / "lstm_model.h5"
    record = signlib.load_model(save(run / "model.h5", parameters={"RUN_DIR": str(run)})).record
    assert "; not calibrated: no predictions of its" in export_model(run / "model.h5", tmp_path / "m.onnx", [folder])
    probabilities, labels = judged(run / "predictions.npz")
    ended_with(run / "model.h5")
    signlib.publish(run / "model.h5", published)
    message = export_model(published, tmp_path / "m.onnx", [folder])
    written = json.loads(open_session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map["signlib_record"])
    more, how = calibration_of(run / "model.h5", record)
    assert written == record | more and message.endswith(f"; {how}")
    found = more["calibration"]
    assert found["clips"] == 80 and found["wanted_accuracy"] == 0.9
    assert found["temperature"] == calibration.fit_temperature(probabilities, labels) > 1.3
    softened = calibration.soften(probabilities, found["temperature"])
    sure = softened.max(axis=1) >= found["threshold"]
    assert 70 <= sure.sum() < 80 and (softened.argmax(axis=1) == labels)[sure].mean() >= 0.9
    assert f"on 80 validation clips: temperature {found['temperature']:.2f}, below {found['threshold']:.2f} it is not" in how
    frames = make_frames(30)
    expected = signlib.load_model(published).model.predict_on_batch(P(frames, "1629")[None])
    glosses, _ = Recogniser(tmp_path / "m.onnx")(frames)
    (expected,) = calibration.soften(expected, found["temperature"])
    np.testing.assert_allclose([dict(glosses)[gloss] for gloss in CLASSES], expected, rtol=1e-4)


def test_where_no_threshold_is_good_enough_there_is_none(tmp_path):
    record = signlib.load_model(save(tmp_path / "model.h5")).record
    judged(tmp_path / "predictions.npz", clips=29)  # fewer than say anything
    ended_with(tmp_path / "model.h5")
    more, how = calibration_of(tmp_path / "model.h5", record)
    assert more["calibration"]["threshold"] is None and "no threshold, since none brings 90% right" in how


def test_it_is_not_calibrated_by_predictions_of_another_model(tmp_path):
    run, other = tmp_path / "run", tmp_path / "models" / "lstm_model.h5"
    save(run / "model.h5", weights=0.01)
    save(other, parameters={"RUN_DIR": str(run)})
    record = signlib.load_model(other).record
    judged(run / "predictions.npz")
    assert not calibration_of(run / "model.h5", record)[0]  # nobody says that they are this model's
    ended_with(run / "model.h5")
    assert calibration_of(run / "model.h5", record)[0] and not calibration_of(other, record)[0]
    for odd in ("~nobody-here/run", None, 0):
        calibration_of(run / "model.h5", record | {"parameters": {"RUN_DIR": odd}})
    write_json(run / "run.json", {"status": "finished", "model": {"sha256": sha256(other)}, "history": {}})
    assert not calibration_of(run / "model.h5", record)[0]  # the run ended with a model that was saved elsewhere
    (run / "run.json").unlink()
    for damage in (lambda path: judged(path, classes=["a", "b", "c"]), lambda path: path.write_bytes(b"damaged")):
        damage(run / "predictions.npz")
        assert not calibration_of(run / "model.h5", record)[0]


EXAMPLE = """
import runpy, sys
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0])
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""


def test_the_example_needs_no_tensorflow_and_says_the_same(model, tmp_path, folder, make_frames):
    export_model(model, tmp_path / "m.onnx", [folder])
    np.save(tmp_path / "7.npy", make_frames(30))
    command = [sys.executable, "-c", EXAMPLE, ROOT / "docs" / "onnx_example.py", tmp_path / "m.onnx", tmp_path / "7.npy"]
    done = subprocess.run(command, cwd=project.ROOT, capture_output=True, text=True, timeout=60)
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]", done.stderr
    for line, (gloss, probability) in zip(lines, signlib.load_model(model).predict(tmp_path / "7.npy"), strict=True):
        found, _, share = line.rpartition(" ")
        assert found == gloss and abs(float(share.rstrip("%")) / 100 - probability) < 1e-5
