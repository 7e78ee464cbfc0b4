"""From the raw frames of one clip to what the model reads. Pure NumPy; the same object serves training and prediction."""

import warnings

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import LEFT_SHOULDER, RIGHT_SHOULDER, columns, select_landmarks

EPSILON = 1e-3  # no scale is smaller (the notes' "robust normalization"); image coordinates are of the order of 1
FARTHEST = 1e9  # no picture has coordinates beyond it; squares and sums of smaller ones stay within float32
LIMIT = 10.0  # normalised coordinates are cut here: an arm is about 2 shoulder widths long, more is a tracking error


class Preprocessor:
    """Frames -> points -> features of one clip.

    sequence_length: frames L that the model sees; a short clip is padded at the end.
    landmarks: "default" (hands, upper body, lips) or parts joined by "+".
    long_clips: a clip of more than L frames is resampled to L ("resample") or cut after L ("truncate").
    layout: of the clips, where it is known: landmarks that it does not hold are then left out of "default" and "all".

    Raises InputError for anything else, and for a part that the layout does not hold.
    """

    def __init__(self, sequence_length=50, landmarks="default", long_clips="resample", layout=None):
        if long_clips not in ("resample", "truncate"):
            raise InputError(f"long_clips is {long_clips!r}; expected 'resample' or 'truncate'")
        if not isinstance(sequence_length, int) or sequence_length < 2:
            raise InputError(f"sequence_length is {sequence_length!r}; expected a whole number of at least 2")
        self.sequence_length, self.landmarks, self.long_clips, self.layout = sequence_length, landmarks, long_clips, layout
        self.selected = select_landmarks(landmarks, layout)
        self.blocks = {}  # block -> indices of its points among the selected
        for index, (block, _) in enumerate(self.selected):
            self.blocks.setdefault(block, []).append(index)
        self._shoulders = [self.selected.index(s) for s in (LEFT_SHOULDER, RIGHT_SHOULDER) if s in self.selected]

    def config(self):
        """Returns the arguments that make an equal Preprocessor, as plain values for a record."""
        return {
            "sequence_length": self.sequence_length,
            "landmarks": self.landmarks,
            "long_clips": self.long_clips,
            "layout": self.layout,
        }

    @property
    def output_shape(self):
        """`(L, D)`: x and y of each landmark, a flag for each block that says it was detected, and `valid`."""
        return self.sequence_length, 2 * len(self.selected) + len(self.blocks) + 1

    def __call__(self, frames, layout):
        """Returns the features `(L, D)` of raw frames `(T, F)`."""
        return self.features(self.points(frames, layout))

    def points(self, frames, layout):
        """Returns the selected landmarks `(T, P, 3)` float32 of frames `(T, F)`, NaN where missing.

        Missing is what is not finite, or so large that it cannot be a coordinate, and a block that is zero throughout a
        frame: MediaPipe's files mark an undetected part so.
        """
        first = columns(layout, self.selected)
        with np.errstate(over="ignore", invalid="ignore"):
            points = frames[:, np.maximum(first, 0)[:, None] + np.arange(3)].astype(np.float32)
        points[:, first < 0] = np.nan
        points[~(np.abs(points) <= FARTHEST).all(axis=2)] = np.nan
        for indices in self.blocks.values():
            block = slice(indices[0], indices[-1] + 1)
            undetected = ~np.any(np.nan_to_num(points[:, block]), axis=(1, 2))
            points[undetected, block] = np.nan
        return points

    def features(self, points):
        """Returns `(L, D)` float32, all finite, from points `(T, P, 3)`: centred and scaled by the signer's body, missing
        points at 0, the flags of the blocks, and last `valid`: 1 on frames, 0 on padding.

        Moving the signer in the picture (x, y) or changing the size changes nothing; neither do missing values elsewhere.
        """
        xy = points[:, :, :2]
        centre, scale = self._body(xy)
        xy = np.clip((self._fit_length(xy) - centre) / scale, -LIMIT, LIMIT)
        found = ~np.isnan(xy[:, :, 0])
        flags = [found[:, indices].any(axis=1) for indices in self.blocks.values()]
        count, values = len(xy), 2 * len(self.selected)
        features = np.zeros(self.output_shape, np.float32)
        features[:count, :values] = np.nan_to_num(xy).reshape(count, values)
        features[:count, values:-1] = np.stack(flags, axis=1)
        features[:count, -1] = 1
        return features

    def _body(self, xy):
        """The centre `(2,)` and the scale of a clip: the middle of the shoulders and their distance, medians over the
        frames; without shoulders the mean of all points and their root mean square distance from it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a clip without any shoulder, or without any point
            if len(self._shoulders) == 2:
                left, right = xy[:, self._shoulders[0]], xy[:, self._shoulders[1]]
                centre = np.nanmedian((left + right) / 2, axis=0)
                scale = np.nanmedian(np.hypot(*(left - right).T))
                if np.isfinite(scale):
                    return centre, max(scale, EPSILON)
            centre = np.nanmean(xy, axis=(0, 1))
            scale = np.sqrt(np.nanmean(np.sum((xy - centre) ** 2, axis=2)))
        return (centre, max(scale, EPSILON)) if np.isfinite(scale) else (np.zeros(2, np.float32), 1.0)

    def _fit_length(self, xy):
        """At most L frames of `(T, P, 2)`: as they are, cut, or resampled at L evenly spaced moments."""
        if len(xy) <= self.sequence_length:
            return xy
        if self.long_clips == "truncate":
            return xy[: self.sequence_length]
        return resample(xy, np.linspace(0, len(xy) - 1, self.sequence_length))


def resample(points, moments):
    """Returns `(len(moments), P, C)`: points `(T, P, C)` at `moments` (in frames, fractions allowed), linear in between;
    where only one of the two frames has the point, that one; NaN where neither has it."""
    before = np.floor(moments).astype(int)
    after = np.ceil(moments).astype(int)
    share = (moments - before).astype(points.dtype)[:, None, None]
    a, b = points[before], points[after]
    mixed = a * (1 - share) + b * share
    return np.where(np.isnan(mixed), np.where(np.isnan(a), b, a), mixed)
