"""Random changes of one clip's points that leave its gloss as it is. Pure NumPy."""

from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import mirror_permutation
from signlib.points import resample
from signlib.preprocess import MIDDLE

# Beyond these a clip would run backwards, be turned inside out, or vanish.
LARGEST = {
    **{"mirror": 1, "rotation": 180, "scale": 0.9, "shear": 0.9, "shift": 1, "noise": 1},
    **{"speed": 0.9, "warp": 1, "crop": 0.5, "drop_frames": 1, "drop_landmarks": 1},
}


@dataclass(frozen=True)
class Augment:
    """`augment(points, rng)` returns changed points `(T', P, 3)`; all randomness comes from `rng`.

    landmarks: what the points are, `Preprocessor.selected`; `mirror` needs it. Raises InputError where it does not fit the
    points, and for a limit beyond `LARGEST`. The defaults were chosen on the validation clips of wlasl300, near
    those of the first place of Google's isolated sign language recognition of 2023 (hoyso48).
    """

    landmarks: tuple = ()
    mirror: float = 0.0  # probability; left and right exchanged, as a left-handed signer does it
    rotation: float = 20.0  # largest angle, degrees
    scale: float = 0.15  # largest relative change of width and of height, independently
    shear: float = 0.2  # largest shift of x by y, and of y by x
    shift: float = 0.1  # largest, of the whole clip, in sizes of the picture; what is relative to the body does not notice
    speed: float = 0.2  # largest relative change of the number of frames
    warp: float = 0.4  # largest relative change of speed at the start, with the opposite one at the end
    crop: float = 0.15  # share of the frames that is cut off at either end, at most
    drop_frames: float = 0.05  # share of frames that are forgotten, at most, as a detector loses some
    drop_landmarks: float = 0.0  # share of landmarks that are forgotten throughout, at most
    noise: float = 0.0  # standard deviation of each coordinate in each frame, in sizes of the picture

    def __post_init__(self):
        for name, largest in LARGEST.items():
            if not 0 <= getattr(self, name) <= largest:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 to {largest}")
        if self.mirror:
            mirror_permutation(self.landmarks)

    def __call__(self, points, rng):
        """Returns a changed copy of points `(T, P, 3)`, NaN = missing; T' is at least 2."""
        return self.each([points], [rng])[0]

    def each(self, clips, rngs, most=np.inf):
        """Returns a changed copy of each of the clips' points, each the same as alone with its rng: together they take NumPy
        a third of the time. most: frames that a copy has, at most; a longer one would only be resampled once more."""
        if self.mirror and (odd := [clip for clip in clips if clip.shape[1] != len(self.landmarks)]):
            raise InputError(f"{len(self.landmarks)} landmarks of {odd[0].shape[1]} points; expected Preprocessor.selected")
        draws = np.array([rng.uniform(-1, 1, 13) for rng in rngs]).T
        mirrored, affine = draws[0] < 2 * self.mirror - 1, self._affine(*draws[1:8])
        moments, frames, start = self._moments(np.array([len(points) for points in clips]), most, *draws[8:12])
        points = resample(np.concatenate(clips), moments, np.repeat(start, frames))
        changed = np.split(points, np.cumsum(frames)[:-1])
        for i in np.flatnonzero(mirrored):
            changed[i][:] = changed[i][:, mirror_permutation(self.landmarks)] * np.float32([-1, 1, 1]) + np.float32([1, 0, 0])
        for some, matrix in zip(changed, affine, strict=True):
            np.matmul(some.reshape(-1, 3), matrix[:3], out=some.reshape(-1, 3))
        rows = points.reshape(len(points), -1)  # a frame in each: three times as fast as rows of three numbers
        rows += np.repeat(np.tile(affine[:, 3], points.shape[1]), frames, axis=0)
        for some, rng, forgotten in zip(changed, rngs, (1 + draws[12]) / 2, strict=True):
            if self.noise:
                some += rng.normal(0, self.noise, some.shape).astype(np.float32)
            some[rng.random(len(some)) < forgotten * self.drop_frames] = np.nan
            if self.drop_landmarks:
                some[:, rng.random(some.shape[1]) < rng.uniform(0, self.drop_landmarks)] = np.nan
        return changed

    def _affine(self, angle, shear_x, shear_y, stretch_x, stretch_y, shift_x, shift_y):
        """`(B, 4, 3)`: what points are multiplied with, a rotation, then a stretch of each axis and a shear, about the middle
        of the picture; last what is then added."""
        angle = np.deg2rad(self.rotation * angle)
        cos, sin, shear_x, shear_y = np.cos(angle), np.sin(angle), self.shear * shear_x, self.shear * shear_y
        stretch = 1 + self.scale * np.array([stretch_x, stretch_y])
        affine = np.zeros((len(angle), 4, 3))
        affine[:, 0, :2] = (np.array([cos + sin * shear_y, cos * shear_x + sin]) * stretch).T
        affine[:, 1, :2] = (np.array([cos * shear_y - sin, cos - sin * shear_x]) * stretch).T
        affine[:, 2, 2] = 1
        middle = np.array([MIDDLE, MIDDLE, 0])
        affine[:, 3] = middle - middle @ affine[:, :3]
        affine[:, 3, :2] += self.shift * np.column_stack([shift_x, shift_y])
        return affine.astype(np.float32)

    def _moments(self, frames, most, first, last, speed, warp):
        """The moments of all clips, one clip after the other; how many each has, and the frame at which it starts."""
        start, end = np.cumsum(frames) - frames, frames - 1
        first, last = end * self.crop * (1 + first) / 2, end * (1 - self.crop * (1 + last) / 2)
        count = np.clip(np.round((last - first + 1) * (1 + self.speed * speed)), 2, most).astype(int)
        clip = np.repeat(np.arange(len(frames)), count)
        time = (np.arange(count.sum()) - (np.cumsum(count) - count)[clip]) / (count[clip] - 1)
        span = last - first
        moments = first[clip] + time * span[clip] + (self.warp * warp * span / np.pi)[clip] * np.sin(np.pi * time)
        return np.minimum(moments, last[clip]), count, start
