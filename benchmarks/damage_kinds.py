"""What can be damaged in keypoint files, labels and parameters; `damage.py` draws from it.

A damage of keypoints is a function of (rng, frames `(T, F)` float32, folder) that returns an array to save, the bytes of the
file, or a function that makes something of its path; one of labels of (rng, table) that returns the last two. A pickle among
them would write `trace` into the folder if it ran.
"""

import functools
import gzip
import io
import json
import math
import os
import pickle

import numpy as np

from signlib.landmarks import LAYOUTS

TYPES = ["<f2", ">f2", ">f4", "<f8", ">f8", "g", "<i2", "<i8", ">i8", "<u8", "i1", "c8", "c16", "?", "U5", "S5", "M8[s]", "V4"]
DESCRS = [*TYPES, "O", "<U999999999", "V0", "<U0", "f", "<i99", [("x", "<f4")], ("<f4", (3,)), [("x", "O")], "", None, 3]
CLAIMS = [
    (10**9, 1629),
    (10**6, 1629),
    (2**62, 3),
    (2**63, 1),
    (10**18,),
    (3,) * 40,
    (10**5,) * 8,
    (10**9, 543, 3),
    (10**30, 2),
]
SEQUENCE = 5  # frames of a clip of one frame a file
DEEP = functools.reduce(lambda inner, _: [inner], range(600), 0)
TEXTS = [
    "",
    " ",
    "x",
    "nan",
    "inf",
    "None",
    "val",
    "٣",
    "１２",
    "\ud800",
    "a\0b",
    "\u202e",
    "📖",
    "x" * 5000,
    "9" * 5000,
    "%s",
    "{0}",
]
TEXTS += ["0x10", "1_000", "1e400", "-1", "--", "--epochs", "True", "hands+", "+", "hands+lips", "signer", "~nobody-here", "=x"]
JUNK = [*TEXTS, None, True, 0, 1, -1, 7, 2**40, 10**400, 0.5, 1e-320, math.nan, -math.inf, [], [1], {}, {"a": 1}, DEEP]
ODD = [*JUNK, 10**5000, (1,), b"x", 1j, {3}, np.float64(0.5), np.int64(3), np.ones(2), [[10**5000]], functools.reduce]
NAMES = [
    "00006",
    "a clip",
    "a.b.c",
    "книга",
    "本📖",
    "ספר",
    "e\u0301",
    "a\u202eb",
    "100%",
    "[ab]",
    "a*b?",
    "'\"\\",
    "-rf",
    "=1+1",
]
NAMES += [
    "two\nlines",
    "\t",
    "~",
    "$HOME",
    "{0}",
    "nan",
    "1e5",
    "CON",
    "x" * 240,
    "\x1b[31m",
    "caf\udce9",
]  # the last is Latin-1
STRANGE_NAMES = ["", "x", "EPOHCS", "epochs", "parameters", "None", 3, None, True, (1, 2), "\ud800", "x" * 5000]
LINKS = ["nowhere", "", ".", "/dev/zero"]  # "": itself
NO_FILE = [os.mkfifo, os.mkdir, *(lambda path, to=to: path.symlink_to(to or path.name) for to in LINKS)]


def pick(rng, options):
    """Returns one of `options` as it is; NumPy's own choice makes them all of one type."""
    return options[rng.integers(len(options))]


def make_frames(rng, layout, length):
    """`(T, F)` float32: a body that trembles, the hands' wrists at the pose's."""
    points = {block: rng.uniform(0.3, 0.7, (1, count, 3)) for block, count, _ in LAYOUTS["1629"].blocks}
    points = {block: start + rng.normal(0, 0.005, (length, *start.shape[1:])).cumsum(axis=0) for block, start in points.items()}
    points["pose"][:, 11, :2], points["pose"][:, 12, :2] = (0.6, 0.5), (0.4, 0.5)
    points["left_hand"][:, 0], points["right_hand"][:, 0] = points["pose"][:, 15], points["pose"][:, 16]
    rows = [np.pad(points[b], ((0, 0), (0, 0), (0, v - 3))).reshape(length, -1) for b, _, v in LAYOUTS[layout].blocks]
    return np.concatenate(rows, axis=1).astype(np.float32)


class Bomb:
    """Writes `trace` into the folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return open, (str(self.folder / "trace"), "w")


def npy(array, version=None):
    """Returns the bytes of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version)
    return file.getvalue()


def npz(array):
    """Returns the bytes of an .npz archive."""
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def lie(frames, **said):
    """Returns the bytes of a .npy file whose header says something else of the frames."""
    header = repr({"descr": frames.dtype.str, "fortran_order": False, "shape": frames.shape} | said).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + frames.tobytes()


