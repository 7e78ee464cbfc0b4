"""SignFinder finds where signs begin and end, whoever signs, wherever, at whatever rate; and no signs where there are none."""

import gc
import itertools
import weakref

import numpy as np
import pytest

from benchmarks import signs as benchmark
from signlib.video import signs
from signlib.video.signs import SignFinder

FPS = 25
ASPECT = 4 / 3
POINTS = {"left": (15, 501), "right": (16, 522)}  # wrist of the pose, first landmark of the hand
FRAME = 1 / FPS + 1e-6


def body(right, left=(0.5, 1.4), width=0.2, middle=(0.5, 0.4)):
    """A frame `(1629,)` of a body whose wrists are `right` and `left`, in shoulder widths from the middle of the shoulders; a
    hand is found where it is less than 1.0 below them."""
    points = np.zeros((543, 3), np.float32)
    unit = np.array([width, width * ASPECT])
    points[11, :2], points[12, :2] = middle + unit * [0.5, 0], middle - unit * [0.5, 0]
    for side, place in (("left", left), ("right", right)):
        wrist, hand = POINTS[side]
        points[wrist, :2] = middle + unit * place
        if place[1] < 1.0:
            points[hand : hand + 21, :2] = points[wrist, :2] + unit * 0.02 * np.arange(21)[:, None]
    return points.reshape(-1)


def path(*stops, fps=FPS, **how):
    """The frames of a right hand that moves evenly from one stop, (seconds, x, y), to the next."""
    seconds, x, y = np.transpose(stops)
    times = np.arange(0, seconds[-1], 1 / fps)
    return [body((a, b), **how) for a, b in zip(np.interp(times, seconds, x), np.interp(times, seconds, y), strict=True)]


def place(frame):
    """Where the right wrist is in a frame of `body`."""
    points, unit = frame.reshape(543, 3), np.array([0.2, 0.2 * ASPECT])
    return (points[16, :2] - [0.5, 0.4]) / unit


def find(frames, fps=FPS):
    return benchmark.find(frames, ASPECT, fps)


REST, CHEST, FACE = (-0.5, 1.4), (-0.2, 0.4), (-0.2, -0.5)
ONE = ((0, *REST), (1, *REST), (1.3, *CHEST), (1.6, *FACE), (2.0, *CHEST), (2.4, *REST), (4, *REST))


def test_a_sign_begins_when_the_hand_leaves_its_rest_and_ends_when_it_is_back():
    (sign,) = find(path(*ONE))
    assert sign.begin == pytest.approx(1.0, abs=2 * FRAME)
    assert sign.end == pytest.approx(2.26, abs=2 * FRAME)  # at DOWN
    assert sign.detected - sign.end == pytest.approx(signs.REST, abs=FRAME)
    assert sign.frames.shape == (len(sign.times), 1629)
    assert sign.times[0] == pytest.approx(sign.begin - signs.LEAD, abs=FRAME) and sign.times[-1] == sign.end
    np.testing.assert_array_equal(sign.frames, np.array(path(*ONE))[np.rint(sign.times * FPS).astype(int)])


@pytest.mark.parametrize("fps", [10, 12.5, 30, 60])
def test_the_frame_rate_does_not_count(fps):
    (expected,), (sign,) = find(path(*ONE)), find(path(*ONE, fps=fps), fps)
    for name in ("begin", "end", "detected"):
        assert getattr(sign, name) == pytest.approx(getattr(expected, name), abs=1.5 / min(fps, FPS)), name


@pytest.mark.parametrize("how", [{"width": 0.05}, {"width": 0.4}, {"middle": (0.15, 0.7)}])
def test_neither_the_signer_s_size_nor_place_counts(how):
    (expected,), (sign,) = find(path(*ONE)), find(path(*ONE, **how))
    assert (sign.begin, sign.end, sign.detected) == (expected.begin, expected.end, expected.detected)


def test_the_wrists_of_the_pose_do_where_hands_are_not_found_and_the_hands_where_the_pose_is_not():
    rng = np.random.default_rng(0)
    (expected,) = find(path(*ONE))
    for lost in (slice(3 * 501, None), slice(0, 99)):
        frames = path(*ONE)
        for row in frames[10:]:
            row[lost] *= rng.random() < 0.5
        (sign,) = find(frames)
        assert abs(sign.begin - expected.begin) < 0.2 and abs(sign.end - expected.end) < 0.2


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_short_gap_does_not_end_a_sign_and_a_long_one_does(value):
    frames = path(*ONE)
    for row in frames[36:42]:  # 0.24 s
        row[:] = value
    (sign,) = find(frames)
    assert sign.end > 2
    for row in frames[36:]:
        row[:] = value
    (sign,) = find(frames)
    assert (sign.end, sign.detected) == (pytest.approx(35 / FPS), pytest.approx(1.4 + signs.REST, abs=FRAME))


