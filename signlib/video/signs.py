"""Where signs begin and end in a stream of frames: `SignFinder`, from the motion of the hands. Pure NumPy.

Lengths are in shoulder widths, times in seconds, so that neither the signer's size nor the frame rate counts.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from signlib.landmarks import LEFT_SHOULDER, RIGHT_SHOULDER, columns
from signlib.video import LAYOUT

UP, DOWN = 1.0, 1.05  # below the shoulders: a hand above UP signs, one below DOWN rests. At rest it is at 1.2 to 1.4, in WLASL
REST = 0.3  # seconds without a hand up after which a sign is over; so long may detection fail, or a hand dip
STILL = 0.6  # seconds without motion after which one is: of wlasl300's clips 13 % hold as long in their midst, of 0.4 s 32 %
HOLD = 0.2  # of these belong to the sign: most end in a hold
STEADY = 0.1  # what stays within is still: MediaPipe's own tremble is a third of it
MOVE = 0.2  # what moves farther within WINDOW begins a sign after a hold; what never does is none
WINDOW = 0.2  # seconds
RISE, SINKING = 0.15, 1.0  # after a hold, hands that never rise so far and are down within SINKING seconds only sink
SHORTEST = 0.2  # seconds with a hand up, of a sign
LONGEST = 6.0  # seconds, after which a sign is cut: of wlasl300's clips two in a thousand are longer
BEFORE, LEAD = 0.4, 0.1  # seconds in which the begin of a motion is looked for, and which are kept before that
SMOOTH = 2.0  # seconds over which the shoulders' width is averaged

_WRIST_AND_TIPS = (0, 4, 8, 12, 16, 20)
# Of each hand the pose's wrist, which is nearly always found, then the wrist and the finger tips of the hand itself.
_POINTS = [
    [("pose", wrist), *((hand, index) for index in _WRIST_AND_TIPS)] for wrist, hand in ((15, "left_hand"), (16, "right_hand"))
]
_LANDMARKS = (LEFT_SHOULDER, RIGHT_SHOULDER, *_POINTS[0], *_POINTS[1])
_XY = columns(LAYOUT, _LANDMARKS)[:, None] + np.arange(2)


@dataclass(frozen=True)
class Sign:
    """A sign: when the hands began to move and when they were at rest again, or stopped; when that was detected; the frames
    `(T, 1629)`, from LEAD before its begin to its end, and the `times` of these `(T,)`. All in seconds of the stream."""

    begin: float
    end: float
    detected: float
    frames: np.ndarray
    times: np.ndarray


class SignFinder:
    """Finds signs in a stream of frames of layout 1629.

    A sign begins when a hand is moved up from rest, or moves after a hold. It ends when no hand has been up for REST seconds
    (detected REST after its end) or the hands have been still for STILL seconds (detected STILL - HOLD after it), and is cut
    after LONGEST. Hands that only sink after a hold, or hardly move, are none.

    aspect: width / height of the pictures: x is counted in widths, y in heights.
    """

    def __init__(self, aspect=1.0):
        self._body = _Body(aspect)
        self._recent = deque()  # the last frames, as long as is looked back
        self._sign = None  # the frames since LEAD before the begin of the sign under way
        self._held = False  # the hands are up, and have been still since the last sign, or that was cut
        self._over = -np.inf  # when that ended

    @property
    def signing(self):
        """Whether a sign is under way."""
        return self._sign is not None

    def add(self, seconds, row):
        """Takes the frame `(1629,)` at so many seconds, later than the one before. Returns the `Sign` whose end it shows, or
        None."""
        points, up = self._body.points(seconds, row)
        frame = _Frame(seconds, row, points, up)
        while len(self._recent) > 1 and self._recent[1].seconds < seconds - max(STILL, BEFORE + LEAD):
            self._recent.popleft()
        self._recent.append(frame)
        if self.signing:
            self._sign.append(frame)
            return self._look_for_end(seconds)
        if self._held:
            if seconds - self._last_up(self._recent) >= REST:
                self._held = False
            elif self._spread(WINDOW) > MOVE:
                self._begin(after_hold=True)
        elif up.any():
            self._begin(after_hold=False)
        return None

    def finish(self):
        """Returns the `Sign` that is still under way at the end of the stream, or None."""
        if not self.signing:
            return None
        return self._end(self._last_up(self._sign))

    def _begin(self, after_hold):
        earliest = max(self._recent[-1].seconds - BEFORE - LEAD, self._over)
        recent = [frame for frame in self._recent if frame.seconds >= earliest]
        up = self._recent[-1].up
        wrists = np.array([frame.points[up if up.any() else ~up, 0] for frame in recent])  # (T, hands, 2)
        known = ~np.isnan(wrists).any(axis=(1, 2))
        start = 0
        if known.any():
            away = np.hypot(*np.moveaxis(wrists - wrists[known.argmax()], -1, 0)).max(axis=1)
            start = np.flatnonzero(away < STEADY)[-1]
        self._began, self._after_hold = recent[start].seconds, after_hold
        self._sign = [frame for frame in recent if frame.seconds >= self._began - LEAD]
        self._held = False

    def _look_for_end(self, seconds):
        if seconds - (last := self._last_up(self._sign)) >= REST:
            return self._end(last)
        if seconds - self._began >= STILL and self._spread(STILL) <= STEADY:
            self._held = True
            return self._end(seconds - STILL + HOLD)
        if seconds - self._began >= LONGEST:
            self._held = True
            return self._end(seconds)
        return None

    def _end(self, end):
        """The sign under way, or None where that is none; afterwards none is."""
        frames, detected = self._sign, self._sign[-1].seconds
        self._sign, self._over = None, end
        frames = [frame for frame in frames if frame.seconds <= end]
        points = np.array([frame.points for frame in frames])
        if _spread(points) <= MOVE or end - next((f.seconds for f in frames if f.up.any()), end) < SHORTEST:
            return None
        if self._after_hold and end - self._began < SINKING and _rise(points[:, :, 0, 1]) < RISE:
            return None
        return Sign(
            self._began, end, detected, np.array([frame.row for frame in frames]), np.array([f.seconds for f in frames])
        )

    def _last_up(self, frames):
        """When a hand was last up; where it is not in these frames, just before them."""
        return next((frame.seconds for frame in reversed(frames) if frame.up.any()), frames[0].seconds)

    def _spread(self, seconds):
        """How far the hands have moved within the last seconds: those that were up, or both where none was."""
        since = self._recent[-1].seconds - seconds
        count = sum(frame.seconds > since for frame in self._recent)
        recent = list(self._recent)[-count - 1 :]  # and the one before: between two frames much may happen
        up = np.any([frame.up for frame in recent], axis=0)
        return _spread(np.array([frame.points[up if up.any() else ~up] for frame in recent]))


@dataclass(frozen=True)
class _Frame:
    seconds: float
    row: np.ndarray
    points: np.ndarray  # (2 hands, 7 points, 2), from the middle of the shoulders in their widths; NaN where not found
    up: np.ndarray  # (2,) bool


class _Body:
    """Where the hands are in the signer's own measure."""

    def __init__(self, aspect):
        self._aspect, self._width, self._middle, self._seen, self._up = aspect, None, None, None, np.array([False, False])

    def points(self, seconds, row):
        """(points, up) as `_Frame` has them. Without shoulders as last seen; before any were, nothing is found."""
        xy = np.asarray(row, float)[_XY]
        xy[~np.isfinite(xy).all(axis=1) | ~xy.any(axis=1)] = np.nan
        xy[:, 0] *= self._aspect
        left, right = xy[:2]
        width = np.hypot(*(left - right))
        if width > 0:  # neither NaN nor nothing
            share = 1 if self._width is None else 1 - np.exp(-(seconds - self._seen) / SMOOTH)
            self._width = width if self._width is None else self._width + share * (width - self._width)
            self._middle, self._seen = (left + right) / 2, seconds
        if self._width is None:
            return np.full((2, 7, 2), np.nan), np.array([False, False])
        points = ((xy[2:] - self._middle) / self._width).reshape(2, 7, 2)
        wrists = np.where(np.isnan(points[:, 0, 1]), points[:, 1, 1], points[:, 0, 1])
        self._up = wrists < np.where(self._up, DOWN, UP)  # NaN is not
        return points, self._up


def _spread(points):
    """The largest distance that any point of `(T, hands, 7, 2)` spans, by its box; 0 where none is found."""
    low, high = np.fmin.reduce(points), np.fmax.reduce(points)
    sides = np.hypot(*np.moveaxis(high - low, -1, 0))
    return np.fmax.reduce(sides, axis=None, initial=0)


def _rise(heights):
    """How far any hand of `(T, hands)`, y down, rises above where it was before."""
    lowest = np.fmax.accumulate(heights)
    return np.fmax.reduce(lowest - heights, axis=None, initial=0)
