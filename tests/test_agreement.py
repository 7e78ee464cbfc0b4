"""signlib.agreement: whether clips agree with the layout that they are read by."""

import itertools
import warnings

import numpy as np
import pytest

from signlib import InputError
from signlib.agreement import better_order, check_layout
from signlib.landmarks import LAYOUTS

POSED = [name for name in LAYOUTS if name != "126"]
POSE, FACE, LEFT, RIGHT = slice(0, 33), slice(33, 501), slice(501, 522), slice(522, 543)


@pytest.fixture(scope="module")
def six_bodies(make_frames):
    """Six clips of 12 frames of layout 1629, as `(6, 12, 543, 3)`: the left wrist is to the right in the picture, as the
    left shoulder is, each a shoulder width below its shoulder."""
    bodies = np.stack([make_frames(12, seed).reshape(12, 543, 3) for seed in range(6)])
    bodies[:, :, [15, 501], 0] += 0.6 - bodies[:, :, [15], 0]
    bodies[:, :, [16, 522], 0] += 0.4 - bodies[:, :, [16], 0]
    bodies[:, :, [15, 16, 501, 522], 1] += 0.7 - bodies[:, :, [15, 16, 15, 16], 1]
    bodies[:, :, FACE] = 0.1 * (bodies[:, :, FACE] - 0.5) + [0.5, 0.3, 0]  # a face, far from the wrists
    return bodies


@pytest.fixture
def bodies(six_bodies):
    """A copy of `six_bodies`, to change."""
    return six_bodies.copy()


def written(lay_out, bodies, layout):
    """The clips in a layout: {id: `(12, F)`}."""
    return {f"c{i}": lay_out(body.reshape(len(body), 1629), layout).reshape(len(body), -1) for i, body in enumerate(bodies)}


