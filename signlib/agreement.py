"""Whether clips agree with the layout that they are read by: where the wrists lie, and whether left is left."""

import itertools
import warnings

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import LAYOUTS, LEFT_SHOULDER, RIGHT_SHOULDER, starts

# A hand agrees when its wrist lies within WRIST_LIMIT shoulder widths of the pose's wrist of its side, and at most half as
# far as from the other one. Measured on 60 clips each of webcam13 and webcam10: the distance's median is 0.08, its 99th
# percentile 0.56; 99.6 and 95 % of the hands agree, in any other order of the blocks at most 52 %. "Half as far" is for
# orders that take neighbours in the face for all four wrists: without it one of them reached 99 %.
# A single clip of webcam10 agrees in 61 % or more of its hands, and in 2 % or less when 1629 is taken for 543 or the other way.
WRIST_LIMIT, WRIST_SHARE, WRIST_MARGIN = 0.5, 0.75, 0.5
ENOUGH = 10  # hands, or frames: of fewer nothing is said


def check_layout(samples, name, guessed=True, max_odd_share=0.2):
    """Raises InputError unless clips agree with layout `name`: the wrist of a detected hand mostly lies at the pose's wrist
    of its side.

    samples: {video_id: frames `(T, F)`}. guessed: nobody named the layout; one that was named is refused only where
    another order of its values agrees, otherwise it is warned of. max_odd_share: of the clips that alone agree with
    another order. Up to it they are warned of, as is what is mirrored: the shoulders, or without a pose the hands.
    Without a pose, or where hardly a hand is detected, nothing can be said.
    """
    blocks, everything = LAYOUTS[name].blocks, list(samples.values())
    if order := better_order(everything, name, itertools.permutations(blocks)):
        line = f'"mine": Layout(({LAYOUTS[name].width},), {order})'
        advice = order if order in LAYOUTS else f"mine, after adding {line} to LAYOUTS in signlib/landmarks.py"
        raise InputError(
            f"{_misfit(name, *_wrists(everything, blocks))}. {order_name(order).capitalize()} fits: set LAYOUT to {advice}"
        )
    odd = {video_id: order for video_id, frames in samples.items() if (order := better_order([frames], name))}
    if odd:
        mixture = (
            f"{len(odd)} of {len(samples)} clips that were looked at hold their values in another order than layout {name}: "
            f"{', '.join(list(odd)[:5])}. Such clips fit {order_name(next(iter(odd.values())))}. Expected one order in a "
            "folder: move them to one of their own, or extract them again"
        )
        if len(odd) > max_odd_share * len(samples):
            raise InputError(mixture)
        warnings.warn(mixture, stacklevel=3)
    rest = {video_id: frames for video_id, frames in samples.items() if video_id not in odd}
    share, hands, fewest = _wrists(rest.values(), blocks)
    if hands >= ENOUGH and share < WRIST_SHARE:
        misfit = _misfit(name, share, hands, fewest)
        if guessed:
            raise InputError(f"{misfit}. If you are sure that it is {name}, set LAYOUT to it")
        warnings.warn(misfit, stacklevel=3)
    elif hands < ENOUGH and guessed and (others := _same_width(name)):
        warnings.warn(
            f"the values are taken for layout {name}; {', '.join(others)} has as many, and too few hands are detected to "
            "tell. Set LAYOUT to the one that it is",
            stacklevel=3,
        )
    _check_mirrored(rest, blocks)


def better_order(samples, name, unusual=()):
    """Returns the order that clips, a list of frames `(T, F)`, agree with clearly more than with layout `name`: the name of
    another layout, or else the tuple of its blocks, with the hands exchanged or in one of the `unusual` orders. None:
    `name` is as good as any."""
    blocks = LAYOUTS[name].blocks
    exchange = {"left_hand": "right_hand", "right_hand": "left_hand"}
    exchanged = tuple((exchange.get(block, block), *rest) for block, *rest in blocks)
    own = _share(samples, blocks)
    known = {other: _share(samples, LAYOUTS[other].blocks) for other in _same_width(name)}
    if known and max(known.values()) >= own + WRIST_MARGIN:
        return max(known, key=known.get)
    shares = {exchanged: share} if (share := _share(samples, exchanged)) >= own + WRIST_MARGIN else {}
    for order in unusual if own < WRIST_SHARE else ():
        share, _, fewest = _wrists(samples, order)
        if share >= WRIST_SHARE and fewest >= ENOUGH:  # blocks are taken for others by chance: each hand must be seen
            shares.setdefault(order, share)
    return max(shares, key=shares.get, default=None)


