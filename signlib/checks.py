"""What is wrong with one clip, seen from its own frames: `check_clip`, and the limits from which something counts as wrong."""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from signlib.agreement import astray, better_order, mirrored, order_name
from signlib.errors import InputError
from signlib.landmarks import HAND_EDGES, LAYOUTS, LEFT_SHOULDER, RIGHT_SHOULDER
from signlib.points import vector_lengths

NEVER = math.inf  # a limit that no value reaches


@dataclass(frozen=True)
class Limit:
    """From `care` on a clip is to be used with care, from `out` on it is left out; `reason` says where the numbers are from."""

    care: float
    out: float
    reason: str


# The higher a value the worse, but for "short", "few clips" and "similar glosses". What was measured: on webcam13, webcam10 and
# wlasl300, 3,521 real clips.
LIMITS = {
    "short": Limit(7, 2, "frames, at most; at 25 a second even a quick sign takes 8, and two frames hold no movement"),
    "non-finite": Limit(0.01, 0.5, "share of the values of detected parts; MediaPipe writes none, a few do no harm"),
    "frozen": Limit(0.6, 0.95, "share of steps without any change; at twice the frame rate half the frames repeat"),
    "outside": Limit(0.02, 0.5, "share of frames with a hand or the head over half a picture outside; real clips: none"),
    "jumps": Limit(1.0, NEVER, "shoulder widths a hand moves in a frame, but at the clip's ends; 99 of 100 real clips: less"),
    "swapped hands": Limit(2, NEVER, "frames in which one hand is found where the other one was, or at the other arm's wrist"),
    "order": Limit(
        0.5, NEVER, "share of hands that are not at their own arm; real clips: 0.44 at most, other orders: 0.5 or more"
    ),
    "mirrored": Limit(0.5, NEVER, "share of frames in which the left shoulder stands left, in a folder where most do not"),
    "hands missing": Limit(0.65, 0.95, "share of frames without a hand; a quarter of WLASL's clips lack both in half of them"),
    "few clips": Limit(4, 0, "usable clips of a gloss, at most; one to learn, one to judge, and two to vary: below it is luck"),
    "imbalance": Limit(5, NEVER, "times as many clips as the middle gloss has; WLASL's own largest: 2"),
    "similar glosses": Limit(1, NEVER, "letters that differ in names of 6 or more, or only case, spaces and marks"),
    "suspect label": Limit(0.6, NEVER, "share of the nearest 10 clips that carry one other gloss, and at most one its own"),
}
SIGN_FRAMES = 5  # with a hand, in which a sign may be: then no clip is left out, however long the rest of it is
LOOSE_END = 0.5  # shoulder widths from the first frame to the second, while the next steps are calm: webcam13's leftovers
# Signs of values in another order, too: a finger bone so many times as long as the middle one (real clips: 4.4 at most, axes
# exchanged: 7.4 or more); share of the detected parts with a landmark at exactly 0 (real clips: none, blocks exchanged: 0.22).
LONG_BONE, TORN = 6, 0.1
FINGER_BONES = np.array([(a, b) for a, b in HAND_EDGES if a > 0 and b - a == 1])
PLACES = (-0.5, 1.5)  # of the picture, which is 0 to 1: where hands are counted
APART = 0.35  # shoulder widths that hands must be from each other, and a hand from its own arm, for left and right to be told
NEAR = 0.15  # shoulder widths: a hand that goes on here, under the other's name, is the same hand
PALMS = 4  # palm lengths in a shoulder width, where no shoulder is seen; webcam13 and webcam10: 2 to 5


def parse_limits(limits):
    """Returns LIMITS with some of their numbers replaced. limits: {check: (care, out)}, or a text such as
    "short=10,3; few clips=5": one number is the first. Raises InputError for what is neither."""
    if isinstance(limits, str):
        given = dict(part.partition("=")[::2] for part in limits.split(";") if part.strip())
        limits = {name.strip(): numbers.split(",") for name, numbers in given.items()}
    chosen = dict(LIMITS)
    for name, numbers in (limits or {}).items():
        if name not in LIMITS:
            raise InputError(f"LIMITS: no limit {name!r}; expected one of {', '.join(LIMITS)}, as in 'short=10,3'")
        try:
            care, out = (*map(float, numbers), LIMITS[name].out)[:2]
            if not care >= 0 or not out >= 0 or len(numbers) > 2:
                raise ValueError
        except (TypeError, ValueError):
            raise InputError(f"LIMITS: {name} = {numbers!r}; expected one or two numbers, as in 'short=10,3'") from None
        chosen[name] = Limit(care, out, "set by LIMITS")
    return chosen


