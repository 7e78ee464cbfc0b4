"""signlib.preprocess: against a plain oracle, and what the docstrings promise of each step."""

import math
import statistics

import numpy as np
import pytest

from signlib import InputError, Preprocessor
from signlib.landmarks import EYES, LAYOUTS, LIPS, UPPER_BODY
from signlib.points import interpolate, resample
from signlib.preprocess import KINDS

SEEDS = range(4)
EVERYTHING = "+".join(KINDS)
STARTS = {"pose": 0, "face": 99, "left_hand": 1503, "right_hand": 1566}
PARTS = {"pose": slice(0, 99), "face": slice(99, 1503), "left_hand": slice(1503, 1566), "right_hand": slice(1566, 1629)}
HANDS = ("left_hand", "right_hand")
LANDMARKS = {
    "default": [
        *(("pose", i) for i in UPPER_BODY),
        *(("face", i) for i in LIPS),
        *(("left_hand", i) for i in range(21)),
        *(("right_hand", i) for i in range(21)),
    ],
    "hands": [*(("left_hand", i) for i in range(21)), *(("right_hand", i) for i in range(21))],
    "pose": [("pose", i) for i in UPPER_BODY],
}


def oracle(
    frames,
    sequence_length,
    landmarks="default",
    long_clips="resample",
    kinds="position+shape+velocity",
    normalise="body",
    interpolate=True,
    trim=True,
    aspect=1.0,
):
    """The features as the docstrings describe them, one number at a time, in Python's floats."""
    chosen = LANDMARKS[landmarks]
    blocks = list(dict.fromkeys(block for block, _ in chosen))
    hands = [hand for hand in HANDS if hand in blocks]
    clip = []
    for frame in frames:
        found = {}
        for block, i in chosen:
            start = STARTS[block] + 3 * i
            with np.errstate(over="ignore"):
                x, y, z = (float(np.float32(v)) for v in frame[start : start + 3])
            if all(map(math.isfinite, (x, y, z))):
                found[block, i] = (x, y, z)
        for block in blocks:
            if not any(any(xyz) for (b, _), xyz in found.items() if b == block):
                found = {landmark: xyz for landmark, xyz in found.items() if landmark[0] != block}
        clip.append({landmark: (aspect * (x - 0.5) + 0.5, y, aspect * z) for landmark, (x, y, z) in found.items()})

    with_hands = [t for t, f in enumerate(clip) if any(b in HANDS for b, _ in f)]
    if trim and with_hands:
        clip = clip[with_hands[0] : with_hands[-1] + 1]
    flags = [{b for b, _ in f} for f in clip]

    both = [(f["pose", 11][:2], f["pose", 12][:2]) for f in clip if ("pose", 11) in f and ("pose", 12) in f]
    everything = [xyz[:2] for f in clip for xyz in f.values()]
    centre, scale = [0, 0, 0], 1
    if normalise == "clip":
        values = [f.get(landmark, (0, 0, 0))[k] for f in clip for landmark in chosen for k in range(2 + ("depth" in kinds))]
        centre, scale = [statistics.fmean(values)] * 3, statistics.pstdev(values) + 1e-3
    elif normalise == "body" and both:
        centre = [*(statistics.median([(a[k] + b[k]) / 2 for a, b in both]) for k in (0, 1)), 0]
        scale = max(1e-3, statistics.median([math.dist(a, b) for a, b in both]))
    elif normalise == "body" and everything:
        centre = [*(statistics.fmean([xy[k] for xy in everything]) for k in (0, 1)), 0]
        scale = max(1e-3, math.sqrt(statistics.fmean([math.dist(xy, centre[:2]) ** 2 for xy in everything])))
    size = {}
    for hand in hands:
        lengths = [math.dist(f[hand, 0], f[hand, 9]) for f in clip if (hand, 0) in f and (hand, 9) in f]
        size[hand] = max(1e-3, statistics.median(lengths)) if lengths else None

    if interpolate:
        for landmark in chosen:
            seen = {t: f[landmark] for t, f in enumerate(clip) if landmark in f}
            for t, f in enumerate(clip):
                before, after = max((s for s in seen if s <= t), default=None), min((s for s in seen if s >= t), default=None)
                if seen and None in (before, after):
                    f[landmark] = seen[after if before is None else before]
                elif seen and before < after:
                    share = (t - before) / (after - before)
                    f[landmark] = tuple(p + share * (q - p) for p, q in zip(seen[before], seen[after], strict=True))
    if normalise == "clip":
        clip = [{landmark: f.get(landmark, (0, 0, 0)) for landmark in chosen} for f in clip]

    moments = [float(t) for t in range(min(len(clip), sequence_length))]
    if long_clips == "stretch" or (len(clip) > sequence_length and long_clips == "resample"):
        moments = np.linspace(0, len(clip) - 1, sequence_length)
    resampled, seen = [], []
    for moment in moments:
        before, after, share, mixed = math.floor(moment), math.ceil(moment), moment - math.floor(moment), {}
        a, b = clip[before], clip[after]
        for landmark in chosen:
            if landmark in a and landmark in b:
                mixed[landmark] = tuple((1 - share) * p + share * q for p, q in zip(a[landmark], b[landmark], strict=True))
            elif landmark in a or landmark in b:
                mixed[landmark] = a.get(landmark) or b.get(landmark)
        resampled.append(mixed)
        seen.append(flags[before] | flags[after])

    def cut(value):
        return min(10, max(-10, value))

    features, position, velocity = [], [], []
    for t, f in enumerate(resampled):
        now = {key: [cut((xyz[k] - centre[k]) / scale) for k in (0, 1, 2)] for key, xyz in f.items()}
        position.append(now)
        past = position[max(t - 1, 0)]
        change = {key: [3 * (now[key][k] - past[key][k]) for k in (0, 1)] for key in now if key in past}
        velocity.append(change)
        past = velocity[max(t - 1, 0)]
        rows = {
            "position": [now.get(key, (0, 0))[k] for key in chosen for k in (0, 1)],
            "depth": [now.get(key, (0, 0, 0))[2] for key in chosen],
            "place": [cut(3 * (f[hand, 0][k] - 0.5)) if (hand, 0) in f else 0 for hand in hands for k in (0, 1)],
            "shape": [],
            "distance": [],
            "direction": [],
            "velocity": [change.get(key, (0, 0))[k] for key in chosen for k in (0, 1)],
            "acceleration": [
                change[key][k] - past[key][k] if key in change and key in past else 0 for key in chosen for k in (0, 1)
            ],
        }
        for hand in hands:
            there = [i for i in range(21) if size[hand] and (hand, 0) in f and (hand, i) in f]
            own = {i: [cut((f[hand, i][k] - f[hand, 0][k]) / size[hand]) for k in (0, 1, 2)] for i in there}
            for i in range(1, 21):
                rows["shape"] += own.get(i, [0, 0, 0])
            ends = [0, 4, 8, 12, 16, 20]
            for i, end in enumerate(ends):
                rows["distance"] += [math.dist(own[end], own[e]) if end in own and e in own else 0 for e in ends[i + 1 :]]
            (a, b, c), (u, v, w) = own.get(5, [0, 0, 0]), own.get(17, [0, 0, 0])
            for x, y, z in ((b * w - c * v, c * u - a * w, a * v - b * u), own.get(9, [0, 0, 0])):
                rows["direction"] += [value / (math.hypot(x, y, z) + 1e-3) for value in (x, y, z)]
        row = [value for kind in rows if kind in kinds.split("+") for value in rows[kind]]
        features.append([*row, *(float(block in seen[t]) for block in blocks), 1.0])
    features += [[0.0] * len(features[0])] * (sequence_length - len(features))
    return np.array(features)


