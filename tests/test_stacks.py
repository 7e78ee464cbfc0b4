"""A model saved with one TensorFlow loads with the other and says the same."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib.project import ROOT

pytestmark = pytest.mark.stack
OTHER = ROOT / ".venv" / "bin" / "python"

EXCHANGE = """
import sys
import numpy as np
import signlib
from signlib.device import keras
from signlib.model import ARCHITECTURES
from signlib.safe_save import make_record

folder, act = sys.argv[1:]
rng, preprocessor, said = np.random.default_rng(0), signlib.Preprocessor(12), []
x = rng.normal(size=(4, *preprocessor.output_shape)).astype("float32")
x[:, :, -1] = np.arange(12) < 8
signlib.use_device("cpu", 8)
for architecture in ARCHITECTURES:
    path = f"{folder}/{architecture}.h5"
    if act == "save":
        model = signlib.build_model(x.shape[1:], 3, architecture)
        model.set_weights([weight + rng.uniform(-0.05, 0.05, weight.shape) for weight in model.get_weights()])
        record = make_record(["a", "b", "c"], preprocessor, "1629", {"architecture": architecture})
        signlib.save_model(model, path, record)
    else:
        model = signlib.load_model(path).model
        plain = keras.models.load_model(path, compile=False)
        assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), model.get_weights(), strict=True))
        assert np.array_equal(plain(x), model(x))
    said.append(np.asarray(model(x)))
np.save(f"{folder}/{act}.npy", said)
"""


@pytest.mark.skipif(
    OTHER.parent.parent == pathlib.Path(sys.prefix), reason="make test-macos-stack runs it, from the other stack"
)
@pytest.mark.skipif(not OTHER.exists(), reason="needs both stacks side by side: run make test before make test-macos-stack")
def test_a_file_from_one_stack_loads_on_the_other(tmp_path):
    for saver, loader in ((sys.executable, OTHER), (OTHER, sys.executable)):
        for python, act in ((saver, "save"), (loader, "load")):
            done = subprocess.run(
                [python, "-c", EXCHANGE, tmp_path, act], cwd=ROOT, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr
        saved, loaded = np.load(tmp_path / "save.npy"), np.load(tmp_path / "load.npy")
        assert np.ptp(saved, axis=1).max(axis=1).min() > 1e-3  # each architecture tells these clips apart
        assert np.abs(saved - loaded).max() < 1e-5
        assert signlib.load_model(tmp_path / "lstm.h5").record["versions"]["tensorflow"]