def check_clip(frames, layout, everything, limits=LIMITS):
    """Returns `(row, findings, looks)` of the frames `(T, F)` of one clip.

    everything: a Preprocessor of all landmarks of `layout`. row: the clip's numbers for `AuditReport.clips`. findings:
    [(check, severity, value, limit)]. looks: "points" `(T, P, 3)`, "missing" {block: `(T,)` of bool}, "wrists"
    {block: `(T, 2)` in shares of the picture}.
    """
    points = everything.points(frames, layout)
    blocks = {block: slice(indices[0], indices[-1] + 1) for block, indices in everything.blocks.items()}
    lost = np.isnan(points[:, :, 0])
    missing = {block: lost[:, part].all(axis=1) for block, part in blocks.items()}
    missing["both_hands"] = missing["left_hand"] & missing["right_hand"]
    # Lost landmarks of a block that was otherwise detected: NaN throughout a block is how some files say "undetected".
    detected = sum(np.count_nonzero(~missing[block]) * (part.stop - part.start) for block, part in blocks.items())
    stray = detected - np.count_nonzero(~lost)  # what was not detected has nothing that is not lost
    shown = ~lost.all(axis=1)
    values = np.where(np.isnan(points), 0, points).reshape(len(points), -1)
    still = (values[1:] == values[:-1]).all(axis=1)[shown[1:]]  # of steps to a frame that shows anything
    wrists = {block: points[:, blocks[block].start, :2] for block in ("left_hand", "right_hand")}

    row = {"frames": len(frames), "nonfinite": float(stray / max(detected, 1))}
    row |= {block: float(share.mean()) for block, share in missing.items()}
    looks = {"points": points, "missing": missing, "wrists": wrists}
    if not shown.any():
        return row, [("empty", "error", 1.0, 1)], looks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of nothing, where a part is never seen
        swaps, jump, loose = _hands(points[:, :, :2], blocks)
        row["mirrored"] = float(mirrored(frames, LAYOUTS[layout].blocks).mean())  # NaN where no shoulders are seen
        scrambled = _scrambled(points, lost, blocks)
    values = {
        "short": len(frames),
        "non-finite": row["nonfinite"],
        "hands missing": row["both_hands"],
        "frozen": float(still.mean()) if still.size else 0.0,
        "outside": _outside(points, blocks),
        "jumps": jump,
        "swapped hands": swaps,
    }
    found = [_finding(name, value, limits, name == "short") for name, value in values.items()]
    if limits["hands missing"] == LIMITS["hands missing"] and np.sum(~missing["both_hands"]) >= SIGN_FRAMES:
        found = [("hands missing", "warning", *f[2:]) if f and f[0] == "hands missing" else f for f in found]
    away = astray(frames, layout)
    if away >= limits["order"].care or scrambled:
        other = better_order([frames], layout)  # which alone proves it
        value = f"fits {order_name(other)}" if other else scrambled or f"{away:.0%} of the hands are not at their arm"
        found.append(("order", "error" if other or away >= limits["order"].out else "warning", value, layout))
    if loose:
        found.append(("loose end", "note", round(loose, 2), LOOSE_END))
    if frames.dtype == np.float64:
        found.append(("float64", "note", f"{frames.nbytes / 2**20:.2f} MiB", "float32"))
    return row, [finding for finding in found if finding], looks


def _finding(check, value, limits, few=False):
    """(check, severity, value, limit), or None where a value keeps the limits; few: the lower the worse."""
    limit = limits[check]
    for severity, bound in (("error", limit.out), ("warning", limit.care)):
        if value <= bound if few else value >= bound:
            return check, severity, round(value, 4), bound
    return None


def _outside(points, blocks):
    """The share of frames in which a landmark that is no guess is more than half a picture outside: below the chest, where
    the picture ends, MediaPipe's pose guesses."""
    judged = np.zeros(points.shape[1:], bool)
    for block, part in blocks.items():
        judged[part.start : part.start + 13 if block == "pose" else part.stop, :2] = True
    return float(((np.abs(points - 0.5) > 1).reshape(len(points), -1) & judged.ravel()).any(axis=1).mean())