def damage(frames, seed):
    """Frames with missing parts, missing values and tracking errors, as real files have them; no hands at either end."""
    rng = np.random.default_rng(seed)
    frames = frames.copy()
    for part in PARTS.values():
        lost = rng.random(len(frames)) < 0.25
        frames[lost, part] = rng.choice([0, np.nan])
    frames[rng.random(frames.shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    frames[rng.random(frames.shape) < 0.001] = 50
    frames[0, 1503:] = frames[-1, 1503:] = 0
    return frames


def smooth(length, seed=0):
    """`(length, 1629)`: a body whose landmarks move on smooth curves, the same for any length; shoulders 0.2 apart."""
    rng = np.random.default_rng(seed)
    points, time = rng.uniform(0.3, 0.7, (1, 543, 3)), np.linspace(0, 1, length)[:, None, None]
    points = points + 0.1 * np.sin(2 * np.pi * time + rng.uniform(0, 6, points.shape))
    points[:, 11, :2], points[:, 12, :2] = [0.6, 0.5], [0.4, 0.5]
    return points.reshape(length, 1629)


def parted(preprocess, clip, layout="1629"):
    """The features of a clip by their kinds, `flags` and `valid`; positions, velocities, accelerations `(L, P, 2)`."""
    features, points = preprocess(clip, layout), len(preprocess.selected)
    hands = sum(hand in preprocess.blocks for hand in HANDS)
    widths = {"position": 2 * points, "depth": points, "shape": 60 * hands, "distance": 15 * hands}
    widths |= {"direction": 6 * hands, "place": 2 * hands, "velocity": 2 * points}
    widths |= {"acceleration": 2 * points, "flags": len(preprocess.blocks), "valid": 1}
    parts = {}
    for kind in [*(kind for kind in KINDS if kind in preprocess.kinds.split("+")), "flags", "valid"]:
        parts[kind], features = np.split(features, [widths[kind]], axis=1)
        if kind in ("position", "velocity", "acceleration"):
            parts[kind] = parts[kind].reshape(len(features), points, 2)
    assert features.shape[1] == 0
    return parts


def raw(landmarks="hands", length=12, **options):
    """A Preprocessor of positions as the files have them: nothing is moved, interpolated, trimmed or resampled."""
    plain = {"kinds": "position", "normalise": "none", "interpolate": False, "trim": False}
    return Preprocessor(length, landmarks, **plain | options)


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (9, {}),
        (12, {}),
        (31, {}),
        (31, {"long_clips": "truncate"}),
        (9, {"long_clips": "stretch", "kinds": EVERYTHING}),
        (31, {"landmarks": "hands", "kinds": EVERYTHING}),
        (9, {"landmarks": "hands", "aspect": 16 / 9, "kinds": EVERYTHING}),
        (31, {"landmarks": "pose", "kinds": EVERYTHING}),
        (31, {"normalise": "clip", "aspect": 1.5}),
        (31, {"normalise": "clip", "kinds": EVERYTHING, "interpolate": False, "landmarks": "hands"}),
        (9, {"normalise": "none", "kinds": EVERYTHING, "landmarks": "hands"}),
        (13, {"interpolate": False, "kinds": EVERYTHING}),
        (31, {"interpolate": False, "trim": False, "aspect": 0.5625}),
        (10, {"trim": False, "kinds": "acceleration+shape"}),
        (31, {"trim": False, "long_clips": "truncate", "normalise": "clip", "kinds": "depth"}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_features_equal_the_oracle(make_frames, seed, frames, options):
    clip = damage(make_frames(frames, seed), seed)
    features = Preprocessor(12, **options)(clip, "1629")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, oracle(clip, 12, **options), atol=1e-4)


def lose(clip, part, first, stop):
    """A copy of a clip in which a part is not detected from frame `first` up to `stop`."""
    lost = clip.copy()
    lost[first:stop, PARTS[part]] = 0
    return lost


def in_frames(clip, part):
    """A view of a part of a clip as `(T, landmarks, 3)`."""
    return clip.reshape(len(clip), 543, 3)[:, PARTS[part].start // 3 : PARTS[part].stop // 3]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("body", ["shoulders", "no shoulders", "hands alone"])
def test_moving_or_resizing_the_signer_changes_nothing(make_frames, seed, body):
    rng = np.random.default_rng(seed)
    clip = make_frames(int(rng.integers(3, 30)), seed)
    if body == "no shoulders":
        clip[:, :99] = np.nan
    landmarks, size = "hands" if body == "hands alone" else "default", rng.uniform(0.3, 3)
    resized = clip.reshape(len(clip), 543, 3) * size
    resized[:, :, :2] += rng.uniform(-1, 1, 2)
    preprocess = Preprocessor(16, landmarks, kinds=EVERYTHING.replace("place+", ""))  # which is that of the picture
    features = preprocess(clip, "1629")
    assert np.abs(features[:, :-5]).max() > 0.5
    np.testing.assert_allclose(preprocess(resized.reshape(clip.shape), "1629"), features, atol=1e-4)
    resized[:, :, 2] += rng.uniform(-1, 1)  # depth alone is counted from the picture's own zero
    preprocess = Preprocessor(16, landmarks, kinds="position+shape+velocity+acceleration")
    features = preprocess(clip, "1629")
    np.testing.assert_allclose(preprocess(resized.reshape(clip.shape), "1629"), features, atol=1e-4)


@pytest.mark.parametrize("normalise", ["clip", "none"])
def test_moving_the_signer_counts_where_positions_are_not_those_of_a_body(make_frames, normalise):
    clip = make_frames(10)
    moved = clip.copy()
    moved[:, 0::3] += 1
    before, after = (parted(Preprocessor(12, normalise=normalise), c) for c in (clip, moved))
    assert np.abs(after["position"] - before["position"]).max() > 0.5
    np.testing.assert_allclose(after["shape"], before["shape"], atol=1e-4)


@pytest.mark.parametrize("normalise", ["body", "clip", "none"])
def test_the_shape_of_a_hand_does_not_depend_on_where_and_how_large_it_is(make_frames, normalise):
    clip, rng = make_frames(10), np.random.default_rng(0)
    moved = clip.copy()
    hand = in_frames(moved, "left_hand")
    hand[:] = 0.4 * hand + rng.uniform(-1, 1, (10, 1, 3))  # farther from the camera, and elsewhere in each frame
    before, after = (parted(Preprocessor(12, "hands", normalise=normalise), c) for c in (clip, moved))
    np.testing.assert_allclose(after["shape"], before["shape"], atol=1e-4)
    assert np.abs(after["position"] - before["position"]).max() > 0.1
    hand[:, 8] += 0.1  # the tip of the index
    bent = parted(Preprocessor(12, "hands", normalise=normalise), moved)["shape"]
    changed = (np.abs(bent - before["shape"]) > 0.01).reshape(12, 2, 20, 3)
    assert changed[:10, 0, 7].all()
    changed[:10, 0, 7] = False
    assert not changed.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 3e38, -1e10])
@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_missing_value_removes_its_point_and_no_other(make_frames, seed, length, value):
    rng = np.random.default_rng(seed)
    clip, preprocess = make_frames(length, seed), Preprocessor(16, kinds="position", interpolate=False, trim=False)
    clean = preprocess(clip, "1629")
    point = int(rng.integers(9, len(preprocess.selected)))  # not of the body, whose median places the signer
    block, index = preprocess.selected[point]
    clip[rng.integers(length), STARTS[block] + 3 * index + rng.integers(3)] = value
    damaged = preprocess(clip, "1629")
    others = np.arange(clean.shape[1]) // 2 != point
    np.testing.assert_array_equal(damaged[:, others], clean[:, others])
    same = np.all(damaged[:, ~others] == clean[:, ~others], axis=1)
    assert same.sum() >= 16 - 2
    if length == 10:
        assert same.sum() == 15
        assert not damaged[~same][:, ~others].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_turning_a_hand_leaves_its_distances_and_turns_its_directions(make_frames, seed):
    clip, preprocess = make_frames(12, seed), Preprocessor(12, "hands", kinds="distance+direction")
    turned, angle = clip.copy(), np.random.default_rng(seed).uniform(0.5, 2)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    in_frames(turned, "left_hand")[:] = in_frames(clip, "left_hand") @ turn
    before, after = parted(preprocess, clip), parted(preprocess, turned)
    np.testing.assert_allclose(after["distance"], before["distance"], atol=1e-4)
    arrows = before["direction"].reshape(12, 2, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(arrows, axis=3), 1, atol=0.01)
    arrows[:, 0] = arrows[:, 0] @ turn
    np.testing.assert_allclose(after["direction"].reshape(12, 2, 2, 3), arrows, atol=1e-4)


@pytest.mark.parametrize("frames", [slice(4, 5), slice(None)], ids=["one frame", "throughout"])
def test_a_missing_landmark_of_a_hand_changes_no_other_feature(make_frames, frames):
    clip, preprocess, tip = make_frames(10), Preprocessor(12, "hands+pose", kinds=EVERYTHING), 20
    lost = clip.copy()
    in_frames(lost, "left_hand")[frames, tip] = np.nan
    before, after = parted(preprocess, clip), parted(preprocess, lost)
    before["shape"], after["shape"] = before["shape"].reshape(12, 40, 3), after["shape"].reshape(12, 40, 3)
    for kind in set(KINDS) - {"place", "distance", "direction"}:
        own = tip - 1 if kind == "shape" else preprocess.selected.index(("left_hand", tip))
        assert not np.array_equal(after[kind][:, own], before[kind][:, own])
        np.testing.assert_array_equal(np.delete(after[kind], own, axis=1), np.delete(before[kind], own, axis=1))
    np.testing.assert_array_equal(after["flags"], before["flags"])


@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_missing_shoulder_moves_the_clip_by_no_more_than_its_noise(make_frames, seed, length):
    clip, preprocess = make_frames(length, seed), Preprocessor(16, kinds="position")
    clean = preprocess(clip, "1629")
    frame = int(np.random.default_rng(seed).integers(length))
    clip[frame, 33 + 3 * (seed % 2)] = np.nan
    damaged = preprocess(clip, "1629")
    others = [c for c in range(clean.shape[1]) if c // 2 != 3 + seed % 2]
    np.testing.assert_allclose(damaged[:, others], clean[:, others], atol=0.2)
    np.testing.assert_array_equal(damaged[:, -5:], clean[:, -5:])


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("interpolate", [True, False])
def test_a_zero_part_and_a_nan_part_are_the_same(make_frames, part, length, interpolate):
    clip = make_frames(length)
    nan = clip.copy()
    nan[3:8, PARTS[part]] = np.nan
    preprocess = Preprocessor(16, interpolate=interpolate)
    features = preprocess(lose(clip, part, 3, 8), "1629")
    np.testing.assert_array_equal(features, preprocess(nan, "1629"))
    flag = -5 + list(PARTS).index(part)
    assert set(features[: min(length, 16), flag]) == {0.0, 1.0}
    assert (features[: min(length, 16), -1] == 1).all()


@pytest.mark.parametrize("part", HANDS)
def test_a_hand_that_is_lost_for_a_while_moves_on_a_straight_line_and_is_flagged(part):
    clip, preprocess = smooth(24), Preprocessor(24, kinds=EVERYTHING)
    hand, flag = preprocess.blocks[part], list(preprocess.blocks).index(part)
    clean, lost = parted(preprocess, clip), parted(preprocess, lose(clip, part, 8, 14))
    assert lost["flags"][:, flag].tolist() == [1] * 8 + [0] * 6 + [1] * 10
    others = np.delete(np.arange(4), flag)
    assert (lost["flags"][:, others] == 1).all()
    seen = np.r_[:8, 14:24]
    np.testing.assert_array_equal(lost["position"][seen], clean["position"][seen])
    assert np.abs(lost["acceleration"][9:15, hand]).max() < 1e-4  # from frame 7 to frame 14 the velocity is the same
    assert np.abs(lost["velocity"][:, hand]).max() <= np.abs(clean["velocity"][:, hand]).max() + 1e-4
    np.testing.assert_allclose(
        lost["position"][10, hand], (4 * clean["position"][7, hand] + 3 * clean["position"][14, hand]) / 7, atol=1e-5
    )
    away = np.delete(np.arange(91), hand)
    np.testing.assert_array_equal(lost["velocity"][:, away], clean["velocity"][:, away])


def test_a_hand_in_steady_motion_is_found_where_it_was_lost():
    steady = np.random.default_rng(0).uniform(0.3, 0.7, (1, 1629)) + np.outer(
        np.linspace(0, 1, 20), np.tile([0.3, -0.2, 0.1], 543)
    )
    preprocess = Preprocessor(20, kinds=EVERYTHING)
    clean, lost = parted(preprocess, steady), parted(preprocess, lose(steady, "left_hand", 5, 12))
    clean.pop("flags"), lost.pop("flags")
    for kind in clean:
        np.testing.assert_allclose(lost[kind], clean[kind], atol=1e-4)


def test_a_hand_that_is_lost_at_an_end_stays_where_it_is_next_seen():
    clip, preprocess = smooth(24), Preprocessor(24, kinds=EVERYTHING)
    clean = parted(preprocess, clip)
    hand = preprocess.blocks["left_hand"]
    start, end = (parted(preprocess, lose(clip, "left_hand", *ends)) for ends in ((0, 7), (17, 24)))
    np.testing.assert_array_equal(start["position"][:8, hand], clean["position"][[7] * 8][:, hand])
    np.testing.assert_array_equal(end["position"][16:, hand], clean["position"][[16] * 8][:, hand])
    assert not start["velocity"][:8, hand].any() and not end["velocity"][17:, hand].any()
    assert start["flags"][:, 2].tolist() == [0] * 7 + [1] * 17
    assert end["flags"][:, 2].tolist() == [1] * 17 + [0] * 7


@pytest.mark.parametrize("interpolate", [True, False])
def test_a_hand_that_is_never_seen_is_zero_throughout_and_flagged(interpolate):
    preprocess = Preprocessor(24, kinds=EVERYTHING, interpolate=interpolate)
    parts = parted(preprocess, lose(smooth(24), "right_hand", 0, 24))
    for kind in ("position", "velocity", "acceleration"):
        assert not parts[kind][:, preprocess.blocks["right_hand"]].any()
        assert parts[kind][:, preprocess.blocks["left_hand"]].any()
    assert not parts["depth"][:, preprocess.blocks["right_hand"]].any()
    assert parts["shape"][:, :60].any() and not parts["shape"][:, 60:].any()
    assert not parts["flags"][:, 3].any() and parts["flags"][:, :3].all()


def test_without_interpolation_a_hand_that_is_lost_lies_at_zero():
    clip, preprocess = smooth(24), Preprocessor(24, kinds="position+shape", interpolate=False)
    clean, lost = parted(preprocess, clip), parted(preprocess, lose(clip, "left_hand", 8, 14))
    hand = preprocess.blocks["left_hand"]
    assert clean["shape"][8:14, :60].all()
    assert not lost["position"][8:14, hand].any() and not lost["shape"][8:14, :60].any()
    lost["position"][8:14, hand] = clean["position"][8:14, hand]
    np.testing.assert_array_equal(lost["position"], clean["position"])


@pytest.mark.parametrize("seed", SEEDS)
def test_interpolate_leaves_what_is_there_and_fills_all_but_what_is_never_there(damaged_points, seed):
    points = damaged_points(15, seed)
    points[:, 7] = np.nan
    there, filled = ~np.isnan(points), points.copy()
    interpolate(filled, np.zeros(15, int))
    np.testing.assert_array_equal(filled[there], points[there])
    assert np.isnan(filled[:, 7]).all() and not np.isnan(np.delete(filled, 7, axis=1)).any()
    assert filled.dtype == np.float32


@pytest.mark.parametrize("normalise", ["body", "clip", "none"])
@pytest.mark.parametrize("long_clips", ["resample", "truncate", "stretch"])
@pytest.mark.parametrize("options", [{}, {"interpolate": False}, {"kinds": EVERYTHING}], ids=str)
@pytest.mark.parametrize("landmarks", ["default", "hands"])
def test_features_of_many_clips_are_those_of_each_alone_bit_by_bit(damaged_points, normalise, long_clips, options, landmarks):
    preprocess = Preprocessor(12, landmarks, long_clips, normalise=normalise, **options)
    clips = [damaged_points(1 + i % 20, i, landmarks=landmarks) for i in range(70)]
    clips[3][:] = clips[40][1:] = clips[41][:-1] = np.nan
    clips[5][:, preprocess.blocks["left_hand"]] = np.nan  # its neighbours have that hand
    before, together = [points.copy() for points in clips], np.full((70, *preprocess.output_shape), 7, np.float32)
    preprocess.write_features(iter(clips), together)
    for points, own, unchanged in zip(clips, together, before, strict=True):
        np.testing.assert_array_equal(own, preprocess.features(points))
        np.testing.assert_array_equal(points, unchanged)


@pytest.mark.parametrize("more", [(6, 0), (0, 5), (3, 9)])
def test_frames_without_hands_before_and_after_a_sign_change_nothing(more):
    clip = smooth(20)
    idle = np.repeat(clip[:1], more[0] + 20 + more[1], axis=0)
    idle[:, 1503:] = 0
    idle[:, :99] += 0.2  # the signer sits elsewhere
    idle[more[0] : more[0] + 20] = clip
    trimmed, whole = Preprocessor(16), Preprocessor(16, trim=False)
    assert trimmed.points(idle, "1629").shape == (20, 91, 3)
    np.testing.assert_array_equal(trimmed(idle, "1629"), trimmed(clip, "1629"))
    np.testing.assert_array_equal(trimmed(clip, "1629"), whole(clip, "1629"))
    assert whole.points(idle, "1629").shape == (sum(more) + 20, 91, 3)
    assert not np.array_equal(whole(idle, "1629"), whole(clip, "1629"))


def test_frames_with_one_hand_are_not_trimmed_and_frames_between_hands_neither():
    clip = smooth(12)
    clip[:3, 1566:] = clip[8:, 1503:1566] = 0  # the left hand comes first, the right one goes last
    clip[5:7, 1503:] = np.nan
    assert len(Preprocessor(16).points(clip, "1629")) == 12


@pytest.mark.parametrize("landmarks", ["default", "hands", "pose", "lips"])
def test_a_clip_without_any_hand_is_left_as_it_is(landmarks):
    clip = smooth(12)
    clip[:, 1503:] = 0
    trimmed, whole = Preprocessor(16, landmarks), Preprocessor(16, landmarks, trim=False)
    points = trimmed.points(clip, "1629")
    assert len(points) == 12
    np.testing.assert_array_equal(points, whole.points(clip, "1629"))
    assert trimmed(clip, "1629")[:, -1].sum() == 12


def test_points_of_a_trimmed_clip_hold_no_more_memory_than_they_say():
    clip = smooth(20)
    clip[:12, 1503:] = 0
    points = Preprocessor(16).points(clip, "1629")  # KeypointGenerator counts the bytes of what it keeps
    assert points.shape == (8, 91, 3)
    assert points.base is None or points.base.nbytes == points.nbytes


@pytest.mark.parametrize("frames", [61, 121])
def test_a_clip_at_half_the_frame_rate_gives_nearly_the_same_features(frames):
    clip = smooth(frames)
    preprocess = Preprocessor(24, long_clips="stretch", kinds=EVERYTHING)
    full, half = preprocess(clip, "1629"), preprocess(clip[::2], "1629")
    assert (full[:, -1] == 1).all()
    np.testing.assert_allclose(half, full, atol=0.05)
    padded = Preprocessor(128)
    assert np.abs(padded(clip, "1629") - padded(clip[::2], "1629")).max() > 0.5


@pytest.mark.parametrize("length", [1, 2, 5, 12, 40])
def test_a_stretched_clip_goes_from_its_first_to_its_last_frame(make_frames, length):
    clip = make_frames(length)
    whole = Preprocessor(max(length, 2), kinds="position+shape")(clip, "1629")
    features = Preprocessor(12, long_clips="stretch", kinds="position+shape")(clip, "1629")
    assert (features[:, -1] == 1).all()
    np.testing.assert_allclose(features[[0, -1]], whole[[0, length - 1]], atol=1e-6)


def test_widths_and_heights_of_a_wide_picture_equal_square_units(make_frames):
    square = make_frames(20)
    wide = square.copy()
    wide[:, 0::3] = (wide[:, 0::3] - 0.5) / (16 / 9) + 0.5
    wide[:, 2::3] /= 16 / 9
    expected = Preprocessor(12, kinds=EVERYTHING)(square, "1629")
    features = Preprocessor(12, kinds=EVERYTHING, aspect=16 / 9)(wide, "1629")
    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert np.abs(Preprocessor(12, kinds=EVERYTHING)(wide, "1629") - expected).max() > 0.1


def test_with_every_step_off_the_features_are_the_files_x_and_y(make_frames):
    clip = lose(make_frames(10), "left_hand", 0, 3)
    clip[:2, 1566:] = 0
    features = raw()(clip, "1629")
    expected = clip[:, 1503:].reshape(10, 42, 3)[:, :, :2].reshape(10, 84)
    np.testing.assert_array_equal(features[:10, :84], expected.astype(np.float32))
    assert features[:, 84:].T.tolist() == [[0] * 3 + [1] * 7 + [0] * 2, [0] * 2 + [1] * 8 + [0] * 2, [1] * 10 + [0] * 2]


def test_the_whole_clip_is_normalised_by_its_mean_and_deviation(make_frames):
    clip = make_frames(12)
    values = parted(Preprocessor(12, "hands", normalise="clip", kinds="position"), 3 * clip + 5)["position"]
    assert abs(values.mean()) < 1e-4
    assert values.std() == pytest.approx(1, abs=0.01)


def test_velocity_and_acceleration_are_differences_from_frame_to_frame(make_frames):
    parts = parted(raw(kinds="position+velocity+acceleration"), make_frames(12))
    position, velocity, acceleration = (parts[kind].astype(float) for kind in ("position", "velocity", "acceleration"))
    assert not velocity[0].any() and not acceleration[0].any()
    np.testing.assert_allclose(velocity[1:], 3 * np.diff(position, axis=0), atol=1e-5)
    np.testing.assert_allclose(acceleration[1:], np.diff(velocity, axis=0), atol=1e-5)


def test_a_signer_who_holds_still_has_no_velocity(make_frames):
    parts = parted(Preprocessor(30, kinds=EVERYTHING), np.repeat(make_frames(1), 20, axis=0))
    assert parts["position"].any() and not parts["velocity"].any() and not parts["acceleration"].any()


def test_the_kinds_stand_in_one_order_however_they_are_named(make_frames):
    clip = damage(make_frames(20), 0)
    whole = parted(Preprocessor(12, kinds=EVERYTHING), clip)
    backwards = Preprocessor(12, kinds="velocity+shape+position+shape")
    np.testing.assert_array_equal(backwards(clip, "1629"), Preprocessor(12)(clip, "1629"))
    for kind in KINDS:
        alone = parted(Preprocessor(12, kinds=kind), clip)
        assert list(alone) == [kind, "flags", "valid"]
        for name in alone:
            np.testing.assert_array_equal(alone[name], whole[name])


def test_the_face_mesh_but_for_the_lips_is_not_seen(make_frames):
    clip, preprocess = make_frames(10), Preprocessor(16)
    before = preprocess(clip, "1629")
    for i in set(range(468)) - set(LIPS):
        clip[:, 99 + 3 * i : 102 + 3 * i] = np.random.default_rng(i).choice([0, np.nan, 5])
    np.testing.assert_array_equal(preprocess(clip, "1629"), before)
    clip[:, 99 + 3 * LIPS[0]] += 1
    assert not np.array_equal(preprocess(clip, "1629"), before)


@pytest.mark.parametrize("more", [1, 50])
@pytest.mark.parametrize("seed", SEEDS)
def test_more_padding_leaves_the_frames_as_they_are(make_frames, seed, more):
    clip = damage(make_frames(9, seed), seed)
    clip[4:] = 0  # frames without any detection are frames, not padding
    short, long = (Preprocessor(length, kinds=EVERYTHING, trim=False)(clip, "1629") for length in (12, 12 + more))
    np.testing.assert_array_equal(long[:12], short)
    assert not long[9:].any()
    assert long[:, -1].tolist() == [1] * 9 + [0] * (3 + more)


@pytest.mark.parametrize("seed", range(3))
def test_any_bits_whatever_give_finite_features_and_what_is_near_is_used(seed):
    frames = np.frombuffer(np.random.default_rng(seed).bytes(40 * 1629 * 4), "<f4").reshape(40, 1629)
    preprocess = Preprocessor(12, "all", kinds=EVERYTHING)
    points = preprocess.points(frames, "1629")
    with np.errstate(invalid="ignore"):
        near = (np.abs(frames.reshape(40, 543, 3)) <= 1e9).all(axis=2)
    np.testing.assert_array_equal(~np.isnan(points).any(axis=2), near)
    np.testing.assert_array_equal(points[near], frames.reshape(40, 543, 3)[near])
    assert np.isfinite(preprocess.features(points)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 1, 1e-30, 1e30, -3e38, 1e300])
@pytest.mark.parametrize("length", [1, 2, 12, 40])
def test_a_clip_of_one_value_throughout_gives_finite_features(value, length):
    features = Preprocessor(12, kinds=EVERYTHING)(np.full((length, 1629), value), "1629")
    assert np.isfinite(features).all()
    assert features[:, -1].tolist() == [float(i < length) for i in range(12)]


@pytest.mark.parametrize("huge", [1e9, 1e10, 1e20, 3e38, 1e300])
@pytest.mark.parametrize("normalise", ["body", "clip", "none"])
@pytest.mark.parametrize(
    "options",
    [{}, {"landmarks": "hands", "long_clips": "stretch", "aspect": 10}, {"interpolate": False, "trim": False, "aspect": 0.1}],
)
def test_huge_values_give_bounded_features_without_a_warning(huge, normalise, options):
    clip = np.random.default_rng(0).choice([-huge, huge, 0.5, np.nan], (40, 1629))
    for length in (5, 40):
        parts = parted(Preprocessor(12, normalise=normalise, kinds=EVERYTHING, **options), clip[:length])
        bounds = dict.fromkeys(KINDS, 10) | {"distance": 35, "direction": 1, "velocity": 60, "acceleration": 120}
        for kind, bound in bounds.items():
            assert np.isfinite(parts[kind]).all()
            assert np.abs(parts[kind]).max() <= bound


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16, np.int64, np.uint8])
@pytest.mark.parametrize("length", [5, 40])
def test_each_type_of_number_gives_what_float64_gives(make_frames, dtype, length):
    clip = (make_frames(length) * 200).astype(dtype)
    preprocess = Preprocessor(12, kinds=EVERYTHING)
    features = preprocess(clip, "1629")
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, preprocess(clip.astype(np.float64), "1629"))


