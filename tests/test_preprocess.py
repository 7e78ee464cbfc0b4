"""signlib.preprocess: against a plain oracle, and the invariances that the docstrings promise."""

import math
import statistics

import numpy as np
import pytest

from signlib import InputError, Preprocessor
from signlib.landmarks import EYES, LAYOUTS, LIPS, UPPER_BODY
from signlib.preprocess import resample

SEEDS = range(6)
STARTS = {"pose": 0, "face": 99, "left_hand": 1503, "right_hand": 1566}
LANDMARKS = {
    "default": [
        *(("pose", i) for i in UPPER_BODY),
        *(("face", i) for i in LIPS),
        *(("left_hand", i) for i in range(21)),
        *(("right_hand", i) for i in range(21)),
    ],
    "hands": [*(("left_hand", i) for i in range(21)), *(("right_hand", i) for i in range(21))],
}


def oracle(frames, length, landmarks, long_clips):
    """The features as the docstrings describe them, one number at a time, in Python's floats."""
    chosen = LANDMARKS[landmarks]
    blocks = list(dict.fromkeys(block for block, _ in chosen))
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
        clip.append({landmark: xyz[:2] for landmark, xyz in found.items()})

    both = [(f["pose", 11], f["pose", 12]) for f in clip if ("pose", 11) in f and ("pose", 12) in f]
    everything = [xy for f in clip for xy in f.values()]
    if both:
        centre = [statistics.median([(a[k] + b[k]) / 2 for a, b in both]) for k in (0, 1)]
        scale = max(1e-3, statistics.median([math.dist(a, b) for a, b in both]))
    elif everything:
        centre = [statistics.fmean([xy[k] for xy in everything]) for k in (0, 1)]
        scale = max(1e-3, math.sqrt(statistics.fmean([math.dist(xy, centre) ** 2 for xy in everything])))
    else:
        centre, scale = [0, 0], 1

    if len(clip) > length and long_clips == "truncate":
        clip = clip[:length]
    elif len(clip) > length:
        resampled = []
        for moment in np.linspace(0, len(clip) - 1, length):
            before, share = int(moment), moment - int(moment)
            a, b, mixed = clip[before], clip[before + 1] if share else {}, {}
            for landmark in chosen:
                if landmark in a and landmark in b:
                    mixed[landmark] = tuple((1 - share) * p + share * q for p, q in zip(a[landmark], b[landmark], strict=True))
                elif landmark in a or landmark in b:
                    mixed[landmark] = a.get(landmark) or b.get(landmark)
            resampled.append(mixed)
        clip = resampled

    features = []
    for f in clip:
        row = []
        for landmark in chosen:
            xy = f.get(landmark)
            row += [min(10, max(-10, (xy[k] - centre[k]) / scale)) for k in (0, 1)] if xy else [0, 0]
        row += [float(any(b == block for b, _ in f)) for block in blocks]
        features.append([*row, 1.0])
    features += [[0.0] * len(features[0])] * (length - len(features))
    return np.array(features)


