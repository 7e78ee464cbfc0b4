"""Videos of a drawn signer, in whom MediaPipe finds a body, a face and often hands: pictures that are ours to ship."""

import pathlib

import cv2
import numpy as np

from signlib.landmarks import HAND_EDGES

WIDTH, HEIGHT = 640, 480  # pixels; the sample's pictures are 4 : 3
WALL, SHIRT, SLEEVE, SKIN, SHADE, HAIR, LIPS = (
    (185, 190, 195), (40, 60, 90), (45, 68, 100), (224, 172, 140), (195, 145, 115), (60, 40, 30), (180, 80, 80)
)  # fmt: skip


def draw_signer(row):
    """Returns the picture `(HEIGHT, WIDTH, 3)` uint8, RGB, of a frame `(1629,)`; an empty wall where it has no shoulders."""
    image = np.full((HEIGHT, WIDTH, 3), WALL, np.uint8)
    points = np.nan_to_num(row.reshape(543, 3)[:, :2]) * [WIDTH, HEIGHT]
    pose, hands = points[:33], (points[501:522], points[522:])
    if not pose[11:13].all():
        return image
    unit = float(np.hypot(*(pose[11] - pose[12])))  # between the shoulders

    def line(a, b, colour, width):
        ends = (tuple(int(v) for v in np.clip(p, -9999, 9999)) for p in (a, b))
        cv2.line(image, *ends, colour, max(1, round(width * unit)), cv2.LINE_AA)

    def blob(centre, width, height, colour):
        axes = (max(1, round(width * unit)), max(1, round(height * unit)))
        cv2.ellipse(image, tuple(int(v) for v in centre), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    def near(point, x, y):
        return point + np.array([x, y]) * unit

    line((pose[11] + pose[12]) / 2, pose[0], SHADE, 0.32)
    hips = (pose[24], pose[23]) if pose[23:25].all() else (near(pose[12], 0.1, 1.6), near(pose[11], -0.1, 1.6))
    right, left = pose[12], pose[11]
    body = [near(right, -0.12, -0.05), near(right, 0.2, -0.14), near(left, -0.2, -0.14), near(left, 0.12, -0.05)]
    cv2.fillPoly(image, [np.array([*body, hips[1], hips[0]], np.int32)], SHIRT, cv2.LINE_AA)
    for shoulder, elbow in ((11, 13), (12, 14)):
        line(pose[shoulder], pose[elbow], SLEEVE, 0.28)
    face = near(pose[0], 0, -0.05)
    blob(near(face, 0, -0.1), 0.30, 0.40, HAIR)
    blob(face, 0.27, 0.36, SKIN)
    for x in (-0.11, 0.11):
        blob(near(face, x, -0.12), 0.07, 0.015, HAIR)
        blob(near(face, x, -0.07), 0.055, 0.03, (250, 250, 250))
        blob(near(face, x, -0.07), 0.026, 0.026, HAIR)
    line(near(face, 0, -0.05), near(face, 0.02, 0.06), SHADE, 0.025)
    line(near(face, 0.02, 0.06), near(face, -0.02, 0.07), SHADE, 0.025)
    blob(near(face, 0, 0.16), 0.09, 0.035, LIPS)
    for elbow, wrist in ((13, 15), (14, 16)):
        line(pose[elbow], pose[wrist], SKIN, 0.18)
    for hand in hands:
        if not hand.any():
            continue
        cv2.fillPoly(image, [hand[[0, 1, 5, 9, 13, 17]].astype(np.int32)], SKIN, cv2.LINE_AA)
        for colour, width in ((SHADE, 0.085), (SKIN, 0.065)):
            for a, b in HAND_EDGES:
                line(hand[a], hand[b], colour, width)
    return cv2.GaussianBlur(image, (3, 3), 0)


def write_drawn(path, frames, fps=25.0):
    """Writes a video of frames `(T, 1629)`; returns the path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH, HEIGHT))
    for row in frames:
        writer.write(cv2.cvtColor(draw_signer(row), cv2.COLOR_RGB2BGR))
    writer.release()
    return path
