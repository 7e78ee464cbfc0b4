"""A small synthetic data set in the seed's layout, so that everything can be tried without a download. Pure NumPy.

Invented signs of a drawn signer: nothing about a sign language can be learnt from them. What a pipeline must get right in
real keypoints is in them: signers who differ in place, size and build, clips of 12 to 90 frames, hands that are not found,
frames of NaN, glosses that differ only in the hand that signs, and glosses that differ only in what follows the sign:
a hand before the face ends the clip, or stays there while the detector finds nobody.
"""

import json
import pathlib
import tempfile

import numpy as np

from signlib.errors import InputError
from signlib.labels import LABELS_NAME
from signlib.locks import locked

VERSION = 1  # raise it when other bytes come out: existing samples are then written anew
KEYPOINTS, MARKER = "processed_keypoints_fixed", "sample.json"
SIGNERS = 8
NAN_SHARE = 0.4  # of clips with frames of NaN

# Body coordinates: the middle of the shoulders is (0, 0, 0) and their distance 1; x to the signer's left, which is to the
# right in the picture, y down, z away from the camera. Places are for the left hand, the right hand's are mirrored.
_PLACES = {
    "rest": (0.48, 1.45, -0.1),
    "chest": (0.22, 0.45, -0.5),
    "side": (0.95, 0.05, -0.4),
    "chin": (0.20, -0.30, -0.5),
    "eyes": (0.16, -0.55, -0.5),
    "brow": (0.62, -0.60, -0.4),
}
# How far thumb, index, middle, ring and little finger are bent: 0 straight, 1 in the palm.
_SHAPES = {
    "flat": (0.0, 0.0, 0.0, 0.0, 0.0),
    "loose": (0.2, 0.35, 0.35, 0.4, 0.4),
    "fist": (0.9, 1.0, 1.0, 1.0, 1.0),
    "point": (0.9, 0.0, 1.0, 1.0, 1.0),
}
# gloss: (hands, place and shape at first, then, swings to and fro, how it ends). "rest": the hands sink. "stop": the clip
# ends with the hands where they are. "lost": as "stop", then nobody is found for a while.
_GLOSSES = {
    "see": ("R", ("chest", "point"), ("eyes", "flat"), 0, "stop"),
    "hide": ("R", ("chest", "point"), ("eyes", "flat"), 0, "lost"),
    "look": ("L", ("chest", "point"), ("eyes", "flat"), 0, "stop"),
    "blind": ("L", ("chest", "point"), ("eyes", "flat"), 0, "lost"),
    "left": ("L", ("chest", "fist"), ("side", "point"), 0, "rest"),
    "right": ("R", ("chest", "fist"), ("side", "point"), 0, "rest"),
    "open": ("LR", ("chest", "flat"), ("eyes", "flat"), 0, "stop"),
    "dark": ("LR", ("chest", "flat"), ("eyes", "flat"), 0, "lost"),
    "hello": ("R", ("brow", "flat"), ("brow", "flat"), 3, "rest"),
    "thank you": ("LR", ("chin", "flat"), ("chest", "flat"), 0, "rest"),
}


