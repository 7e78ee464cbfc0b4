"""Figures of an extraction."""

import pathlib

import matplotlib.pyplot as plt
import numpy as np

from signlib.errors import InputError
from signlib.video.draw import draw_skeleton
from signlib.video.keypoints import span
from signlib.video.reading import Video
from signlib.video.table import Table


def over_video(folder, out, video_id, moments=4):
    """Returns a Figure of a video in `folder`: some of its frames, and below each the same with the skeleton over it that was
    found in it, of the keypoints in `out`. Those with hands are preferred. Raises InputError for an id without keypoints."""
    table, folder = Table(out), pathlib.Path(folder)
    source, rows = table.source(video_id), np.load(table.path.parent / f"{video_id}.npy")
    with_hands = np.flatnonzero(rows.reshape(len(rows), 543, 3)[:, 501:].any(axis=(1, 2)))
    of = with_hands if len(with_hands) >= moments else np.arange(len(rows))
    chosen = of[np.linspace(0, len(of) - 1, min(moments, len(of))).round().astype(int)]
    rate = float(table.rows[video_id]["fps"])
    with Video(folder / source.path) as video:
        images = {k: image for k, (_, image) in enumerate(video.frames(rate, *span(source, video)[:2])) if k in set(chosen)}
    height, width = images[chosen[0]].shape[:2]
    figure, axes = plt.subplots(2, len(chosen), figsize=(2.8 * len(chosen), 5.6 * height / width + 0.6), layout="constrained")
    plt.close(figure)
    for k, (above, below) in zip(chosen, axes.reshape(2, -1).T, strict=True):
        above.imshow(images[k])
        above.set_title(f"{k / rate:.2f} s", fontsize=9)
        drawn = images[k].copy()
        draw_skeleton(drawn, rows[k])
        below.imshow(drawn)
        above.axis("off")
        below.axis("off")
    figure.suptitle(f"{video_id}: what was filmed, and what was found in it", fontsize=10)
    return figure


def found_shares(table):
    """Returns a Figure of the DataFrame that `extract_videos` returns: in what share of its frames each part was found, a point
    a video. Raises InputError where none could be used."""
    done = table[table.status == "done"]
    if done.empty:
        raise InputError(f"none of {len(table)} videos could be used; the notes in the table say why")
    parts = ["pose", "face", "left_hand", "right_hand", "hands"]
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    plt.close(figure)
    axes.boxplot([done[part] for part in parts], orientation="horizontal", widths=0.6, flierprops={"markersize": 3})
    axes.set_yticks(range(1, len(parts) + 1), [*(part.replace("_", " ") for part in parts[:-1]), "either hand"])
    axes.set(xlim=(-0.02, 1.02), xlabel="share of a video's frames", title=f"What was found in {len(done)} videos")
    axes.invert_yaxis()
    return figure
