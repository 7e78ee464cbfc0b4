"""Which number of a frame is which landmark: layouts, parts, skeleton edges and left-right pairs.

MediaPipe Holistic gives four blocks of landmarks: pose (33), face (468) and two hands (21 each). A layout says in which
order, and with how many values a landmark, they stand in a frame. A landmark is named `(block, index)` everywhere.
"""

from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError


@dataclass(frozen=True)
class Layout:
    """The order of the blocks in a frame: `(block, landmarks, values a landmark)`; x, y, z come first in each."""

    blocks: tuple[tuple[str, int, int], ...]

    @property
    def width(self):
        """Values a frame."""
        return sum(count * values for _, count, values in self.blocks)


# The name of a layout is its width. A new layout is a line here.
LAYOUTS = {
    "1629": Layout((("pose", 33, 3), ("face", 468, 3), ("left_hand", 21, 3), ("right_hand", 21, 3))),
}

# MediaPipe's face mesh: the 40 landmarks of its lip contours (FACEMESH_LIPS), as (right, left) pairs and the midline.
_LIP_PAIRS = (
    (61, 291), (185, 409), (40, 270), (39, 269), (37, 267), (146, 375), (91, 321), (181, 405), (84, 314),
    (78, 308), (191, 415), (80, 310), (81, 311), (82, 312), (95, 324), (88, 318), (178, 402), (87, 317),
)  # fmt: skip
_LIP_MIDLINE = (0, 17, 13, 14)
LIPS = tuple(sorted([i for pair in _LIP_PAIRS for i in pair] + list(_LIP_MIDLINE)))

# MediaPipe's pose: nose, ears, shoulders, elbows, wrists. Hips and legs are rarely in the picture of a signer.
UPPER_BODY = (0, 7, 8, 11, 12, 13, 14, 15, 16)
LEFT_SHOULDER, RIGHT_SHOULDER = ("pose", 11), ("pose", 12)

# What LANDMARKS can name. The face mesh but for the lips is left out by default: 86 % of the numbers, little of the sign.
PARTS = {
    "hands": (("left_hand", tuple(range(21))), ("right_hand", tuple(range(21)))),
    "pose": (("pose", UPPER_BODY),),
    "lips": (("face", LIPS),),
    "all": tuple((block, tuple(range(count))) for block, count, _ in LAYOUTS["1629"].blocks),
}
DEFAULT_LANDMARKS = "hands+pose+lips"

# Bones of a hand (MediaPipe HAND_CONNECTIONS) and of the upper body (POSE_CONNECTIONS), to draw.
HAND_EDGES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12),
    (9, 13), (13, 14), (14, 15), (15, 16), (13, 17), (17, 18), (18, 19), (19, 20), (0, 17),
)  # fmt: skip
POSE_EDGES = ((11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24))
EDGES = {"pose": POSE_EDGES, "left_hand": HAND_EDGES, "right_hand": HAND_EDGES}

_POSE_PAIRS = ((1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((i, i + 1) for i in range(11, 33, 2)))


def detect_layout(width):
    """Returns the name of the layout with `width` values a frame; raises InputError where there is none."""
    for name, layout in LAYOUTS.items():
        if layout.width == width:
            return name
    known = ", ".join(f"{layout.width}" for layout in LAYOUTS.values())
    raise InputError(f"a frame holds {width} values; layouts with {known} values a frame are known")


def select_landmarks(landmarks="default"):
    """Returns the landmarks that `landmarks` names ("default", or parts joined by +, as "hands+lips"), in the order of a frame.

    A tuple of `(block, index)`. Raises InputError for an unknown part.
    """
    parts = (DEFAULT_LANDMARKS if landmarks == "default" else landmarks).split("+")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise InputError(
            f"landmarks {landmarks!r}: unknown part {unknown[0]!r}; "
            f"expected 'default' or some of {', '.join(PARTS)} joined by '+'"
        )
    chosen = {(block, index) for part in parts for block, indices in PARTS[part] for index in indices}
    return tuple((block, i) for block, count, _ in LAYOUTS["1629"].blocks for i in range(count) if (block, i) in chosen)


def columns(layout, landmarks):
    """Returns where x of each landmark stands in a frame of `layout`; y and z follow it. `(P,)` int, -1 = not in it.

    Raises InputError for an unknown layout.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    starts, first = {}, 0
    for block, count, values in LAYOUTS[layout].blocks:
        starts[block] = (first, values)
        first += count * values
    return np.array([starts[b][0] + i * starts[b][1] if b in starts else -1 for b, i in landmarks])


def mirror_permutation(landmarks):
    """Returns `(P,)` int: the index of each landmark's left-right counterpart. Raises InputError where one has none."""
    pairs = {}
    for block, known in (("pose", _POSE_PAIRS), ("face", _LIP_PAIRS)):
        for a, b in known:
            pairs[block, a], pairs[block, b] = (block, b), (block, a)
    pairs |= {("face", i): ("face", i) for i in _LIP_MIDLINE} | {("pose", 0): ("pose", 0)}
    for i in range(21):
        pairs["left_hand", i], pairs["right_hand", i] = ("right_hand", i), ("left_hand", i)
    where = {landmark: index for index, landmark in enumerate(landmarks)}
    try:
        return np.array([where[pairs[landmark]] for landmark in landmarks])
    except KeyError as missing:
        raise InputError(f"landmark {missing} has no mirror image; flip only hands, pose and lips") from None
