"""Random changes of one clip's points that leave its gloss as it is. Pure NumPy."""

from dataclasses import dataclass

import numpy as np

from signlib.landmarks import mirror_permutation
from signlib.preprocess import resample


@dataclass(frozen=True)
class Augment:
    """`augment(points, rng)` returns changed points `(T', P, 3)`; all randomness comes from `rng`.

    The defaults are small against what differs between two signers anyway. `flip` (a probability) is 0 because which
    hand signs can carry the meaning; it needs the `landmarks` that the points are.
    """

    rotation: float = 10.0  # largest angle, degrees
    scale: float = 0.15  # largest relative change of width and of height, independently
    speed: float = 0.2  # largest relative change of the number of frames
    drop_frames: float = 0.05  # share of frames that are forgotten at most, as a detector loses some
    flip: float = 0.0
    landmarks: tuple = ()

    def __call__(self, points, rng):
        """Returns a changed copy of points `(T, P, 3)`, NaN = missing; T' is at least 2."""
        points = resample(points, self._moments(len(points), rng))
        if self.flip and rng.random() < self.flip:
            points = points[:, mirror_permutation(self.landmarks)] * np.float32([-1, 1, 1])
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        stretch = 1 + rng.uniform(-self.scale, self.scale, size=2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * stretch
        changed = points.copy()
        changed[:, :, :2] = points[:, :, :2] @ turn.astype(np.float32)
        changed[rng.random(len(points)) < rng.uniform(0, self.drop_frames)] = np.nan
        return changed

    def _moments(self, frames, rng):
        length = max(2, round(frames * (1 + rng.uniform(-self.speed, self.speed))))
        return np.linspace(0, frames - 1, length)
