"""The skeleton is drawn where the landmarks are, and nothing of what was not found; the caption says what was recognised."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: make test-video")

from signlib.video.draw import COLOURS, draw_caption, draw_skeleton

pytestmark = pytest.mark.video


def blank():
    return np.zeros((120, 160, 3), np.uint8)


def drawn(row):
    image = blank()
    draw_skeleton(image, row)
    return image


def row(**points):
    """A frame `(1629,)` that holds only some points, {block: {index: (x, y)}}."""
    first = {"pose": 0, "face": 33, "left_hand": 501, "right_hand": 522}
    frame = np.zeros((543, 3), np.float32)
    for block, places in points.items():
        for index, place in places.items():
            frame[first[block] + index, :2] = place
    return frame.reshape(-1)


@pytest.mark.parametrize(("block", "edge"), [("pose", (11, 12)), ("left_hand", (0, 1)), ("right_hand", (5, 6))])
def test_an_edge_is_a_line_between_its_ends(block, edge):
    image = drawn(row(**{block: dict(zip(edge, [(0.25, 0.5), (0.75, 0.5)], strict=True))}))
    np.testing.assert_allclose(image[60, 45:116], np.tile(COLOURS[block], (71, 1)), atol=30)  # its edges are smoothed
    assert not image[:58].any() and not image[63:].any() and not image[:, :38].any() and not image[:, 123:].any()


def test_the_lips_are_points_and_the_rest_of_the_face_is_left_out():
    image = drawn(row(face={0: (0.5, 0.5), 1: (0.1, 0.1)}))
    np.testing.assert_allclose(image[60, 80], COLOURS["face"], atol=30)
    assert not image[:50].any()


@pytest.mark.parametrize("lost", [(0, 0), (np.nan, 0.5), (np.inf, 0.5)])
def test_what_was_not_found_is_not_drawn(lost):
    assert not drawn(np.zeros(1629)).any() and not drawn(row(pose={11: (0.5, 0.5), 12: lost})).any()


def test_what_leaves_the_picture_is_cut():
    image = drawn(row(pose={11: (0.5, 0.5), 12: (1e30, 0.5)}))
    assert image[60, 80:].any(axis=1).all() and not image[60, :75].any()


def test_a_bar_is_as_long_as_its_gloss_is_probable():
    def bars(sure):
        image = np.zeros((480, 640, 3), np.uint8)
        draw_caption(image, [("a", 0.8), ("b", 0.4), ("c", 0.1), ("d", 0.05)], sure, True)
        colour = np.where(image == ((60, 130, 80) if sure else (150, 150, 150)), 1, 0).all(axis=2)
        rows = colour.sum(axis=1)
        return rows[rows > 0]

    lengths = bars(True)
    assert abs(lengths.max() - 0.8 * 610) < 3 and len(lengths) > 60  # three bars, none of the fourth
    assert len(set(np.round(lengths, -1))) >= 3 and bars(False).max() == lengths.max()


def test_the_caption_differs_where_what_it_says_does():
    seen = []
    for glosses, sure, signing in (
        ([], False, False),
        ([], False, True),
        ([("a", 0.9)], True, True),
        ([("a", 0.9)], False, True),
    ):
        image = blank()
        draw_caption(image, glosses, sure, signing)
        seen.append(image.tobytes())
    assert len(set(seen)) == 4
