"""Figures. Each function takes plain data and returns a matplotlib Figure, which a notebook shows as a cell's last line."""

import re

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from signlib.landmarks import EDGES, UPPER_BODY
from signlib.preprocess import Preprocessor

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, RED, SKY, PURPLE, GREY, FAINT = "#0072B2", "#D55E00", "#56B4E9", "#CC79A7", "#555555", "#BBBBBB"
BLOCK_COLOURS = {"left_hand": BLUE, "right_hand": RED, "pose": GREY, "face": FAINT}

NAMED_BARS = 40  # more names than this cannot be read under bars or beside a matrix
COUNTED_CLASSES = 20  # more numbers than this squared cannot be read inside a matrix
ANNOTATED_POINTS = 6  # of a curve; every clamped point is marked, these carry their value
LEGEND_LETTERS = 100  # beside each other below a figure, ten of them for each line and its gap
PICTURE = (-0.5, 1.5)  # what is drawn of the plane of the image, which is 0 to 1; beyond it are guesses, as of the legs
PLAYED_FRAMES, PLAYER_DPI = 60, 60  # of an animation, which travels inside the notebook as pictures
ICONS = (
    "minus",
    "fast-backward",
    "step-backward",
    "play fa-flip-horizontal",
    "pause",
    "play",
    "step-forward",
    "fast-forward",
    "plus",
)
PLAYER_SIGNS = dict(zip(ICONS, "−⇤‹◂‖▸›⇥+", strict=True))  # in place of matplotlib's icons, a font from the net
TEXT_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}


def _axes(title, xlabel, ylabel, size=(7, 4), grid="y"):
    """A figure with one axes. It is closed for pyplot at once: shown once, by whoever holds it, and freed with it."""
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    plt.close(figure)
    axes.set_title(title, loc="left")
    axes.set(xlabel=xlabel, ylabel=ylabel, axisbelow=True)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="#E5E5E5")
    return figure, axes


