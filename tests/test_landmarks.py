"""signlib.landmarks: which column of a frame is which landmark, and whether the data agrees."""

import numpy as np
import pytest

from signlib import InputError
from signlib.landmarks import (
    EDGES,
    EYES,
    LAYOUTS,
    LIPS,
    columns,
    detect_layout,
    mirror_permutation,
    select_landmarks,
)

POSED = [name for name in LAYOUTS if name != "126"]


@pytest.mark.parametrize(
    ("landmark", "column"),
    [  # worked out by hand: pose 33 x 3 = 99 columns, face 468 x 3 = 1404, each hand 21 x 3 = 63
        (("pose", 0), 0),
        (("pose", 11), 33),
        (("pose", 12), 36),
        (("pose", 32), 96),
        (("face", 0), 99),
        (("face", 467), 1500),
        (("left_hand", 0), 1503),
        (("left_hand", 20), 1563),
        (("right_hand", 0), 1566),
        (("right_hand", 20), 1626),
    ],
)
def test_x_of_a_landmark_stands_in_its_column(landmark, column):
    assert columns("1629", [landmark]).tolist() == [column]


@pytest.mark.parametrize(
    ("layout", "landmark", "column"),
    [  # by hand: a pose of 4 values a landmark takes 132 columns; the competition's face comes first, the pose third
        ("1662", ("pose", 1), 4),
        ("1662", ("pose", 32), 128),
        ("1662", ("face", 0), 132),
        ("1662", ("left_hand", 0), 1536),
        ("1662", ("right_hand", 20), 1659),
        ("258", ("pose", 16), 64),
        ("258", ("left_hand", 0), 132),
        ("258", ("right_hand", 0), 195),
        ("225", ("left_hand", 20), 159),
        ("225", ("right_hand", 20), 222),
        ("126", ("left_hand", 0), 0),
        ("126", ("right_hand", 20), 123),
        ("543", ("face", 467), 1401),
        ("543", ("left_hand", 0), 1404),
        ("543", ("pose", 0), 1467),
        ("543", ("right_hand", 0), 1566),
        ("258", ("face", 0), -1),
        ("225", ("face", 467), -1),
        ("126", ("pose", 0), -1),
    ],
)
def test_x_of_a_landmark_stands_in_its_column_in_each_layout(layout, landmark, column):
    assert columns(layout, [landmark]).tolist() == [column]