def damage(frames, seed):
    """Frames with missing parts, missing values and tracking errors, as real files have them."""
    rng = np.random.default_rng(seed)
    frames = frames.copy()
    for start, stop in ((0, 99), (99, 1503), (1503, 1566), (1566, 1629)):
        lost = rng.random(len(frames)) < 0.25
        frames[lost, start:stop] = rng.choice([0, np.nan])
    frames[rng.random(frames.shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    frames[rng.random(frames.shape) < 0.001] = 50
    return frames


@pytest.mark.parametrize("landmarks", ["default", "hands"])
@pytest.mark.parametrize(
    ("frames", "length", "long_clips"),
    [(9, 12, "resample"), (12, 12, "resample"), (31, 12, "resample"), (31, 12, "truncate"), (13, 12, "resample")],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_features_equal_the_oracle(make_frames, seed, frames, length, long_clips, landmarks):
    clip = damage(make_frames(frames, seed), seed)
    expected = oracle(clip, length, landmarks, long_clips)
    features = Preprocessor(length, landmarks, long_clips)(clip, "1629")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=5e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("body", ["shoulders", "no shoulders", "hands alone"])
def test_moving_or_resizing_the_signer_changes_nothing(make_frames, seed, body):
    rng = np.random.default_rng(seed)
    clip = make_frames(int(rng.integers(3, 30)), seed)
    if body == "no shoulders":
        clip[:, :99] = np.nan
    moved = clip.reshape(len(clip), 543, 3).copy()
    moved[:, :, :2] = moved[:, :, :2] * rng.uniform(0.3, 3) + rng.uniform(-1, 1, 2)
    moved[:, :, 2] += rng.uniform(-1, 1)
    preprocess = Preprocessor(16, "hands" if body == "hands alone" else "default")
    features = preprocess(clip, "1629")
    assert np.abs(features[:, :-5]).max() > 0.5
    np.testing.assert_allclose(preprocess(moved.reshape(clip.shape), "1629"), features, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 3e38, -1e10])
@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_missing_value_removes_its_point_and_no_other(make_frames, seed, length, value):
    rng = np.random.default_rng(seed)
    clip, preprocess = make_frames(length, seed), Preprocessor(16)
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


@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_missing_shoulder_moves_the_clip_by_no_more_than_its_noise(make_frames, seed, length):
    clip, preprocess = make_frames(length, seed), Preprocessor(16)
    clean = preprocess(clip, "1629")
    frame = int(np.random.default_rng(seed).integers(length))
    clip[frame, 33 + 3 * (seed % 2)] = np.nan
    damaged = preprocess(clip, "1629")
    others = [c for c in range(clean.shape[1]) if c // 2 != 3 + seed % 2]
    np.testing.assert_allclose(damaged[:, others], clean[:, others], atol=0.2)
    np.testing.assert_array_equal(damaged[:, -5:], clean[:, -5:])


@pytest.mark.parametrize(("start", "stop"), [(0, 99), (99, 1503), (1503, 1566), (1566, 1629)])
@pytest.mark.parametrize("length", [10, 40])
def test_a_zero_part_and_a_nan_part_are_the_same(make_frames, start, stop, length):
    zero, nan = make_frames(length), make_frames(length)
    zero[3:8, start:stop], nan[3:8, start:stop] = 0, np.nan
    preprocess = Preprocessor(16)
    features = preprocess(zero, "1629")
    np.testing.assert_array_equal(features, preprocess(nan, "1629"))
    flag = -5 + [0, 99, 1503, 1566].index(start)
    assert set(features[: min(length, 16), flag]) == {0.0, 1.0}
    assert (features[: min(length, 16), -1] == 1).all()


def test_the_face_mesh_but_for_the_lips_is_not_seen(make_frames):
    clip, preprocess = make_frames(10), Preprocessor(16)
    before = preprocess(clip, "1629")
    for i in set(range(468)) - set(LIPS):
        clip[:, 99 + 3 * i : 102 + 3 * i] = np.random.default_rng(i).choice([0, np.nan, 5])
    np.testing.assert_array_equal(preprocess(clip, "1629"), before)
    clip[:, 99 + 3 * LIPS[0]] += 1
    assert not np.array_equal(preprocess(clip, "1629"), before)


@pytest.mark.parametrize("more", [1, 7, 50])
@pytest.mark.parametrize("seed", SEEDS)
def test_more_padding_leaves_the_frames_as_they_are(make_frames, seed, more):
    clip = damage(make_frames(9, seed), seed)
    clip[4:] = 0  # frames without any detection are frames, not padding
    short, long = Preprocessor(12)(clip, "1629"), Preprocessor(12 + more)(clip, "1629")
    np.testing.assert_array_equal(long[:12], short)
    assert not long[9:].any()
    assert long[:, -1].tolist() == [1] * 9 + [0] * (3 + more)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_any_bits_whatever_give_finite_features_and_what_is_near_is_used(seed):
    frames = np.frombuffer(np.random.default_rng(seed).bytes(40 * 1629 * 4), "<f4").reshape(40, 1629)
    preprocess = Preprocessor(12, "all")
    points = preprocess.points(frames, "1629")
    with np.errstate(invalid="ignore"):
        near = (np.abs(frames.reshape(40, 543, 3)) <= 1e9).all(axis=2)
    np.testing.assert_array_equal(~np.isnan(points).any(axis=2), near)
    np.testing.assert_array_equal(points[near], frames.reshape(40, 543, 3)[near])
    assert np.isfinite(preprocess.features(points)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 1, 1e-30, 1e30, -3e38, 1e300])
@pytest.mark.parametrize("length", [1, 2, 12, 40])
def test_a_clip_of_one_value_throughout_gives_finite_features(value, length):
    features = Preprocessor(12)(np.full((length, 1629), value), "1629")
    assert np.isfinite(features).all()
    assert features[:, -1].tolist() == [float(i < length) for i in range(12)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("huge", [1e10, 1e20, 3e38, 1e300])
@pytest.mark.parametrize("length", [5, 40])
@pytest.mark.parametrize("landmarks", ["default", "hands"])
def test_huge_values_give_finite_features_without_a_warning(huge, length, landmarks):
    clip = np.random.default_rng(0).choice([-huge, huge, 0.5, np.nan], (length, 1629))
    features = Preprocessor(12, landmarks)(clip, "1629")
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 10


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16, np.int64, np.uint8])
@pytest.mark.parametrize("length", [5, 40])
def test_each_type_of_number_gives_what_float64_gives(make_frames, dtype, length):
    clip = (make_frames(length) * 200).astype(dtype)
    preprocess = Preprocessor(12)
    features = preprocess(clip, "1629")
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, preprocess(clip.astype(np.float64), "1629"))


