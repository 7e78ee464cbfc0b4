"""signlib.checks: a fault planted into a clean clip is found, and what real clips do is none."""

import numpy as np
import pytest

from signlib.checks import LIMITS, LOOSE_END, check_clip, parse_limits
from signlib.errors import InputError
from signlib.landmarks import LAYOUTS
from signlib.preprocess import Preprocessor

POSE, FACE, LEFT, RIGHT = slice(0, 33), slice(33, 501), slice(501, 522), slice(522, 543)
HANDS = slice(501, 543)
WITH_POSE = [name for name in LAYOUTS if name != "126"]
EVERYTHING = {name: Preprocessor(landmarks="all", layout=name, trim=False) for name in LAYOUTS}
WIDTH = 0.2  # of the signer's shoulders, in the picture


def signer(length=40):
    """Points `(T, 543, 3)` float32, in the order of 1629, of somebody whose hands go round, one on each side."""
    rng, turn = np.random.default_rng(0), np.linspace(0, 2 * np.pi, length)
    points = np.zeros((length, 543, 3))
    points[:, POSE] = rng.uniform((0.45, 0.2, -1), (0.55, 0.4, 0), (33, 3))
    points[:, FACE] = rng.uniform((0.45, 0.2, -1), (0.55, 0.4, 0), (468, 3)) + 0.01 * np.sin(turn)[:, None, None]
    points[:, 11, :2], points[:, 12, :2] = (0.6, 0.45), (0.4, 0.45)  # left is on the right of the picture
    shape = np.zeros((21, 3))  # a wrist, and five fingers of four joints each
    shape[1:] = [(0.012 * (finger - 2), -0.05 - 0.015 * joint, 0.002 * joint) for finger in range(5) for joint in range(4)]
    for wrist, hand, side, start in ((15, LEFT, 1, 0), (16, RIGHT, -1, 1)):
        points[:, wrist, 0] = 0.5 + side * (0.16 + 0.04 * np.sin(turn + start))
        points[:, wrist, 1] = 0.6 + 0.06 * np.cos(turn + start)
        points[:, hand] = points[:, wrist, None] + shape
    return points.astype(np.float32)


@pytest.fixture
def check(lay_out):
    """check(points, layout) -> (row, {check: (severity, value, limit)}) of the points written in a layout."""

    def run(points, layout="1629", dtype=np.float32, limits=LIMITS):
        frames = lay_out(points.reshape(len(points), 1629), layout).reshape(len(points), -1).astype(dtype)
        row, found, _ = check_clip(frames, layout, EVERYTHING[layout], limits)
        assert len({name for name, *_ in found}) == len(found)
        return row, {name: tuple(rest) for name, *rest in found}

    return run


def put(where, value):
    def change(points):
        points[where] = value
        return points

    return change


def move(where, x, y=0.0):
    def change(points):
        points[where] += np.float32([x, y, 0])
        return points

    return change


def scatter(share, value):
    def change(points):
        points[np.random.default_rng(1).random(points.shape) < share] = value
        return points

    return change


def exchange(frames):
    """Left is called right and right left, for some frames."""

    def change(points):
        points[frames, LEFT], points[frames, RIGHT] = points[frames, RIGHT], points[frames, LEFT].copy()
        return points

    return change


def steps(*changes):
    def change(points):
        for one in changes:
            points = one(points)
        return points

    return change


