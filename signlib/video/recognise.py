"""From the frames of one sign to its gloss, by an exported model: `Recogniser`. NumPy and onnxruntime, no TensorFlow."""

import json
import pathlib
import shlex

import numpy as np

from signlib.calibration import soften
from signlib.errors import InputError
from signlib.landmarks import LAYOUTS
from signlib.predict import FORMAT, RECORD, check_held, open_session
from signlib.preprocess import Preprocessor
from signlib.video import LAYOUT

UNKNOWN = 0.5  # the threshold where neither the model nor the user names one: at least as likely as all others together


class Recogniser:
    """Takes the frames of one sign for a gloss. `.classes`, `.record`, `.threshold`, below which it is not sure, and `.known`,
    whether the model or the user named that.

    path: an .onnx file that `python -m signlib.export` wrote. threshold: another than its record names. Raises InputError,
    naming the file, for anything else, and where the model learnt from what frames of layout 1629 do not hold.
    """

    def __init__(self, path, threshold=None):
        self._session, self.record = _open(pathlib.Path(path))
        try:
            if self.record["format"] != FORMAT:
                raise InputError(f"its format is {self.record['format']!r}; this version reads {FORMAT}: export it anew")
            self.classes, self._preprocessor = self.record["classes"], Preprocessor(**self.record["preprocessor"])
            check_held(self._preprocessor, self.record["layout"], LAYOUT)
            calibration = self.record.get("calibration", {})
            self._temperature = calibration.get("temperature", 1.0)
            if threshold is None:
                threshold = calibration.get("threshold")
            self.known = threshold is not None
            self.threshold = threshold if self.known else UNKNOWN
            # Whether the graph fits its record; and the first sign then takes no longer than the others.
            found = self._probabilities(np.zeros((2 * self._preprocessor.sequence_length, LAYOUTS[LAYOUT].width), np.float32))
            if found.shape != (len(self.classes),):
                raise InputError(f"it gives {found.size} probabilities for the {len(self.classes)} glosses of its record")
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception as error:  # whatever a record or a graph of another program makes of these lines
            raise InputError(f"{path} is no model of this version of signlib: {_reason(error)}") from error

    def __call__(self, frames):
        """Returns ([(gloss, probability), ...], best first, whether it is sure of the first) of frames `(T, 1629)`."""
        probabilities = self._probabilities(frames)
        best = np.argsort(-probabilities, kind="stable")
        return [(self.classes[i], float(probabilities[i])) for i in best], bool(probabilities[best[0]] >= self.threshold)

    def _probabilities(self, frames):
        features = self._preprocessor(frames, LAYOUT)[None]
        return soften(self._session.run(["probabilities"], {"features": features})[0], self._temperature)[0]


def _open(path):
    """(session, record) of an exported model; raises InputError for anything else."""
    if path.suffix.lower() in (".h5", ".keras"):
        command = shlex.join(["python", "-m", "signlib.export", str(path), str(path.with_suffix(".onnx"))])
        raise InputError(f"{path} needs TensorFlow, which is not used here: {command}")
    if not path.is_file():
        raise InputError(f"no model at {path}; expected an .onnx file that python -m signlib.export wrote")
    try:
        session = open_session(path)
    except ImportError:
        raise InputError("onnxruntime is not installed, which the recognition needs: pip install -e '.[video]'") from None
    except Exception as error:  # onnxruntime has a class of its own for each cause
        raise InputError(f"{path} cannot be used as an ONNX file: {_reason(error)}") from error
    try:
        return session, json.loads(session.get_modelmeta().custom_metadata_map[RECORD])
    except (KeyError, ValueError):
        raise InputError(f"{path} was not written by python -m signlib.export: it holds no record of signlib") from None


def _reason(error):
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return text.partition("\n")[0]
