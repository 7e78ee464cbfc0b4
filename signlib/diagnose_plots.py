"""Figures of the diagnosis: runs over their epochs, confusions, calibration, coverage."""

import matplotlib.pyplot as plt
import numpy as np

from signlib.history import clamp_history
from signlib.plots import BLUE, COUNTED_CLASSES, GREY, NAMED_BARS, PURPLE, RED, SKY, _axes, _by_epoch, _log_scale, _some

GREEN, ORANGE, YELLOW = "#009E73", "#E69F00", "#F0E442"  # the rest of Okabe and Ito's
RUN_COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GREY)
KINDS = {"confusion": RED, "synonyms": SKY, "duplicate": PURPLE}
MARKERS = "osv^D"  # as many runs as there are colours have the first, the next the second
PAIRS = 15  # are named; more are not read
GLOSS_LETTERS = 24  # of a name; the rest of a longer one is cut


def run_curves(runs, metric="loss", log=False):
    """A metric of several runs over the epochs, validation in full lines, training in dots. runs: {name: history}; metric:
    "loss", "accuracy" or "learning_rate", which is of the run as a whole. What cannot be drawn as it is, being clamped or not
    finite, is marked with its raw value; a run without epochs, as an ensemble is, stands in the legend alone and says so."""
    names = {"loss": "loss", "accuracy": "accuracy (%)", "learning_rate": "learning rate"}
    figure, axes = _axes(f"{names[metric].split(' (')[0].capitalize()} by epoch", "epoch", names[metric] + " (log scale)" * log)
    scale = 100 if metric == "accuracy" else 1
    for number, (run, history) in enumerate(runs.items()):
        colour, sides = RUN_COLOURS[number % len(RUN_COLOURS)], (metric, "val_" + metric)
        marker = MARKERS[number // len(RUN_COLOURS) % len(MARKERS)]
        shown = clamp_history({name: history[name] for name in sides if name in history})
        if not history:
            axes.plot([], [], color=colour, marker=marker, markersize=4, label=f"{run}: no epochs")
        for name in shown:
            values, raw = np.array(shown[name]) * scale, np.array(shown.raw[name]) * scale
            epochs, fine = np.arange(1, len(values) + 1), np.isfinite(values) & ~(log & (values <= 0))
            whole = name.startswith("val_") or metric == "learning_rate"
            style, label, face = ("-", run, colour) if whole else (":", None, "white")
            look = {"color": colour, "label": label, "marker": marker, "markersize": 4, "markerfacecolor": face}
            axes.plot(epochs, np.where(fine, values, np.nan), style, markevery=-(-len(values) // 12), **look)
            odd = np.flatnonzero(~fine | (values != raw))
            if len(clamped := odd[fine[odd]]):  # marks that are nowhere would take room all the same
                look = {"color": colour, "markeredgecolor": "black", "markersize": 9, "clip_on": False}
                axes.plot(epochs[clamped], values[clamped], "X", **look)
            top = {"color": colour, "transform": axes.get_xaxis_transform()}
            axes.plot(epochs[odd], [0.97] * len(odd), "x", **top)
            for i in _some(odd):
                axes.text(epochs[i], 0.94, f"{raw[i]:.3g}", ha="center", va="top", fontsize=8, **top)
    if metric == "accuracy":
        axes.set_ylim(-3, 103)
    if log and np.isfinite(axes.dataLim.ymax):  # a logarithmic axis needs something that is drawn
        _log_scale(axes)
    elif metric == "learning_rate":
        axes.set_ylim(bottom=0)
    if metric != "learning_rate":
        axes.plot([], [], ":", color=GREY, marker="o", markersize=4, markerfacecolor="white", label="training")
    return _by_epoch(figure, axes)


def confusion(matrix, classes):
    """The confusion matrix: rows true, columns predicted, colour by the share of the row. matrix: `(C, C)` counts. Of many
    glosses those that are confused most, similar ones side by side; all others are one row and one column."""
    matrix, classes, count = np.asarray(matrix), list(classes), len(classes)
    title = f"Confusion of {count} glosses: {np.trace(matrix):,} of {matrix.sum():,} right"
    if count > NAMED_BARS:
        matrix, classes = _most_confused(matrix, classes)
        title += f";\nthe {len(classes) - 1} that are confused most, similar ones side by side"
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side, names = min(max(4.5, 0.26 * len(classes)), 10), [_short(name) for name in classes]
    more = _room(names, 10)
    figure, axes = _axes(title, "predicted gloss", "true gloss", size=(side + 1.2 + more, side + more), grid=None)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, label="share of the true gloss's clips (%)", shrink=0.8)
    small = 8 if len(classes) > COUNTED_CLASSES else 10
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", parse_math=False, fontsize=small)
    axes.set_yticks(range(len(names)), names, parse_math=False, fontsize=small)
    for row, column in np.argwhere(matrix):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=small - 2)
    return figure


def _most_confused(matrix, classes):
    """The matrix of the NAMED_BARS - 1 glosses with most errors from or to them, in an order that puts those beside each other
    that are taken for each other, and of all others together."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    wrong = matrix - np.diag(np.diag(matrix))
    chosen = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[: NAMED_BARS - 1]
    near = (wrong + wrong.T)[np.ix_(chosen, chosen)].astype(float)
    distance = 1 / (1 + near)
    np.fill_diagonal(distance, 0)
    chosen = chosen[leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))]
    others = np.setdiff1d(np.arange(len(classes)), chosen)
    parts = [[index] for index in chosen] + [others]
    merged = np.array([[matrix[np.ix_(rows, columns)].sum() for columns in parts] for rows in parts])
    return merged, [classes[index] for index in chosen] + [f"{len(others)} others"]


def _short(name):
    return name if len(name) <= GLOSS_LETTERS else name[: GLOSS_LETTERS - 1] + "…"


def _room(names, letters):
    """Inches for the letters of the longest name that are more than so many."""
    return 0.08 * max(max(map(len, names), default=0) - letters, 0)


def worst_pairs(table):
    """The pairs that are confused most. table: `Predictions.confused()`."""
    shown = table.head(PAIRS)
    names = [f"{_short(pair.signed)} → {_short(pair.read)}" for pair in shown.itertuples()]
    size = 7 + _room(names, 20), 1.4 + 0.32 * max(len(shown), 1)
    figure, axes = _axes("What is taken for what, most often", "clips read wrongly", "", size=size, grid="x")
    for row, pair in enumerate(shown.itertuples()):
        axes.barh(row, pair.wrong, color=KINDS[pair.kind])
        axes.text(pair.wrong, row, f" {pair.wrong} of {pair.clips}", va="center")
    axes.set_yticks(range(len(shown)), names, parse_math=False)
    axes.set(ylim=(max(len(shown), 1) - 0.5, -0.5), xlim=(0, 1.25 * max(shown.wrong.max() if len(shown) else 1, 1)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in KINDS.values()]
    names = ("confusion", "synonyms: also one sign's two glosses", "duplicate: the clip stands under both")
    figure.legend(handles, names, loc="outside lower center", ncols=1, frameon=False)
    return figure


def reliability(tables):
    """Accuracy by confidence; on the diagonal a model's probabilities mean what they say. tables: {name: (ECE, DataFrame)} as
    `calibration.reliability` returns."""
    figure, axes = _axes(
        "Does the model know when it is wrong?", "confidence (%)", "accuracy (%)", size=(5.5, 5.2), grid="both"
    )
    axes.plot([0, 100], [0, 100], "--", color=GREY, label="as sure as right")
    for (name, (error, table)), colour, marker in zip(tables.items(), (BLUE, RED), "os", strict=False):
        area = 20 + 300 * table.clips / table.clips.sum()
        axes.plot(100 * table.confidence, 100 * table.accuracy, color=colour, alpha=0.6)
        axes.scatter(
            100 * table.confidence, 100 * table.accuracy, s=area, color=colour, marker=marker, label=f"{name}: ECE {error:.1%}"
        )
    axes.set(xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=1, frameon=False, markerscale=0.5)
    return figure


def coverage(table, chosen=None):
    """Accuracy of the clips that are not rejected, by their share. table: `calibration.coverage`; chosen: a row of it."""
    figure, axes = _axes(
        'Accuracy, when the model may say "not sure"', "clips that get an answer (%)", "accuracy of the answers (%)"
    )
    axes.plot(100 * table.coverage, 100 * table.accuracy, color=BLUE)
    if chosen is not None:
        label = f"{chosen.accuracy:.0%} right of the {chosen.coverage:.0%} with a confidence of {chosen.threshold:.0%} or more"
        axes.plot(100 * chosen.coverage, 100 * chosen.accuracy, "o", color=RED, label=label)
        figure.legend(loc="outside lower center", frameon=False)
    axes.set(xlim=(-3, 103), ylim=(-3, 103))
    return figure