def flip(rng, data, end):
    """Returns `data` with one to four of its first `end` bytes changed."""
    data = bytearray(data)
    for place in rng.integers(0, end, rng.integers(1, 5)):
        data[place] = pick(rng, [int(rng.integers(256)), *b"0123456789(){}[],'<>|: fbOVULeic"])
    return bytes(data)


def lose(rng, frames, _):
    """Returns the frames with some values, or whole frames, lost or absurd."""
    value = pick(rng, [np.nan, np.inf, -np.inf, 1e300, -3e38, 1e30, 1e10, 5e-324, 0, 1e4])
    frames = frames.astype("f8" if 3e38 < abs(value) < np.inf else pick(rng, ["f4", "f8"]))
    frames[rng.random(frames.shape) < pick(rng, [0.001, 0.1, 0.9])] = value
    frames[rng.random(len(frames)) < pick(rng, [0, 0.3])] = value
    return frames


def reshape(rng, frames, _):
    """Returns the values in another shape, more or fewer of them."""
    length, width = frames.shape
    other = LAYOUTS[pick(rng, list(LAYOUTS))].width + pick(rng, [-3, -1, 0, 0, 1, 3])
    shapes = [
        (1, length, width),
        (length, width, 1),
        (length, 0),
        (0, width),
        (length * width,),
        (width, length),
        (length, other),
    ]
    return np.resize(frames, pick(rng, [*shapes, (length, width // 3, 3), (), (1, 1), (1,) * 20, (length, other)]))


VALUES = {
    "type": lambda rng, frames, _: (frames * 100).astype(pick(rng, TYPES)),
    "order": lambda rng, frames, _: np.asfortranarray(frames),
    "shape": reshape,
    "pixels": lambda rng, frames, _: frames * np.float32(pick(rng, [640, 1920, 1e5, 1e8])),
    "scaled": lambda rng, frames, _: frames.astype(float) * 10.0 ** rng.integers(-323, 309),
    "moved": lambda rng, frames, _: frames.astype(float) + pick(rng, [-1, 1]) * 10.0 ** rng.integers(0, 309),
    "lost values": lose,
    "one value": lambda rng, frames, _: np.full(frames.shape, pick(rng, [np.nan, np.inf, 0, 1, 1e300, 3e38, 5e-324])),
    "huge values": lambda rng, frames, _: rng.choice([3e38, -3e38, 1e20, 0.5, np.nan], frames.shape),
    "any bits": lambda rng, frames, _: np.frombuffer(rng.bytes(frames.nbytes), pick(rng, ["<f4", ">f4"])).reshape(frames.shape),
    "few or many": lambda rng, frames, _: np.resize(frames, (int(10 ** rng.uniform(0, 3.5)), frames.shape[1])),
    "very many": lambda rng, frames, _: np.resize(frames[:, :126].astype("f2"), (int(10 ** rng.uniform(3, 5)), 126)),
    "garbage, long": lambda rng, frames, _: rng.random((300, frames.shape[1])),
}
FILES = {  # may be readable; then it is what NumPy reads
    "header flipped": lambda rng, frames, _: flip(rng, npy(frames), 100),
    "bytes flipped": lambda rng, frames, _: flip(rng, npy(frames), frames.nbytes),
    "version": lambda rng, frames, _: npy(frames, pick(rng, [(2, 0), (3, 0)])),
    "lying type": lambda rng, frames, _: lie(frames, descr=pick(rng, DESCRS)),
    "lying order": lambda rng, frames, _: lie(frames, fortran_order=pick(rng, [True, 1, None, "no"])),
    "lying shape": lambda rng, frames, _: lie(frames, shape=pick(rng, [frames.T.shape, (-1, frames.shape[1]), (True, 3), 5])),
    "lying length": lambda rng, frames, _: lie(frames, shape=(int(rng.integers(-5, 40)), frames.shape[1])),
}
NEVER = {
    "truncated": lambda rng, frames, _: npy(frames)[: rng.integers(len(npy(frames)))],
    "huge claim": lambda rng, frames, _: lie(frames, shape=pick(rng, CLAIMS)),
    "two arrays": lambda rng, frames, _: npy(frames) * 2,
    "objects": lambda rng, frames, folder: npy(np.full(frames[:, :2].shape, Bomb(folder))),
    "pickle": lambda rng, frames, folder: pickle.dumps(Bomb(folder), int(rng.integers(6))),
    "npz": lambda rng, frames, folder: npz(pick(rng, [frames, np.array([Bomb(folder)])])),
    "other content": lambda rng, frames, _: pick(rng, [b"", b"0.1,0.2\n" * 99, bytes(5000), rng.bytes(3000), b"\x93NUMPY"]),
    "other format": lambda rng, frames, _: pick(rng, [b"<!DOCTYPE html>", gzip.compress(npy(frames)), npy(frames)[1:]]),
    "nested header": lambda rng, frames, _: lie(frames, shape=pick(rng, [DEEP, {"a": DEEP}, "(" * 9000])),
    "no file": lambda rng, frames, _: pick(rng, NO_FILE),
}
KEYPOINTS = VALUES | FILES | NEVER


def damage_frame(kind, rng, frames, folder, path):
    """Damages the file of one of the frames that lie in the folder `path`."""
    place = path / f"{rng.integers(SEQUENCE)}.npy"
    place.unlink()
    content = KEYPOINTS[kind](rng, frames[:1], folder)
    put(place, content[0] if isinstance(content, np.ndarray) and content.shape[:1] == (1,) else content)


def put(path, content):
    """Makes what is damaged: saves an array, writes bytes, or calls the function with the path."""
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


def change(table, rng, how):
    """Calls `how(container, key)` for one place anywhere in a table of json. Returns the json's bytes."""
    places, todo = [], [table]
    while todo:
        node = todo.pop()
        inner = list(node.items() if isinstance(node, dict) else enumerate(node))
        places += [(node, key) for key, _ in inner]
        todo += [value for _, value in inner if isinstance(value, dict | list)]
    how(*pick(rng, places))
    return json.dumps(table).encode()


def twice(rng, table):
    """Lists an instance of the first gloss again, there or in the second."""
    instance = dict(pick(rng, table[0]["instances"]), split=pick(rng, ["train", "test", None]))
    pick(rng, table)["instances"].append(instance)
    return json.dumps(table).encode()


def add(table, *words):
    """Lists more glosses, each with ids of its own. Returns the json's bytes, with what is no ASCII in it."""
    more = [{"gloss": word, "instances": [{"video_id": f"{word} {i}", "split": "train"}]} for i, word in enumerate(words)]
    return json.dumps(table + more, ensure_ascii=False).encode(errors="surrogatepass")


def dump(table, encoding="utf-8", **fields):
    """Returns the json's bytes in an encoding, every instance with these fields."""
    for word in table:
        for instance in word["instances"]:
            instance |= fields
    return json.dumps(table, ensure_ascii=False).encode(encoding, "surrogatepass")


LABELS_FINE = {  # must be used
    "encoding": lambda rng, table: dump(table, pick(rng, ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])),
    "glosses of any script": lambda rng, table: add(
        table, "book (1)", "本", "ספר", "e\u0301", "📖📖", "x" * 9999, "100%", "=1+1"
    ),
    "many": lambda rng, table: add(table, *map(str, range(3000))),
    "other fields": lambda rng, table: dump(table, bbox=pick(rng, JUNK), url=pick(rng, JUNK)),
    "signers": lambda rng, table: dump(table, signer_id=pick(rng, JUNK)),
    "splits": lambda rng, table: dump(table, split=pick(rng, JUNK)),
}
LABELS_MAYBE = {
    "another value": lambda rng, table: change(table, rng, lambda node, key: node.__setitem__(key, pick(rng, JUNK))),
    "lost": lambda rng, table: change(table, rng, lambda node, key: node.__delitem__(key)),
    "renamed": lambda rng, table: change(table, rng, lambda node, key: node.insert(0, 3) if isinstance(node, list) else
        node.update({pick(rng, ["Gloss", "id", "", "📖"]): node.pop(key)})),
    "listed twice": twice,
    "two keys": lambda rng, table: json.dumps(table).replace('"video_id"', '"video_id": "1", "video_id"', 1).encode(),
    "strange glosses": lambda rng, table: add(table, pick(rng, TEXTS)),
    "labels flipped": lambda rng, table: flip(rng, json.dumps(table).encode(), 400),
}  # fmt: skip
LABELS_NEVER = {
    "labels truncated": lambda rng, table: (text := json.dumps(table).encode())[: rng.integers(len(text))],
    "no list": lambda rng, table: json.dumps(pick(rng, [None, 3, "x", {}, {"gloss": []}, {"data": table}])).encode(),
    "deep": lambda rng, table: pick(rng, [b"[", b'{"a":', b"[["]) * int(10 ** rng.uniform(2, 6)),
    "endless number": lambda rng, table: json.dumps(table).replace('"00000"', "9" * 5000).encode(),
    "no json": lambda rng, table: pick(
        rng, [b"", b"video_id,gloss\n1,book\n", b"PK\x03\x04", b"\xff\xfe", b"NaN", rng.bytes(99)]
    ),
    "lines": lambda rng, table: b"\n".join(json.dumps(word).encode() for word in table),
    "comment": lambda rng, table: b"// WLASL\n" + json.dumps(table).encode(),
    "no labels": lambda rng, table: pick(rng, NO_FILE),
}
LABELS = LABELS_FINE | LABELS_MAYBE | LABELS_NEVER
