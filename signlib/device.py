"""Starting TensorFlow: quietly, on the device asked for, and reproducibly. Import Keras and TensorFlow from here."""

import contextlib
import ctypes
import os
import re

from signlib.errors import InputError
from signlib.stderr import without_noise

# What TensorFlow 2.16 and 2.21 print at the start on a machine without an accelerator; anything else is passed on.
_NOISE = re.compile(
    rb"^\s*$|^[IW]\d{4} |: [IW] (tensorflow|external)/|^WARNING: All log messages before absl|failed call to cuInit"
    rb"|Unable to register cu|^To enable the following instructions|computation_placer.cc"
)


def _keep_memory():
    """Lets glibc keep memory that is freed and needed again at the next step. Given back to the system, it has to be cleared
    and mapped each time: training conv_transformer on clips of 72 frames then took 1.2 times as long. Nothing elsewhere."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no block is of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is given back


_keep_memory()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # later: errors only
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
with without_noise(_NOISE):
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # where there is no accelerator, looking for one is what complains

__all__ = ["keras", "tf", "use_device"]


def use_device(device="cpu", seed=42):
    """Chooses the device ("cpu", or "auto": an accelerator where there is one) and makes what follows reproducible.

    Returns a line that says what is used. Raises InputError for another device, RuntimeError when TensorFlow already runs
    on an accelerator.
    """
    if device not in ("cpu", "auto"):
        raise InputError(f"device is {device!r}; expected 'cpu' or 'auto'")
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if device == "cpu":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:
            raise RuntimeError("TensorFlow already runs on an accelerator: restart the kernel for DEVICE = 'cpu'") from None
    gpus = tf.config.list_logical_devices("GPU")
    return f"TensorFlow {tf.__version__}, Keras {keras.__version__}, on {f'{len(gpus)} GPU' if gpus else 'the CPU'}"
