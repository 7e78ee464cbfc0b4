"""What is computed of the points of clips, one clip after the other: filled, resampled, their medians. NumPy and SciPy."""

import numpy as np


def interpolate(points, clip):
    """Puts each point of `(F, P, 3)` that is missing on the line from where it was to where it will be, at the ends of its
    clip where it is next seen; NaN stays where it is never seen. clip: `(F,)`, of which clip each frame is."""
    lost = np.isnan(points[:, :, 0])
    # Neighbours that are lost in the same frames, such as all of a hand, are filled at once.
    first = np.flatnonzero(np.append(True, (lost[:, 1:] != lost[:, :-1]).any(axis=0)))
    for a, b in zip(first, [*first[1:], lost.shape[1]], strict=True):
        some = slice(a, b)
        at, there = np.flatnonzero(lost[:, a]), np.flatnonzero(~lost[:, a])
        if not (len(at) and len(there)):
            continue
        following = np.searchsorted(there, at)
        before, after = there[np.maximum(following - 1, 0)], there[np.minimum(following, len(there) - 1)]
        before_own, after_own = clip[before] == clip[at], clip[after] == clip[at]
        before, after = np.where(before_own, before, after), np.where(after_own, after, before)
        known = before_own | after_own
        at, before, after = at[known], before[known], after[known]
        share = np.clip((at - before) / np.maximum(after - before, 1), 0, 1).astype(points.dtype)[:, None, None]
        own = points[:, some]
        own[at] = own[before] * (1 - share) + own[after] * share


def around(moments, start):
    """Returns the frames before and after each of `moments`, which count from `start`."""
    return start + np.floor(moments).astype(int), start + np.ceil(moments).astype(int)


def resample(points, moments, start=0):
    """Returns `(len(moments), P, C)`: points `(T, P, C)` at `moments` (in frames since `start`, fractions allowed), linear in
    between; where only one of the two frames has the point, that one; NaN where neither has it."""
    from scipy.sparse import csr_array

    before, after = around(moments, start)
    share, count = (moments - np.floor(moments)).astype(points.dtype), len(moments)
    weights, frames = (np.stack(pair, axis=1).ravel() for pair in ((1 - share, share), (before, after)))
    # A row of the matrix for each moment: NumPy, which has to gather, scale and add whole arrays, takes twice as long.
    mixing = csr_array((weights, frames, 2 * np.arange(count + 1)), shape=(count, len(points)))
    mixed = (mixing @ points.reshape(len(points), -1)).reshape(count, *points.shape[1:])
    lost = np.isnan(points[:, :, 0])
    # `np.nonzero` of two dimensions takes eight times as long.
    at, which = np.divmod(np.flatnonzero(lost[before] != lost[after]), points.shape[1])
    if len(at):
        mixed[at, which] = points[np.where(lost[before[at], which], after[at], before[at]), which]
    return mixed


def steps(values, start):
    """What values `(F, N)` changed by since the frame before; 0 in the frames `start`, the first of each clip."""
    steps = np.empty_like(values)
    np.subtract(values[1:], values[:-1], out=steps[1:])
    steps[start] = 0
    return steps


def medians(values, clip, clips):
    """The medians `(clips, N)` of finite values `(F, N)` over the rows of each clip; NaN for a clip without rows."""
    count, every = np.bincount(clip, minlength=clips), np.arange(clips)
    table = np.full((clips, values.shape[1], count.max(initial=1)), np.inf, np.float32)
    table[clip, :, np.arange(len(clip)) - (np.cumsum(count) - count)[clip]] = values
    table.sort(axis=2)
    medians = (table[every, :, np.maximum(count - 1, 0) // 2] + table[every, :, count // 2]) / 2
    medians[count == 0] = np.nan
    return medians


def vector_lengths(vectors):
    """Returns the lengths `(...)` of vectors `(..., 3)`; `np.linalg.norm` over the last axis takes four times as long."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.sqrt(x * x + y * y + z * z)
