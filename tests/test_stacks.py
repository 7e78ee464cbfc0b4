"""A model saved with one TensorFlow loads with the other and says the same."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib.project import ROOT

pytestmark = pytest.mark.stack
OTHERS = [ROOT / name / "bin" / "python" for name in (".venv", ".venv-macos")]
OTHERS = [python for python in OTHERS if python.exists() and python.parent.parent != pathlib.Path(sys.prefix)]

EXCHANGE = """
import sys
import numpy as np
import signlib
from signlib.safe_save import make_record

folder, act = sys.argv[1:]
x = np.random.default_rng(0).normal(size=(4, *signlib.Preprocessor().output_shape)).astype("float32")
x[:, :, -1] = np.arange(50) < 30
if act == "save":
    signlib.use_device("cpu", 8)
    model = signlib.build_model(x.shape[1:], 3)
    model.fit(x, np.eye(3)[[0, 1, 2, 0]], epochs=2, verbose=0)
    signlib.save_model(model, folder + "/m.h5", make_record(["a", "b", "c"], signlib.Preprocessor(), "1629", {}))
else:
    model = signlib.load_model(folder + "/m.h5").model
np.save(f"{folder}/{act}.npy", model.predict_on_batch(x))
"""


@pytest.mark.skipif(not OTHERS, reason="needs both stacks side by side: run it with make test and then make test-macos-stack")
def test_a_file_from_one_stack_loads_on_the_other(tmp_path):
    for saver, loader in ((sys.executable, OTHERS[0]), (OTHERS[0], sys.executable)):
        for python, act in ((saver, "save"), (loader, "load")):
            done = subprocess.run(
                [python, "-c", EXCHANGE, tmp_path, act], cwd=ROOT, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr
        saved, loaded = np.load(tmp_path / "save.npy"), np.load(tmp_path / "load.npy")
        assert np.ptp(saved) > 0.01 and np.abs(saved - loaded).max() < 1e-5
        assert signlib.load_model(tmp_path / "m.h5").record["versions"]["tensorflow"]