def test_a_clip_of_one_frame_is_one_frame_and_padding(make_frames):
    features = Preprocessor(5, kinds=EVERYTHING)(make_frames(1), "1629")
    assert features[:, -1].tolist() == [1, 0, 0, 0, 0]
    assert np.abs(features[0, :-1]).max() > 0.5


def test_shoulders_in_one_place_give_bounded_features(make_frames):
    clip = make_frames(10)
    clip[:, 36:38] = clip[:, 33:35]
    features = Preprocessor(12, kinds="position")(clip, "1629")
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 10
    clip = clip * 1e-4  # all of it smaller than the epsilon: amplified 1000 times and no more
    assert np.abs(Preprocessor(12)(clip, "1629")[:, :-5]).max() < 1


@pytest.mark.parametrize("length", [13, 24, 120])
def test_a_long_clip_is_resampled_from_its_first_to_its_last_frame(make_frames, length):
    clip, preprocess = make_frames(length), Preprocessor(12, kinds="position+shape")
    whole = Preprocessor(length, kinds="position+shape")(clip, "1629")
    features = preprocess(clip, "1629")
    np.testing.assert_allclose(features[[0, -1]], whole[[0, -1]], atol=1e-6)
    assert (features[:, -1] == 1).all()
    cut = Preprocessor(12, long_clips="truncate", kinds="position+shape")(clip, "1629")
    np.testing.assert_array_equal(cut, whole[:12])
    assert not np.array_equal(cut, features)


