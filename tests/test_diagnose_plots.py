"""signlib.diagnose_plots: what is written and drawn, read back from the figures."""

import numpy as np
import pytest

from signlib import calibration, diagnose_plots
from tests.test_predictions import predictions


@pytest.fixture
def draw():
    """The function `draw(figure)`: draws it and returns all texts that are in the picture, as far as they are seen."""

    def texts(figure):
        figure.canvas.draw()
        found = [text for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_visible()]
        return [text.get_text() for text in found if text.get_text()]

    return texts


def test_runs_are_told_apart_and_what_cannot_be_drawn_carries_its_raw_value(draw):
    runs = {
        "one": {"loss": [2.0, float("nan")], "val_loss": [2.1, 1.5], "accuracy": [0.5, 1.7], "learning_rate": [1e-3, 5e-4]},
        "two": {"loss": [1.9, 1.2], "val_loss": [1.8, float("inf")], "accuracy": [0.4, 0.6], "learning_rate": [1e-3, 1e-3]},
    }
    figure = diagnose_plots.run_curves(runs, "loss")
    assert {"one", "two", "training", "nan", "inf", "Loss by epoch", "epoch", "loss"} <= set(draw(figure))
    colours = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    assert colours["one"] != colours["two"]
    assert "loss (log scale)" in draw(diagnose_plots.run_curves(runs, "loss", log=True))
    with pytest.warns(UserWarning, match="shown clamped"):
        figure = diagnose_plots.run_curves(runs, "accuracy")
    assert {"170", "accuracy (%)"} <= set(draw(figure))
    assert max(np.nanmax(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_ydata())) == 100
    texts = draw(diagnose_plots.run_curves(runs, "learning_rate"))
    assert "Learning rate by epoch" in texts and "training" not in texts  # it is of the run, not of one side
    draw(diagnose_plots.run_curves({"old": {"loss": [1.0]}}, "learning_rate"))  # a run of before it was recorded


def test_a_run_without_epochs_says_so_alone_and_beside_others(draw):
    other = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.2], "learning_rate": [1e-3, 1e-3]}
    for metric in ("loss", "accuracy", "learning_rate"):
        for runs in ({"ensemble": {}}, {"ensemble": {}, "one": other}):
            assert "ensemble: no epochs" in draw(diagnose_plots.run_curves(runs, metric, log=metric != "accuracy"))


def inside(figure):
    """Whether all that is drawn lies within the picture."""
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(drawn.x0, drawn.y0) > -0.01 and drawn.x1 < width + 0.01 and drawn.y1 < height + 0.01


def test_many_runs_and_long_names_stay_readable():
    history = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.5]}
    few = diagnose_plots.run_curves({"one": history}, "loss", log=True)
    figure = diagnose_plots.run_curves({f"2026-11-29_14080{i}_landmarks-hands+pose+lips": history for i in range(10)}, "loss")
    assert inside(few) and inside(figure)
    assert figure.axes[0].get_window_extent().height > 0.9 * few.axes[0].get_window_extent().height
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_label().startswith("2026")}
    assert len(looks) == 10
    glosses = ["thank you very much indeed for all of it", "tea", "to be in two minds about something"]
    figure = diagnose_plots.confusion(np.array([[8, 2, 0], [1, 2, 1], [0, 0, 3]]), glosses)
    figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().width > 0.4 * figure.bbox.width  # the names have not pushed it away
    judged = predictions([0, 0, 1, 2] * 5, [0, 1, 1, 1] * 5)
    table = judged.confused().assign(signed=glosses[0], read=glosses[2])
    assert inside(diagnose_plots.worst_pairs(table))


def test_a_log_scale_within_one_power_of_ten_has_numbers_at_it():
    figure = diagnose_plots.run_curves({"one": {"loss": [2.26, 1.83], "val_loss": [2.17, 1.66]}}, "loss", log=True)
    figure.draw_without_rendering()
    assert {"1.8", "1.95", "2.1"} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_confusion_is_read_row_by_row(draw):
    matrix = np.array([[8, 2, 0], [1, 2, 1], [0, 0, 0]])
    figure = diagnose_plots.confusion(matrix, ["book", "drink", "apple"])
    texts = draw(figure)
    assert "Confusion of 3 glosses: 10 of 14 right" in texts
    assert {"8", "2", "1", "book", "drink", "apple", "predicted gloss", "true gloss"} <= set(texts)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[80, 20, 0], [25, 50, 25], [0, 0, 0]])


def test_confusion_of_300_glosses_names_those_that_are_confused_most_similar_ones_side_by_side(draw):
    names, matrix = [f"gloss{i}" for i in range(300)], 3 * np.eye(300, dtype=int)
    matrix[7, 290] = matrix[290, 7] = matrix[33, 8] = 4
    for i in range(100, 118):
        matrix[i, i + 40] = 1
    figure = diagnose_plots.confusion(matrix, names)
    texts = draw(figure)
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(shown) == 40 and shown[-1] == "261 others" and "the 39 that are confused most" in "".join(texts)
    assert (
        abs(shown.index("gloss7") - shown.index("gloss290")) == 1 and abs(shown.index("gloss33") - shown.index("gloss8")) == 1
    )
    counts = [int(text.get_text()) for text in figure.axes[0].texts]
    assert sum(counts) == matrix.sum()  # nothing is left out


def test_worst_pairs_are_named_with_their_kind(draw):
    table = predictions([0, 0, 0, 1, 2], [1, 1, 0, 0, 2], merged=np.array([0, 0, 2])).confused()
    texts = draw(diagnose_plots.worst_pairs(table))
    assert {"book → drink", "drink → book", " 2 of 3", " 1 of 1", "confusion"} <= set(texts)
    draw(diagnose_plots.worst_pairs(predictions([0], [0]).confused()))


def test_reliability_and_coverage_say_what_they_show(draw):
    judged = predictions([0, 0, 1, 2] * 10, [0, 1, 1, 1] * 10)
    found = calibration.reliability(judged.probabilities, judged.labels)
    texts = draw(diagnose_plots.reliability({"as it is": found}))
    assert {"as it is: ECE 30.0%", "as sure as right", "confidence (%)", "accuracy (%)"} <= set(texts)
    table = calibration.coverage(judged.probabilities, judged.labels)
    texts = draw(diagnose_plots.coverage(table, calibration.reject_threshold(table, 0.4)))
    assert "50% right of the 100% with a confidence of 80% or more" in texts and "clips that get an answer (%)" in texts
    draw(diagnose_plots.coverage(table))
