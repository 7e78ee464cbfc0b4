"""signlib.audit_plots: what a reader must find in each figure."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from signlib import audit_plots
from signlib.plots import BLOCK_COLOURS

LEFT, RIGHT = slice(1503, 1566), slice(1566, 1629)
MOMENTS = np.arange(0.025, 1, 0.05)


@pytest.fixture
def draw(tmp_path):
    """Draws a figure, checks what holds for all, and returns all its visible text."""

    def check(figure):
        figure.savefig(tmp_path / "figure.png", dpi=40)
        assert plt.get_fignums() == []  # nothing is kept, nothing is shown twice
        return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]

    return check


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_missing_over_time_draws_each_part_the_layout_has_in_percent(draw):
    hands = {"left_hand": np.linspace(1, 0, 20), "right_hand": np.full(20, 0.25), "both_hands": np.full(20, 0.1)}
    figure = audit_plots.missing_over_time(pd.DataFrame(hands | {"face": np.nan}, index=MOMENTS))
    assert {"left hand", "right hand", "both hands"} <= set(draw(figure))
    assert set(lines(figure)) == {"left hand", "right hand", "both hands"}
    x, y = lines(figure)["left hand"].get_data()
    np.testing.assert_allclose([x[0], x[-1], y[0], y[-1]], [2.5, 97.5, 100, 0])
    assert figure.axes[0].get_ylim() == (-2, 102) and figure.axes[0].get_xlim() == (0, 100)  # the same in every picture


def test_face_and_pose_are_both_seen_where_they_are_missing_together(draw):
    same = pd.DataFrame({"pose": MOMENTS, "face": MOMENTS}, index=MOMENTS)
    figure = audit_plots.missing_over_time(same)
    draw(figure)
    (below, face), (above, pose) = ((i, line) for i, line in enumerate(figure.axes[0].lines))
    assert (face.get_label(), pose.get_label()) == ("face", "pose") and below < above
    assert face.get_linewidth() > 2 * pose.get_linewidth()


def test_a_part_has_the_colour_that_it_has_in_a_skeleton(draw):
    figure = audit_plots.missing_over_time(pd.DataFrame({"left_hand": MOMENTS, "right_hand": MOMENTS}, index=MOMENTS))
    draw(figure)
    colours = {label: line.get_color() for label, line in lines(figure).items()}
    assert colours == {"left hand": BLOCK_COLOURS["left_hand"], "right hand": BLOCK_COLOURS["right_hand"]}


def test_nothing_known_of_missing_parts_is_an_empty_picture(draw):
    draw(audit_plots.missing_over_time(pd.DataFrame({"left_hand": np.full(20, np.nan)}, index=MOMENTS)))


def test_hand_places_stand_where_they_are_in_the_picture_and_are_counted_outside(draw):
    left, right = np.zeros((40, 40)), np.zeros((40, 40))
    left[10, 29] = 6  # the upper right corner of the picture, inside: x 0.95 to 1, y 0 to 0.05
    left[9, 29], left[10, 30] = 1, 1  # above it, and right of it
    figure = audit_plots.hand_places({"left_hand": left, "right_hand": right})
    texts = draw(figure)
    assert {"left hand: 25.0 % of 8 outside", "right hand: never seen"} <= set(texts)
    assert {"x (of picture width)", "y (of picture height)"} <= set(texts)
    axes = figure.axes[0]
    image, (border,) = axes.images[0], axes.patches
    assert border.get_bbox().bounds == (0, 0, 1, 1)
    assert axes.yaxis_inverted()
    x0, x1, bottom, top = image.get_extent()
    row, column = (0.025 - top) / (bottom - top) * 40, (0.975 - x0) / (x1 - x0) * 40
    assert image.get_array()[int(row), int(column)] == 75  # percent of the hand's frames


def test_hand_places_show_the_whole_picture_and_every_place_outside(draw):
    counts = np.zeros((40, 40))
    counts[20, 20] = 100
    inside = audit_plots.hand_places({"left_hand": counts, "right_hand": counts})
    draw(inside)
    counts = counts.copy()
    counts[39, 0] = 1  # the lower left corner of all that is counted
    outside = audit_plots.hand_places({"left_hand": counts, "right_hand": counts * 0})
    draw(outside)
    for axes in outside.axes[:2]:  # the same for both hands
        assert axes.get_xlim()[0] <= -0.5 and axes.get_ylim()[0] >= 1.5
    assert -0.2 < inside.axes[0].get_xlim()[0] <= 0 and 1 <= inside.axes[0].get_xlim()[1] < 1.2


def hand(axes, block):
    """The x and y of a drawn hand, scaled to the window it is drawn in."""
    (line,) = (line for line in axes.lines if line.get_label() == block)
    drawn = np.column_stack(line.get_data())
    return axes.transAxes.inverted().transform(axes.transData.transform(drawn[~np.isnan(drawn[:, 0])]))


def test_copies_look_alike_side_by_side_however_moved_and_scaled(draw, make_frames):
    frames = make_frames(9)
    moved = (frames.reshape(9, 543, 3) * 640 + [100, 50, 0]).reshape(9, 1629)  # in pixels
    figure = audit_plots.side_by_side([("one: $x^$", frames, "1629"), ("two", moved, "1629")], moments=3)
    texts = draw(figure)
    assert {"one: $x^$", "two", "left hand", "right hand"} <= set(texts)
    assert texts.count("frame 1 of 9") == texts.count("frame 5 of 9") == texts.count("frame 9 of 9") == 2
    for block in ("left_hand", "right_hand"):
        for above, below in zip(figure.axes[:3], figure.axes[3:], strict=True):
            drawn = hand(above, block)
            np.testing.assert_allclose(drawn, hand(below, block), atol=1e-3)
            assert np.min(drawn) > 0 and np.max(drawn) < 1 and np.max(drawn) - np.min(drawn) > 0.3
    assert all(axes.yaxis_inverted() for axes in figure.axes)


def test_side_by_side_passes_over_the_frames_before_and_after_the_hands(draw, make_frames):
    frames = make_frames(20)
    frames[:4, LEFT], frames[:6, RIGHT], frames[15:, 1503:] = 0, 0, np.nan
    texts = draw(audit_plots.side_by_side([("trimmed", frames, "1629")], moments=2))
    assert {"frame 5 of 20", "frame 15 of 20"} <= set(texts)


def test_one_tracking_error_does_not_shrink_the_signer_to_a_dot(draw, make_frames):
    frames = make_frames(9)
    frames[4, 1503:1506] = 50
    figure = audit_plots.side_by_side([("a", frames, "1629")], moments=3)
    draw(figure)
    assert np.ptp(hand(figure.axes[0], "right_hand"), axis=0).max() > 0.3


def test_clips_of_nothing_one_point_one_frame_and_hands_alone_are_drawn(draw, make_frames, lay_out):
    frames = make_frames(4)
    rows = [("empty", frames * 0, "1629"), ("point", frames * 0 + 0.5, "1629"), ("short", frames[:1], "1629"),
            ("hands", lay_out(frames, "126"), "126")]  # fmt: skip
    figure = audit_plots.side_by_side(rows, moments=2)
    texts = draw(figure)
    assert texts.count("nothing\ndetected") == 2 and texts.count("frame 1 of 1") == 2
    assert len(figure.axes) == 8 and [len(axes.lines) for axes in figure.axes[-2:]] == [2, 2]
