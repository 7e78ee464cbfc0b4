"""signlib.landmarks: which column of a frame is which landmark."""

import numpy as np
import pytest

from signlib import InputError
from signlib.landmarks import EDGES, LAYOUTS, LIPS, columns, detect_layout, mirror_permutation, select_landmarks


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


def test_all_landmarks_cover_each_column_of_a_frame_once():
    first = columns("1629", select_landmarks("all"))
    assert first.tolist() == list(range(0, 1629, 3))


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


# MediaPipe's lip contours (FACEMESH_LIPS), each from the right corner of the mouth to the left one.
CONTOURS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)


def test_lips_are_the_40_landmarks_of_mediapipes_lip_contours():
    assert list(LIPS) == sorted({i for contour in CONTOURS for i in contour})
    assert len(LIPS) == 40


def test_the_mirror_image_of_a_contour_is_the_contour_backwards():
    mirror = mirror_permutation([("face", i) for i in LIPS])
    for contour in CONTOURS:
        assert tuple(LIPS[mirror[LIPS.index(i)]] for i in contour) == contour[::-1]


@pytest.mark.parametrize("landmarks", ["elbows", "hands+elbows", "", "hands+", "Hands"])
def test_an_unknown_part_is_named_with_the_known_ones(landmarks):
    part = landmarks.removeprefix("hands+")
    with pytest.raises(InputError, match=rf"unknown part '{part}'; expected 'default' or some of hands, pose, lips, all"):
        select_landmarks(landmarks)


@pytest.mark.parametrize("landmarks", ["default", "hands", "pose", "lips", "pose+lips"])
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
    }
    assert all(twins[a] == b for a, b in known.items() if a in twins)


def test_a_landmark_without_a_mirror_image_is_named():
    with pytest.raises(InputError, match=r"\('face', 1\) has no mirror image"):
        mirror_permutation(select_landmarks("all"))


def test_the_layout_follows_from_the_width():
    assert all(detect_layout(layout.width) == name for name, layout in LAYOUTS.items())
    assert detect_layout(1629) == "1629"


@pytest.mark.parametrize("width", [0, 1, 1628, 3258])
def test_an_unknown_width_is_named_with_the_known_ones(width):
    with pytest.raises(InputError, match=rf"a frame holds {width} values; .*1629"):
        detect_layout(width)


def test_the_edges_of_a_hand_are_five_fingers_and_a_palm():
    fingers = {frozenset((4 * finger + i, 4 * finger + i + 1)) for finger in range(5) for i in (1, 2, 3)}
    palm = {frozenset(edge) for edge in ((0, 1), (0, 5), (5, 9), (9, 13), (13, 17), (0, 17))}
    for hand in ("left_hand", "right_hand"):
        assert set(map(frozenset, EDGES[hand])) == fingers | palm
        assert len(EDGES[hand]) == 21


def test_edges_join_landmarks_that_exist():
    sizes = {block: count for block, count, _ in LAYOUTS["1629"].blocks}
    assert all(0 <= i < sizes[block] for block, edges in EDGES.items() for edge in edges for i in edge)
