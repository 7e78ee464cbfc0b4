"""Using a loaded model: the glosses of a clip, in whatever layout and form it comes."""

import pathlib
import warnings

import numpy as np

from signlib.agreement import better_order, order_name
from signlib.errors import InputError
from signlib.frames import clip_paths, open_frames
from signlib.landmarks import LAYOUTS, detect_layout
from signlib.preprocess import Preprocessor


class LoadedModel:
    """A model with what it needs to predict: `.model`, `.record`, `.classes`, `.preprocessor`."""

    def __init__(self, model, record):
        self.model, self.record, self.classes = model, record, record["classes"]
        self.preprocessor = Preprocessor(**record["preprocessor"])

    def predict(self, clip_or_folder, top=5):
        """Returns the `top` glosses of a clip, a .npy file or a folder of one file a frame, as [(gloss, probability), ...],
        best first; of a folder of clips, in any form that `load_clips` reads, a dict {video_id: such a list}. Raises
        InputError naming what cannot be used."""
        path = pathlib.Path(clip_or_folder)
        if path.is_dir() and (clips := clip_paths(path)):
            return {video_id: self.predict(clip, top) for video_id, clip in clips.items()}
        frames = open_frames(path, mmap_mode=None)
        try:
            layout = self._layout(frames)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        features = self.preprocessor(frames.reshape(len(frames), -1), layout)
        probabilities = self.model.predict_on_batch(features[None])[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.classes[i], float(probabilities[i])) for i in best]

    def _layout(self, frames):
        """The layout of one clip: that of the training clips where it can be, unless the clip agrees with another."""
        shape, layout = frames.shape[1:], self.record["layout"]
        layout = layout if LAYOUTS[layout].fits(shape) else detect_layout(shape)
        if order := better_order([frames.reshape(len(frames), -1)], layout):
            if order not in LAYOUTS:
                raise InputError(f"its values fit {order_name(order)}, not layout {layout}: extract it as for training")
            layout = order
        held = {block for block, _, _ in LAYOUTS[layout].blocks}
        if lacking := sorted(set(self.preprocessor.blocks) - held):
            warnings.warn(
                f"the model learnt from {', '.join(lacking)}, which layout {layout} does not hold: expect less of it, or train "
                "one on LANDMARKS that both hold, such as hands",
                stacklevel=3,
            )
        return layout
