"""The same recording under other ids, found from the keypoints themselves: trimmed, scaled, shifted, mirrored, at another
frame rate, or all of these. Repeated takes of one sign are no copies."""

import warnings

import numpy as np

from signlib.points import resample

# What is kept of a clip: of each hand the wrist, four finger tips, two knuckles; of the pose shoulders, elbows, wrists and
# nose. Both of a left-right pair are in it, so that a sketch can be mirrored.
HAND, POSE = (0, 4, 8, 12, 20, 5, 17), (11, 13, 15, 12, 14, 16, 0)
KEPT = [(hand, i) for hand in ("left_hand", "right_hand") for i in HAND] + [("pose", i) for i in POSE]
HANDS, WRISTS, SHOULDERS = 2 * len(HAND), [0, 7], [14, 17]
FEW = [0, 2, 4, 7, 9, 11]  # enough of them to turn most pairs down
EXCHANGED = [*range(7, 14), *range(7), 17, 18, 19, 14, 15, 16, 20]
CHANGES = {"": (False, 1), "mirrored": (True, -1), "mirrored with the hands as they were": (False, -1)}  # exchange, sign of x

# The limits were measured on webcam13 (2,878 takes of 13 words), webcam10 and wlasl300, with planted copies of 19 kinds.
# First, of each clip those with much the same hands at the same quantiles of time.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)  # symmetric, so that a mirrored clip's follow from its own
NEIGHBOURS = 20  # with up to 220 takes a word, 30 find 2 more of 1,140 planted copies and take 1.4 times as long
# Then frames of the clip of the lower frame rate are looked up in the other one: do they lie on a line in time?
SAMPLES, MIDDLE = 16, (0.15, 0.85)  # of the frames with a hand
RATES = (0.9, 3.0)  # the clips are asked about each other; below 1 only as far as a rate close to 1 is guessed badly
MAX_LOOK, MAX_COST = 0.4, 0.35  # hand sizes and its square, up to 1; 95 % of the copies of any kind: at most 0.37 and 0.26
# Then what remains of the movement after the best line, scale and shift. What lasts from a frame to the next, which noise does
# not, is at most 0.026 in 95 % of the copies of any kind (0.046 where every fifth frame is repeated), at least 0.039 between
# takes, but for 2 of 12,000 pairs, and 0.09 in 99 % of webcam13's. All of the rest is at most 0.25 in 95 % of copies with a
# jitter of 0.002 of the picture, the kind with most; twice as much as in the nearest takes, hence no sign by itself.
MAX_RESIDUAL, MAX_LASTING = 0.25, 0.035
MIN_OVERLAP, MIN_TOGETHER = 0.7, 0.65  # of the shorter clip; of the hands found in either. 95 % of the copies: 0.96 and 0.75
MIN_FRAMES, MIN_MOVEMENT = 6, 0.1  # frames with a hand that differ; hand sizes: identical clips of wlasl300 go down to 0.12
SCREENS, BLOCK = ((2, 0.6), (3, 0.3)), 1000  # steps of a quick fit and the largest residual after it; pairs fitted at once


def sketch(points, blocks):
    """Returns what is kept of a clip to find its copies: x and y of 21 landmarks, `(T, 21, 2)` float32, NaN where missing.

    points: `(T, P, 3)`, NaN = missing. blocks: {block: indices of its points}; a block that is not there is missing.
    """
    kept = np.full((len(points), len(KEPT), 2), np.nan, np.float32)
    for k, (block, index) in enumerate(KEPT):
        if block in blocks:
            kept[:, k] = points[:, blocks[block][index], :2]
    return kept