def astray(frames, name):
    """Returns the share of the detected hands in one clip `(T, F)` that lie elsewhere than at the pose's wrist of their side; 0
    where hardly a hand or no pose is detected."""
    share, hands, _ = _wrists([frames], LAYOUTS[name].blocks)
    return 1 - share if hands >= ENOUGH else 0.0


def mirrored(frames, blocks, pair=(LEFT_SHOULDER, RIGHT_SHOULDER)):
    """Returns, of each frame in which both landmarks of a pair are seen, whether the left one stands left in the picture."""
    gap = _place(frames, blocks, *pair[0])[:, 0] - _place(frames, blocks, *pair[1])[:, 0]
    return gap[~np.isnan(gap)] < 0


def _same_width(name):
    return [other for other, layout in LAYOUTS.items() if other != name and layout.width == LAYOUTS[name].width]


def _share(samples, blocks):
    """The share of the detected hands that agree; 0 where too few are detected."""
    share, hands, _ = _wrists(samples, blocks)
    return share if hands >= ENOUGH else 0.0


def _wrists(samples, blocks):
    """(share that agrees, hands, hands of the side that is seen less) of the detected hands in frames with a pose. Each clip
    counts alike: a long one that is broken does not speak for the others."""
    shares, hands = [], {"left": 0, "right": 0}
    for frames in samples:
        shoulders = _distance(_place(frames, blocks, *LEFT_SHOULDER), _place(frames, blocks, *RIGHT_SHOULDER))
        if np.isnan(shoulders).all():
            continue
        limit = WRIST_LIMIT * max(np.nanmedian(shoulders), 1e-6)
        pose = {side: _place(frames, blocks, "pose", index) for side, index in (("left", 15), ("right", 16))}
        meet = []
        for side, other in (("left", "right"), ("right", "left")):
            wrist = _place(frames, blocks, f"{side}_hand", 0)
            own, wrong = _distance(wrist, pose[side]), _distance(wrist, pose[other])
            meet.append(((own < limit) & ~(own >= wrong / 2))[~np.isnan(own)])
            hands[side] += len(meet[-1])
        if len(meet := np.concatenate(meet)):
            shares.append(meet.mean())
    return float(np.mean(shares or [0])), sum(hands.values()), min(hands.values())


def _place(frames, blocks, block, index):
    """x and y `(T, 2)` of one landmark, NaN where missing or not in the layout; in double precision, where no sum or distance
    of what is finite in float32 overflows."""
    if block not in starts(blocks):
        return np.full((len(frames), 2), np.nan)
    first, values = starts(blocks)[block]
    with np.errstate(over="ignore", invalid="ignore"):
        xy = frames[:, first + index * values :][:, :2].astype(np.float32).astype(float)
    return np.where((xy == 0).all(axis=1, keepdims=True) | ~np.isfinite(xy).all(axis=1, keepdims=True), np.nan, xy)


def _distance(a, b):
    """Distances `(T,)` of points `(T, 2)`."""
    return np.hypot(*(a - b).T)


def _misfit(name, share, hands, _):
    return (
        f"layout {name} does not fit: of {hands} detected hands {share:.0%}, on average of the clips, lie with their wrist at "
        f"the pose's wrist of their side; expected {WRIST_SHARE:.0%} or more"
    )


def order_name(order):
    """Returns how a message names what `better_order` returned."""
    return f"layout {order}" if order in LAYOUTS else f"the order {', '.join(block for block, _, _ in order)}"


def _check_mirrored(samples, blocks):
    """Warns of clips in which left is right. With a pose a clip says it of itself: in none of 795 real clips that are not
    mirrored do the shoulders stand mirrored in most frames. Hands cross: 12 % of wlasl300's clips show them so."""
    pair, what = (LEFT_SHOULDER, RIGHT_SHOULDER), "shoulder"
    if "pose" not in starts(blocks):
        pair, what = (("left_hand", 0), ("right_hand", 0)), "hand"
    turned = {video_id: mirrored(frames, blocks, pair) for video_id, frames in samples.items()}
    judged = {video_id: sides.mean() > 0.5 for video_id, sides in turned.items() if len(sides)}
    odd = [video_id for video_id, is_mirrored in judged.items() if is_mirrored]
    if sum(map(len, turned.values())) < ENOUGH or not odd or (what == "hand" and 2 * len(odd) <= len(judged)):
        return
    found = f"in {len(odd)} of {len(judged)} clips that were looked at the left {what} stands to the left of the right one"
    if what == "shoulder" and len(odd) < len(judged):
        advice = f"{', '.join(odd[:5])} are mirrored, the others are not: extract one kind again, from videos flipped back"
    else:
        advice = "the clips are mirrored, or left and right are exchanged. Harmless while all clips, later ones too, are so"
    warnings.warn(f"{found} in the picture: {advice}", stacklevel=4)
