"""signlib.compare_plots: what is written and drawn, read back from the figures."""

import itertools

import numpy as np
import pandas as pd
import pytest

from signlib import compare_plots
from tests.test_compare import make_batch
from tests.test_diagnose_plots import inside

LONG = "learning_rate={}__features=position+place+shape+distance+direction+velocity__architecture=conv_transformer"


def texts(figure):
    """All texts that are in the picture."""
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_visible()}


def table_of(scores, nearest=0.4):
    """What `Batch.settings` returns of {setting: values}."""
    means = {name: np.mean(values) for name, values in scores.items()}
    rows = [
        (name, means[name], means[name] - 0.05, means[name] + 0.05, nearest) for name in sorted(means, key=lambda n: -means[n])
    ]
    return pd.DataFrame(rows, columns=["setting", "mean", "low", "high", "nearest neighbour"])


def test_each_seed_is_a_dot_beside_the_mean_its_interval_and_the_neighbour():
    scores = {"worse": np.array([0.5, 0.6]), "better": np.array([0.7, 0.8, 0.9])}
    figure = compare_plots.settings(table_of(scores), scores)
    axes = figure.axes[0]
    assert {"better", "worse", "Settings: 2, each dot a seed", "model, top 1, validation (%)", "seeds"} <= texts(figure)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [pytest.approx([70, 80, 90]), pytest.approx([50, 60])]
    assert [line.get_ydata()[0] for line in dots] == [0, 1] and axes.get_ylim() == (1.5, -0.5)  # the best at the top
    intervals, nearest = (np.array(lines.get_segments()) for lines in axes.collections)
    assert intervals[:, :, 0] == pytest.approx(np.array([[75, 85], [50, 60]])) and (nearest[:, :, 0] == 40).all()


@pytest.mark.parametrize("count", [1, 30, 60])
def test_many_settings_with_long_names_stay_readable(count):
    scores = {LONG.format(i): np.array([0.5 + i / 200, 0.6]) for i in range(count)}
    figure = compare_plots.settings(table_of(scores), scores)
    assert inside(figure) and figure.axes[0].get_window_extent().width > 300
    names = figure.axes[0].get_yticklabels()
    assert len(names) == min(count, 40)
    boxes = [name.get_window_extent() for name in names]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    which = "the best 40 of 60" if count == 60 else f"{count}"
    assert f"Settings: {which}, each dot a seed" in texts(figure)


def test_curves_have_a_colour_a_setting_and_the_rest_is_grey():
    history = {"val_accuracy": [0.1, 0.5, 0.4], "val_loss": [2.0, float("nan"), 1.5], "loss": [1.0]}
    histories = {LONG.format(i): [history, history] for i in range(9)}
    figure = compare_plots.curves(histories)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert len(lines) == 18 and lines[0].get_ydata().tolist() == pytest.approx([10, 50, 40])
    assert len({line.get_color() for line in lines}) == 7 and lines[0].get_color() == lines[1].get_color()
    assert "3 more" in texts(figure) and inside(figure) and len(figure.legends[0].get_texts()) == 7
    few = compare_plots.curves({"one": [history]}, "loss")
    assert {"Validation loss by epoch, a line a run", "loss", "epoch", "one"} <= texts(few)
    assert [line.get_xdata().tolist() for line in few.axes[0].lines if line.get_marker() == "x"] == [[2]]
    assert figure.axes[0].get_window_extent().height > 0.9 * few.axes[0].get_window_extent().height
    assert "no run has finished an epoch" in texts(compare_plots.curves({}))


def test_an_effect_that_excludes_0_is_seen_at_once():
    rows = [
        ("LEARNING_RATE", 1e-3, 3e-4, 2, 0.05, 0.02, 0.08),
        ("DROPOUT_RATE", 0.3, 0.5, 1, -0.01, -0.04, 0.02),
        ("FEATURES", "position+place+shape+distance+direction+velocity", "position+shape+velocity", 0, np.nan, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["parameter", "value", "against", "pairs", "effect", "low", "high"])
    figure = compare_plots.effects(table)
    assert {"LEARNING_RATE: 0.001 against 0.0003 (2\xa0pairs)", "difference of the means (percentage points)"} <= set(
        texts(figure)
    )
    dots = {line.get_xdata()[0]: line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"}
    assert dots[5] != dots[-1] and inside(figure)


def test_where_nothing_is_finished_or_varied_the_figures_say_so(tmp_path):
    waiting = make_batch(tmp_path / "waiting", [({"EPOCHS": 3}, [None]), ({"EPOCHS": 5}, [None])])
    assert "no run is finished" in texts(compare_plots.settings(waiting.settings(), waiting.scores()))
    text = "no two finished settings differ in one parameter alone"
    assert text in texts(compare_plots.effects(waiting.effects()))
    alone = make_batch(tmp_path / "alone", [({}, [0.5])], varied=[])
    figure = compare_plots.settings(alone.settings(), alone.scores())
    assert {"base", "seeds", "nearest neighbour, top 1"} <= texts(figure) and inside(figure)
    assert text in texts(compare_plots.effects(alone.effects()))
