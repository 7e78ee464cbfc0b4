"""Recogniser says what the exported model says, at its own temperature, and refuses every other file by name."""

import json
import subprocess
import sys

import numpy as np
import pytest

from signlib.calibration import soften
from signlib.errors import InputError
from signlib.predict import FORMAT, RECORD
from signlib.preprocess import Preprocessor
from signlib.project import ROOT
from signlib.video.recognise import UNKNOWN, Recogniser

onnx = pytest.importorskip("onnx", reason="needs onnx, to write a model: pip install -e '.[export]'")
CLASSES = ["book", "thank you", "tee"]
P = Preprocessor(12, landmarks="hands+pose")


def record(**changes):
    known = {"format": FORMAT, "classes": CLASSES, "preprocessor": P.config(), "layout": "1629"}
    return {name: value for name, value in (known | changes).items() if value is not None}


def write(path, record, glosses=3, width=None):
    """Writes a model whose logits are random sums of the features of all frames; returns its path."""
    from onnx import TensorProto, helper

    length, features = P.output_shape[0], width or P.output_shape[1]
    weights = np.random.default_rng(0).normal(0, 0.2, (features, glosses)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", length, features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", glosses])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if record is not None:
        helper.set_model_props(model, {RECORD: json.dumps(record)})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("temperature", [None, 0.4, 3.0])
def test_it_says_what_the_model_says_at_its_temperature(tmp_path, make_frames, temperature):
    calibration = temperature and {"temperature": temperature, "threshold": 0.7, "wanted_accuracy": 0.9, "clips": 50}
    recogniser = Recogniser(write(tmp_path / "m.onnx", record(calibration=calibration)))
    frames = make_frames(30).astype(np.float32)
    glosses, sure = recogniser(frames)
    weights = np.random.default_rng(0).normal(0, 0.2, (P.output_shape[1], 3)).astype(np.float32)
    powers = np.exp(P(frames, "1629").mean(axis=0) @ weights)
    (expected,) = soften(powers[None] / powers.sum(), temperature or 1.0)
    assert [gloss for gloss, _ in glosses] == [CLASSES[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose([p for _, p in glosses], np.sort(expected)[::-1], rtol=1e-4)
    assert sure == (expected.max() >= (0.7 if temperature else UNKNOWN))


def test_the_threshold_is_the_user_s_the_model_s_or_at_last_one_half(tmp_path, make_frames):
    calibrated = record(calibration={"temperature": 1.0, "threshold": 0.8})
    without = record(calibration={"temperature": 1.0, "threshold": None})
    for known, given, expected, said in (
        (calibrated, None, 0.8, True),
        (calibrated, 0.0, 0.0, True),
        (without, None, 0.5, False),
        (record(), None, 0.5, False),
        (record(), 0.3, 0.3, True),
    ):
        recogniser = Recogniser(write(tmp_path / "m.onnx", known), given)
        assert (recogniser.threshold, recogniser.known) == (expected, said)
    path, frames = write(tmp_path / "m.onnx", record()), make_frames(30)
    (_, p), *_ = Recogniser(path)(frames)[0]
    assert Recogniser(path, p)(frames)[1] and not Recogniser(path, p + 1e-6)(frames)[1]


def test_a_model_that_needs_tensorflow_names_the_command_that_exports_it(tmp_path):
    command = f"python -m signlib.export {tmp_path / 'm.h5'} {tmp_path / 'm.onnx'}"
    with pytest.raises(InputError) as refused:
        Recogniser(tmp_path / "m.h5")
    assert command in str(refused.value)


def test_every_other_file_is_refused_by_name(tmp_path):
    bad = {
        "broken.onnx": (lambda p: p.write_bytes(b"broken"), "cannot be used as an ONNX file"),
        "empty.onnx": (lambda p: p.write_bytes(b""), "cannot be used as an ONNX file|holds no record"),
        "folder.onnx": (lambda p: p.mkdir(), "no model at"),
        "none.onnx": (lambda p: None, "no model at"),
        "foreign.onnx": (lambda p: write(p, None), "holds no record of signlib"),
        "older.onnx": (lambda p: write(p, record(format=2)), "its format is 2"),
        "less.onnx": (lambda p: write(p, {"format": FORMAT}), "no model of this version.*classes"),
        "layout.onnx": (lambda p: write(p, record(layout="99")), "layout is '99'"),
        "fewer.onnx": (lambda p: write(p, record(), glosses=2), "gives 2 probabilities for the 3 glosses"),
        "more.onnx": (lambda p: write(p, record(), glosses=5), "gives 5 probabilities for the 3 glosses"),
        "narrow.onnx": (lambda p: write(p, record(), width=7), "no model of this version"),
        "list.onnx": (lambda p: write(p, []), "no model of this version"),
    }
    for name, (make, message) in bad.items():
        make(tmp_path / name)
        with pytest.raises(InputError, match=message) as refused:
            Recogniser(tmp_path / name)
        assert name in str(refused.value) and "\n" not in str(refused.value)


def test_frames_without_anybody_are_no_error(tmp_path):
    for length in (1, 5, 60):
        glosses, _ = Recogniser(write(tmp_path / "m.onnx", record()))(np.zeros((length, 1629), np.float32))
        assert np.isfinite([p for _, p in glosses]).all()


def test_neither_tensorflow_nor_pictures_are_imported():
    code = "import sys, signlib.video.recognise, signlib.video.signs; print({'tensorflow', 'keras', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