def test_a_hold_ends_a_sign_and_what_only_sinks_after_it_is_none():
    held = [(0, *REST), (1, *REST), (1.4, *FACE), (3, *FACE)]
    (sign,) = find(path(*held, (3.4, *REST), (5, *REST)))
    assert sign.end == pytest.approx(1.4 + signs.HOLD, abs=0.1) and sign.detected - sign.end <= signs.STILL - signs.HOLD + FRAME
    assert len(find(path(*held, (3.0001, *REST), (5, *REST)))) == 1  # or are down from one frame to the next
    again = find(path(*held, (3.3, *CHEST), (3.6, *FACE), (5, *FACE)))
    assert [round(sign.begin, 1) for sign in again] == [1.0, 3.0]


@pytest.mark.parametrize("lost", [(-0.5, 1.4), (np.nan, np.nan)])
def test_a_frame_that_loses_the_moving_hand_does_not_end_its_sign_where_the_other_is_held(lost):
    moves = path((0, *REST), (1, *REST), (1.3, *CHEST), (1.7, *FACE), (2.1, *CHEST), (2.5, *FACE), (2.9, *REST), (4, *REST))
    held = [frame if k < 30 or k > 68 else body(place(frame), left=(0.3, 0.5)) for k, frame in enumerate(moves)]
    (whole,) = find(held)
    held[52] = body(lost, left=(0.3, 0.5))
    (sign,) = find(held)
    assert (sign.begin, sign.end) == (whole.begin, whole.end)


def test_frames_that_come_late_do_not_end_a_sign():
    frames = path((0, *REST), (1, *REST), (1.4, *FACE), (1.8, *CHEST), (2.2, *FACE), (2.6, *CHEST), (3, *REST), (5, *REST))
    finder, found = SignFinder(ASPECT), []
    for k, frame in enumerate(frames):
        if not 36 < k < 52:  # 0.64 s, after which the hand is elsewhere
            found.append(finder.add(k / FPS, frame))
    (sign,) = filter(None, found)
    assert sign.begin == pytest.approx(1, abs=0.1) and sign.end == pytest.approx(2.8, abs=0.2)


def test_hands_that_do_not_move_are_no_sign_wherever_they_are():
    rng = np.random.default_rng(1)
    for y in (1.4, 1.05, 1.02, 1.0, 0.5):
        assert find([body((-0.4, y + d)) for d in rng.normal(0, 0.02, 250)]) == [], y
    assert find(np.zeros((50, 1629))) == find(np.full((50, 1629), np.nan)) == []
    assert find([body((-0.5, 1.4 - 0.6 * (i == 30))) for i in range(60)]) == []  # a point that jumps for a frame


def test_the_end_of_the_stream_ends_a_sign():
    finder, frames = SignFinder(ASPECT), path(*ONE)[:45]
    assert not finder.signing and not any(finder.add(i / FPS, row) for i, row in enumerate(frames)) and finder.signing
    sign = finder.finish()
    assert sign.end == sign.detected == pytest.approx(44 / FPS) and finder.finish() is None


def test_little_is_kept_of_rest_and_a_sign_without_an_end_is_cut():
    for wave, most in ((0, 20), (0.3, (signs.LONGEST + 1) * FPS)):
        finder, alive, found = SignFinder(ASPECT), [], []
        for i in range(1000):
            y = 0.2 + wave * np.sin(i / 3) if wave else 1.4
            row = body((-0.2, y))
            alive.append(weakref.ref(row))
            found.append(finder.add(i / FPS, row))
            del row
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= most
        found = [sign for sign in found if sign]
        assert len(found) == (6 if wave else 0)
        assert all(sign.end - sign.begin <= signs.LONGEST + FRAME for sign in found)
        assert all(before.end <= sign.begin for before, sign in itertools.pairwise(found))


def test_the_signs_of_the_sample_are_found_in_a_stream():
    found = near = total = 0
    for clips in benchmark.streams(0):
        frames, truths = benchmark.join([clip[:2] for clip in clips], np.random.default_rng(0))
        signs_found = find(frames)
        found, total = found + len(signs_found), total + len(truths)
        for number, sign in benchmark.matches(truths, signs_found).items():
            begin, stop, end = np.array(truths[number]) / FPS
            near += abs(sign.begin - begin) <= 0.3 and stop - 0.3 <= sign.end <= end + 0.3
            assert sign.detected - sign.end <= 0.4 + FRAME
    assert near / total > 0.85 and near / found > 0.82, (near, found, total)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_missing_signs_follow_each_other(seed):
    """Parts come and go at random, as in a bad light: nothing is raised, and times and frames agree."""
    rng = np.random.default_rng(seed)
    frames, _ = benchmark.join([clip[:2] for clip in next(iter(benchmark.streams(seed)))[:4]], rng)
    points = frames.reshape(len(frames), 543, 3)
    for block in (slice(0, 33), slice(15, 17), slice(501, 522), slice(522, 543)):
        for start in rng.integers(0, len(points), rng.integers(3, 30)):
            points[start : start + rng.integers(1, 20), block] = rng.choice([0, np.nan])
    found = benchmark.find(frames)
    for sign in found:
        assert sign.begin <= sign.end <= sign.detected and len(sign.frames) == len(sign.times)
        assert sign.times[0] >= sign.begin - signs.LEAD - 1e-9 and sign.times[-1] <= sign.end + 1e-9
    assert all(a.detected < b.detected and a.end <= b.begin + 1e-9 for a, b in itertools.pairwise(found))
    assert len(found) >= 2