def test_resample_is_linear_and_takes_the_one_frame_that_has_the_point():
    nan = np.nan
    points = np.array([[0.0, 10, nan, nan], [4.0, nan, 8, nan]])[:, :, None]
    np.testing.assert_array_equal(resample(points, np.array([0.25]))[0, :, 0], [1, 10, 8, nan])


@pytest.mark.parametrize("seed", SEEDS)
def test_resample_at_the_frames_themselves_changes_nothing(damaged_points, seed):
    points = damaged_points(9, seed)
    np.testing.assert_array_equal(resample(points, np.arange(9.0)), points)
    np.testing.assert_array_equal(resample(points, np.array([0.0, 8.0])), points[[0, 8]])


SIZES = {"position": (2, 0), "depth": (1, 0), "shape": (0, 60), "velocity": (2, 0), "acceleration": (2, 0)}
SIZES |= {"place": (0, 2), "distance": (0, 15), "direction": (0, 6)}


@pytest.mark.parametrize("kinds", [*KINDS, "position+shape+velocity", EVERYTHING])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_shape_is_the_shape_of_the_features(make_frames, lay_out, layout, kinds):
    frames = lay_out(make_frames(5), layout).reshape(5, -1)
    for landmarks in ("default", "hands", "all"):
        preprocess = Preprocessor(12, landmarks, layout=layout, kinds=kinds)
        assert preprocess(frames, layout).shape == preprocess.output_shape
        points, blocks = len(preprocess.selected), len(preprocess.blocks)
        values = sum(SIZES[kind][0] * points + SIZES[kind][1] * 2 for kind in kinds.split("+"))
        assert preprocess.output_shape == (12, values + blocks + 1)
    assert (points, blocks) == {"126": (42, 2), "225": (75, 3), "258": (75, 3)}.get(layout, (543, 4))


