"""Using a model: the glosses of a clip, in whatever layout and form it comes; `python -m signlib.predict`."""

import argparse
import json
import sys

import numpy as np

import signlib
from signlib.agreement import better_order, order_name
from signlib.errors import InputError
from signlib.files import is_folder, say
from signlib.frames import clip_paths, each_clip, open_frames
from signlib.landmarks import LAYOUTS, PARTS, detect_layout, layout_blocks
from signlib.preprocess import Preprocessor

FORMAT = 3  # of a model's record: 2 had other features and another LSTM
RECORD = "signlib_record"  # what holds the record, as UTF-8 json: a dataset of the .h5, a property of the .onnx


class LoadedModel:
    """A model with what it needs to predict: `.model`, `.record`, `.classes`, `.preprocessor`."""

    def __init__(self, model, record):
        self.model, self.record, self.classes = model, record, record["classes"]
        self.preprocessor = Preprocessor(**record["preprocessor"])

    def predict(self, clip_or_folder, top=5):
        """Returns the `top` glosses of a clip, a .npy file or a folder of one file a frame, as [(gloss, probability), ...],
        best first; of a folder of clips, in any form that `load_clips` reads, a dict {video_id: such a list}. Raises
        InputError naming what cannot be used."""
        if is_folder(clip_or_folder) and (clips := clip_paths(clip_or_folder)):
            return {video_id: self.predict(clip, top) for video_id, clip in clips.items()}
        probabilities = self.model.predict_on_batch(self.features(clip_or_folder)[None])[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.classes[i], float(probabilities[i])) for i in best]

    def features(self, clip):
        """Returns what the model reads of one clip, a .npy file or a folder of one file a frame: `(L, D)`. Raises InputError,
        naming it, where it cannot be used, or lacks landmarks that the model learnt from."""
        frames = open_frames(clip, mmap_mode=None)
        try:
            layout = self._layout(frames)
        except InputError as error:
            raise InputError(f"{clip}: {error}") from None
        return self.preprocessor(frames.reshape(len(frames), -1), layout)

    def _layout(self, frames):
        """The layout of one clip: that of the training clips where it can be, unless the clip agrees with another."""
        shape, layout = frames.shape[1:], self.record["layout"]
        layout = layout if LAYOUTS[layout].fits(shape) else detect_layout(shape)
        if order := better_order([frames.reshape(len(frames), -1)], layout):
            if order not in LAYOUTS:
                raise InputError(f"its values fit {order_name(order)}, not layout {layout}: extract it as for training")
            layout = order
        check_held(self.preprocessor, self.record["layout"], layout)
        return layout


def check_held(preprocessor, trained, layout):
    """Raises InputError where `layout` lacks landmarks that a model learnt from clips of the layout `trained`."""
    learnt = set(preprocessor.blocks) & _blocks(trained)
    if lacking := sorted(learnt - _blocks(layout)):
        able = " or ".join(name for name in LAYOUTS if learnt <= _blocks(name))
        shared = "+".join(part for part, points in PARTS.items() if {block for block, _ in points} <= _blocks(layout))
        raise InputError(
            f"the model learnt from {', '.join(lacking)}, which layout {layout} does not hold: extract the clip again, as "
            f"layout {able}, or train a model on LANDMARKS that both hold, such as {shared}"
        )


def open_session(path):
    """Returns the session of onnxruntime that runs a file on one core, which is fastest where a batch is a clip: more threads
    wait for each other at every frame."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _blocks(layout):
    return {block for block, _, _ in layout_blocks(layout)}


def main(arguments=None):
    """`python -m signlib.predict MODEL CLIP ...`: prints the glosses of each clip. Returns 0; 2 where the model or a clip
    cannot be used, of which stderr says why; 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m signlib.predict", description="The glosses of clips, by a saved model.")
    parser.add_argument("model", help="an .h5 file that signlib saved, such as models/lstm_model.h5")
    parser.add_argument("clips", nargs="+", metavar="clip", help="a .npy file, a folder of its frames, or a folder of clips")
    parser.add_argument("--top", type=int, default=5, help="glosses of each clip [5]")
    parser.add_argument("--json", action="store_true", help="one json document, with the clips that cannot be used")
    options = parser.parse_args(arguments)
    if options.top < 1:
        parser.error(f"--top is {options.top}; expected a number of at least 1")
    found = []
    try:
        loaded = signlib.load_model(options.model)
        for clip in (clip for path in options.clips for clip in each_clip(path)):
            found.append({"clip": str(clip)} | _try(loaded, clip, options.top))
            if not options.json and "glosses" in found[-1]:
                said = ", ".join(f"{row['gloss']} {row['probability']:.1%}" for row in found[-1]["glosses"])
                say(f"{clip}: {said}")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if options.json:
        say(json.dumps({"model": options.model, "clips": found}, indent=1))
    return 2 if any("error" in row for row in found) else 0


def _try(loaded, clip, top):
    """What json says of one clip: its glosses, or the error that keeps it from being predicted, which is printed, too."""
    try:
        return {"glosses": [{"gloss": gloss, "probability": p} for gloss, p in loaded.predict(clip, top)]}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return {"error": str(error)}


if __name__ == "__main__":
    sys.exit(main())