def find_copies(sketches):
    """Returns `[(id, other id, how)]`, sorted: clips that show the same recording, and in words how the other differs.

    sketches: {video_id: what `sketch` returned}. Clips with hardly any hand or movement, or frozen ones, are in none: of them
    nothing can be proved. A group of copies is connected by its pairs; not every pair of it need be there.
    """
    if len(sketches) < 2:
        return []
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1, user_api="blas"):  # many small products
        warnings.simplefilter("ignore", RuntimeWarning)  # medians and means of nothing: NaN, which is below no limit
        ids = sorted(i for i, xy in sketches.items() if _moves(xy))
        if len(ids) < 2:
            return []
        xy, found = [sketches[i] for i in ids], {}
        looks = [_looks(one) for one in xy]
        summaries = np.stack([_summary(one) for one in looks])
        finder = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, len(ids)), algorithm="brute")
        finder.fit(summaries.reshape(len(ids), -1))
        for change in CHANGES:
            asked = _change(summaries, change)
            if CHANGES[change][1] < 0:
                asked[..., :14:2] = asked[:, ::-1, :, :14:2]  # the lowest x are the highest now
            asked = asked.reshape(len(ids), -1)
            near = [set() for _ in ids]
            for i, others in enumerate(finder.kneighbors(asked, return_distance=False).tolist()):
                near[i].update(others)
                for j in others:
                    near[j].add(i)
            lines = []
            for i, others in enumerate(near):
                if others := sorted(j for j in others - {i} if (min(i, j), max(i, j)) not in found):
                    lines += [(i, *line) for line in _lines(_change(looks[i], change), others, looks)]
            for steps, limit in SCREENS:
                lines = _screened(lines, change, xy, looks, steps, limit)
            for i, j, rate, start in lines:
                if (min(i, j), max(i, j)) not in found and (fit := _copy(_changed(xy[i], change), xy[j], rate, start)):
                    found[min(i, j), max(i, j)] = _how(change, len(xy[i]), len(xy[j]), *fit, turned=i > j)
    return [(ids[i], ids[j], how) for (i, j), how in sorted(found.items())]


def _changed(xy, change):
    exchange, sign = CHANGES[change]
    return (xy[:, EXCHANGED] if exchange else xy) * np.float32([sign, 1])


def _change(looks, change):
    """Looks `(..., 2, 15)` of the changed clip."""
    exchange, sign = CHANGES[change]
    changed = looks[..., ::-1, :].copy() if exchange else looks.copy()
    changed[..., :14:2] *= sign
    return changed


def _hands(xy):
    """Each hand's points from its wrist `(T, 2, 6, 2)`, and its size `(T, 2)`."""
    hands = xy[:, :HANDS].reshape(len(xy), 2, len(HAND), 2)
    shape = hands[:, :, 1:] - hands[:, :, :1]
    return shape, np.sqrt((shape**2).sum(3).mean(2))


def _moves(xy):
    """Whether there is enough to compare in a clip: hands, in frames that differ, which move."""
    hands, size = xy[:, :HANDS], _hands(xy)[1]
    steps = (np.abs(np.diff(hands, axis=0)) > 0).any((1, 2)).sum()
    if min(steps + 1, np.isfinite(size).any(1).sum()) < MIN_FRAMES:
        return False
    return np.sqrt(np.nanmean(np.nanvar(hands, axis=0).sum(1))) >= MIN_MOVEMENT * np.nanmedian(size)


def _looks(xy):
    """What each frame `(T, 21, 2)` shows, `(T, 2, 15)`: for each hand its shape whatever its size, where it is as far as that
    can be said without knowing size and place of the signer, and 1; all 0 where the hand is missing."""
    shape, size = _hands(xy)
    at = xy[:, SHOULDERS] if np.isfinite(xy[:, SHOULDERS]).any() else xy[:, WRISTS]
    centre = np.median(at[np.isfinite(at).all(2)], axis=0)
    place = 0.3 * (xy[:, WRISTS] - centre) / np.median(size[np.isfinite(size)])
    parts = [(shape / size[:, :, None, None]).reshape(len(xy), 2, 12), place, np.ones((len(xy), 2, 1))]
    looks = np.concatenate(parts, axis=2).astype(np.float32)
    return np.where(np.isfinite(looks).all(2, keepdims=True), looks, 0)


def _summary(looks):
    """What is compared first, `(5, 2, 15)`: quantiles over time, which trimming and another frame rate hardly change."""
    summary = np.zeros((len(QUANTILES), 2, 15), np.float32)
    for hand in (0, 1):
        seen = looks[looks[:, hand, 14] > 0, hand]
        if len(seen):
            summary[:, hand] = np.quantile(seen, QUANTILES, axis=0) * np.sqrt(len(seen) / len(looks))
            summary[:, hand, 14] = len(seen) / len(looks)
    return summary


def _moments(looks, count):
    """`count` frames `(count,)` of a clip, spread evenly over the middle of those with a hand."""
    seen = np.flatnonzero(looks[:, :, 14].any(1))
    return seen[np.linspace(*np.multiply(MIDDLE, len(seen) - 1), count).round().astype(int)]


