"""Figures of a comparison: settings beside each other, curves overlaid, effects around 0."""

import textwrap

import numpy as np

from signlib.diagnose_plots import RUN_COLOURS
from signlib.history import clamp_history
from signlib.plots import BLUE, FAINT, GREY, NAMED_BARS, RED, SKY, _axes, _by_epoch

COLOURS = RUN_COLOURS[:-1]  # grey is the rest's
NAME_LETTERS = 50  # of a setting, in a line


def settings(table, scores, metric="model, top 1"):
    """Each setting's seeds as dots, their mean and its interval over the seeds as a bar, the nearest neighbour's accuracy as a
    line; the best NAMED_BARS. table: `Batch.settings(metric)`; scores: `Batch.scores(metric)`."""
    shown = table.head(NAMED_BARS)
    which = f"the best {len(shown)} of {len(table)}" if len(table) > len(shown) else f"{len(table)}"
    figure, axes = _rows(f"Settings: {which}, each dot a seed", f"{metric}, validation (%)", list(shown.setting))
    rows = np.arange(len(shown))
    axes.hlines(rows, 100 * shown.low, 100 * shown.high, color=SKY, linewidth=9, label="mean and its 95 % interval over seeds")
    axes.plot(100 * shown["mean"], rows, "|", color="black", markersize=11, markeredgewidth=2)
    for row, setting in enumerate(shown.setting):
        seeds = 100 * scores[setting]
        axes.plot(seeds, [row] * len(seeds), "o", color=BLUE, markersize=4, label=None if row else "seeds")
    nearest = 100 * shown["nearest neighbour"].to_numpy(float)
    if not np.isnan(nearest).all():
        axes.vlines(nearest, rows - 0.5, rows + 0.5, color=RED, linestyle="--", label="nearest neighbour, top 1")
    return _finish(figure, axes, "no run is finished" * bool(shown["mean"].isna().all()))


def curves(histories, metric="accuracy"):
    """A metric of validation over the epochs, "accuracy" or "loss", a thin line a run. histories: {setting: [history, ...]},
    best first: the first settings have a colour each, the others are grey. What is not finite is marked at the top."""
    scale, unit = (100, " (%)") if metric == "accuracy" else (1, "")
    figure, axes = _axes(f"Validation {metric} by epoch, a line a run", "epoch", f"{metric}{unit}")
    for number, (setting, runs) in enumerate(histories.items()):
        colour = COLOURS[number] if number < len(COLOURS) else FAINT
        label = _lines(setting, 80) if number < len(COLOURS) else f"{len(histories) - number} more" * (number == len(COLOURS))
        for history in runs:
            values = scale * np.array(clamp_history(history).get("val_" + metric, []))
            epochs, fine = np.arange(1, len(values) + 1), np.isfinite(values)
            look = {"color": colour, "linewidth": 1, "zorder": 2 + (number < len(COLOURS))}
            axes.plot(
                epochs, np.where(fine, values, np.nan), marker="." if len(values) < 3 else "", label=label or None, **look
            )
            axes.plot(epochs[~fine], [0.97] * (~fine).sum(), "x", transform=axes.get_xaxis_transform(), **look)
            label = None
    if not any(map(len, histories.values())):
        axes.text(0.5, 0.5, "no run has finished an epoch", transform=axes.transAxes, ha="center", color=GREY)
    lines = sum(text.count("\n") for text in axes.get_legend_handles_labels()[1])
    figure.set_figheight(figure.get_figheight() + 0.21 * lines)
    return _by_epoch(figure, axes)


def effects(table):
    """What each value of a parameter brings against another, all else equal, with its 95 % interval; blue where that excludes
    0. table: `Batch.effects(metric)`."""
    names = [f"{row.parameter}: {row.value} against {row.against}" for row in table.itertuples()]
    names = [f"{name} ({pairs}\xa0pair{'s' * (pairs != 1)})" for name, pairs in zip(names, table.pairs, strict=True)]
    figure, axes = _rows("Effect of each parameter, all else equal", "difference of the means (percentage points)", names)
    if table.effect.notna().any():
        axes.axvline(0, color=GREY, linewidth=1)
    for row, (effect, low, high) in enumerate(100 * table[["effect", "low", "high"]].to_numpy(float)):
        colour = BLUE if low > 0 or high < 0 else GREY
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(effect, row, "o", color=colour)
    return _finish(figure, axes, "" if table.effect.notna().any() else "no two finished settings differ in one parameter alone")


def _lines(name, letters=NAME_LETTERS):
    """A name in lines of so many letters, broken between parameters."""
    return "\n".join(textwrap.wrap(name.replace("__", " __"), letters, break_long_words=False)).replace(" __", "__")


def _rows(title, xlabel, names):
    """A figure with one axes that has a named row for each name, the first at the top."""
    names = [_lines(name) for name in names]
    lines = max((name.count("\n") + 1 for name in names), default=1)
    letters = max((len(line) for name in names for line in name.split("\n")), default=0)
    size = max(7, 5 + 0.08 * letters), 1.6 + (0.12 + 0.17 * lines) * max(len(names), 2)
    figure, axes = _axes(title, xlabel, "", size=size, grid="x")
    axes.set_yticks(range(len(names)), names, parse_math=False, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    return figure, axes


def _finish(figure, axes, empty):
    """Says why nothing is drawn, where that is so, and puts the legend below."""
    if empty:
        axes.text(0.5, 0.5, empty, transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set_xticks([])
    elif handles := axes.get_legend_handles_labels()[0]:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure
