"""From the raw frames of one clip to what the model reads. Pure NumPy; the same object serves training and prediction."""

from itertools import islice

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import LEFT_SHOULDER, RIGHT_SHOULDER, columns, select_landmarks
from signlib.points import around, interpolate, medians, resample, steps, vector_lengths

EPSILON = 1e-3  # no scale is smaller (the notes' "robust normalization"); image coordinates are of the order of 1
FARTHEST = 1e9  # no picture has coordinates beyond it; squares and sums of smaller ones stay within float32
LIMIT = 10.0  # normalised coordinates are cut here: an arm is about 2 shoulder widths long, more is a tracking error
HANDS = ("left_hand", "right_hand")
WRIST, KNUCKLE = 0, 9  # of the middle finger: as far apart as a hand is large, however the fingers are bent
TIPS, INDEX, LITTLE = (4, 8, 12, 16, 20), 5, 17  # of the fingers; knuckles at the edges of the palm
PAIRS = np.array((WRIST, *TIPS))[np.array(np.triu_indices(1 + len(TIPS), 1))]  # `(2, 15)`: wrist and tips, each with each
MIDDLE = np.float32(0.5)  # of the picture, in x and in y
GAIN = 3.0  # of velocity, acceleration and place, which in wlasl300 vary by a third of what positions do
TOGETHER = 32  # clips: a fifth of the time of one after the other; of 8, a quarter
KINDS = ("position", "depth", "place", "shape", "distance", "direction", "velocity", "acceleration")
NORMALISE, LONG_CLIPS = ("body", "clip", "none"), ("resample", "truncate", "stretch")