def test_an_unknown_layout_is_named_with_the_known_ones():
    with pytest.raises(InputError, match="layout is '12'; expected one of 1629, 1662, 258, 225, 126, 543"):
        columns("12", [("pose", 0)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_landmarks_cover_each_column_of_a_frame_once(layout):
    landmarks = select_landmarks("all", layout)
    covered = [column + k for column in columns(layout, landmarks) for k in range(3)]
    visibility = [3 + 4 * i for i in range(33)] if layout in ("1662", "258") else []
    assert sorted(covered + visibility) == list(range(1629 if layout == "543" else int(layout)))
    if layout == "1629":
        assert columns(layout, landmarks).tolist() == list(range(0, 1629, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_columns_are_those_of_the_same_body_written_in_that_layout(make_frames, lay_out, layout):
    frames, landmarks = make_frames(3), select_landmarks("all", layout)
    written = lay_out(frames, layout).reshape(3, -1)
    assert written.shape[1] == LAYOUTS[layout].width
    for k in range(3):
        np.testing.assert_array_equal(written[:, columns(layout, landmarks) + k], frames[:, columns("1629", landmarks) + k])


def test_a_landmark_that_a_layout_does_not_hold_has_no_column():
    assert columns("1629", [("iris", 0), ("pose", 1)]).tolist() == [-1, 3]


@pytest.mark.parametrize(
    ("landmarks", "counts"),
    [
        ("default", {"pose": 9, "face": 40, "left_hand": 21, "right_hand": 21}),
        ("lips+hands+pose", {"pose": 9, "face": 40, "left_hand": 21, "right_hand": 21}),
        ("hands", {"left_hand": 21, "right_hand": 21}),
        ("pose", {"pose": 9}),
        ("hands+hands", {"left_hand": 21, "right_hand": 21}),
        ("all+lips", {"pose": 33, "face": 468, "left_hand": 21, "right_hand": 21}),
    ],
)
def test_parts_are_selected_in_the_order_of_a_frame(landmarks, counts):
    selected = select_landmarks(landmarks)
    assert {block: sum(b == block for b, _ in selected) for block, _ in selected} == counts
    assert np.all(np.diff(columns("1629", selected)) > 0)


HANDS = {"left_hand": 21, "right_hand": 21}
WHOLE = {"pose": 33, "face": 468, **HANDS}


@pytest.mark.parametrize(
    ("layout", "landmarks", "counts"),
    [
        ("1629", "default", {"pose": 9, "face": 40, **HANDS}),
        ("1662", "default", {"pose": 9, "face": 40, **HANDS}),
        ("543", "default", {"pose": 9, "face": 40, **HANDS}),
        ("258", "default", {"pose": 9, **HANDS}),
        ("225", "default", {"pose": 9, **HANDS}),
        ("126", "default", HANDS),
        ("1629", "all", WHOLE),
        ("1662", "all", WHOLE),
        ("543", "all", WHOLE),
        ("258", "all", {"pose": 33, **HANDS}),
        ("225", "all", {"pose": 33, **HANDS}),
        ("126", "all", HANDS),
        ("126", "hands+all", HANDS),
        ("225", "pose+hands", {"pose": 9, **HANDS}),
        ("543", "eyes", {"face": 32}),
        ("1662", "eyes+lips+hands", {"face": 72, **HANDS}),
    ],
)
def test_each_layout_has_its_default_and_its_all(layout, landmarks, counts):
    selected = select_landmarks(landmarks, layout)
    assert {block: sum(b == block for b, _ in selected) for block, _ in selected} == counts
    assert len(set(selected)) == len(selected)
    assert (columns(layout, selected) >= 0).all()
    assert list(selected) == sorted(selected, key=lambda landmark: (list(WHOLE).index(landmark[0]), landmark[1]))


@pytest.mark.parametrize(
    ("layout", "part", "held"),
    [
        ("126", "pose", "hands"),
        ("126", "lips", "hands"),
        ("126", "eyes", "hands"),
        ("225", "lips", "hands, pose"),
        ("225", "eyes", "hands, pose"),
        ("258", "lips", "hands, pose"),
        ("258", "eyes", "hands, pose"),
    ],
)
@pytest.mark.parametrize("others", ["", "hands+", "all+"])
def test_a_part_that_the_layout_lacks_is_refused_with_what_it_holds(layout, part, held, others):
    with pytest.raises(InputError, match=rf"layout {layout} holds no {part}; it holds {held}(, all)?$"):
        select_landmarks(others + part, layout)


# MediaPipe's lip contours (FACEMESH_LIPS), each from the right corner of the mouth to the left one.
CONTOURS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)


# MediaPipe's eye contours (FACEMESH_RIGHT_EYE and FACEMESH_LEFT_EYE), the lower and the upper lids of both eyes, each from
# the right eye's outer corner to the left eye's.
LIDS = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 362, 382, 381, 380, 374, 373, 390, 249, 263),
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 362, 398, 384, 385, 386, 387, 388, 466, 263),
)


def test_eyes_are_the_32_landmarks_of_mediapipes_eye_contours():
    assert list(EYES) == sorted({i for contour in LIDS for i in contour})
    assert len(EYES) == 32


def test_lips_are_the_40_landmarks_of_mediapipes_lip_contours():
    assert list(LIPS) == sorted({i for contour in CONTOURS for i in contour})
    assert len(LIPS) == 40


@pytest.mark.parametrize(("part", "contours"), [(LIPS, CONTOURS), (EYES, LIDS)], ids=["lips", "eyes"])
def test_the_mirror_image_of_a_contour_is_the_contour_backwards(part, contours):
    mirror = mirror_permutation([("face", i) for i in part])
    for contour in contours:
        assert tuple(part[mirror[part.index(i)]] for i in contour) == contour[::-1]


