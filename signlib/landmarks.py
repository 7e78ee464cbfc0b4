"""Which number of a frame is which landmark: layouts, parts, skeleton edges and left-right pairs.

MediaPipe Holistic gives four blocks of landmarks: pose (33), face (468) and two hands (21 each). A layout says in which
order, and with how many values a landmark, they stand in a frame. A landmark is named `(block, index)` everywhere.
"""

import functools
from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError


@dataclass(frozen=True)
class Layout:
    """What a frame holds: its usual shape, and its blocks in their order, as `(block, landmarks, values a landmark)`. Of
    each landmark x, y, z come first."""

    shape: tuple[int, ...]
    blocks: tuple[tuple[str, int, int], ...]

    def __post_init__(self):
        if any(values < 3 for _, _, values in self.blocks):
            raise InputError(f"a layout with fewer than three values a landmark, {self.blocks}: expected x, y, z")

    @property
    def width(self):
        """Values a frame."""
        return sum(count * values for _, count, values in self.blocks)

    def fits(self, shape):
        """Whether frames of `shape` can hold it: all values in a row, or a row a landmark where all have as many values."""
        rows = sum(count for _, count, _ in self.blocks)
        return shape == (self.width,) or shape in {
            (rows, values) for _, _, values in self.blocks if rows * values == self.width
        }


POSE, POSE_VISIBLE, FACE = ("pose", 33, 3), ("pose", 33, 4), ("face", 468, 3)
LEFT_HAND, RIGHT_HAND = ("left_hand", 21, 3), ("right_hand", 21, 3)

# A layout's name is the first number of its shape. A new layout is a line here. Where the same numbers fit two layouts,
# "auto" takes the one of that very shape, and `agreement.check_layout` asks the data.
LAYOUTS = {
    "1629": Layout((1629,), (POSE, FACE, LEFT_HAND, RIGHT_HAND)),
    "1662": Layout((1662,), (POSE_VISIBLE, FACE, LEFT_HAND, RIGHT_HAND)),
    "258": Layout((258,), (POSE_VISIBLE, LEFT_HAND, RIGHT_HAND)),
    "225": Layout((225,), (POSE, LEFT_HAND, RIGHT_HAND)),
    "126": Layout((126,), (LEFT_HAND, RIGHT_HAND)),
    "543": Layout((543, 3), (FACE, LEFT_HAND, POSE, RIGHT_HAND)),  # Google's sign recognition competition of 2023
}
BLOCKS = LAYOUTS["1629"].blocks  # all that there are, in the order that points have here

# MediaPipe's face mesh: the 40 landmarks of its lip contours (FACEMESH_LIPS), as (right, left) pairs and the midline.
_LIP_PAIRS = (
    (61, 291), (185, 409), (40, 270), (39, 269), (37, 267), (146, 375), (91, 321), (181, 405), (84, 314),
    (78, 308), (191, 415), (80, 310), (81, 311), (82, 312), (95, 324), (88, 318), (178, 402), (87, 317),
)  # fmt: skip
_LIP_MIDLINE = (0, 17, 13, 14)
LIPS = tuple(sorted([i for pair in _LIP_PAIRS for i in pair] + list(_LIP_MIDLINE)))

# MediaPipe's face mesh: the contours of the eyes (FACEMESH_RIGHT_EYE, FACEMESH_LEFT_EYE), as (right, left) pairs.
_EYE_PAIRS = (
    (33, 263), (7, 249), (163, 390), (144, 373), (145, 374), (153, 380), (154, 381), (155, 382),
    (133, 362), (246, 466), (161, 388), (160, 387), (159, 386), (158, 385), (157, 384), (173, 398),
)  # fmt: skip
EYES = tuple(sorted(i for pair in _EYE_PAIRS for i in pair))

# MediaPipe's pose: nose, ears, shoulders, elbows, wrists. Hips and legs are rarely in the picture of a signer.
UPPER_BODY = (0, 7, 8, 11, 12, 13, 14, 15, 16)
LEFT_SHOULDER, RIGHT_SHOULDER = ("pose", 11), ("pose", 12)

# What LANDMARKS can name. Of the face mesh, 86 % of the numbers and little of the sign, the default has the lips alone.
PARTS = {
    "hands": (("left_hand", tuple(range(21))), ("right_hand", tuple(range(21)))),
    "pose": (("pose", UPPER_BODY),),
    "lips": (("face", LIPS),),
    "eyes": (("face", EYES),),
    "all": tuple((block, tuple(range(count))) for block, count, _ in BLOCKS),
}
DEFAULT_PARTS = ("hands", "pose", "lips")  # as far as the layout holds them