def make_sample(folder, glosses=10, clips_per_gloss=26, seed=0):
    """Writes the sample into `folder` and returns the path of its `processed_keypoints_fixed`.

    glosses: how many, at most 10. clips_per_gloss: about 10 % of them are marked test and 20 % val. seed: the same seed
    gives the same bytes. Each `<video_id>.npy` is `(T, 1629)` float32; `WLASL_v0.3.json` stands beside their folder.

    A complete sample of the same arguments is left as it is, an incomplete or another one is replaced when the new one is
    complete. Raises InputError for a folder that holds anything else, and for numbers out of range.
    """
    if not 2 <= glosses <= len(_GLOSSES) or clips_per_gloss < 2:
        raise InputError(f"sample: {glosses} glosses of {clips_per_gloss} clips; expected 2-{len(_GLOSSES)} of 2 or more")
    folder = pathlib.Path(folder)
    asked = json.dumps({"version": VERSION, "glosses": glosses, "clips_per_gloss": clips_per_gloss, "seed": seed})
    if _state(folder) == asked:
        return folder / KEYPOINTS
    if _state(folder) == "other data":
        raise InputError(f"{folder} holds something else than a sample; choose a new or an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new = pathlib.Path(scratch, "sample")
        (new / KEYPOINTS).mkdir(parents=True)
        table = _write_clips(new / KEYPOINTS, list(_GLOSSES)[:glosses], clips_per_gloss, seed)
        (new / LABELS_NAME).write_text(json.dumps(table, indent=1))
        (new / MARKER).write_text(asked)
        with locked(folder):
            if _state(folder) != asked:  # else another process was faster
                if folder.exists():
                    folder.rename(pathlib.Path(scratch, "old"))
                new.rename(folder)
    return folder / KEYPOINTS


def _state(folder):
    """What is in `folder`: what a complete sample was asked for, "incomplete" (less, also nothing) or "other data".

    Only what its own labels call a sample is one: a folder of real keypoints has the same names and is never replaced.
    """
    if folder.exists() and not folder.is_dir():
        return "other data"
    paths = [*folder.glob("*"), *folder.glob(f"{KEYPOINTS}/*")]
    found = {path.relative_to(folder).as_posix() for path in paths if not path.name.startswith(".")}
    if not found - {KEYPOINTS}:
        return "incomplete"
    try:
        instances = [i for word in json.loads((folder / LABELS_NAME).read_bytes()) for i in word["instances"]]
        own = {f"{KEYPOINTS}/{i['video_id']}.npy" for i in instances if i["source"] == "sample"}
    except (OSError, ValueError, KeyError, TypeError):
        return "other data"
    own |= {KEYPOINTS, LABELS_NAME, MARKER}
    if found == own:
        return (folder / MARKER).read_text()
    return "incomplete" if found < own else "other data"


def _write_clips(folder, glosses, clips_per_gloss, seed):
    """Writes the clips of the glosses and returns the table of their labels, as WLASL's json has it."""
    rng = np.random.default_rng([seed, 0])
    signers = [_signer(rng) for _ in range(SIGNERS)]
    ids = rng.permutation(70_000)[: len(glosses) * clips_per_gloss].reshape(len(glosses), clips_per_gloss)
    table = [{"gloss": gloss, "instances": []} for gloss in glosses]
    for (g, i), number in np.ndenumerate(ids):
        video_id, signer = f"{number:05d}", (g + i) % SIGNERS
        frames = _frames(_GLOSSES[glosses[g]], signers[signer], np.random.default_rng([seed, 1, g, i]))
        np.save(folder / f"{video_id}.npy", frames)
        split = {4: "val", 7: "val", 9: "test"}.get(i % 10, "train")
        instance = {"video_id": video_id, "split": split, "signer_id": signer, "url": f"https://example.org/{video_id}.mp4"}
        instance |= {"frame_start": 1, "frame_end": len(frames), "fps": 25, "bbox": [0, 0, 640, 480]}
        table[g]["instances"].append(instance | {"instance_id": i, "variation_id": 0, "source": "sample"})
    return table


def _signer(rng):
    """One signer: place and size in the picture, build, manner. x and y are shares of width and height, hence two sizes."""
    return {
        "centre": rng.uniform((0.4, 0.42), (0.6, 0.52)),
        "size": rng.uniform(0.17, 0.25) * np.array([1, rng.uniform(1.2, 1.45), 1]),
        "arm": rng.uniform(0.78, 0.86),
        "hand": rng.uniform(0.6, 0.72),
        "head": rng.uniform(0.9, 1.1),
        "reach": rng.uniform(0.9, 1.1),
        "change": rng.uniform(0.35, 0.55),  # when, in the clip, a hand leaves its first place
        "pace": rng.uniform(0.8, 1.25),
        "tremor": rng.uniform(0.004, 0.012),
    }


def _frames(sign, signer, rng):
    """Returns the frames `(T, 1629)` float32 of one clip."""
    longest = 90 if sign[-1] == "rest" else 30
    count = int(np.clip(np.exp(rng.uniform(np.log(12), np.log(longest))) / signer["pace"], 12, longest))
    time = np.linspace(0, 1, count)
    hands = {side: _hand(side, sign, time, signer, rng) for side in "LR"}
    blocks = [_pose(hands, signer), _face(signer, count, rng), hands["L"], hands["R"]]
    low = [hands[side][:, 0, 1] > 1.2 for side in "LR"]
    sway = 0.03 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * time + rng.uniform()))[:, None, None] * [1, 0, 0]
    tilt = _turns(rng.normal(0, 0.04, 1))
    where = np.append(signer["centre"] + rng.normal(0, 0.015, 2), 0)
    blocks = [((block + sway) @ tilt * signer["size"] + where).astype(np.float32) for block in blocks]
    _lose(blocks, low, rng)
    frames = np.concatenate([block.reshape(count, -1) for block in blocks], axis=1)
    nobody = rng.integers(10, 19) if sign[-1] == "lost" else 0
    return np.pad(frames, ((0, nobody), (0, 0)))