def _lines(look, others, looks):
    """[(number, rate, start)] of those of `others` in which frame t of what is asked is found near frame rate x t + start."""
    moments, lengths = _moments(look, SAMPLES), np.array([len(looks[j]) for j in others])
    asked, every = look[moments].reshape(-1, 30), np.concatenate([looks[j] for j in others]).reshape(-1, 30)
    first = np.cumsum(lengths) - lengths
    far = np.maximum((asked**2).sum(1)[:, None] + (every**2).sum(1) - 2 * asked @ every.T, 0)
    good = np.flatnonzero(np.median(np.minimum.reduceat(far, first, axis=1), axis=0) < MAX_LOOK**2)
    if not len(good):
        return []
    best = np.stack([far[:, first[g] : first[g] + lengths[g]].argmin(1) for g in good])
    one, two = np.triu_indices(SAMPLES, 1)
    rate = (best[:, two] - best[:, one]) / (moments[two] - moments[one])
    which, line = np.nonzero((rate >= RATES[0]) & (rate <= RATES[1]))
    rate, g = rate[which, line], good[which]
    start = best[which, one[line]] - rate * moments[one[line]]
    where = np.rint(start[:, None] + rate[:, None] * moments).astype(int)
    inside = (where >= 0) & (where < lengths[g, None])
    cost = np.where(inside, np.minimum(far[np.arange(SAMPLES), np.where(inside, where + first[g, None], 0)], 1), 1).mean(1)
    order = np.lexsort((cost, g))
    order = order[np.unique(g[order], return_index=True)[1]]
    return [(others[g[n]], rate[n], start[n]) for n in order if cost[n] < MAX_COST]


def _screened(lines, change, xy, looks, steps, limit):
    """The lines (i, j, rate, start), refined, without those that a fit to few points and moments turns down."""
    kept = []
    for begin in range(0, len(lines), BLOCK):
        block = lines[begin : begin + BLOCK]
        moments = np.stack(
            [np.minimum(_moments(looks[i], SAMPLES)[::2, None] + [0, 1], len(xy[i]) - 1).ravel() for i, *_ in block]
        )
        asked = np.stack([_changed(xy[i][t], change)[:, FEW] for (i, *_), t in zip(block, moments, strict=True)])
        line = np.transpose([line[2:] for line in block])
        fit = _fit(asked, moments, [xy[j][:, FEW] for _, j, *_ in block], *line, steps)
        keep = (fit[4] < limit) & (fit[5] < MAX_LASTING + limit * fit[4])
        kept += [(*block[n][:2], fit[0][n], fit[1][n]) for n in np.flatnonzero(keep)]
    return kept


def _copy(xy, other, rate, start):
    """(rate, start, scale, shift) where `xy` is a copy of `other`, None where it is not."""
    fit = _fit(xy[None], np.arange(len(xy))[None], [other], np.array([rate]), np.array([start]), steps=2)
    rate, start, scale, shift, residual, lasting = (value[0] for value in fit)
    at = rate * np.arange(len(xy)) + start
    inside = (at > -0.5) & (at < len(other) - 0.5)
    if inside.sum() < max(MIN_FRAMES, MIN_OVERLAP * min(len(xy), len(other) / rate)) or not (
        residual < MAX_RESIDUAL and lasting < MAX_LASTING
    ):
        return None
    a, b = (
        np.isfinite(v[:, WRISTS, 0]) for v in (xy[inside], other[np.clip(at[inside].round().astype(int), 0, len(other) - 1)])
    )
    return (rate, start, scale, shift) if (a & b).sum() >= MIN_TOGETHER * (a | b).sum() and min(scale) > 0.2 else None


