"""signlib.plots: what a reader must find in each figure."""

import base64
import io
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from signlib import audit_clips, clamp_history, load_clips, plots

LEFT, RIGHT, FACE = slice(1503, 1566), slice(1566, 1629), slice(99, 1503)


@pytest.fixture
def draw(tmp_path):
    """Draws a figure into a file, checks what holds for all, and returns all its visible text."""

    def check(figure):
        figure.savefig(tmp_path / "figure.png", dpi=50)
        assert plt.get_fignums() == []  # nothing is kept, nothing is shown twice
        texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]
        image = plt.imread(tmp_path / "figure.png")
        assert image[:, :, :3].std() > 0.02
        return texts

    return check


def lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def test_clip_lengths_counts_every_clip_and_marks_the_sequence_length(draw):
    rng = np.random.default_rng(0)
    for frames in ([20] * 30, list(rng.integers(5, 240, 500)), [7]):
        figure = plots.clip_lengths(frames, 50)
        texts = draw(figure)
        assert sum(bar.get_height() for bar in figure.axes[0].patches) == len(frames)
        longer = 100 * np.mean(np.array(frames) > 50)
        assert f"{len(frames)} clips; {longer:.0f} % are longer than the 50 frames the model sees" in texts
        assert "sequence length: 50" in texts


def test_clips_per_gloss_names_few_glosses_and_ranks_many(draw):
    texts = draw(plots.clips_per_gloss({"book": 3, "drink": 11, "apple": 3}))
    assert "17 clips of 3 glosses: 3 to 11 a gloss" in texts
    assert [text for text in texts if text in ("book", "drink", "apple")] == ["drink", "apple", "book"]
    assert texts.count("11") == 1
    many = draw(plots.clips_per_gloss({f"gloss{i:03}": 4 + i % 9 for i in range(300)}))
    assert not any(re.fullmatch(r"gloss\d+", text) for text in many)
    assert any("most: gloss008, fewest: gloss297" in text for text in many)


def test_missing_parts_weighs_by_frames(draw, tmp_path, write_clips):
    folder = write_clips(tmp_path / "clips", {"00001": "a", "00002": "b"}, length=10)  # of 10 and 11 frames
    frames = np.load(folder / "00002.npy")
    frames[:, LEFT] = 0
    np.save(folder / "00002.npy", frames)
    texts = [text.strip() for text in draw(plots.missing_parts(audit_clips(load_clips(folder)).clips))]
    assert "52.4 %, never seen in 1 clip" in texts
    assert texts.count("0.0 %") == 4


def test_skeleton_draws_hands_apart_and_leaves_out_what_is_missing(draw, make_frames):
    frames = make_frames(10)
    frames[:4, LEFT] = 0
    frames[7:, RIGHT] = np.nan
    frames[9] = 0
    figure = plots.skeleton(frames, "1629", moments=3)  # frames 1, 5 (of 0 to 9: 0, 4, 9) and 10
    texts = draw(figure)
    assert {"frame 1", "frame 5", "frame 10", "left hand", "right hand", "nothing\ndetected"} <= set(texts)
    first, middle, last = figure.axes
    drawn = [{label for label in ("pose", "left_hand", "right_hand") if lines(axes, label)} for axes in figure.axes]
    assert drawn == [{"pose", "right_hand"}, {"pose", "left_hand", "right_hand"}, set()]
    assert lines(middle, "left_hand")[0].get_color() != lines(middle, "right_hand")[0].get_color()
    x = lines(middle, "left_hand")[0].get_xdata()
    assert np.nanmin(x) == pytest.approx(frames[4, LEFT].reshape(21, 3)[:, 0].min(), rel=1e-6)
    for axes in (first, middle, last):
        assert axes.yaxis_inverted()
        assert axes.get_aspect() == 1


def test_skeleton_of_one_missing_point_and_of_nothing(draw, make_frames):
    frames = make_frames(3)
    frames[:, 1503 + 24] = np.nan  # the tip of the left index finger
    frames[1, 5] = 1e6  # a tracking error must not shrink the signer to a dot
    figure = plots.skeleton(frames, "1629")
    draw(figure)
    assert len(figure.axes) == 3
    assert np.diff(figure.axes[0].get_xlim()) < 2.1
    assert "left hand" not in draw(plots.skeleton(frames * 0, "1629"))


