"""signlib.augment: seeded, gentle, and blind to nothing that was missing."""

import dataclasses

import numpy as np
import pytest

from signlib import Augment, InputError
from signlib.augment import LARGEST
from signlib.landmarks import mirror_permutation, select_landmarks
from signlib.points import resample

MIDDLE = np.float32([0.5, 0.5, 0])  # of the picture, which it is turned and stretched about
SEEDS = range(8)
LANDMARKS = select_landmarks("default")
NOTHING = {field.name: 0 for field in dataclasses.fields(Augment) if field.name != "landmarks"}
GENTLE = {"noise": 0.01, "mirror": 0.5, "drop_landmarks": 0.1}  # what is off by default


def rng(seed):
    return np.random.default_rng(seed)


def only(**change):
    """An Augment that makes one kind of change."""
    return Augment(LANDMARKS, **NOTHING | change)


def block(name):
    """Indices of a block's points among the landmarks."""
    return [i for i, (own, _) in enumerate(LANDMARKS) if own == name]


@pytest.mark.parametrize("name", ["all", *NOTHING])
def test_the_same_seed_gives_the_same_change_and_another_seed_another(damaged_points, name):
    points = damaged_points(20)
    change = {"rotation": 15, "mirror": 0.5, "drop_frames": 0.5, "drop_landmarks": 0.5}.get(name, 0.2)
    augment = Augment(LANDMARKS, **GENTLE) if name == "all" else only(**{name: change})
    before = points.copy()
    points.flags.writeable = False
    changes = [augment(points, rng(seed)) for seed in range(12)]
    for seed, changed in enumerate(changes):
        np.testing.assert_array_equal(changed, augment(points, rng(seed)))
        assert changed.dtype == np.float32
        assert changed.shape[1:] == points.shape[1:]
    distinct = len({changed.tobytes() for changed in changes})
    assert distinct >= {"mirror": 2, "speed": 5, "drop_frames": 5}.get(name, 12)
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
    changed = Augment(LANDMARKS, **GENTLE | {"mirror": 0, "drop_landmarks": 0}, crop=0, warp=0)(points, rng(seed))
    assert np.isnan(changed[:, 5]).all()
    assert np.isnan(changed[:, 60:]).all()
    assert not np.isinf(changed).any()
    seen = np.flatnonzero(np.isfinite(changed[:, 30]).all(axis=1)) / (len(changed) - 1) * 19
    assert seen.min() > 6.9
    assert seen.max() < 12.1
    np.testing.assert_array_equal(np.isnan(changed).any(axis=2), np.isnan(changed).all(axis=2))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_moves_points_leaves_each_missing_point_missing_and_each_other_there(damaged_points, seed):
    points = damaged_points(20, seed)
    changed = only(rotation=15, scale=0.2, shear=0.1, shift=0.1, noise=0.1)(points, rng(seed))
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(points))
    assert np.nanmin(np.abs(changed - points)) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_mirroring_swaps_the_hands_and_mirroring_twice_changes_nothing(damaged_points, seed):
    points, mirror = damaged_points(9, seed), only(mirror=1)
    once = mirror(points, rng(seed))
    left, right = block("left_hand"), block("right_hand")
    np.testing.assert_allclose(once[:, left], points[:, right] * [-1, 1, 1] + [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(once[:, right], points[:, left] * [-1, 1, 1] + [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(once, points[:, mirror_permutation(LANDMARKS)] * [-1, 1, 1] + [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(mirror(once, rng(seed + 1)), points, atol=1e-6)


def test_mirror_is_a_probability(damaged_points):
    points, augment = damaged_points(3) + 5, only(mirror=0.25)
    mirrored = sum(np.nanmean(augment(points, rng(seed))[:, :, 0]) < 0 for seed in range(400))
    assert 70 < mirrored < 130


def test_no_clip_is_mirrored_unless_it_is_asked_for(damaged_points):
    points = damaged_points(3) + 5
    assert all(np.nanmean(Augment(LANDMARKS)(points, rng(seed))[:, :, 0]) > 0 for seed in range(20))


def test_mirroring_the_whole_mesh_is_an_error(damaged_points):
    with pytest.raises(InputError, match="no mirror image"):
        Augment(select_landmarks("all"), mirror=1)(damaged_points(3, landmarks="all"), rng(0))


@pytest.mark.parametrize("name", LARGEST)
def test_a_limit_that_no_clip_survives_is_refused_by_name(name):
    only(**{name: LARGEST[name]})
    for wrong in (-0.1, LARGEST[name] + 0.1, np.nan):
        with pytest.raises(InputError, match=f"{name} is {wrong}; expected 0 to {LARGEST[name]}"):
            only(**{name: wrong})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_of_at_most_so_many_frames_is_the_same_movement_sampled_once(seed):
    t = np.linspace(0, 1, 90, dtype=np.float32)
    points = np.stack([t, np.sin(3 * t), t * t], axis=1)[:, None]  # smooth, so that resampling twice is nearly as good
    augment = Augment(**NOTHING | {"speed": 0.2, "warp": 0.4, "crop": 0.15, "rotation": 15})
    (whole,), (short,) = (augment.each([points], [rng(seed)], most) for most in (np.inf, 50))
    assert len(whole) > 50 == len(short)
    np.testing.assert_allclose(short, resample(whole, np.linspace(0, len(whole) - 1, 50)), atol=1e-3)
    np.testing.assert_allclose(short[[0, -1]], whole[[0, -1]], atol=1e-6)
    np.testing.assert_array_equal(augment.each([points], [rng(seed)], 200)[0], whole)


@pytest.mark.parametrize("length", [1, 2, 10, 50])
def test_speed_changes_the_length_within_its_bounds_and_keeps_both_ends(damaged_points, length):
    points, augment = damaged_points(length), only(speed=0.2)
    changes = [augment(points, rng(seed)) for seed in range(60)]
    lengths = {len(changed) for changed in changes}
    assert min(lengths) >= max(2, round(length * 0.8))
    assert max(lengths) <= max(2, round(length * 1.2))
    assert len(lengths) > 1 or length <= 2
    for changed in changes:
        np.testing.assert_allclose(changed[[0, -1]], points[[0, -1]], atol=1e-6)


@pytest.mark.parametrize("length", [10, 50])
def test_a_crop_cuts_frames_off_at_either_end_and_no_more_than_its_share(length):
    time = np.linspace(0, 1, length, dtype=np.float32)[:, None, None] * np.ones((1, 91, 3), np.float32)
    changes = [only(crop=0.2)(time, rng(seed)) for seed in range(60)]
    first, last = np.array([changed[[0, -1], 0, 0] for changed in changes]).T
    assert 0 <= first.min() < 0.05 and 0.15 < first.max() <= 0.2 + 1e-6
    assert 0.8 - 1e-6 <= last.min() < 0.85 and 0.95 < last.max() <= 1
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.5  # each end by itself
    for changed, start, end in zip(changes, first, last, strict=True):
        assert len(changed) == pytest.approx((end - start) * (length - 1) + 1, abs=0.51)
        assert np.diff(changed[:, 0, 0]) == pytest.approx((end - start) / (len(changed) - 1), abs=1e-5)  # at even steps


def test_a_warp_hastens_one_end_and_slows_the_other_within_its_bounds():
    time, first = np.linspace(0, 1, 41, dtype=np.float32)[:, None, None] * np.ones((1, 91, 3), np.float32), []
    for seed in range(60):
        changed = only(warp=0.4)(time, rng(seed))[:, 0, 0]
        assert len(changed) == 41 and changed[[0, -1]] == pytest.approx([0, 1], abs=1e-6)
        steps = np.diff(changed) * 40
        assert steps + steps[::-1] == pytest.approx(2, abs=1e-3)  # as much slower at the end as faster at the start
        assert (np.diff(steps) * np.sign(1 - steps[0]) > -1e-3).all()  # from one to the other without a jump
        first.append(steps[0])
    assert 0.6 <= min(first) < 0.7 and 1.3 < max(first) <= 1.4


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_clips_keep_two_frames_and_lie_between_their_ends(length):
    time = np.linspace(0, 1, length, dtype=np.float32)[:, None, None] * np.ones((1, 91, 3), np.float32)
    augment = only(crop=0.5, speed=0.5, warp=0.9)
    for seed in range(60):
        changed = augment(time, rng(seed))
        assert 2 <= len(changed) <= max(2, round(1.5 * length))
        assert changed.min() >= 0 and changed.max() <= 1
        assert (np.diff(changed[:, 0, 0]) >= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_and_scale_stay_within_their_bounds(seed):
    square = np.array([[[0, 0, 5], [1, 0, 5], [0, 1, 5]]] * 3, np.float32) + MIDDLE
    turned = Augment(**NOTHING | {"rotation": 10})(square, rng(seed)) - MIDDLE
    a, b = turned[0, 1, :2], turned[0, 2, :2]
    assert np.hypot(*a) == pytest.approx(1, abs=1e-6)
    assert a @ b == pytest.approx(0, abs=1e-6)
    assert 0 < abs(np.degrees(np.arctan2(a[1], a[0]))) <= 10
    stretched = Augment(**NOTHING | {"scale": 0.15})(square, rng(seed)) - MIDDLE
    assert 0.85 <= stretched[0, 1, 0] <= 1.15
    assert 0.85 <= stretched[0, 2, 1] <= 1.15
    assert stretched[0, 1, 0] != stretched[0, 2, 1]
    assert [stretched[0, 1, 1], stretched[0, 2, 0]] == pytest.approx([0, 0], abs=1e-6)
    assert (turned[:, :, 2] == 5).all() and (stretched[:, :, 2] == 5).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_shear_moves_x_by_y_and_y_by_x_within_its_bounds(seed):
    square = np.array([[[0, 0, 5], [1, 0, 5], [0, 1, 5]]] * 3, np.float32) + MIDDLE
    sheared = Augment(**NOTHING | {"shear": 0.1})(square, rng(seed)) - MIDDLE
    by_y, by_x = sheared[0, 2, 0], sheared[0, 1, 1]
    assert 0 < abs(by_y) <= 0.1 and 0 < abs(by_x) <= 0.1 and by_y != by_x
    assert [sheared[0, 1, 0], sheared[0, 2, 1]] == pytest.approx([1, 1], abs=1e-6)
    assert (sheared[:, :, 2] == 5).all()


def test_a_shift_moves_the_clip_as_a_whole(damaged_points):
    points, shifts = damaged_points(6), []
    for seed in range(100):
        moved = only(shift=0.1)(points, rng(seed)) - points
        assert np.nanmax(np.abs(moved[:, :, 2])) == 0
        assert np.nanmax(np.ptp(moved[~np.isnan(moved[:, :, 0])], axis=0)) < 1e-6
        shifts.append(np.nanmean(moved[:, :, :2], axis=(0, 1)))
    assert 0.09 < np.abs(shifts).max() <= 0.1 + 1e-6
    assert np.std(shifts, axis=0) == pytest.approx(0.1 / 3**0.5, rel=0.35)


def test_a_clip_in_the_middle_of_the_picture_stays_there(damaged_points):
    points = np.full((5, 91, 3), 0.5, np.float32)
    changed = Augment(LANDMARKS, 0.5, shift=0, drop_frames=0)(points, rng(0))
    np.testing.assert_allclose(changed[:, :, :2], 0.5, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_differs_from_value_to_value_and_has_its_size(seed):
    points = np.full((30, 91, 3), 0.5, np.float32)
    noise = only(noise=0.02)(points, rng(seed)) - points
    assert noise.std(axis=(0, 1)) == pytest.approx(0.02, rel=0.1)
    assert abs(noise.mean()) < 0.002
    assert len(np.unique(noise)) > 0.9 * noise.size


def test_dropped_frames_are_whole_frames_and_few():
    points = np.ones((200, 91, 3), np.float32)
    lost = np.array([np.isnan(only(drop_frames=0.2)(points, rng(seed))) for seed in range(50)])
    assert (lost.all(axis=(2, 3)) == lost.any(axis=(2, 3))).all()
    assert 0.05 < lost.mean() < 0.15
    assert lost.mean(axis=(1, 2, 3)).max() < 0.3


def test_dropped_landmarks_are_forgotten_throughout_and_few():
    points = np.ones((5, 91, 3), np.float32)
    lost = np.array([np.isnan(only(drop_landmarks=0.2)(points, rng(seed))) for seed in range(100)])
    assert (lost.all(axis=(1, 3)) == lost.any(axis=(1, 3))).all()
    assert 0.05 < lost.mean() < 0.15
    assert lost.mean(axis=(1, 2, 3)).max() < 0.4
    assert lost.any(axis=(0, 1, 3)).all()  # each landmark in some clip


def test_resample_outside_a_point_that_was_seen_does_not_invent_it():
    points = np.full((5, 1, 3), np.nan, np.float32)
    points[2] = 1
    assert np.isnan(resample(points, np.linspace(0, 4, 9))[:, 0, 0]).tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