def _turns(angles):
    """Matrices `(T, 3, 3)` that turn points (rows) in the plane of the picture, clockwise as one looks at it."""
    cos, sin, zero = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    return np.stack([cos, sin, zero, -sin, cos, zero, zero, zero, zero + 1], axis=1).reshape(-1, 3, 3)


def _hand(side, sign, time, signer, rng):
    """Returns a hand's points `(T, 21, 3)` in body coordinates."""
    hands, (place, shape), (place2, shape2), swings, end = sign
    rest = np.array(_PLACES["rest"])
    if side in hands:
        first, second = (np.array(_PLACES[p]) * signer["reach"] + rng.normal(0, 0.04, 3) for p in (place, place2))
        change = signer["change"] + rng.uniform(-0.05, 0.05)
        last = (second + rest) / 2 if end == "rest" else second
        moments = (0, 0.1, change - 0.1, change + 0.1, 0.9, 1)
        keys = ((first + rest) / 2, first, first, second, second, last)
        bends = np.array([_SHAPES[s] for s in (shape, shape, shape, shape2, shape2, shape2)]) + rng.normal(0, 0.05, 5)
        swing = 0.12 * np.sin(2 * np.pi * swings * time)
        angle = rng.normal(-0.15, 0.1) + 4 * swing
    else:
        moments, keys, bends = (0, 1), [rest + rng.normal(0, 0.04, 3)] * 2, np.array([_SHAPES["loose"]] * 2)
        swing, angle = 0 * time, np.pi + 0 * time
    wrist, bend = (
        np.stack([np.interp(time, moments, values) for values in np.transpose(key)], axis=1) for key in (keys, bends)
    )
    wrist = wrist + swing[:, None] * [1, 0, 0] + signer["tremor"] * rng.normal(size=wrist.shape)
    hand = wrist[:, None] + signer["hand"] * _fingers(np.clip(bend, 0, 1)) @ _turns(angle)
    return hand if side == "L" else hand * [-1, 1, 1]


# Of thumb, index, middle, ring and little finger: where it begins, its direction (0 up, negative to the thumb) and its
# bones. A left hand of about length 1, fingers up and palm to the camera, so that the thumb is at small x.
_KNUCKLES = np.array([(-0.13, -0.12, 0), (-0.13, -0.50, 0), (-0.03, -0.52, 0), (0.07, -0.49, 0), (0.16, -0.43, 0)])
_DIRECTIONS = (-0.75, -0.12, -0.01, 0.1, 0.22)
_BONES = ((0.19, 0.16, 0.13), (0.22, 0.14, 0.11), (0.24, 0.15, 0.12), (0.22, 0.14, 0.11), (0.17, 0.10, 0.09))


def _fingers(bends):
    """Returns hands `(T, 21, 3)` with the wrist at 0, from how far their five fingers are bent `(T, 5)`."""
    hands = np.zeros((len(bends), 21, 3))
    for finger, (knuckle, direction, bones) in enumerate(zip(_KNUCKLES, _DIRECTIONS, _BONES, strict=True)):
        folds = np.cumsum(bends[:, [finger]] * [1.3, 1.5, 0.6], axis=1)  # angles towards the palm, joint by joint
        along, out = np.cumsum(np.cos(folds) * bones, axis=1), np.cumsum(np.sin(folds) * bones, axis=1)
        joints = np.stack([np.sin(direction) * along, -np.cos(direction) * along, -out], axis=2)
        hands[:, 1 + 4 * finger] = knuckle
        hands[:, 2 + 4 * finger : 5 + 4 * finger] = knuckle + joints
    return hands


