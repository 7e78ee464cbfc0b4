"""Measures how long a model takes from the file of one clip to its gloss, by Keras and by onnxruntime.

python benchmarks/latency.py                                 every architecture, untrained, on the built-in sample: two minutes
python benchmarks/latency.py --data DIR --model MODEL.h5     your own clips and model
python benchmarks/latency.py --calls 20                      fewer calls than 500 of each

Both go through `LoadedModel.predict`, in turns of TURN calls, each on another clip; onnxruntime has one core. Prints the
median and the 95th percentile of the calls in milliseconds, and what share of the median reading and preprocessing have. An
untrained model has the weights that it starts with: what a clip is taken for does not matter here. Ends with status 0: done, 2:
bad input.
"""

import argparse
import os
import pathlib
import platform
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from signlib.errors import InputError
from signlib.frames import each_clip, open_frames
from signlib.landmarks import detect_layout
from signlib.predict import LoadedModel

TURN = 10  # calls of one before it is the other's turn: what else runs on the machine slows both alike
CLIPS, GLOSSES = 100, 300


class Timed(LoadedModel):
    """A `LoadedModel` that notes how long each clip took, and how much of it reading and preprocessing."""

    def __init__(self, model, record):
        super().__init__(model, record)
        self.all, self.preprocessing = [], []

    def predict(self, clip_or_folder, top=5):
        """Returns what `LoadedModel` does."""
        start = time.perf_counter()
        found = super().predict(clip_or_folder, top)
        self.all.append(1e3 * (time.perf_counter() - start))
        return found

    def features(self, clip):
        """Returns what `LoadedModel` does."""
        start = time.perf_counter()
        found = super().features(clip)
        self.preprocessing.append(1e3 * (time.perf_counter() - start))
        return found


class Session:
    """An exported model, called as Keras is."""

    def __init__(self, path):
        from signlib.predict import open_session

        self.session = open_session(path)

    def predict_on_batch(self, features):
        """Returns the probabilities `(B, C)` of features `(B, L, D)`."""
        return self.session.run(["probabilities"], {"features": features})[0]


def main(arguments):
    """Measures and prints. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="folder of the clips; empty: the built-in sample")
    parser.add_argument("--model", default="", help="an .h5 file that signlib saved; empty: each architecture, untrained")
    parser.add_argument("--calls", type=int, default=500, help="that are measured of each, after one turn that is not [500]")
    given = parser.parse_args(arguments)
    if given.calls < 1:
        parser.error(f"--calls is {given.calls}; expected a number of at least 1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure_all(given, pathlib.Path(folder))
    except InputError as error:
        print(f"latency.py: {error}", file=sys.stderr)
        return 2
    return 0


def measure_all(given, folder):
    """Prints the header and the table for the options `given`. Raises InputError for data or a model that cannot be used."""
    from signlib.device import keras, tf

    clips = each_clip(given.data or signlib.make_sample(folder / "sample"))
    clips = clips[:: -(-len(clips) // CLIPS)]
    length, size = (np.median([get(path) for path in clips]) for get in (lambda path: len(open_frames(path)), file_size))
    print(f"machine   {os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f} before")
    print(f"versions  Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}, on the CPU")
    print(f"clips     {len(clips)} of {given.data or 'the sample'}: {length:.0f} frames, {size / 2**10:,.0f} KiB (medians)")
    print(f"measured  {given.calls} calls of each, in turns of {TURN}; milliseconds from the file to its gloss\n")
    print(f"{'model':17} {'by':12} {'median':>6} {'95 %':>6}  reading and preprocessing")
    for path in [pathlib.Path(given.model)] if given.model else untrained(folder, clips[0]):
        for by, timed in measure(path, folder / "model.onnx", clips, given.calls).items():
            median, high = np.percentile(timed.all, [50, 95])
            share = np.median(timed.preprocessing) / median
            print(f"{path.stem:17} {by:12} {median:6.2f} {high:6.2f}  {share:.0%}", flush=True)


def untrained(folder, clip):
    """Yields the path of a model of each architecture, for clips as this one."""
    from signlib.model import ARCHITECTURES

    layout = detect_layout(open_frames(clip).shape[1:])
    preprocessor = signlib.Preprocessor(layout=layout)
    for name in ARCHITECTURES:
        model = signlib.build_model(preprocessor.output_shape, GLOSSES, name)
        record = signlib.make_record(map(str, range(GLOSSES)), preprocessor, layout, {"architecture": name})
        yield signlib.save_model(model, folder / f"{name}.h5", record).path


def measure(path, exported, clips, calls):
    """Returns {by what: its `Timed`} of the model at `path`, which it exports."""
    from signlib.export import export_model

    export_model(path, exported, clips[:10])
    loaded = signlib.load_model(path)
    both = {"Keras": Timed(loaded.model, loaded.record), "onnxruntime": Timed(Session(exported), loaded.record)}
    for first in range(-TURN, calls, TURN):
        for timed in both.values():
            for number in range(first, min(first + TURN, calls)):
                timed.predict(clips[number % len(clips)])
            if first < 0:
                timed.all, timed.preprocessing = [], []
    return both


def file_size(path):
    """Returns the bytes of a clip: of its file, or of its frames' files."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