def _fit(xy, moments, others, rate, start, steps=4):
    """Fits `xy = scale * other(rate * t + start) + shift` by least squares, in each of J pairs.

    xy: `(J, S, K, 2)` at the moments `(J, S)`; others: J arrays `(T, K, 2)`; rate, start: `(J,)`, to begin with. Returns rate,
    start `(J,)`, scale, shift `(J, 2)`, and as shares of the movement what remains: its median over the frames, and the part of
    it that lasts from a frame to the next, which noise does not.
    """
    ends, every = np.cumsum([len(other) for other in others])[:, None], np.concatenate(others)
    first, last = ends - np.array([[len(other)] for other in others]), ends - 1
    middle = moments.mean(1)
    t, start = moments - middle[:, None], start + rate * middle
    usable = np.ones(t.shape, bool)
    for step in range(steps):
        at = first + start[:, None] + rate[:, None] * t
        inside = (at > first - 0.5) & (at < last + 0.5)
        b, early, late = (
            resample(every, np.clip(at + d, first, last).ravel()).reshape(xy.shape).astype(float) for d in (0, -0.5, 0.5)
        )
        good = (np.isfinite(xy + b).all(3) & inside[..., None])[..., None]
        w = good & usable[:, :, None, None]
        total = np.maximum(w.sum((1, 2)), 1)[:, None, None]
        mean_a, mean_b = (np.where(w, v, 0).sum((1, 2))[:, None, None] / total for v in (xy, b))
        a, b, slope = np.where(good, xy - mean_a, 0), np.where(good, b - mean_b, 0), np.where(w, np.nan_to_num(late - early), 0)
        scale = (a * b * w).sum((1, 2)) / np.maximum((b * b * w).sum((1, 2)), 1e-12)
        slope = slope * scale[:, None, None]
        design = np.zeros((*b.shape, 6))  # of x and of y: scale, shift; of both: start, rate
        design[..., 0, 0], design[..., 1, 1] = (b * w)[..., 0], (b * w)[..., 1]
        design[..., 0, 2] = design[..., 1, 3] = w[..., 0]
        design[..., 4], design[..., 5] = slope, slope * t[:, :, None, None]
        design = design.reshape(len(xy), -1, 6)
        turned = design.transpose(0, 2, 1)
        gram = turned @ design
        gram += (1e-9 * np.trace(gram, axis1=1, axis2=2) + 1e-12)[:, None, None] * np.eye(6)
        answer = np.linalg.solve(gram, turned @ (a * w).reshape(len(xy), -1, 1))[..., 0]
        scale, shift = answer[:, :2], answer[:, 2:4]
        rest = np.where(good, a - b * scale[:, None, None] - shift[:, None, None], 0)
        frame = np.sqrt((rest**2).sum((2, 3)) / good.sum((2, 3)))  # NaN where nothing is in both
        median = np.sort(frame, axis=1)[np.arange(len(frame)), np.isfinite(frame).sum(1) // 2]  # NaN are sorted to the end
        usable = frame <= 3 * median[:, None]
        if step < steps - 1:
            start, rate = start + np.clip(answer[:, 4], -2, 2), np.clip(rate + answer[:, 5], 0.5, 4)
    movement = np.sqrt(np.nanmean(np.nanvar(np.where(good, xy, np.nan), axis=1).sum(2), axis=1))
    next_to = (usable[:, 1:] & usable[:, :-1] & (np.diff(moments) == 1))[:, :, None] & good[:, 1:, :, 0] & good[:, :-1, :, 0]
    lasting = ((rest[:, 1:] * rest[:, :-1]).sum(3) * next_to).sum((1, 2)) / next_to.sum((1, 2))
    shift = (mean_a - mean_b * scale[:, None, None])[:, 0, 0] + shift
    return rate, start - rate * middle, scale, shift, median / movement, np.sqrt(np.maximum(lasting, 0)) / movement


def _how(change, length, other_length, rate, start, scale, shift, turned):
    """In words: what the second clip is of the first one. The fit gives the first by the second, or `turned` the other way."""
    size, sign = 1 / np.sqrt(scale[0] * scale[1]), CHANGES[change][1]
    longer = other_length - rate * length
    if turned:
        rate, size, longer = 1 / rate, 1 / size, -longer / rate
    frames = round(abs(longer))
    words = [change] if change else []
    if abs(np.log(rate)) > 0.04:
        words.append(f"{rate:.2f} times the frame rate")
    if frames > (abs(np.log(rate)) > 0.04):
        words.append(f"{frames} frame{'s' * (frames > 1)} {'longer' if longer > 0 else 'shorter'}")
    if abs(np.log(size)) > 0.05:
        words.append(f"{size:.2f} times the size")
    if abs(np.log(scale[0] / scale[1])) > 0.1:
        words.append("stretched")
    if np.hypot(*(scale / 2 + shift - [sign / 2, 0.5])) > 0.03:
        words.append("shifted")
    return ", ".join(words) or "the same movement"