def clip_lengths(frames, sequence_length):
    """How long the clips are. frames: T of each clip; sequence_length: frames that the model sees, marked."""
    frames = np.asarray(frames)
    longer = 100 * (frames > sequence_length).mean()
    title = f"{len(frames):,} clips; {longer:.0f} % are longer than the {sequence_length} frames the model sees"
    figure, axes = _axes(title, "length of a clip (frames)", "clips")
    low, high = frames.min(), frames.max()
    width = max(1, -(-(high - low + 1) // 40))  # whole frames a bin, so that no bin is empty by rounding
    axes.hist(frames, bins=np.arange(low, high + width + 1, width) - 0.5, color=SKY, edgecolor="white")
    axes.axvline(sequence_length, color=RED, linewidth=2, label=f"sequence length: {sequence_length}")
    axes.axvline(np.median(frames), color=GREY, linestyle="--", label=f"median: {np.median(frames):g}")
    axes.set_xlim(0, max(high, sequence_length) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def clips_per_gloss(counts):
    """How many clips each gloss has, most first. counts: {gloss: clips}."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    glosses, numbers = [gloss for gloss, _ in ordered], np.array([number for _, number in ordered])
    title = f"{numbers.sum():,} clips of {len(glosses):,} glosses: {numbers.min()} to {numbers.max()} a gloss"
    named = len(glosses) <= NAMED_BARS
    figure, axes = _axes(title, "gloss", "clips", size=(max(7, 0.25 * len(glosses) * named), 4))
    bars = axes.bar(range(len(glosses)), numbers, width=0.8 if named else 1, color=SKY)
    axes.margins(x=0.01, y=0.08)
    if named:
        axes.bar_label(bars, fontsize=8)
        axes.set_xticks(range(len(glosses)), glosses, rotation=60, ha="right", rotation_mode="anchor", parse_math=False)
    else:
        axes.set_xlabel(f"gloss, ranked by its clips (most: {glosses[0]}, fewest: {glosses[-1]})", parse_math=False)
        axes.axhline(np.median(numbers), color=GREY, linestyle="--", label=f"median: {np.median(numbers):g}")
        axes.legend(frameon=False)
    return figure


def missing_parts(table):
    """In what share of all frames each block of the layout is missing. table: `AuditReport.clips`."""
    shown = {"face": "face", "pose": "pose", "right_hand": "right hand", "left_hand": "left hand", "both_hands": "both hands"}
    shown = {column: name for column, name in shown.items() if not table[column].isna().any()}
    title = f"Missing parts in {table.frames.sum():,} frames of {len(table):,} clips"
    figure, axes = _axes(title, "frames in which the part was not detected (%)", "", size=(7, 3.2), grid="x")
    for row, column in enumerate(shown):
        share, never = 100 * np.average(table[column], weights=table.frames), int((table[column] == 1).sum())
        axes.barh(row, share, color=BLOCK_COLOURS.get(column, PURPLE))
        text = f" {share:.1f} %" + (f", never seen in {never:,} clip{'s' * (never > 1)}" if never else "") + " "
        colour, side = ("black", "left") if share < 50 else ("black" if column == "face" else "white", "right")
        axes.text(share, row, text, va="center", ha=side, color=colour)
    axes.set(xlim=(0, 100), yticks=range(len(shown)), yticklabels=shown.values())
    return figure


def skeleton(frames, layout, moments=5):
    """One clip's skeleton at evenly spaced moments; what was not detected is not drawn. frames: `(T, F)`."""
    points, blocks = _points(frames, layout)
    chosen = np.unique(np.linspace(0, len(points) - 1, moments).round().astype(int))
    limits = _limits(points[chosen], blocks)
    tall = abs(np.diff(limits[1]) / np.diff(limits[0])).item()
    size = max(2 * len(chosen), 8) + 0.5, np.clip(1.7 * tall, 1.5, 4.5) + 1.4
    figure, panels = plt.subplots(1, len(chosen), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    plt.close(figure)
    figure.suptitle(f"Skeleton at {len(chosen)} moments of {len(points)} frames", x=0.01, ha="left")
    for axes, moment in zip(panels[0], chosen, strict=True):
        _draw(axes, points[moment], blocks, limits)
        axes.set_title(f"frame {moment + 1}", fontsize=10)
        axes.label_outer()
    seen = [block for block in BLOCK_COLOURS if not np.isnan(points[chosen][:, blocks[block]]).all()]
    lines = [plt.Line2D([], [], color=BLOCK_COLOURS[block], linewidth=3, label=block.replace("_", " ")) for block in seen]
    figure.legend(handles=lines, loc="outside upper right", ncols=4, frameon=False)
    return figure


def animate(clips, fps=25):
    """Returns a player of clips side by side, for Jupyter (`IPython.display.HTML`), at their speed; long ones skip frames, and
    one that ends earlier stands still. clips: [(title, frames `(T, F)`, layout), ...]."""
    from IPython.display import HTML
    from matplotlib.animation import FuncAnimation

    drawn = [(title, *_points(frames, layout)) for title, frames, layout in clips]
    limits = [_limits(points, blocks) for _, points, blocks in drawn]
    longest = max(len(points) for _, points, _ in drawn)
    step = -(-longest // PLAYED_FRAMES)
    size = (4 * len(drawn), 4)  # a layout worked out anew each frame would be slow
    figure, panels = plt.subplots(1, len(drawn), figsize=size, dpi=PLAYER_DPI, squeeze=False)
    plt.close(figure)

    def show(moment):
        for axes, (title, points, blocks), limit in zip(panels[0], drawn, limits, strict=True):
            axes.clear()
            frame = min(moment, len(points) - 1)
            _draw(axes, points[frame], blocks, limit)
            axes.set_title(f"{title}\n" * bool(title) + f"frame {frame + 1} of {len(points)}", parse_math=False)

    film = FuncAnimation(figure, show, frames=range(0, longest, step), init_func=lambda: None)
    html = re.sub(r"<link[^>]+>", "", film.to_jshtml(fps=fps / step))
    return HTML(re.sub(r'<i class="fa fa-([^"]+)"></i>', lambda icon: PLAYER_SIGNS.get(icon[1], icon[0]), html))


def _points(frames, layout):
    """Points `(T, 543, 2)`, NaN where missing, and the indices of each block's points."""
    everything = Preprocessor(landmarks="all", trim=False)
    return everything.points(np.asarray(frames), layout)[:, :, :2], everything.blocks


def _limits(points, blocks):
    """The part of the picture worth showing, y downward: all of hands, face and upper body, as far as it is no guess."""
    lower = [index for i, index in enumerate(blocks["pose"]) if i not in UPPER_BODY]
    shown = np.delete(points, lower, axis=1).reshape(-1, 2)
    shown = shown[~np.isnan(shown[:, 0])] if not np.isnan(shown).all() else np.array([[0, 0], [1, 1]])
    ends = np.array([shown.min(axis=0) - 0.05, shown.max(axis=0) + 0.05])
    if np.abs(np.median(shown, axis=0) - 0.5).max() < 1:  # else they are no shares of the picture, but pixels perhaps
        ends = np.clip(ends, *PICTURE)
    (left, top), (right, bottom) = ends
    return (left, right), (bottom, top)


def _draw(axes, points, blocks, limits):
    """One frame's points `(543, 2)`. matplotlib leaves out what is NaN."""
    axes.spines[["top", "right"]].set_visible(False)
    head = [blocks["pose"][i] for i in UPPER_BODY[:3]]
    for indices, colour, size in ((blocks["face"], FAINT, 0.5), (head, GREY, 8)):
        axes.scatter(*points[indices].T, s=size, color=colour)
    for block, edges in EDGES.items():
        bones = np.full((len(edges), 3, 2), np.nan)  # from, to, and a gap before the next
        bones[:, :2] = points[blocks[block]][np.array(edges)]
        if not np.isnan(bones).all():
            axes.plot(*bones.reshape(-1, 2).T, color=BLOCK_COLOURS[block], linewidth=1.5, label=block)
    if np.isnan(points).all():
        axes.text(0.5, 0.5, "nothing\ndetected", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set(xlim=limits[0], ylim=limits[1], aspect="equal", xlabel="x (of picture width)", ylabel="y (of picture height)")


def loss_curves(history, best_epoch=None, log=False):
    """Loss and validation loss an epoch, as measured; what cannot be drawn is marked at the top with its value.

    history: {metric: values}, or what `clamp_history` returns. best_epoch: counted from 1, as `fit` counts; marked.
    """
    figure, axes = _axes("Loss by epoch", "epoch", "loss (log scale)" if log else "loss")
    sides = {"loss": ("training", BLUE), "val_loss": ("validation", RED)}
    for name in [name for name in sides if name in history]:
        (label, colour), values = sides[name], np.array(history[name], dtype=float)
        epochs, odd = np.arange(1, len(values) + 1), ~np.isfinite(values) | (log and values <= 0)
        axes.plot(epochs, np.where(odd, np.nan, values), color=colour, marker="o", markersize=3, label=label)
        top = {"color": colour, "transform": axes.get_xaxis_transform()}
        axes.plot(epochs[odd], [0.97] * odd.sum(), "x", **top)
        for epoch in _some(epochs[odd]):
            axes.text(epoch, 0.94, f"{values[epoch - 1]:.3g}", ha="center", va="top", **top)
    if log:
        _log_scale(axes)
    if best_epoch:
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch: {best_epoch}")
    return _by_epoch(figure, axes)


def accuracy_curves(history):
    """Accuracies an epoch in percent. history: what `clamp_history` returns; a clamped point is marked and carries what
    was measured. Accuracies alone are drawn: metrics with "accuracy" in their name."""
    figure, axes = _axes("Accuracy by epoch", "epoch", "accuracy (%)")
    for name in [name for name in history if "accuracy" in name]:
        values = 100 * np.array(history[name], dtype=float)
        epochs = np.arange(1, len(values) + 1)
        side, colour, shift = ("validation", RED, 13) if name.startswith("val_") else ("training", BLUE, 25)
        metric = name.removeprefix("val_").replace("_", " ")
        style, label = ("-", side) if metric == "accuracy" else ("--", f"{side}, {metric}")
        axes.plot(epochs, values, style, color=colour, marker="o", markersize=3, label=label)
        clamped = list(history.clamped.get(name, ()))
        if clamped:
            look = {"color": colour, "markersize": 9, "markeredgecolor": "black", "clip_on": False}
            axes.plot(epochs[clamped], values[clamped], "X", **look)
        for index in _some(clamped):
            up = 1 if values[index] < 50 else -1  # the text stands inside the picture
            look = {"ha": "center", "va": "center", "fontsize": 8, "color": colour, "bbox": TEXT_BOX}
            place = {"xytext": (0, up * shift), "textcoords": "offset points"}
            axes.annotate(f"{100 * history.raw[name][index]:.4g} %", (epochs[index], values[index]), **place, **look)
    axes.set_ylim(-3, 103)
    if total := sum(map(len, history.clamped.values())):
        axes.plot([], [], "X", color="white", markeredgecolor="black", label=f"clamped ({total})")
    return _by_epoch(figure, axes)


def _log_scale(axes):
    """A logarithmic axis with plain numbers at it."""
    low, high = axes.get_ylim()  # before: of a short axis powers of ten would mark nothing
    axes.set_yscale("log")
    if low > 0 and high < 10 * low:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")


def _by_epoch(figure, axes):
    """Epochs as whole numbers, and the legend below, for which the figure grows where its names are long or many."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    handles, labels = axes.get_legend_handles_labels()
    columns = min(3, max(1, LEGEND_LETTERS // (10 + max(map(len, labels), default=0))))
    figure.set_figheight(figure.get_figheight() + 0.2 * max(-(-len(labels) // columns) - 1, 0))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _some(items):
    """At most ANNOTATED_POINTS of `items`, evenly spaced."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, ANNOTATED_POINTS).astype(int))] if len(items) else []


def compare_accuracy(rows):
    """Accuracies side by side, with their 95 % intervals. rows: [(name, value, low, high), ...], shares of 1."""
    values, low, high = 100 * np.array([numbers for _, *numbers in rows], dtype=float).T
    figure, axes = _axes("Accuracy with 95 % interval", "accuracy (%)", "", size=(7, 1.2 + 0.4 * len(rows)), grid="x")
    axes.barh(range(len(rows)), values, color=SKY, height=0.6)
    whiskers = np.maximum([values - low, high - values], 0)
    axes.errorbar(values, range(len(rows)), xerr=whiskers, fmt="none", ecolor="black", capsize=3)
    for row, (value, end) in enumerate(zip(values, high, strict=True)):
        axes.text(end + 1, row, f"{value:.1f}", va="center")
    axes.set(xlim=(0, 108), xticks=range(0, 101, 20), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    return figure
