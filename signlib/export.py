"""A model as an ONNX file, which needs no TensorFlow to be used: `python -m signlib.export MODEL.h5 OUT.onnx`."""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import sys
import tempfile

import numpy as np

from signlib.calibration import WANTED_ACCURACY, calibrate
from signlib.device import keras, tf
from signlib.errors import InputError, SaveError
from signlib.files import atomic_path, say, sha256
from signlib.frames import each_clip
from signlib.model import ReverseFrames
from signlib.predict import RECORD, open_session
from signlib.predictions import read_predictions
from signlib.project import find_data, project_path
from signlib.runs import read_state
from signlib.safe_save import load_model
from signlib.sample import make_sample

LIMIT = 1e-4  # of the difference of a probability from Keras'; another order of the same sums makes about 1e-6
CLIPS = 100  # to compare on, evenly from all
TOOLS = ("onnx", "onnxruntime", "tf2onnx")


class _Reversed(ReverseFrames):
    """The same by indices: an LSTM between two `reverse_sequence` would become one that reads from the end of the padding."""

    def call(self, sequence, valid):
        frames = tf.cast(tf.reduce_sum(valid, axis=1), "int32")
        index = tf.range(tf.shape(sequence)[1])[None]
        return tf.gather(sequence, tf.where(index < frames, frames - 1 - index, index), axis=1, batch_dims=1)


def export_model(path, out, clips=()):
    """Writes the model at `path` (.h5) to `out` (.onnx): features `(B, L, D)` -> probabilities `(B, C)`, and the record as json
    under `signlib_record` in its metadata, with `calibration` as `calibration.calibrate` has it where the predictions of the
    model's run are found: beside it, in the folder that its record names, or in one in runs/, whose run.json knows its bytes.
    Returns a line that says how far it differs from Keras, on which clips, and how it is calibrated.

    clips: paths to compare on, of clips or folders of clips. Without any, they are those of the data that the record names,
    or where that is gone, the built-in sample's. Of more than CLIPS some are taken.

    The file is written under a temporary name, read back and compared by onnxruntime. Raises SaveError where a probability
    differs by more than LIMIT, InputError for anything that cannot be used; what stood at `out` is then untouched.
    """
    path, out = pathlib.Path(path), pathlib.Path(out)
    if missing := [name for name in TOOLS if importlib.util.find_spec(name) is None]:
        raise InputError(f"{', '.join(missing)} is not installed, which the export needs: pip install -e '.[train,export]'")
    if out.suffix != ".onnx":
        raise InputError(f"{out} is no name for the exported model; expected one that ends in .onnx")
    loaded = load_model(path)
    features, which = _features(loaded, clips)
    calibration, how = calibration_of(path, loaded.record)
    with atomic_path(out) as temporary:
        temporary.write_bytes(_convert(loaded, loaded.record | calibration))
        difference = _difference(loaded, temporary, features)
        if not difference <= LIMIT:  # or NaN
            raise SaveError(
                f"{path} is not exported: on {which} a probability differs by {difference:.1e} from Keras; expected at most "
                f"{LIMIT:.0e}. Install the versions in requirements/, or go on with {path}"
            )
    size = f"{out.stat().st_size / 1e6:.1f} MB"
    return f"saved {out} ({size}): on {which} no probability differs by more than {difference:.1e} from Keras; {how}"


def calibration_of(path, record):
    """Returns ({"calibration": ...}, or {} without predictions, and the same in words) of the model at `path`."""
    predictions = _predictions(path, record)
    if predictions is None:
        return {}, "not calibrated: no predictions of its validation clips are beside it or in its run's folder"
    found = calibrate(predictions.probabilities, predictions.labels)
    if found["threshold"] is None:
        reject = f"no threshold, since none brings {WANTED_ACCURACY:.0%} right answers on clips enough"
    else:
        reject = f"below {found['threshold']:.2f} it is not sure"
    how = f"calibrated on {found['clips']} validation clips: temperature {found['temperature']:.2f}, {reject}"
    return {"calibration": found}, how