FAULTS = {  # check: (severity, what is done to 40 frames of `signer`)
    "6 frames": ("short", "warning", lambda points: points[:6]),
    "7 frames": ("short", "warning", lambda points: points[:7]),
    "2 frames": ("short", "error", lambda points: points[:2]),
    "1 frame": ("short", "error", lambda points: points[:1]),
    "zeros": ("empty", "error", lambda points: points * 0),
    "NaN": ("empty", "error", lambda points: points * np.nan),
    "some NaN": ("non-finite", "warning", scatter(0.02, np.nan)),
    "some infinite": ("non-finite", "warning", scatter(0.02, -np.inf)),
    "some too large for a coordinate": ("non-finite", "warning", scatter(0.02, 1e30)),
    "half NaN": ("non-finite", "error", scatter(0.4, np.nan)),
    "hands in a quarter": ("hands missing", "warning", put((slice(10, 40), HANDS), 0)),
    "no hands": ("hands missing", "error", put((slice(None), HANDS), np.nan)),
    "a still picture": ("frozen", "error", lambda points: np.repeat(points[:1], 40, axis=0)),
    "stops after a third": ("frozen", "warning", lambda points: np.concatenate([points[:13], np.repeat(points[12:13], 27, 0)])),
    "pixels": ("outside", "error", lambda points: points * np.float32([640, 480, 640])),
    "wild now and then": ("outside", "warning", move((slice(8, 40, 8), slice(501, 543)), 3)),
    "a hand is elsewhere for two frames": ("jumps", "warning", move((slice(15, 17), LEFT), -0.3, -0.4)),
    "a hand is elsewhere from now on": ("jumps", "warning", move((slice(20, 40), RIGHT), 0.1, -0.5)),
    "exchanged for five frames": ("swapped hands", "warning", exchange(slice(12, 17))),
    "exchanged from now on": ("swapped hands", "warning", exchange(slice(25, 40))),
    "one hand, under the other's name later": (
        "swapped hands", "warning",
        steps(put((slice(None), RIGHT), 0), exchange(slice(24, 40))),
    ),
    "the first frame is another recording's": ("loose end", "note", move((0, HANDS), -0.3, 0.2)),
    "the last frame is another recording's": ("loose end", "note", move((39, HANDS), 0.3, 0.2)),
}  # fmt: skip
FEW_IS_BAD = {"short"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_clean_clip_has_no_finding_in_any_layout(check, layout):
    row, found = check(signer(), layout)
    assert found == {}
    assert (row["frames"], row["nonfinite"], row["both_hands"]) == (40, 0, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else_in_every_layout(check, layout, fault):
    name, severity, change = FAULTS[fault]
    if layout == "126" and fault == "no hands":
        name = "empty"  # then nothing at all is detected
    found = check(change(signer()), layout)[1]
    if fault == "wild now and then":  # then hands are elsewhere, too
        assert found.pop("jumps")[1] > 10
    assert list(found) == [name]
    said, value, limit = found[name]
    assert said == severity
    assert value <= limit if name in FEW_IS_BAD else value >= limit


REAL = {
    "a sign of one hand": put((slice(None), LEFT), 0),
    "NaN for a face that was not detected": put((slice(None), FACE), np.nan),
    "hands down at first": put((slice(0, 20), HANDS), 0),
    "nobody is seen for a moment": put(slice(3, 6), 0),
    "nobody is seen at first": lambda points: np.concatenate([0 * points[:25], points]),
    "50 pictures a second of a video of 25": lambda points: np.repeat(points, 2, axis=0),
    "one number of many": put((0, 501, 1), np.nan),
    "eight frames": lambda points: points[10:18],
    "another size and place": lambda points: 0.4 * points + np.float32([0.5, 0.1, 0]),
    "legs below the picture": lambda points: put((slice(None), slice(23, 33), 1), 2.5)(points),
    "a hand leaves the picture a little": move((slice(None), [16, *range(522, 543)]), -0.35),
    "hands cross": lambda points: cross(points),
    "hands that touch are taken for each other": lambda points: exchange(slice(15, 20))(touch(points, 0.05)),
    "a hand comes to the other one, and the pose sees its arm beside it": lambda points: visit(points),
    "a hand is lost and found again elsewhere": steps(put((slice(10, 16), LEFT), 0), move((slice(16, 40), LEFT), 0, -0.15)),
    "both hands are lost and found again": put((slice(10, 16), HANDS), 0),
}


def touch(points, gap):
    """Both hands and wrists are side by side, `gap` apart."""
    points[:, RIGHT] = points[:, LEFT] - np.float32([gap, 0, 0])
    points[:, 16] = points[:, 15] - np.float32([gap, 0, 0])
    return points


def visit(points):
    """The left hand is found beside the right one for eight frames, its arm's wrist half a shoulder width away."""
    points[12:24, LEFT] = 0
    points[14:22, LEFT] = points[14:22, RIGHT] + np.float32([0.04, 0, 0])
    points[14:22, 15] = points[14:22, 16] + np.float32([0.14, 0, 0])
    return points


def cross(points):
    """The hands go slowly to each other's place and back; the pose's wrists with them."""
    way = 0.17 * np.sin(np.linspace(0, np.pi, len(points)))[:, None]
    points[:, LEFT, 0] -= 2 * way
    points[:, RIGHT, 0] += 2 * way
    points[:, 15, 0] -= 2 * way[:, 0]
    points[:, 16, 0] += 2 * way[:, 0]
    return points


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", REAL)
def test_what_real_clips_do_is_no_fault_in_any_layout(check, layout, case):
    assert check(REAL[case](signer()), layout)[1] == {}


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_neither_small_numbers_nor_their_order_in_memory_are_a_fault(dtype):
    frames = np.asfortranarray(signer().reshape(40, 1629).astype(dtype))
    assert check_clip(frames, "1629", EVERYTHING["1629"])[1] == []


@pytest.mark.parametrize("layout", ["1629", "126"])
def test_numbers_of_twice_the_size_are_noted_with_what_they_take(check, layout):
    found = check(signer(), layout, np.float64)[1]
    assert found == {"float64": ("note", f"{40 * LAYOUTS[layout].width * 8 / 2**20:.2f} MiB", "float32")}
    shown = check(scatter(0.02, 1e300)(signer().astype(float)), layout, np.float64)[1]  # infinite in float32
    assert shown["non-finite"][0] == "warning"


def test_the_row_gives_the_share_of_frames_in_which_a_part_is_missing(check):
    points = signer()
    points[:10, LEFT], points[:16, RIGHT], points[:, FACE] = 0, np.nan, 0
    row = check(points)[0]
    assert (row["left_hand"], row["right_hand"], row["pose"], row["face"], row["both_hands"]) == (0.25, 0.4, 0, 1, 0.25)
    assert row["nonfinite"] == 0  # NaN throughout a part is how some files say undetected
    assert row["mirrored"] == 0


def test_the_share_of_broken_values_counts_landmarks_of_detected_parts_alone(check):
    points = signer()
    points[:, LEFT] = 0
    points[:20, 522:525, 1] = np.nan  # 60 landmarks of 40 x 522
    assert check(points)[0]["nonfinite"] == pytest.approx(60 / (40 * 522))


def test_looks_hold_points_missing_parts_and_wrists():
    points = signer()
    points[:10, RIGHT] = 0
    _, _, looks = check_clip(points.reshape(40, 1629), "1629", EVERYTHING["1629"])
    assert looks["points"].shape == (40, 543, 3)
    assert looks["missing"]["right_hand"].tolist() == [True] * 10 + [False] * 30
    np.testing.assert_array_equal(looks["wrists"]["left_hand"], points[:, 501, :2])
    assert np.isnan(looks["wrists"]["right_hand"][:10]).all()


# Left and right


@pytest.mark.parametrize("layout", WITH_POSE)
def test_hands_that_are_exchanged_throughout_are_an_order_not_a_change(check, layout):
    found = check(exchange(slice(None))(signer()), layout)[1]
    assert list(found) == ["order"]
    severity, value, limit = found["order"]
    assert (severity, limit) == ("error", layout)
    assert "right_hand, " in value and value.index("right_hand") < value.index("left_hand")


def test_without_a_pose_nobody_can_say_that_hands_are_exchanged_throughout(check):
    assert check(exchange(slice(None))(signer()), "126")[1] == {}


@pytest.mark.parametrize(("meant", "held"), [("1629", "543"), ("543", "1629")])
def test_the_order_of_another_layout_of_the_same_width_is_named(lay_out, meant, held):
    frames = lay_out(signer().reshape(40, 1629), held).reshape(40, 1629)
    found = {name: rest for name, *rest in check_clip(frames, meant, EVERYTHING[meant])[1]}
    assert found["order"] == ["error", f"fits layout {held}", meant]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_axes_that_stand_one_after_the_other_are_an_order(check, layout):
    points = signer()
    for block in (POSE, FACE, LEFT, RIGHT):  # all x, all y, all z
        points[:, block] = points[:, block].transpose(0, 2, 1).reshape(points[:, block].shape)
    assert check(points, layout)[1]["order"][0] == "warning"


@pytest.mark.parametrize("order", [(LEFT, RIGHT, POSE, FACE), (FACE, POSE, LEFT, RIGHT), (POSE, LEFT, FACE, RIGHT)])
@pytest.mark.parametrize("layout", ["1629", "1662", "543"])
def test_parts_that_stand_in_any_other_order_are_an_order(check, layout, order):
    points = signer()
    points[20:, HANDS] = 0
    points = np.concatenate([points[:, block] for block in order], axis=1)
    assert check(points, layout)[1]["order"][0] in ("warning", "error")  # an error where another order is known to fit


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_with_landmarks_at_exactly_zero_are_an_order_but_for_a_few(check, layout):
    points = signer()
    points[:3, 510:514] = 0
    assert check(points.copy(), layout)[1] == {}
    points[:, 510:514] = 0  # a whole finger, so that no bone is long
    assert check(points, layout)[1]["order"][0] == "warning"


@pytest.mark.parametrize("layout", WITH_POSE)
def test_hands_that_are_mostly_astray_are_an_order_and_of_a_few_nothing_is_said(check, layout):
    points = exchange(slice(0, 24))(signer())  # 60 %
    found = check(points, layout)[1]
    assert found["order"] == ("warning", "60% of the hands are not at their arm", layout)
    assert "order" not in check(points, layout, limits=parse_limits("order=0.7"))[1]
    points = exchange(slice(None))(signer())
    points[2:, HANDS] = 0  # four hands
    assert list(check(points, layout)[1]) == ["hands missing"]


@pytest.mark.parametrize("layout", WITH_POSE)
def test_one_hand_at_the_other_arms_wrist_is_found_though_it_never_jumps(check, layout):
    points = signer()
    points[14:17, HANDS] = 0  # nobody sees how it changed its name
    points[17:25, LEFT] = points[17:25, RIGHT]
    points[17:25, RIGHT] = 0
    points[25:27, HANDS] = 0
    found = check(points, layout)[1]
    assert found == {"swapped hands": ("warning", 8, 2)}
    assert "swapped hands" not in check(points, "126")[1]  # without arms nobody can say


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_exchange_of_hands_whose_fingers_touch_is_found_by_their_wrists(check, layout):
    points = touch(signer(), 0.12)
    for hand, side in ((LEFT, -1), (RIGHT, 1)):
        points[:, hand][:, 1:, 0] += np.float32(0.06 * side)
    assert check(points.copy(), layout)[1] == {}
    assert list(check(exchange(slice(15, 20))(points), layout)[1]) == ["swapped hands"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_exchange_is_counted_in_frames_with_a_pose_and_by_its_two_moments_without(check, layout):
    value = check(exchange(slice(12, 17))(signer()), layout)[1]["swapped hands"][1]
    assert value == (4 if layout == "126" else 10)  # five frames of two hands


def test_a_jump_is_measured_in_shoulder_widths_and_without_a_pose_in_palms(check):
    for layout in ("1629", "126"):
        value = check(move((slice(15, 17), LEFT), 0, -0.5)(signer()), layout)[1]["jumps"][1]
        assert value == pytest.approx(0.5 / WIDTH, rel=0.05)
    points = signer()
    for hand in (LEFT, RIGHT):  # a hand that points at the camera looks small
        points[:, hand] = (points[:, hand] + points[:, hand][:, :1]) / 2
    assert check(move((slice(15, 17), LEFT), 0, -0.5)(points))[1]["jumps"][1] == pytest.approx(0.5 / WIDTH, rel=0.05)
    assert "jumps" not in check(move((slice(15, 17), LEFT), 0, -0.9 * WIDTH)(signer()))[1]


def test_a_first_step_is_a_loose_end_only_where_the_next_ones_are_calm(check):
    points = move((0, HANDS), -0.3, 0.2)(signer())
    found = check(points)[1]
    assert found["loose end"][1] == pytest.approx(np.hypot(0.3, 0.2) / WIDTH, rel=0.1) and found["loose end"][2] == LOOSE_END
    assert check(move((0, HANDS), -0.12, 0)(signer()))[1]["loose end"][1] > 0.5
    assert check(move((0, HANDS), -0.06, 0)(signer()))[1] == {}
    points[1, HANDS] += np.float32([-0.1, 0.06, 0])  # it slows down, as hands do
    assert "loose end" not in check(points)[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_row_says_in_how_many_frames_left_is_right(check, layout):
    points = signer()
    points[:30, :, 0] = 1 - points[:30, :, 0]
    value = check(points, layout)[0]["mirrored"]
    assert np.isnan(value) if layout == "126" else value == 0.75


def test_what_the_legs_do_is_no_fault_what_the_head_does_is(check):
    assert check(move((slice(8, 40, 8), slice(13, 33)), 5)(signer()))[1] == {}
    assert check(move((slice(8, 40, 8), 0), 5)(signer()))[1] == {"outside": ("warning", 0.1, 0.02)}


# Nothing whatever stops an audit


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(4))
def test_frames_of_any_content_give_a_row_and_findings(layout, seed):
    rng = np.random.default_rng(seed)
    for dtype in ("f2", "f4", "f8", "i4", "u1"):
        frames = (rng.normal(0, rng.choice([1e-9, 1, 1e4]), (rng.integers(1, 9), LAYOUTS[layout].width))).astype(dtype)
        for value in (0, 1) if frames.dtype.kind in "iu" else (0, np.nan, np.inf, 1):
            frames[rng.random(frames.shape) < 0.3] = value
            row, found, _ = check_clip(frames, layout, EVERYTHING[layout])
            assert row["frames"] == len(frames)
            assert {severity for _, severity, *_ in found} <= {"error", "warning", "note"}


# Limits


def test_limits_are_read_from_a_text_or_a_dict():
    expected = LIMITS["short"].care, LIMITS["few clips"].out
    limits = parse_limits(" short = 10 , 3 ; few clips=5; ")
    assert (limits["short"].care, limits["short"].out) == (10, 3)
    assert (limits["few clips"].care, limits["few clips"].out) == (5, expected[1])
    assert parse_limits({"short": (10, 3), "few clips": [5]}) == limits
    assert {name: limits[name] for name in limits if name not in ("short", "few clips")} == {
        name: LIMITS[name] for name in LIMITS if name not in ("short", "few clips")
    }
    assert list(limits) == list(LIMITS) and LIMITS["short"].care == expected[0]
    assert limits["short"].reason == "set by LIMITS"
    for nothing in (None, "", "  ", ";", {}):
        assert parse_limits(nothing) == LIMITS


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("shrt=3", "LIMITS: no limit 'shrt'; expected one of short, non-finite, .*as in 'short=10,3'"),
        ("=3", "LIMITS: no limit ''"),
        ("short", r"LIMITS: short = \[''\]; expected one or two numbers"),
        ("short=", "LIMITS: short = "),
        ("short=a few", r"LIMITS: short = \['a few'\]"),
        ("short=1,2,3", r"LIMITS: short = \['1', '2', '3'\]"),
        ("short=-1", "LIMITS: short = "),
        ("short=3,-1", "LIMITS: short = "),
        ("short=nan", "LIMITS: short = "),
        ("short=3;frozen=x", "LIMITS: frozen = "),
        ({"short": 3}, "LIMITS: short = 3; expected one or two numbers"),
        ({"short": ()}, r"LIMITS: short = \(\)"),
        ({"short": (1, 2, 3)}, "LIMITS: short = "),
        ({"short": (None, 2)}, "LIMITS: short = "),
        ({3: (1, 2)}, "LIMITS: no limit 3"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_by_name(limits, message):
    with pytest.raises(InputError, match=message):
        parse_limits(limits)


@pytest.mark.parametrize(
    ("fault", "limits", "severity"),
    [
        ("6 frames", "short=5,2", None),
        ("6 frames", "short=9,6", "error"),
        ("hands in a quarter", "hands missing=0.8", None),
        ("hands in a quarter", "hands missing=0.65,0.7", "error"),
        ("some NaN", "non-finite=0.01,0.02", "error"),
        ("stops after a third", "frozen=0.9", None),
        ("wild now and then", "outside=0.5,0.6; jumps=100", None),
        ("a hand is elsewhere for two frames", "jumps=1,1.5", "error"),
        ("exchanged for five frames", "swapped hands=20", None),
    ],
)
def test_a_changed_limit_changes_what_is_found(check, fault, limits, severity):
    name, _, change = FAULTS[fault]
    found = check(change(signer()), limits=parse_limits(limits))[1]
    assert {check: rest[0] for check, rest in found.items()} == ({name: severity} if severity else {})