# The left half of the head, and hip, knee, ankle, heel and toes: pose landmark -> x, y, z. The right half has the next
# number (the eyes: three further).
_HEAD = {1: (0.06, -0.84, -0.3), 2: (0.1, -0.84, -0.3), 3: (0.14, -0.84, -0.3), 7: (0.24, -0.78, 0), 9: (0.08, -0.57, -0.3)}
_LEGS = {23: (0.33, 1.6, 0), 25: (0.33, 2.7, 0), 27: (0.33, 3.7, 0), 29: (0.3, 3.8, 0), 31: (0.4, 3.9, 0)}


def _pose(hands, signer):
    """Returns the body's points `(T, 33, 3)` in body coordinates. Its wrists are the hands' wrists."""
    pose = np.zeros((len(hands["L"]), 33, 3))
    pose[:, 0] = np.array([0, -0.7, -0.4]) * signer["head"]
    for left, point in _HEAD.items():
        right = left + (3 if left < 7 else 1)
        pose[:, left], pose[:, right] = (np.array(point) * signer["head"] * [s, 1, 1] for s in (1, -1))
    for side, sign, first in (("L", 1, 11), ("R", -1, 12)):
        pose[:, first] = shoulder = np.array([0.5 * sign, 0, 0])
        for number, of_hand in ((4, 0), (6, 17), (8, 5), (10, 4)):  # wrist, little finger, index, thumb
            pose[:, first + number] = hands[side][:, of_hand]
        pose[:, first + 2] = _elbow(shoulder, hands[side][:, 0], signer["arm"], sign)
        for left, point in _LEGS.items():
            pose[:, left + first - 11] = np.array(point) * [sign, 1, 1]
    return pose


def _elbow(shoulder, wrist, bone, sign):
    """Returns elbows `(T, 3)`, at `bone` from shoulder and wrist `(T, 3)` where both reach, bent down and out."""
    middle, arm = (shoulder + wrist) / 2, wrist - shoulder
    squared = np.sum(arm**2, axis=1, keepdims=True)
    down = np.array([0.6 * sign, 0.8, 0.2])
    down = down - arm * (arm @ down)[:, None] / squared
    height = np.sqrt(np.maximum(bone**2 - squared / 4, 0.01))
    return middle + height * down / np.linalg.norm(down, axis=1, keepdims=True)


# The outer and the inner contour of the lips in MediaPipe's numbers, from the right corner over the upper lip and back.
_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


def _face(signer, count, rng):
    """Returns the face `(T, 468, 3)` in body coordinates: an oval evenly filled, in it a mouth that opens and closes."""
    index = np.arange(468)
    radius, angle = np.sqrt((index + 0.5) / 468), index * np.pi * (3 - np.sqrt(5))
    oval = np.stack([0.23 * radius * np.cos(angle), 0.33 * radius * np.sin(angle) - 0.76, 0.25 * radius**2 - 0.3], axis=1)
    face = oval + 0.003 * rng.normal(size=(count, 468, 3))
    opening = 0.02 + 0.015 * np.sin(np.linspace(0, rng.uniform(3, 12), count) + rng.uniform(0, 6))[:, None]
    turn = np.pi * (1 + np.arange(20) / 10)
    for contour, width, thickness in ((_OUTER, 0.1, 0.03), (_INNER, 0.08, 0)):
        face[:, contour, 0] = width * np.cos(turn)
        face[:, contour, 1] = (thickness + opening) * np.sin(turn) - 0.57
    return face * signer["head"]


def _lose(blocks, low, rng):
    """Makes a detector's gaps in the blocks `(T, points, 3)` of one clip, in place. low: a hand `(T,)` is at rest."""
    count = len(blocks[0])
    for block, resting in zip(blocks[2:], low, strict=True):
        block[resting & (rng.random(count) < 0.9)] = 0
        block[rng.random(count) < rng.uniform(0, 0.12)] = 0
    if rng.random() < NAN_SHARE:
        lost = rng.random(count) < 0.06
        lost[rng.integers(count)] = True
        for block in blocks:
            block[lost] = np.nan
    if rng.random() < 0.2:
        block = blocks[rng.integers(4)]
        block[rng.random(block.shape[:2]) < 0.01] = np.nan
    if rng.random() < 0.03:
        blocks[0][rng.integers(count), rng.integers(33), rng.integers(3)] = np.inf