def test_shape_is_of_the_hands_that_there_are(make_frames):
    preprocess = Preprocessor(12, "pose+lips")
    assert preprocess.output_shape == preprocess(make_frames(5), "1629").shape == (12, 4 * 49 + 3)


def test_the_config_makes_an_equal_preprocessor(make_frames):
    config = {
        "sequence_length": 7,
        "landmarks": "hands+pose",
        "long_clips": "truncate",
        "layout": "1629",
        "kinds": "velocity+depth",
        "normalise": "clip",
        "interpolate": False,
        "trim": False,
        "aspect": 1.5,
    }
    preprocess = Preprocessor(**config)
    twin = Preprocessor(**preprocess.config())
    assert twin.config() == preprocess.config() == config
    clip = damage(make_frames(20), 0)
    np.testing.assert_array_equal(twin(clip, "1629"), preprocess(clip, "1629"))
    for name, other in Preprocessor().config().items():
        changed = Preprocessor(**config | {name: other})(clip, "1629")
        assert np.array_equal(changed, preprocess(clip, "1629")) == (name == "layout")


@pytest.mark.parametrize("landmarks", ["default", "all", "hands"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_config_of_a_preprocessor_for_a_layout_makes_an_equal_one(make_frames, lay_out, layout, landmarks):
    preprocess = Preprocessor(7, landmarks, layout=layout)
    twin = Preprocessor(**preprocess.config())
    assert twin.config() == preprocess.config() == Preprocessor(7, landmarks, "resample", layout).config()
    assert (twin.selected, twin.blocks, twin.output_shape) == (preprocess.selected, preprocess.blocks, preprocess.output_shape)
    frames = lay_out(make_frames(9), layout).reshape(9, -1)
    np.testing.assert_array_equal(twin(frames, layout), preprocess(frames, layout))


HELD = {"126": ["hands"], "225": ["hands", "pose"], "258": ["hands", "pose"]}  # the others hold everything


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("landmarks", ["default", "all", "hands", "pose", "lips", "eyes", "hands+pose", "eyes+hands+lips"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_body_in_each_layout_gives_the_same_points_bit_by_bit(make_frames, lay_out, layout, landmarks, seed):
    with np.errstate(over="ignore"):
        clip = damage(make_frames(14, seed), seed).astype([np.float64, np.float32, np.float16][seed])
    written = lay_out(clip, layout).reshape(14, -1)
    held = HELD.get(layout, ["hands", "pose", "lips", "eyes"])
    if landmarks not in ("default", "all") and not set(landmarks.split("+")) <= set(held):
        with pytest.raises(InputError, match=rf"layout {layout} holds no .*; it holds {', '.join(held)}"):
            Preprocessor(10, landmarks, layout=layout)
        return
    here, there = Preprocessor(10, landmarks, layout=layout), Preprocessor(10, landmarks)
    shared = [there.selected.index(landmark) for landmark in here.selected]
    points = here.points(written, layout)
    expected = there.points(clip, "1629")[:, shared]
    assert points.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(points.view(np.uint32), expected.view(np.uint32))
    if len(shared) == len(there.selected):
        np.testing.assert_array_equal(here(written, layout), there(clip, "1629"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_features_of_a_layout_are_those_of_the_parts_that_it_holds(make_frames, lay_out, layout):
    clip = damage(make_frames(14), 3)
    parts = "+".join(HELD.get(layout, ["hands", "pose", "lips"]))
    default = Preprocessor(10, layout=layout)
    assert default.output_shape == (
        10,
        4 * {"hands": 42, "hands+pose": 51, "hands+pose+lips": 91}[parts] + 120 + len(default.blocks) + 1,
    )
    written = lay_out(clip, layout).reshape(14, -1)
    np.testing.assert_array_equal(default(written, layout), Preprocessor(10, parts)(clip, "1629"))


@pytest.mark.parametrize("layout", ["258", "1662"])
def test_the_visibility_of_a_pose_is_not_seen(make_frames, lay_out, layout):
    clip = lay_out(make_frames(14), layout)
    other = clip.copy()
    other[:, 3:132:4] = np.random.default_rng(0).choice([0, 1, np.nan, np.inf, -7], (14, 33))
    for landmarks in ("default", "all"):
        preprocess = Preprocessor(10, landmarks, layout=layout)
        np.testing.assert_array_equal(preprocess(other, layout), preprocess(clip, layout))


@pytest.mark.parametrize("layout", ["258", "1662"])
def test_an_undetected_pose_with_visibility_is_missing_as_one_without(make_frames, lay_out, layout):
    clip = lay_out(make_frames(8), layout)
    clip[3, :132].reshape(33, 4)[:, :3] = 0  # zeros, and a visibility nevertheless
    points = Preprocessor(10, "pose", layout=layout).points(clip, layout)
    assert np.isnan(points[3]).all() and not np.isnan(np.delete(points, 3, axis=0)).any()


@pytest.mark.parametrize("layout", ["126", "225", "258"])
def test_landmarks_that_a_clip_does_not_hold_are_missing_throughout(make_frames, lay_out, layout):
    clip = make_frames(12)
    preprocess = Preprocessor(10)  # of the default of 1629, as a model of such clips has it
    points = preprocess.points(lay_out(clip, layout).reshape(12, -1), layout)
    absent = [i for block in {"126": ("pose", "face")}.get(layout, ("face",)) for i in preprocess.blocks[block]]
    expected = preprocess.points(clip, "1629")
    expected[:, absent] = np.nan
    np.testing.assert_array_equal(points, expected)
    features = preprocess.features(points)
    assert np.isfinite(features).all()
    assert features[:, -5:].max(axis=0).tolist() == [float(layout != "126"), 0, 1, 1, 1]


def test_the_eyes_are_seen_where_they_are_asked_for_and_nothing_else_of_the_face(make_frames):
    clip, preprocess = make_frames(10), Preprocessor(16, "eyes")
    before = preprocess(clip, "1629")
    for i in set(range(468)) - set(EYES):
        clip[:, 99 + 3 * i : 102 + 3 * i] = 5
    clip[:, :99], clip[:, 1503:] = 7, np.nan
    np.testing.assert_array_equal(preprocess(clip, "1629"), before)
    clip[:, 99 + 3 * 33] += 1
    assert not np.array_equal(preprocess(clip, "1629"), before)


@pytest.mark.parametrize("layout", ["12", "", "1629x", None])
def test_frames_of_an_unknown_layout_are_refused(make_frames, layout):
    with pytest.raises(InputError, match="expected one of 1629, 1662, 258, 225, 126, 543"):
        Preprocessor(10).points(make_frames(3), layout)


def test_a_preprocessor_for_an_unknown_layout_is_refused():
    with pytest.raises(InputError, match="layout is '12'; expected one of 1629"):
        Preprocessor(10, layout="12")


@pytest.mark.parametrize("landmarks", ["default", "all"])
def test_what_comes_in_is_not_modified(make_frames, landmarks):
    preprocess = Preprocessor(12, landmarks)
    clip = damage(make_frames(20), 1).astype(np.float32)
    points = preprocess.points(clip, "1629")
    clip_before, points_before = clip.copy(), points.copy()
    clip.flags.writeable = points.flags.writeable = False
    preprocess.features(preprocess.points(clip, "1629"))
    preprocess.features(points)
    np.testing.assert_array_equal(clip, clip_before)
    np.testing.assert_array_equal(points, points_before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"long_clips": "cut"}, "long_clips is 'cut'; expected one of resample, truncate, stretch"),
        ({"normalise": "face"}, "normalise is 'face'; expected one of body, clip, none"),
        (
            {"kinds": "position+speed"},
            "'position\\+speed': unknown kind 'speed'; expected some of position, depth, place, sh",
        ),
        (
            {"kinds": ""},
            "unknown kind ''; expected some of position, depth, .*, velocity, acceleration joined",
        ),
        ({"aspect": 0}, "aspect is 0; expected width / height of the pictures, as 1.78 for 16:9"),
        ({"aspect": -1.5}, "aspect is -1.5; expected width / height"),
        ({"aspect": math.nan}, "aspect is nan; expected width / height"),
        ({"aspect": math.inf}, "aspect is inf; expected width / height"),
        ({"aspect": "16:9"}, "aspect is '16:9'; expected width / height"),
        ({"sequence_length": 1}, "sequence_length is 1; expected a whole number of at least 2"),
        ({"sequence_length": 50.0}, "sequence_length is 50.0; expected a whole number"),
        ({"sequence_length": "50"}, "sequence_length is '50'; expected a whole number"),
        ({"landmarks": "legs"}, "unknown part 'legs'"),
        ({"landmarks": "lips", "layout": "225"}, "layout 225 holds no lips; it holds hands, pose"),
        ({"landmarks": "hands+pose", "layout": "126"}, "layout 126 holds no pose; it holds hands"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        Preprocessor(**arguments)