@pytest.mark.parametrize("landmarks", ["elbows", "hands+elbows", "", "hands+", "Hands"])
def test_an_unknown_part_is_named_with_the_known_ones(landmarks):
    part = landmarks.removeprefix("hands+")
    with pytest.raises(InputError, match=rf"unknown part '{part}'; expected 'default' or some of hands, pose, lips, eyes, all"):
        select_landmarks(landmarks)


@pytest.mark.parametrize("landmarks", ["default", "hands", "pose", "lips", "eyes", "pose+lips", "hands+eyes+lips"])
def test_mirroring_twice_changes_nothing_and_swaps_hands_once(landmarks):
    selected = select_landmarks(landmarks)
    mirror = mirror_permutation(selected)
    assert mirror[mirror].tolist() == list(range(len(selected)))
    twins = {selected[a]: selected[b] for a, b in enumerate(mirror)}
    for a, b in twins.items():
        assert a[1] == b[1] if "hand" in a[0] else a[0] == b[0]
    known = {
        ("left_hand", 4): ("right_hand", 4),
        ("pose", 0): ("pose", 0),
        ("pose", 11): ("pose", 12),
        ("pose", 16): ("pose", 15),
        ("face", 61): ("face", 291),
        ("face", 13): ("face", 13),
        ("face", 33): ("face", 263),
    }
    assert all(twins[a] == b for a, b in known.items() if a in twins)


def test_a_landmark_without_a_mirror_image_is_named():
    with pytest.raises(InputError, match=r"\('face', 1\) has no mirror image"):
        mirror_permutation(select_landmarks("all"))


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1629,), "1629"),
        ((1662,), "1662"),
        ((258,), "258"),
        ((225,), "225"),
        ((126,), "126"),
        ((543, 3), "543"),
        ((75, 3), "225"),
        ((42, 3), "126"),
    ],
)
def test_the_layout_follows_from_the_shape_of_a_frame(shape, name):
    assert detect_layout(shape) == name
    assert LAYOUTS[name].fits(shape)


def test_every_layout_is_detected_by_the_shape_that_it_names():
    assert all(detect_layout(layout.shape) == name for name, layout in LAYOUTS.items())


@pytest.mark.parametrize("width", [0, 1, 3, 42, 75, 543, 1628, 3258])
def test_an_unknown_width_is_named_with_the_known_ones(width):
    with pytest.raises(InputError, match=rf"a frame holds {width} values; .*1629, 1662, 258, 225, 126, 543 x 3 values"):
        detect_layout((width,))


@pytest.mark.parametrize("shape", [(543, 2), (543, 4), (3, 543), (75, 4), (553, 3), (1, 1629), (1629, 1), (21, 3), (0, 3)])
def test_an_unknown_shape_is_named_with_the_known_ones(shape):
    with pytest.raises(InputError, match=rf"a frame holds {shape[0]} x {shape[1]} values; .*1629"):
        detect_layout(shape)
    assert not any(layout.fits(shape) for layout in LAYOUTS.values())


def test_1629_numbers_may_also_be_named_543_and_the_other_way_round():
    assert all(LAYOUTS[name].fits(shape) for name in ("543", "1629") for shape in ((1629,), (543, 3)))
    assert not any(LAYOUTS[name].fits((543, 3)) for name in ("1662", "258", "225", "126"))


def test_the_edges_of_a_hand_are_five_fingers_and_a_palm():
    fingers = {frozenset((4 * finger + i, 4 * finger + i + 1)) for finger in range(5) for i in (1, 2, 3)}
    palm = {frozenset(edge) for edge in ((0, 1), (0, 5), (5, 9), (9, 13), (13, 17), (0, 17))}
    for hand in ("left_hand", "right_hand"):
        assert set(map(frozenset, EDGES[hand])) == fingers | palm
        assert len(EDGES[hand]) == 21


def test_edges_join_landmarks_that_exist():
    sizes = {block: count for block, count, _ in LAYOUTS["1629"].blocks}
    assert all(0 <= i < sizes[block] for block, edges in EDGES.items() for edge in edges for i in edge)
