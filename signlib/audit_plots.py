"""Figures of an audit: where and when parts are missing, where the hands are, clips drawn under each other."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from signlib.checks import PLACES
from signlib.landmarks import UPPER_BODY
from signlib.plots import BLOCK_COLOURS, FAINT, GREY, PURPLE, _axes, _draw, _points

# In the order of drawing: pose and face are mostly missing together, and the thinner line lies on the wider one.
SHOWN = {"face": "face", "pose": "pose", "left_hand": "left hand", "right_hand": "right hand", "both_hands": "both hands"}
STYLES = {"face": {"linewidth": 4}, "both_hands": {"linestyle": "--"}}
TITLE_LETTERS = 80  # of a clip's title; more does not fit over its row, beside the legend


def missing_over_time(missing):
    """In what share of the clips each part is missing, over the clip's time. missing: `AuditReport.missing`."""
    figure, axes = _axes("When parts are missing", "moment of a clip (% of its length)", "clips without the part (%)")
    for column, name in SHOWN.items():
        if column in missing and not missing[column].isna().all():
            look = {"color": BLOCK_COLOURS.get(column, PURPLE), "label": name} | STYLES.get(column, {})
            axes.plot(100 * missing.index, 100 * missing[column], **look)
    axes.set(xlim=(0, 100), ylim=(-2, 102))
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def hand_places(places):
    """Where in the picture the wrists are, and how often outside. places: `AuditReport.places`, `{hand: (N, N) counts}` of
    PLACES both ways, of which the picture is 0 to 1; rows y downward, columns x."""
    figure, panels = plt.subplots(1, len(places), figsize=(4.6 * len(places), 4.2), squeeze=False, layout="constrained")
    plt.close(figure)
    figure.suptitle("Where the wrists are, and the picture's border", x=0.01, ha="left")
    edges = np.linspace(*PLACES, len(next(iter(places.values()))) + 1)
    inside = np.outer(*[(edges[:-1] > -1e-9) & (edges[1:] < 1 + 1e-9)] * 2)
    used = np.argwhere(np.sum(list(places.values()), axis=0) + inside)
    (top, left), (bottom, right) = edges[used.min(axis=0)] - 0.05, edges[used.max(axis=0) + 1] + 0.05
    for axes, (hand, counts) in zip(panels[0], places.items(), strict=True):
        total, outside = counts.sum(), counts[~inside].sum()
        seen = f"{100 * outside / total:.1f} % of {total:,.0f} outside" if total else "never seen"
        axes.set_title(f"{SHOWN[hand]}: {seen}", fontsize=10)
        share = 100 * counts / max(total, 1)
        colours = LinearSegmentedColormap.from_list(hand, ["white", BLOCK_COLOURS[hand], "black"])
        shades = PowerNorm(0.5, 0, share.max())  # evenly spaced, the places where hands rest would hide all others
        image = axes.imshow(share, cmap=colours, norm=shades, extent=(*PLACES, *PLACES[::-1]))
        axes.add_patch(plt.Rectangle((0, 0), 1, 1, fill=False, edgecolor=GREY, linestyle="--"))
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="x (of picture width)", ylabel="y (of picture height)")
        axes.label_outer()
        if total:
            figure.colorbar(image, label="share of the hand's frames (%)", shrink=0.8)
    return figure


def side_by_side(rows, moments=5):
    """Clips under each other, a row a clip. rows: [(title, frames `(T, F)`, layout), ...].

    A clip is drawn at evenly spaced moments from the first to the last frame with a hand, in a square window of its own: so
    a copy looks like its original where it was trimmed, moved or scaled, and a sign like the same sign of another signer.
    """
    figure = plt.figure(figsize=(1.75 * moments, 2.1 * len(rows)), layout="constrained")
    plt.close(figure)
    for row, (title, frames, layout) in zip(figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        points, blocks = _points(frames, layout)
        hands = np.flatnonzero(~np.isnan(points[:, blocks["left_hand"] + blocks["right_hand"]]).all(axis=(1, 2)))
        first, last = hands[[0, -1]] if len(hands) else (0, len(points) - 1)
        chosen = np.linspace(first, last, moments).round().astype(int)
        window = _window(points[chosen], blocks)
        row.suptitle(title[:TITLE_LETTERS], x=0.01, ha="left", fontsize=10, parse_math=False)  # a gloss may hold $
        for axes, moment in zip(row.subplots(1, moments, squeeze=False)[0], chosen, strict=True):
            _draw(axes, points[moment], blocks, window)
            axes.set(xlabel=f"frame {moment + 1} of {len(points)}", ylabel="", xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=FAINT)
    hands = [plt.Line2D([], [], color=BLOCK_COLOURS[hand], label=SHOWN[hand]) for hand in ("left_hand", "right_hand")]
    figure.subfigs[0].legend(handles=hands, loc="upper right", ncols=2, frameon=False, borderaxespad=0)
    return figure


def _window(points, blocks):
    """The square around hands, face and upper body, in whatever unit they are, as the limits of x and y, y downward."""
    body = blocks["left_hand"] + blocks["right_hand"] + [blocks["pose"][i] for i in UPPER_BODY] + blocks["face"][10::40]
    shown = points[:, body].reshape(-1, 2)
    shown = shown[~np.isnan(shown[:, 0])] if not np.isnan(shown).all() else np.array([[0, 0], [1, 1]])
    far = np.abs(shown - np.median(shown, axis=0)).max(axis=1)
    shown = shown[far <= 4 * np.percentile(far, 80)]  # a tracking error must not shrink the signer to a dot
    low, high = shown.min(axis=0), shown.max(axis=0)
    middle, half = (low + high) / 2, max(0.55 * (high - low).max(), 1e-3)
    return (middle[0] - half, middle[0] + half), (middle[1] + half, middle[1] - half)