# Bones of a hand (MediaPipe HAND_CONNECTIONS) and of the upper body (POSE_CONNECTIONS), to draw.
HAND_EDGES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12),
    (9, 13), (13, 14), (14, 15), (15, 16), (13, 17), (17, 18), (18, 19), (19, 20), (0, 17),
)  # fmt: skip
POSE_EDGES = ((11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24))
EDGES = {"pose": POSE_EDGES, "left_hand": HAND_EDGES, "right_hand": HAND_EDGES}

_POSE_PAIRS = ((1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((i, i + 1) for i in range(11, 33, 2)))


def detect_layout(shape):
    """Returns the name of the layout of frames of `shape`, `(F,)` or `(N, 3)`; raises InputError where there is none."""
    fitting = [name for name, layout in LAYOUTS.items() if layout.fits(shape)]
    if fitting:
        return next((name for name in fitting if LAYOUTS[name].shape == shape), fitting[0])
    known = ", ".join(_times(layout.shape) for layout in LAYOUTS.values())
    raise InputError(f"a frame holds {_times(shape)} values; layouts of {known} values a frame are known")


def select_landmarks(landmarks="default", layout=None):
    """Returns the landmarks that `landmarks` names ("default", or parts joined by +, as "hands+lips"), a tuple of
    `(block, index)` in the order pose, face, left hand, right hand.

    layout: what the clips hold. "default" and "all" then mean as much of it as there is; a part by name that is not in
    it raises InputError, as an unknown part does.
    """
    held = {block for block, _, _ in (BLOCKS if layout is None else layout_blocks(layout))}
    parts = DEFAULT_PARTS if landmarks == "default" else landmarks.split("+")
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(
            f"landmarks {landmarks!r}: unknown part {unknown[0]!r}; "
            f"expected 'default' or some of {', '.join(PARTS)} joined by '+'"
        )
    blocks = {part: {block for block, _ in PARTS[part]} for part in parts}
    absent = [part for part in parts if not blocks[part] & held]
    if absent and landmarks != "default":
        there = ", ".join(part for part in PARTS if {block for block, _ in PARTS[part]} & held)
        raise InputError(f"landmarks {landmarks!r}: layout {layout} holds no {absent[0]}; it holds {there}")
    chosen = {(block, index) for part in parts for block, indices in PARTS[part] for index in indices}
    return tuple((b, i) for b, count, _ in BLOCKS if b in held for i in range(count) if (b, i) in chosen)


def columns(layout, landmarks):
    """Returns where x of each landmark stands in a frame of `layout`; y and z follow it. `(P,)` int, -1 = not in it.

    Raises InputError for an unknown layout.
    """
    first = starts(layout_blocks(layout))
    return np.array([first[b][0] + i * first[b][1] if b in first else -1 for b, i in landmarks])


def layout_blocks(layout):
    """Returns the blocks of a layout by its name; raises InputError for an unknown one."""
    if layout not in LAYOUTS:
        raise InputError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout].blocks


@functools.cache
def starts(blocks):
    """Returns {block: (column of its first value, values a landmark)} of the blocks of a layout."""
    found, first = {}, 0
    for block, count, values in blocks:
        found[block] = (first, values)
        first += count * values
    return found


def _times(shape):
    return " x ".join(map(str, shape)) or "no"


def mirror_permutation(landmarks):
    """Returns `(P,)` int: the index of each landmark's left-right counterpart. Raises InputError where one has none."""
    pairs = {}
    for block, known in (("pose", _POSE_PAIRS), ("face", _LIP_PAIRS + _EYE_PAIRS)):
        for a, b in known:
            pairs[block, a], pairs[block, b] = (block, b), (block, a)
    pairs |= {("face", i): ("face", i) for i in _LIP_MIDLINE} | {("pose", 0): ("pose", 0)}
    for i in range(21):
        pairs["left_hand", i], pairs["right_hand", i] = ("right_hand", i), ("left_hand", i)
    where = {landmark: index for index, landmark in enumerate(landmarks)}
    try:
        return np.array([where[pairs[landmark]] for landmark in landmarks])
    except KeyError as missing:
        raise InputError(
            f"landmark {missing} has no mirror image: MIRROR needs LANDMARKS of hands, pose, lips and eyes alone"
        ) from None