def said(samples, layout, guessed=True):
    """The warnings of `check_layout`."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_layout(samples, layout, guessed)
    return [str(warning.message) for warning in told]


@pytest.mark.parametrize("guessed", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_in_its_own_layout_is_accepted_without_a_word(bodies, lay_out, layout, guessed):
    assert said(written(lay_out, bodies, layout), layout, guessed) == []
    assert said(written(lay_out, bodies * 1000 - 50, layout), layout, guessed) == []  # pixels, as well as shares of them
    whole = {name: frames.astype(np.int16) for name, frames in written(lay_out, bodies * 1000, layout).items()}
    assert said(whole, layout, guessed) == []


@pytest.mark.parametrize("guessed", [True, False])
@pytest.mark.parametrize("layout", POSED)
def test_exchanged_hands_are_refused_with_the_order_that_would_fit(bodies, lay_out, layout, guessed):
    bodies[:, :, [*range(501, 543)]] = bodies[:, :, [*range(522, 543), *range(501, 522)]]
    order = {"258": "pose, right_hand, left_hand", "225": "pose, right_hand, left_hand"}
    order |= {"543": "face, right_hand, pose, left_hand"}
    expected = order.get(layout, "pose, face, right_hand, left_hand")
    with pytest.raises(
        InputError, match=rf"layout {layout} does not fit.* 0%.* The order {expected} fits: .*LAYOUTS in signlib/landmarks\.py"
    ):
        check_layout(written(lay_out, bodies, layout), layout, guessed)


def test_hands_before_each_other_are_told_apart_too(bodies, lay_out):
    bodies[:, :, [15, 501], 0] -= 0.14  # 0.3 shoulder widths apart: either wrist lies at either
    assert said(written(lay_out, bodies, "225"), "225") == []
    bodies[:, :, [*range(501, 543)]] = bodies[:, :, [*range(522, 543), *range(501, 522)]]
    with pytest.raises(InputError, match="The order pose, right_hand, left_hand fits"):
        check_layout(written(lay_out, bodies, "225"), "225")


@pytest.mark.parametrize(("is_", "taken"), [("543", "1629"), ("1629", "543")])
@pytest.mark.parametrize("guessed", [True, False])
def test_the_two_orders_of_1629_numbers_are_told_apart_by_the_data(bodies, lay_out, is_, taken, guessed):
    samples = written(lay_out, bodies, is_)
    with pytest.raises(InputError, match=rf"layout {taken} does not fit.*Layout {is_} fits: set LAYOUT to {is_}$"):
        check_layout(samples, taken, guessed)
    assert said(samples, is_, guessed) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_the_blocks_is_refused_with_its_name_unless_it_is_that_of_the_layout(bodies, order):
    names, parts = ("pose", "face", "left_hand", "right_hand"), (POSE, FACE, LEFT, RIGHT)
    samples = {i: np.concatenate([body[:, parts[k]] for k in order], axis=1).reshape(12, 1629) for i, body in enumerate(bodies)}
    if order == (0, 1, 2, 3):
        assert said(samples, "1629") == []
    else:
        name = "Layout 543" if order == (1, 2, 0, 3) else f"The order {', '.join(names[i] for i in order)}"
        with pytest.raises(InputError, match=rf"{name} fits: set LAYOUT to"):
            check_layout(samples, "1629")


@pytest.mark.parametrize(("layout", "seed"), list(zip(POSED, range(5), strict=True)))
def test_hands_at_random_are_refused_when_guessed_and_warned_of_when_named(bodies, lay_out, layout, seed):
    bodies[:, :, 501:] = np.random.default_rng(seed).uniform(2, 9, bodies[:, :, 501:].shape)
    samples = written(lay_out, bodies, layout)
    with pytest.raises(InputError, match=rf"layout {layout} does not fit.* 0%.*If you are sure .*{layout}, set LAYOUT"):
        check_layout(samples, layout)
    (warning,) = said(samples, layout, guessed=False)
    assert f"layout {layout} does not fit" in warning


@pytest.mark.parametrize("layout", ["1662", "258", "225"])
@pytest.mark.parametrize("seed", range(8))
def test_some_hands_elsewhere_are_tolerated_up_to_a_quarter(bodies, lay_out, layout, seed):
    rng = np.random.default_rng(seed)
    lost = rng.random((6, 12, 2)) < 0.2
    away = rng.random((6, 12, 2)) < rng.choice([0.1, 0.2, 0.3, 0.4])
    away[0, :3], lost[0, :3] = True, False
    for side, (start, stop) in enumerate(((501, 522), (522, 543))):
        bodies[:, :, start:stop][away[..., side]] += 5
        bodies[:, :, start:stop][lost[..., side]] = rng.choice([0, np.nan])
    share = 1 - np.mean([elsewhere[~gone].mean() for elsewhere, gone in zip(away, lost, strict=True)])  # a clip is a clip
    samples = written(lay_out, bodies, layout)
    if share >= 0.75:
        assert said(samples, layout) == []
    else:
        with pytest.raises(InputError, match=rf"layout {layout} does not fit.* {share:.0%}"):
            check_layout(samples, layout)


@pytest.mark.parametrize("length", [12, 100, 5000])
@pytest.mark.parametrize("layout", POSED)
def test_one_long_clip_of_noise_does_not_speak_for_the_others(bodies, lay_out, layout, length):
    samples = written(lay_out, bodies, layout)
    samples["noise"] = np.random.default_rng(0).random((length, LAYOUTS[layout].width))
    assert not any("fit" in warning for warning in said(samples, layout))


@pytest.mark.parametrize("left", ["nothing", "no hands", "few hands", "no pose", "no shoulders", "no clips"])
@pytest.mark.parametrize("value", [0, np.nan])
@pytest.mark.parametrize("layout", POSED)
def test_where_hands_or_pose_are_missing_nothing_is_said(bodies, lay_out, layout, left, value):
    bodies[:, :, 501:] += 5  # not at the pose's wrists
    hands = bodies[:, :, 501:].copy()
    if left in ("nothing", "no hands", "few hands"):
        bodies[:, :, 501:] = value
    if left == "few hands":
        bodies[:3, 0, 501:], bodies[3:6, 0, 501:522] = hands[:3, 0], hands[3:6, 0, :21]  # nine, one fewer than are judged
    if left in ("nothing", "no pose"):
        bodies[:, :, :33] = value
    if left == "no shoulders":
        bodies[:, :, 11:13] = value
    samples = written(lay_out, bodies, layout)
    if left == "no clips":
        samples = {}
    assert said(samples, layout, guessed=False) == []
    told = said(samples, layout)
    if layout in ("1629", "543"):  # as many values as the other one: the guess is said to be one
        (told,) = told
        assert f"taken for layout {layout}; {'543' if layout == '1629' else '1629'} has as many" in told
    else:
        assert told == []
    if left == "few hands":
        bodies[0, 1, 501:] = hands[0, 1]
        with pytest.raises(InputError, match="does not fit"):
            check_layout(written(lay_out, bodies, layout), layout)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", [11, 15, 501])
@pytest.mark.parametrize("layout", POSED)
def test_huge_values_in_a_frame_say_nothing(bodies, lay_out, layout, place):
    bodies[0, 3, place, :2] = -3e38, 3e38
    bodies[1, 4, place, :2] = 3e38, 1e300
    bodies[2, 5, place + 1, :2] = np.inf, -np.inf
    bodies[3, 6, [11, 501], :2], bodies[3, 6, [12, 522], :2] = 3e38, -3e38
    check_layout(written(lay_out, bodies, layout), layout)


@pytest.mark.parametrize("layout", POSED)
def test_a_hand_is_judged_by_the_wrist_that_the_pose_has(bodies, lay_out, layout):
    bodies[:, :, [16, *range(522, 543)]] = np.nan  # the right arm is never found
    assert said(written(lay_out, bodies, layout), layout) == []
    bodies[:, :, 501:522] += 5
    with pytest.raises(InputError, match="does not fit"):
        check_layout(written(lay_out, bodies, layout), layout)


@pytest.mark.parametrize("guessed", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_mirrored_clips_are_warned_of_once(bodies, lay_out, layout, guessed):
    bodies[..., 0] = 1 - bodies[..., 0]
    (warning,) = said(written(lay_out, bodies, layout), layout, guessed)
    what = "hand" if layout == "126" else "shoulder"
    assert f"in 6 of 6 clips that were looked at the left {what} stands to the left" in warning and "Harmless" in warning


@pytest.mark.parametrize("layout", POSED)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_clips_of_which_some_are_mirrored_are_named(bodies, lay_out, layout, count):
    bodies[:count, :, :, 0] = 1 - bodies[:count, :, :, 0]
    (warning,) = said(written(lay_out, bodies, layout), layout)
    assert f"in {count} of 6 clips" in warning and "Harmless" not in warning
    assert f"{', '.join(f'c{i}' for i in range(count))} are mirrored, the others are not" in warning


def test_hands_cross_so_a_minority_of_mirrored_hands_is_not_warned_of(bodies, lay_out):
    bodies[:3, :, :, 0] = 1 - bodies[:3, :, :, 0]
    assert said(written(lay_out, bodies, "126"), "126") == []
    bodies[3, :, :, 0] = 1 - bodies[3, :, :, 0]
    assert len(said(written(lay_out, bodies, "126"), "126")) == 1


def test_few_frames_with_both_hands_say_nothing_of_left_and_right(bodies, lay_out):
    bodies[..., 0] = 1 - bodies[..., 0]
    bodies[:, 1:, 501:522] = 0
    assert said(written(lay_out, bodies, "126"), "126") == []


@pytest.mark.parametrize(("is_", "taken"), [("543", "1629"), ("1629", "543")])
@pytest.mark.parametrize("hand", [LEFT, RIGHT], ids=["left", "right"])
@pytest.mark.parametrize("value", [0, np.nan])
@pytest.mark.parametrize("guessed", [True, False])
def test_the_two_orders_are_told_apart_where_one_hand_is_never_seen(bodies, lay_out, is_, taken, hand, value, guessed):
    bodies[:, :, hand] = value
    samples = written(lay_out, bodies, is_)
    assert said(samples, is_, guessed) == []
    with pytest.raises(InputError, match=rf"layout {taken} does not fit.*Layout {is_} fits: set LAYOUT to {is_}$"):
        check_layout(samples, taken, guessed)


@pytest.mark.parametrize("layout", POSED)
def test_exchanged_hands_are_noticed_where_one_is_never_seen(bodies, lay_out, layout):
    bodies[:, :, RIGHT], bodies[:, :, LEFT] = bodies[:, :, LEFT].copy(), 0
    with pytest.raises(InputError, match="right_hand.* fits: set LAYOUT to mine"):
        check_layout(written(lay_out, bodies, layout), layout)


@pytest.mark.parametrize(("is_", "taken"), [("543", "1629"), ("1629", "543")])
@pytest.mark.parametrize("guessed", [True, False])
def test_a_mixture_of_two_orders_is_warned_of_or_refused_by_its_share(bodies, lay_out, is_, taken, guessed):
    samples = written(lay_out, bodies, taken)
    samples["c4"] = written(lay_out, bodies, is_)["c4"]
    (warning,) = said(samples, taken, guessed)
    assert f"1 of 6 clips that were looked at hold their values in another order than layout {taken}: c4. " in warning
    assert f"Such clips fit layout {is_}" in warning
    with pytest.raises(InputError, match=rf"1 of 6 clips .* than layout {taken}: c4\. .*layout {is_}.*one order in a folder"):
        check_layout(samples, taken, guessed, max_odd_share=0.1)
    samples["c1"] = written(lay_out, bodies, is_)["c1"]
    with pytest.raises(InputError, match=rf"2 of 6 clips .* than layout {taken}: c1, c4\."):
        check_layout(samples, taken, guessed)


@pytest.mark.parametrize("layout", POSED)
def test_a_better_order_is_only_named_where_the_data_says_so(bodies, lay_out, layout):
    assert better_order(list(written(lay_out, bodies, layout).values()), layout) is None
    bodies[:, :, 501:] += 5  # nowhere near a wrist, in no order
    assert better_order(list(written(lay_out, bodies, layout).values()), layout) is None
    assert better_order([], layout) is None