def test_animate_is_a_small_player_of_the_whole_clip(make_frames):
    pytest.importorskip("IPython")
    player = plots.animate([("", make_frames(61), "1629")], fps=25)
    frames = re.findall(r'frames\[\d+\] = "data:image/png', player.data)
    assert len(frames) == 31  # every other one
    assert len(player.data) < 1.6e6  # these faces are noise; of real clips it is half of that
    assert plt.get_fignums() == []
    milliseconds = float(re.search(r"new Animation\(frames, img_id, slider_id, (\d+)", player.data).group(1))
    assert milliseconds * len(frames) == pytest.approx(1000 * 61 / 25, rel=0.05)  # as long as the clip


def test_animate_plays_clips_side_by_side_until_the_longest_ends(make_frames):
    pytest.importorskip("IPython")
    hands = [("$a", make_frames(8)[:, :126], "126"), ("b", make_frames(3)[:, :126], "126")]
    one, both = (plots.animate(clips, fps=25) for clips in (hands[:1], hands))
    pictures = [re.findall(r'frames\[\d+\] = "data:image/png;base64,([^"]+)', player.data) for player in (one, both)]
    assert [len(found) for found in pictures] == [8, 8] and plt.get_fignums() == []
    widths = [plt.imread(io.BytesIO(base64.b64decode(found[0]))).shape[1] for found in pictures]
    assert widths[1] == 2 * widths[0]


def test_loss_curves_mark_what_cannot_be_drawn(draw):
    history = {"loss": [2.0, float("nan"), 1.0, 0.8], "val_loss": [2.1, 1.8, float("inf"), -11.0]}
    figure = plots.loss_curves(history, best_epoch=2)
    texts = draw(figure)
    assert {"epoch", "loss", "training", "validation", "best epoch: 2", "nan", "inf"} <= set(texts)
    assert "-11" not in texts  # stands on the axis
    assert [line.get_xdata()[0] for line in lines(figure.axes[0], "best epoch: 2")] == [2]
    texts = draw(plots.loss_curves(history, log=True))
    assert {"-11", "nan", "inf", "loss (log scale)"} <= set(texts)
    assert "validation" not in draw(plots.loss_curves({"loss": [1.0]}))
    draw(plots.loss_curves({}))


def test_loss_is_drawn_as_measured_even_from_a_clamped_history(draw):
    history = clamp_history({"loss": [0.5, -11.0], "accuracy": [0.1, 0.2]})
    figure = plots.loss_curves(history)
    draw(figure)
    assert list(lines(figure.axes[0], "training")[0].get_ydata()) == [0.5, -11]


def test_accuracy_curves_mark_clamped_points_with_what_was_measured(draw):
    measured = {"accuracy": [0.1, 0.4, 1.25], "val_accuracy": [-1.2, 0.3, 0.5], "loss": [3, 2, 1]}
    with pytest.warns(UserWarning, match="3 accuracy|2 accuracy"):
        history = clamp_history(measured)
    figure = plots.accuracy_curves(history)
    texts = draw(figure)
    assert {"-120 %", "125 %", "accuracy (%)", "epoch", "clamped (2)"} <= set(texts)
    assert list(lines(figure.axes[0], "validation")[0].get_ydata()) == [0, 30, 50]
    assert list(lines(figure.axes[0], "training")[0].get_xdata()) == [1, 2, 3]
    marked = [(*line.get_xdata(), *line.get_ydata()) for line in figure.axes[0].lines if line.get_marker() == "X"]
    assert (1, 0) in marked
    assert (3, 100) in marked


def test_accuracy_curves_without_and_with_many_clamped_points(draw):
    texts = draw(plots.accuracy_curves(clamp_history({"accuracy": [0.5], "val_top_5_accuracy": [0.9]})))
    assert "validation, top 5 accuracy" in texts
    assert not any("clamped" in text for text in texts)
    with pytest.warns(UserWarning, match="100 accuracy"):
        history = clamp_history({"val_accuracy": [-0.01 * i for i in range(1, 101)]})
    texts = draw(plots.accuracy_curves(history))
    assert "clamped (100)" in texts
    assert {"-1 %", "-100 %"} <= set(texts)  # the first and the last; not all of them over each other
    assert sum(bool(re.fullmatch(r"-\d+ %", text)) for text in texts) <= 10


def test_compare_accuracy_draws_the_interval_of_each(draw):
    figure = plots.compare_accuracy([("majority", 0.1, 0.05, 0.2), ("lstm", 0.8, 0.7, 0.85), ("lstm", 1, 0.97, 1)])
    texts = draw(figure)
    assert {"majority", "10.0", "80.0", "100.0", "accuracy (%)"} <= set(texts)
    assert texts.count("lstm") == 2
    segments = figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [[5, 20], [70, 85], [97, 100]])
    tops = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert tops == ["majority", "lstm", "lstm"]
    assert figure.axes[0].yaxis_inverted()  # the first stands at the top