def _scrambled(points, lost, blocks):
    """What says that these are values of other landmarks, or of none: bones as no hand has, or landmarks at exactly 0."""
    zero = (points[:, :, 0] == 0) & (points[:, :, 1] == 0)
    torn = sum(np.count_nonzero(zero[:, part].any(axis=1)) for part in blocks.values())
    seen = sum(np.count_nonzero(~lost[:, part].all(axis=1)) for part in blocks.values())
    bones = np.stack([points[:, blocks[hand]] for hand in ("left_hand", "right_hand")], axis=1).take(FINGER_BONES.T, axis=2)
    bones = _median(vector_lengths(bones[:, :, 0] - bones[:, :, 1]))
    longest = np.nanmax(bones.max(axis=1) / np.median(bones, axis=1))
    return "parts with landmarks at 0" * bool(torn > TORN * seen) or f"bones of {longest:.0f} times a bone" * bool(
        longest > LONG_BONE
    )


def _hands(points, blocks):
    """(frames in which left and right are exchanged, farthest step of a hand, its first or last step where that alone is far
    or 0), lengths in shoulder widths. points: `(T, P, 2)`."""
    hands = np.stack([points[:, blocks[block]] for block in ("left_hand", "right_hand")]).astype(float)
    unit = PALMS * _median(_length(hands[:, :, 9] - hands[:, :, 0]).ravel())
    exchanged = 0
    if "pose" in blocks:
        pose = points[:, blocks["pose"]]
        left, right, *arms = (pose[:, i].astype(float) for i in (LEFT_SHOULDER[1], RIGHT_SHOULDER[1], 15, 16))
        shoulders = _median(_length(left - right))
        unit = shoulders if np.isfinite(shoulders) else unit
        exchanged = _at_the_other_arm(hands, arms, unit)
    if not unit > 1e-3:  # as in the preprocessor: no scale is smaller
        return 0, 0.0, 0.0
    shown = ~np.isnan(hands)
    wrists, (left, right) = hands[:, :, 0] / unit, np.where(shown, hands, 0).sum(axis=2) / shown.sum(axis=2) / unit
    steps, crossed = _steps(left, right)
    # Of hands that touch the middles may be near and the wrists apart, or the other way round.
    both = np.any(
        [(c.sum(axis=0) < 0.3 * s.sum(axis=0)) & (s.min(axis=0) > APART) for s, c in (_steps(*wrists), (steps, crossed))],
        axis=0,
    )
    seen = np.stack([~np.isnan(hand[:, 0]) for hand in (left, right)])
    alone = seen[:, :-1] & ~seen[::-1, :-1] & ~seen[:, 1:] & seen[::-1, 1:]  # a hand's last frame is the other's first
    swaps = both | (alone & (crossed[::-1] < NEAR)).any(axis=0)
    steps = np.where(swaps, 0, np.nan_to_num(steps)).max(axis=0)
    long = len(steps) > 3
    ends = [step for step, calm in (steps[[0, 1]], steps[[-1, -2]]) if step > LOOSE_END and calm < step / 3] if long else []
    inner = steps[1:-1] if long else steps
    return max(2 * int(swaps.sum()), exchanged), float(inner.max(initial=0)), float(max(ends, default=0))


def _steps(left, right):
    """How far each hand `(T, 2)` is from where it was a frame before, and from where the other one was, both `(2, T - 1)`."""
    steps = np.stack([_length(np.diff(hand, axis=0)) for hand in (left, right)])
    return steps, np.stack([_length(left[1:] - right[:-1]), _length(right[1:] - left[:-1])])


def _at_the_other_arm(hands, arms, unit):
    """How many hands lie at the wrist of the other arm, where as many do not; 0 where all do: that is an order, no change.
    Where the hand that belongs there is there too, they touch, and the pose may take one for the other."""
    gaps = np.stack([[_length(hand[:, 0] - arm) / unit for arm in arms] for hand in hands])  # `(2, 2, T)`
    wrong = right = 0
    for me, other in ((0, 1), (1, 0)):
        own, wrist, rival = gaps[me, me], gaps[me, other], gaps[other, other]
        wrong += np.sum((wrist < own / 2) & (own > APART) & (wrist < APART) & ~(rival < APART))
        right += np.sum((own < wrist / 2) & (wrist > APART))
    return int(wrong) if right >= 2 else 0


def _length(vectors):
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _median(values):
    """The median over the first axis of what is not NaN; `np.nanmedian` takes several times as long."""
    values, half = np.sort(values, axis=0), (~np.isnan(values)).sum(axis=0)
    low, high = (np.take_along_axis(values, np.maximum(at, 0)[None], axis=0)[0] for at in ((half - 1) // 2, half // 2))
    return (low + high) / 2