class Preprocessor:
    """Frames -> points -> features of one clip.

    sequence_length: frames L that the model sees; a shorter clip is padded at the end.
    landmarks: "default" (hands, upper body, lips) or parts joined by "+".
    long_clips: a clip of more than L frames is resampled to L ("resample") or cut after L ("truncate"); "stretch"
    resamples shorter ones as well, so that neither their speed nor their frame rate counts.
    layout: of the clips, where it is known: landmarks that it does not hold are then left out of "default" and "all".
    kinds: of features, some of KINDS joined by "+". Position is x and y of each landmark, depth its z; velocity is the
    difference of positions from one frame to the next, acceleration that of velocities. Of each hand, shape is x, y and z of
    its landmarks from its own wrist, in its own size; distance how far its wrist and finger tips are from each other;
    direction where its palm and its middle knuckle point, as unit vectors; place where its wrist is in the picture: the one
    kind that moves with the camera, and all that tells a chin from a chest where there are hands alone.
    normalise: positions are counted from the middle of the signer's "body", in its size, without shoulders from that of all
    landmarks; or by mean and deviation of the whole "clip" (the notes' way, missing landmarks being zeros), or not ("none").
    Positions, places and shapes are cut at LIMIT, so "none" is no choice for pixels.
    interpolate: a landmark that is missing for a while lies between where it was and will be, at an end of the clip where
    it is seen next, and only the flags say so. Without it, it lies at 0, as if it had moved there.
    trim: frames before the first hand and after the last one are left out.
    aspect: width / height of the pictures, which an .npy does not say: x and z are counted in widths, y in heights.

    Raises InputError for anything else, and for a part that the layout does not hold.
    """

    def __init__(
        self,
        sequence_length=50,
        landmarks="default",
        long_clips="resample",
        layout=None,
        *,
        kinds="position+shape+velocity",
        normalise="body",
        interpolate=True,
        trim=True,
        aspect=1.0,
    ):
        for name, value, choices in (("long_clips", long_clips, LONG_CLIPS), ("normalise", normalise, NORMALISE)):
            if value not in choices:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        if not isinstance(sequence_length, int) or sequence_length < 2:
            raise InputError(f"sequence_length is {sequence_length!r}; expected a whole number of at least 2")
        if not isinstance(aspect, (int, float)) or not 0 < aspect < np.inf:
            raise InputError(f"aspect is {aspect!r}; expected width / height of the pictures, as 1.78 for 16:9")
        self.sequence_length, self.landmarks, self.long_clips, self.layout = sequence_length, landmarks, long_clips, layout
        self.kinds, self.normalise, self.interpolate, self.trim, self.aspect = kinds, normalise, interpolate, trim, aspect
        self._kinds = check_kinds(kinds)
        self.selected = select_landmarks(landmarks, layout)
        self.blocks = {}  # block -> indices of its points among the selected
        for index, (block, _) in enumerate(self.selected):
            self.blocks.setdefault(block, []).append(index)
        self._shoulders = [self.selected.index(s) for s in (LEFT_SHOULDER, RIGHT_SHOULDER) if s in self.selected]
        self._hands = [slice(self.blocks[hand][0], self.blocks[hand][-1] + 1) for hand in HANDS if hand in self.blocks]
        self._columns = {}  # layout -> the columns of a frame that are read, and which of the selected are not in it
        self._xy = np.flatnonzero(np.arange(3 * len(self.selected)) % 3 < 2)  # of a frame's points in one row
        nothing = np.zeros((1, len(self.selected), 3), np.float32)
        of_one = np.zeros(1, int), np.zeros((1, 3)), np.ones(1), [np.ones(1)] * len(self._hands)
        self._width = sum(value.size for value in self._values(nothing, *of_one))
        if not self._width:
            raise InputError(f"kinds is {kinds!r} and landmarks {landmarks!r}: that is about hands, and there are none")

    def config(self):
        """Returns the arguments that make an equal Preprocessor, as plain values for a record."""
        names = ("sequence_length", "landmarks", "long_clips", "layout", "kinds", "normalise", "interpolate", "trim", "aspect")
        return {name: getattr(self, name) for name in names}

    @property
    def output_shape(self):
        """`(L, D)`: the features of each kind in the order of KINDS, a flag for each block that says it was detected, and
        `valid`."""
        return self.sequence_length, self._width + len(self.blocks) + 1

    @property
    def most_frames(self):
        """How many frames of a longer clip are read; where such a clip is not resampled but cut, all of them."""
        return np.inf if self.long_clips == "truncate" else self.sequence_length

    def __call__(self, frames, layout):
        """Returns the features `(L, D)` of raw frames `(T, F)`."""
        return self.features(self.points(frames, layout))

    def points(self, frames, layout):
        """Returns the selected landmarks `(T', P, 3)` float32 of frames `(T, F)`, in heights of the picture, NaN where missing;
        T' < T where trimmed.

        Missing is what is not finite, or so large that it cannot be a coordinate, and a block that is zero throughout a
        frame: MediaPipe's files mark an undetected part so.
        """
        if layout not in self._columns:
            first = columns(layout, self.selected)
            values = (np.maximum(first, 0)[:, None] + np.arange(3)).ravel()
            straight = (np.diff(values) == 1).all()
            self._columns[layout] = slice(values[0], values[-1] + 1) if straight else values, np.flatnonzero(first < 0)
        values, absent = self._columns[layout]
        with np.errstate(over="ignore", invalid="ignore"):
            points = frames[:, values] if isinstance(values, slice) else frames.take(values, axis=1)
            points = points.astype(np.float32).reshape(len(frames), len(self.selected), 3)
        points[:, absent] = np.nan
        size = np.abs(points)
        if not size.max(initial=0) <= FARTHEST:  # or NaN
            lost = ~(size <= FARTHEST).all(axis=2)
            points[lost] = size[lost] = np.nan
        shown = size > 0  # neither zero nor NaN
        for indices in self.blocks.values():
            block = slice(indices[0], indices[-1] + 1)
            points[~shown[:, block].reshape(len(points), -1).any(axis=1), block] = np.nan
        if self.aspect != 1:
            points[:, :, 0] = (points[:, :, 0] - MIDDLE) * self.aspect + MIDDLE
            points[:, :, 2] *= self.aspect
        if self.trim and self._hands:
            seen = ~np.isnan(points[:, self._hands[0].start : self._hands[-1].stop, 0]).all(axis=1)
            if seen.any():
                points = points[seen.argmax() : len(seen) - seen[::-1].argmax()].copy()
        return points

    def features(self, points):
        """Returns `(L, D)` float32, all finite, from points `(T, P, 3)`: the features of each kind, the flags of the blocks,
        and last `valid`: 1 on frames, 0 on padding. Missing throughout: 0, or by the clip as if at 0.

        Normalised by the body, moving the signer in the picture (x, y) or changing the size changes nothing but the place;
        neither do missing values elsewhere.
        """
        features = np.empty(self.output_shape, np.float32)
        self.write_features([points], [features])
        return features

    def write_features(self, clips, out):
        """Writes the features of each of `clips`, an iterable of points, into those of `out`, arrays `(L, D)`: the same as of
        each alone, in a fifth of the time, most of which NumPy's calls take where arrays are small."""
        clips, out = iter(clips), iter(out)
        while some := list(islice(clips, TOGETHER)):
            rows, frames = self._rows(some)
            for own in np.split(rows, np.cumsum(frames)[:-1]):
                features = next(out)
                features[: len(own)], features[len(own) :] = own, 0

    def _rows(self, clips):
        """The features of the frames of several clips `(F, D)`, one clip after the other, and how many each has."""
        points, frames = np.concatenate(clips), np.array([len(points) for points in clips])
        clip = np.repeat(np.arange(len(clips)), frames)  # of each frame
        seen = ~np.isnan(points[:, :, 0])
        centre, scale = self._place(points, seen, clip)
        sizes = [_sizes(points[:, hand], seen[:, hand], clip) for hand in self._hands]
        if self.interpolate:
            interpolate(points, clip)
        if self.normalise == "clip":
            np.nan_to_num(points, copy=False)
        longer = np.full(len(clips), True) if self.long_clips == "stretch" else frames > self.sequence_length
        if longer.any():
            each = np.arange(self.sequence_length)
            moments = np.linspace(0, frames - 1, len(each), axis=1)
            straight = ~longer if self.long_clips != "truncate" else slice(None)
            moments[straight] = each
            moments = moments[np.where(longer, len(each), frames)[:, None] > each]
            start, frames = np.cumsum(frames) - frames, np.where(longer, len(each), frames)
            clip = np.repeat(np.arange(len(clips)), frames)
            points = resample(points, moments, start[clip])
            before, after = around(moments, start[clip])
            seen = seen[before] | seen[after]

        rows, column = np.empty((len(points), self._width + len(self.blocks) + 1), np.float32), 0
        for value in self._values(points, clip, centre, scale, sizes):
            rows[:, column : column + value[0].size] = value.reshape(len(value), -1)
            column += value[0].size
        np.copyto(rows, 0, where=np.isnan(rows))
        for flag, indices in enumerate(self.blocks.values(), column):
            rows[:, flag] = seen[:, indices[0] : indices[-1] + 1].any(axis=1)
        rows[:, -1] = 1
        return rows, frames

    def _values(self, points, clip, centre, scale, sizes):
        """The features of each kind, arrays of `F` rows, from points `(F, P, 3)` of some clips without what is missing for a
        while; the other arguments say of which clip each frame is, and of each clip what `_place` and `_sizes` return."""
        values, start = {kind: [] for kind in KINDS}, np.flatnonzero(np.diff(clip, prepend=-1))
        # Rows of all x and y: NumPy takes ten times as long where its innermost loop is of two numbers.
        position = points.reshape(len(points), -1).take(self._xy, axis=1)
        position -= np.tile(centre[:, :2], points.shape[1])[clip]
        position /= scale[clip, None]
        values["position"] = [np.clip(position, -LIMIT, LIMIT, out=position)]
        if "depth" in self._kinds:
            values["depth"] = [np.clip((points[:, :, 2] - centre[clip, 2:]) / scale[clip, None], -LIMIT, LIMIT)]
        if "velocity" in self._kinds or "acceleration" in self._kinds:
            values["velocity"] = [velocity := steps(position, start)]
            velocity *= GAIN
        if "acceleration" in self._kinds:
            values["acceleration"] = [steps(velocity, start)]
        for hand, size in zip(self._hands, sizes, strict=True):
            place, hand = points[:, hand.start, :2], points[:, hand].reshape(len(points), -1)
            values["place"].append(np.clip(GAIN * (place - MIDDLE), -LIMIT, LIMIT))
            wrist = np.tile(hand[:, :3], hand.shape[1] // 3)
            hand = np.subtract(hand, wrist, out=wrist)
            hand /= size[clip, None]
            hand = np.clip(hand, -LIMIT, LIMIT, out=hand).reshape(len(points), -1, 3)
            values["shape"].append(hand[:, 1:])
            if "distance" in self._kinds:
                values["distance"].append(vector_lengths(hand[:, PAIRS[0]] - hand[:, PAIRS[1]]))
            if "direction" in self._kinds:
                (a, b, c), (u, v, w) = hand[:, INDEX].T, hand[:, LITTLE].T
                arrows = np.stack([b * w - c * v, c * u - a * w, a * v - b * u, *hand[:, KNUCKLE].T]).reshape(2, 3, -1)
                arrows = np.moveaxis(arrows, 2, 0)
                values["direction"].append(arrows / (vector_lengths(arrows)[:, :, None] + EPSILON))
        return [value for kind in self._kinds for value in values[kind]]

    def _place(self, points, seen, clip):
        """What is subtracted from the points of each clip `(B, 3)`, and what they are then divided by `(B,)`."""
        clips = clip[-1] + 1
        centre, scale = np.zeros((clips, 3), np.float32), np.ones(clips, np.float32)
        if self.normalise == "clip":
            for i in range(clips):
                values = np.nan_to_num(points[clip == i, :, : 3 if "depth" in self._kinds else 2])
                centre[i], scale[i] = values.mean(), values.std() + EPSILON
        if self.normalise == "body":
            centre[:, :2], scale = self._body(points, seen, clip)
        return centre, scale

    def _body(self, points, seen, clip):
        """The centre `(B, 2)` and the scale `(B,)` of each clip: the middle of the shoulders and their distance, medians over
        the frames; without shoulders the mean of all points and their root mean square distance from it."""
        shoulders = np.full((clip[-1] + 1, 3), np.nan, np.float32)
        if len(self._shoulders) == 2:
            both = seen[:, self._shoulders].all(axis=1)
            left, right = points[both, self._shoulders[0], :2], points[both, self._shoulders[1], :2]
            measured = np.column_stack([(left + right) / 2, np.hypot(*(left - right).T)])
            shoulders = medians(measured, clip[both], len(shoulders))
        centre, scale = shoulders[:, :2], shoulders[:, 2]
        for i in np.flatnonzero(np.isnan(scale)):
            centre[i], scale[i] = self._cloud(points[clip == i], seen[clip == i])
        return centre, np.maximum(scale, EPSILON)

    def _cloud(self, points, seen):
        if not (count := seen.sum()):
            return 0, 1
        xy = np.nan_to_num(points.reshape(len(points), -1)[:, self._xy])
        centre = xy.sum(axis=0, dtype=float).reshape(-1, 2).sum(axis=0) / count
        squares = np.square(xy - np.tile(centre.astype(np.float32), len(self.selected)))[np.repeat(seen, 2, axis=1)]
        return centre, np.sqrt(squares.sum(dtype=float) / count)


def check_kinds(kinds):
    """Returns the kinds of features that a text names, in the order of KINDS; raises InputError for an unknown one."""
    named = kinds.split("+")
    if unknown := [kind for kind in named if kind not in KINDS]:
        raise InputError(f"features {kinds!r}: unknown kind {unknown[0]!r}; expected some of {', '.join(KINDS)} joined by '+'")
    return tuple(kind for kind in KINDS if kind in named)


def _sizes(hand, seen, clip):
    """How far the middle finger's knuckle is from the wrist of a hand `(F, 21, 3)`, for each clip the median over the frames
    that show both, `(B,)`; NaN without any."""
    both = seen[:, WRIST] & seen[:, KNUCKLE]
    lengths = vector_lengths(hand[both, KNUCKLE] - hand[both, WRIST])
    return np.maximum(medians(lengths[:, None], clip[both], clip[-1] + 1)[:, 0], EPSILON)
