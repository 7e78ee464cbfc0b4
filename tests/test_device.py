"""signlib.device: quiet without being deaf."""

import os
import subprocess
import sys

import pytest

from signlib.device import _NOISE, tf, use_device
from signlib.stderr import without_noise

NOISE = [
    b"2026-11-23 03:31:31.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.\n",
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1732332691.123456   12345 cpu_feature_guard.cc:227] This binary is optimized to use CPU instructions\n",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n",
]
REAL = [
    b"2026-11-23 03:31:31.123456: E tensorflow/core/framework/op.cc:1] kernel is not registered\n",
    b"2026-11-23 03:31:31.123456: F tensorflow/core/platform.cc:1] check failed\n",
    b"E0000 00:00:1732332691.123456   12345 gpu.cc:1] out of memory\n",
    b"Traceback (most recent call last):\n",
    b"ImportError: libcudart.so.12: cannot open shared object file\n",
    b"a last line without its end",
]


def test_a_real_message_is_passed_on_and_noise_is_not(capfd):
    with without_noise(_NOISE):
        for line in [*NOISE, *REAL]:
            os.write(2, line)
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err.encode() == b"".join(REAL)


@pytest.mark.stack
def test_starting_tensorflow_prints_nothing_but_what_is_used():
    code = "import signlib.device; print(signlib.device.use_device())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["KERAS_BACKEND"] = "jax"  # whatever the machine is set to
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    assert done.stdout.startswith(f"TensorFlow {tf.__version__}, Keras 3.")
    assert done.stdout.endswith("on the CPU\n")


@pytest.mark.stack
def test_use_device_seeds_what_follows():
    def draws():
        return tf.random.uniform([4]).numpy().tolist()

    use_device("cpu", 5)
    first = draws()
    assert draws() != first
    use_device("cpu", 5)
    assert draws() == first
    use_device("auto", 6)
    assert draws() != first