def _predictions(path, record):
    """The `Predictions` of the validation clips by the model at `path`, or None."""
    digest = sha256(path)
    # Without RUN_DIR a run makes its own folder in runs/.
    for folder in (path.parent, record["parameters"].get("RUN_DIR") or "runs", *project_path("runs").glob("*")):
        with contextlib.suppress(InputError, OSError, TypeError):  # no predictions, or damaged ones; no text, no such user
            ended_with = (read_state(project_path(folder)) or {}).get("model") or {}  # it may have been saved elsewhere
            found = read_predictions(project_path(folder) / "predictions.npz")
            if ended_with.get("sha256") == digest and found.classes.tolist() == record["classes"]:
                return found
    return None


def _features(loaded, given):
    """The features `(N, L, D)` of the clips to compare on, and what a message calls them."""
    if given:
        paths = _some([clip for path in given for clip in each_clip(path)])
        return np.stack([loaded.features(path) for path in paths]), f"{len(paths)} clips of {', '.join(map(str, given))}"
    with contextlib.suppress(InputError, KeyError):  # a record need not name data, nor need these still be there
        data = find_data(loaded.record["parameters"])[0]
        if features := _usable(loaded, each_clip(data)):
            return np.stack(features), f"{len(features)} clips of {data}"
    with tempfile.TemporaryDirectory() as folder:
        features = _usable(loaded, each_clip(make_sample(pathlib.Path(folder, "sample"))))
    return np.stack(features), f"{len(features)} clips of the built-in sample (name others with --clips)"


def _usable(loaded, paths):
    found = []
    for path in _some(paths):
        with contextlib.suppress(InputError):  # as in training, which goes on without it
            found.append(loaded.features(path))
    return found


def _some(paths):
    return paths[:: -(-len(paths) // CLIPS)]


def _convert(loaded, record):
    """The bytes of the ONNX file, with a record."""
    import onnx
    import tf2onnx

    model = keras.models.clone_model(loaded.model, clone_function=_exportable, recursive=True)
    function = tf.function(lambda features: {"probabilities": model(features, training=False)})
    signature = [tf.TensorSpec((None, *loaded.preprocessor.output_shape), tf.float32, name="features")]
    converted, _ = tf2onnx.convert.from_function(function, input_signature=signature)
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(converted, {RECORD: json.dumps(record)})
    return converted.SerializeToString()


def _exportable(layer):
    """What stands for a layer, with the weights of it."""
    return _Reversed(name=layer.name) if isinstance(layer, ReverseFrames) else layer


def _difference(loaded, path, features):
    """The largest difference of a probability from Keras, of whole clips and of their first halves, padded; of all at once
    and of each alone."""
    session = open_session(path)
    halves = features.copy()
    halves[:, features.shape[1] // 2 :] = 0
    features = np.concatenate([features, halves])
    expected = loaded.model.predict_on_batch(features)
    at_once = session.run(["probabilities"], {"features": features})[0]
    alone = [session.run(["probabilities"], {"features": clip[None]})[0][0] for clip in features]
    return float(np.abs([at_once - expected, alone - expected]).max())


def main(arguments=None):
    """`python -m signlib.export MODEL OUT`. Returns 0; 1 where the result differs too much or cannot be written; 2 where the
    model or a clip cannot be used; 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m signlib.export", description="A model as an ONNX file.")
    parser.add_argument("model", help="an .h5 file that signlib saved, such as models/lstm_model.h5")
    parser.add_argument("out", help="the file to write, .onnx")
    parser.add_argument(
        "--clips", nargs="+", default=(), metavar="CLIP", help="compare on these clips, or folders of clips [of the run's data]"
    )
    options = parser.parse_args(arguments)
    try:
        say(export_model(options.model, options.out, options.clips))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        reason = error if isinstance(error, SaveError) else f"cannot write {options.out}: {error.strerror or error}"
        print(f"error: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
