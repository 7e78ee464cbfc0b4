"""signlib.augment: seeded, gentle, and blind to nothing that was missing."""

import numpy as np
import pytest

from signlib import Augment, InputError
from signlib.landmarks import mirror_permutation, select_landmarks

SEEDS = range(8)
LANDMARKS = select_landmarks("default")
NOTHING = {"rotation": 0, "scale": 0, "speed": 0, "drop_frames": 0}


def rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_gives_the_same_change_and_another_seed_another(damaged_points, seed):
    points, augment = damaged_points(20, seed), Augment(flip=0.5, landmarks=LANDMARKS)
    before = points.copy()
    points.flags.writeable = False
    changed = augment(points, rng(seed))
    np.testing.assert_array_equal(changed, augment(points, rng(seed)))
    assert not np.array_equal(changed, augment(points, rng(seed + 100)), equal_nan=True)
    assert changed.dtype == np.float32
    assert changed.shape[1:] == points.shape[1:]
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length", [2, 3, 20])
def test_with_all_at_zero_nothing_changes(damaged_points, seed, length):
    points = damaged_points(length, seed)
    np.testing.assert_allclose(Augment(**NOTHING)(points, rng(seed)), points, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_that_is_never_found_stays_missing_and_no_value_is_infinite(damaged_points, seed):
    points = damaged_points(20, seed)
    points[:, 5] = points[:, 60:] = np.nan
    points[:8, 30] = points[12:, 30] = np.nan
    changed = Augment(flip=0)(points, rng(seed))
    assert np.isnan(changed[:, 5]).all()
    assert np.isnan(changed[:, 60:]).all()
    assert not np.isinf(changed).any()
    seen = np.flatnonzero(np.isfinite(changed[:, 30]).all(axis=1)) / (len(changed) - 1) * 19
    assert seen.min() > 6.9
    assert seen.max() < 12.1
    np.testing.assert_array_equal(np.isnan(changed).any(axis=2), np.isnan(changed).all(axis=2))


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_and_scale_alone_leave_each_missing_point_missing(damaged_points, seed):
    points = damaged_points(20, seed)
    changed = Augment(speed=0, drop_frames=0)(points, rng(seed))
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(points))


@pytest.mark.parametrize("seed", SEEDS)
def test_flipping_swaps_the_hands_and_flipping_twice_changes_nothing(damaged_points, make_frames, seed):
    points, flip = damaged_points(9, seed), Augment(**NOTHING, flip=1, landmarks=LANDMARKS)
    once = flip(points, rng(seed))
    left = [i for i, (block, _) in enumerate(LANDMARKS) if block == "left_hand"]
    right = [i for i, (block, _) in enumerate(LANDMARKS) if block == "right_hand"]
    np.testing.assert_allclose(once[:, left], points[:, right] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(once[:, right], points[:, left] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(once, points[:, mirror_permutation(LANDMARKS)] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(flip(once, rng(seed + 1)), points, atol=1e-6)


def test_flip_is_a_probability(damaged_points):
    points, augment = damaged_points(3), Augment(**NOTHING, flip=0.25, landmarks=LANDMARKS)
    flipped = sum(np.nanmean(augment(points, rng(seed))[:, :, 0]) < 0 for seed in range(400))
    assert 70 < flipped < 130


def test_flip_without_the_landmarks_or_of_the_whole_mesh_is_an_error(damaged_points):
    with pytest.raises(InputError, match="no mirror image"):
        Augment(flip=1, landmarks=select_landmarks("all"))(damaged_points(3, landmarks="all"), rng(0))


@pytest.mark.parametrize("length", [1, 2, 10, 50])
def test_speed_changes_the_length_within_its_bounds(damaged_points, length):
    points, augment = damaged_points(length), Augment(speed=0.2)
    lengths = {len(augment(points, rng(seed))) for seed in range(60)}
    assert min(lengths) >= max(2, round(length * 0.8))
    assert max(lengths) <= max(2, round(length * 1.2))
    assert len(lengths) > 1 or length <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_and_scale_stay_within_their_bounds(seed):
    square = np.array([[[0, 0, 5], [1, 0, 5], [0, 1, 5]]] * 3, np.float32)
    turned = Augment(rotation=10, scale=0, speed=0, drop_frames=0)(square, rng(seed))
    a, b = turned[0, 1, :2], turned[0, 2, :2]
    assert np.hypot(*a) == pytest.approx(1, abs=1e-6)
    assert a @ b == pytest.approx(0, abs=1e-6)
    assert 0 < abs(np.degrees(np.arctan2(a[1], a[0]))) <= 10
    stretched = Augment(rotation=0, scale=0.15, speed=0, drop_frames=0)(square, rng(seed))
    assert 0.85 <= stretched[0, 1, 0] <= 1.15
    assert 0.85 <= stretched[0, 2, 1] <= 1.15
    assert stretched[0, 1, 0] != stretched[0, 2, 1]
    assert (turned[:, :, 2] == 5).all()


def test_dropped_frames_are_whole_frames_and_few(make_frames):
    points = np.ones((200, 91, 3), np.float32)
    augment = Augment(rotation=0, scale=0, speed=0, drop_frames=0.2)
    lost = np.array([np.isnan(augment(points, rng(seed))) for seed in range(50)])
    assert (lost.all(axis=(2, 3)) == lost.any(axis=(2, 3))).all()
    assert 0.05 < lost.mean() < 0.15
    assert lost.mean(axis=(1, 2, 3)).max() < 0.3