def test_a_clip_of_one_frame_is_one_frame_and_padding(make_frames):
    features = Preprocessor(5)(make_frames(1), "1629")
    assert features[:, -1].tolist() == [1, 0, 0, 0, 0]
    assert np.abs(features[0, :-1]).max() > 0.5


def test_shoulders_in_one_place_give_bounded_features(make_frames):
    clip = make_frames(10)
    clip[:, 36:38] = clip[:, 33:35]
    features = Preprocessor(12)(clip, "1629")
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 10
    clip = clip * 1e-4  # all of it smaller than the epsilon: amplified 1000 times and no more
    assert np.abs(Preprocessor(12)(clip, "1629")[:, :-5]).max() < 1


@pytest.mark.parametrize("length", [13, 24, 120])
def test_a_long_clip_is_resampled_from_its_first_to_its_last_frame(make_frames, length):
    clip, preprocess = make_frames(length), Preprocessor(12)
    whole = Preprocessor(length)(clip, "1629")
    features = preprocess(clip, "1629")
    np.testing.assert_allclose(features[[0, -1]], whole[[0, -1]], atol=1e-6)
    assert (features[:, -1] == 1).all()
    cut = Preprocessor(12, long_clips="truncate")(clip, "1629")
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


@pytest.mark.parametrize("landmarks", ["default", "hands", "pose+lips", "all"])
def test_output_shape_is_the_shape_of_the_features(make_frames, landmarks):
    preprocess = Preprocessor(12, landmarks)
    assert preprocess(make_frames(5), "1629").shape == preprocess.output_shape
    blocks = {"default": 4, "hands": 2, "pose+lips": 2, "all": 4}[landmarks]
    points = {"default": 91, "hands": 42, "pose+lips": 49, "all": 543}[landmarks]
    assert preprocess.output_shape == (12, 2 * points + blocks + 1)


def test_the_config_makes_an_equal_preprocessor(make_frames):
    preprocess = Preprocessor(7, "hands+pose", "truncate")
    twin = Preprocessor(**preprocess.config())
    config = {"sequence_length": 7, "landmarks": "hands+pose", "long_clips": "truncate", "layout": None}
    assert twin.config() == preprocess.config() == config
    np.testing.assert_array_equal(twin(make_frames(20), "1629"), preprocess(make_frames(20), "1629"))


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
    assert default.output_shape == {"hands": (10, 87), "hands+pose": (10, 106), "hands+pose+lips": (10, 187)}[parts]
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
        ({"long_clips": "cut"}, "long_clips is 'cut'; expected 'resample' or 'truncate'"),
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
