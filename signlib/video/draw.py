"""What is drawn onto a picture: the skeleton of a frame, and what live recognition says. OpenCV; its letters are by Pillow,
with matplotlib's DejaVu Sans, since OpenCV has none outside ASCII."""

import functools
import pathlib

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from signlib.landmarks import EDGES, LIPS, columns
from signlib.video import LAYOUT

COLOURS = {"pose": (255, 255, 255), "left_hand": (80, 200, 255), "right_hand": (255, 170, 60), "face": (255, 120, 160)}  # RGB
BACKGROUND, BAR, UNSURE = (30, 30, 30), (60, 130, 80), (150, 150, 150)  # the last shows on any darkened picture
TOP = 3  # glosses
_FAR = 4.0  # widths of the picture; OpenCV draws what leaves it, but not at coordinates beyond 32 bits

# Where x of the two ends of each edge stands in a frame, and of each point of the lips.
_EDGES = {block: columns(LAYOUT, [(block, i) for edge in edges for i in edge]).reshape(-1, 2) for block, edges in EDGES.items()}
_LIPS = columns(LAYOUT, [("face", i) for i in LIPS])


def draw_skeleton(image, row):
    """Draws the skeleton of a frame `(1629,)` onto the image `(H, W, 3)` that it was found in, uint8 RGB, in place: upper body
    and hands as lines, the lips as points. What was not found is left out."""
    height, width = image.shape[:2]
    thickness = max(1, round(height / 240))
    for block, ends in _EDGES.items():
        for one, other in _pixels(row, ends, width, height):
            cv2.line(image, one, other, COLOURS[block], thickness, cv2.LINE_AA)
    for (point,) in _pixels(row, _LIPS[:, None], width, height):
        cv2.circle(image, point, thickness, COLOURS["face"], -1, cv2.LINE_AA)


def draw_caption(image, glosses, sure, signing):
    """Writes onto an image `(H, W, 3)`, uint8 RGB, in place: whether a sign is under way, and of the last one the TOP of its
    glosses [(gloss, probability), ...] as bars, under "not sure" where the first is not; none where there was no sign yet."""
    height, width = image.shape[:2]
    line = max(14, height // 16)
    _write(image, "signing" if signing else "rest", (line // 2, line), line)
    shown = glosses[:TOP]
    top = max(0, height - line * (len(shown) + (not sure)) - line // 3) if shown else height
    image[top:] = image[top:] // 3 + np.array(BACKGROUND, np.uint8)
    if shown and not sure:
        _write(image, "not sure", (line // 2, top + line), line)
        top += line
    for number, (gloss, probability) in enumerate(shown):
        y = top + line * number
        end = round(probability * (width - line))
        cv2.rectangle(image, (line // 2, y + line // 6), (line // 2 + end, y + line), BAR if sure else UNSURE, -1)
        _write(image, f"{gloss} {probability:.0%}", (line, y + line - line // 6), line)


def _pixels(row, first, width, height):
    """The points `(N, K)`, by where their x stands in the row, as N tuples of K pixels; without those that lack a point."""
    points = np.stack([row[first], row[first + 1]], axis=-1)
    found = (np.isfinite(points).all(axis=-1) & points.any(axis=-1)).all(axis=-1)
    pixels = np.rint(np.clip(points[found], -_FAR, _FAR) * [width, height]).astype(int)
    return [tuple(tuple(point) for point in group) for group in pixels.tolist()]


def _write(image, text, where, line):
    """Writes a line of text whose letters stand on `where`, the place of its left end."""
    x, y = where
    band = image[max(0, y - line) : y + line // 2]
    drawn, outline = Image.fromarray(band), {"stroke_width": max(1, line // 12), "stroke_fill": BACKGROUND}
    ImageDraw.Draw(drawn).text((x, min(y, line)), text, (255, 255, 255), _font(line), anchor="ls", **outline)
    band[:] = np.asarray(drawn)


@functools.cache
def _font(line):
    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), round(0.8 * line))
