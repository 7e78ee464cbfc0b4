"""Random changes of one clip's points that leave its gloss as it is. Pure NumPy."""

from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import mirror_permutation
from signlib.preprocess import MIDDLE, resample

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
        if self.mirror and len(self.landmarks) != points.shape[1]:
            raise InputError(f"{len(self.landmarks)} landmarks of {points.shape[1]} points; expected Preprocessor.selected")
        points = resample(points, self._moments(len(points), rng))
        if self.mirror and rng.random() < self.mirror:
            points = points[:, mirror_permutation(self.landmarks)] * np.float32([-1, 1, 1]) + np.float32([1, 0, 0])
        shift, affine = rng.uniform(-self.shift, self.shift, size=2), np.eye(3)
        affine[:2, :2] = self._affine(rng)
        middle = np.array([MIDDLE, MIDDLE, 0])
        moved = middle - middle @ affine + np.append(shift, 0)
        changed = (points.reshape(-1, 3) @ affine.astype(np.float32)).reshape(len(points), -1)
        changed += np.tile(moved.astype(np.float32), points.shape[1])  # a frame in one row: three times as fast
        changed = changed.reshape(points.shape)
        if self.noise:
            changed += rng.normal(0, self.noise, changed.shape).astype(np.float32)
        changed[rng.random(len(points)) < rng.uniform(0, self.drop_frames)] = np.nan
        if self.drop_landmarks:
            changed[:, rng.random(points.shape[1]) < rng.uniform(0, self.drop_landmarks)] = np.nan
        return changed

    def _affine(self, rng):
        """`(2, 2)`: a rotation, then a stretch of each axis and a shear."""
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shear = rng.uniform(-self.shear, self.shear, size=2)
        stretch = 1 + rng.uniform(-self.scale, self.scale, size=2)
        return turn @ np.array([[1, shear[0]], [shear[1], 1]]) * stretch

    def _moments(self, frames, rng):
        first, last = np.array([1, -1]) * rng.uniform(0, self.crop, size=2) * (frames - 1) + [0, frames - 1]
        length = max(2, round((last - first + 1) * (1 + rng.uniform(-self.speed, self.speed))))
        warp = rng.uniform(-self.warp, self.warp) * (last - first) / np.pi
        return np.linspace(first, last, length) + warp * np.sin(np.pi * np.linspace(0, 1, length))
